"""Trained networks as one: which they are, what they say, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.prediction.chosen import chosen_runs
from analysis.prediction.ensemble import load_ensemble
from stages.errors import RelayError
from stages.store import RunFolder
from tests.helpers.fake_networks import CLASSES, SIZE, write_networks
from tests.helpers.fake_study import FakeStudy
from tests.helpers.stage_helpers import seal

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_networks(tmp_path_factory.mktemp("store"))


@pytest.fixture
def own(store: Path, tmp_path: Path) -> list[RunFolder]:
    """The networks of a process, in a store that the test may change."""
    return targets(Path(shutil.copytree(store, tmp_path / "own")))


def targets(store: Path) -> list[RunFolder]:
    return chosen_runs(store, process="two_stage", runs=(), study=None)


def content_of(run: RunFolder) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run.record.read_text())
    return content


def test_a_process_is_all_its_networks_on_the_whole_set(store: Path) -> None:
    found = targets(store)
    assert [run.read_record().data_ratio for run in found] == [1.0, 1.0]
    assert {run.read_record().seed for run in found} == {0, 1}
    assert {run.path.parent.name for run in found} == {"dld"}


def test_runs_by_their_ids(store: Path) -> None:
    first, second = targets(store)
    ids = [second.path.name, first.read_record().id, second.path.name[:9]]
    found = chosen_runs(store, process=None, runs=ids, study=None)
    assert [run.path for run in found] == [second.path, first.path], "in the order typed, each once"


def refused(store: Path, process: str | None = None, *runs: str, study: str | None = None) -> str:
    with pytest.raises(RelayError) as refusal:
        chosen_runs(store, process=process, runs=runs, study=study)
    return str(refusal.value)


def test_what_is_not_there_is_named(store: Path, tmp_path: Path) -> None:
    (first, _) = targets(store)
    assert "did you mean two_stage?" in refused(store, "two_stages")
    assert "must be one of scratch, two_stage" in refused(store, "finetune")
    assert "names no run of the store; complete are dld/" in refused(store, None, "f" * 16)
    assert "names no run" in refused(store, None, first.path.name + "0" * 48), "another run's whole id"
    assert "begins the ids of" in refused(store, None, "")
    assert "give the networks" in refused(store)
    assert "give the networks" in refused(store, "scratch", first.path.name)
    assert "there is no folder" in refused(tmp_path / "none", "scratch")
    assert "no finished stage run" in refused(tmp_path, "scratch")
    assert "no finished stage run" in refused(tmp_path, None, first.path.name)
    assert "names none of the store's studies" in refused(store, "scratch", study="zzz")
    with pytest.raises(RelayError, match=r"at a data ratio of 0.7; there are 0.4, 1"):
        chosen_runs(store, process="scratch", runs=(), study=None, data_ratio=0.7)


def test_of_studies_of_as_many_runs_the_user_chooses(own: list[RunFolder]) -> None:
    store = own[0].path.parents[1]
    FakeStudy(
        ("scratch", "two_stage"), (0, 1), (0.4, 1.0), classes=CLASSES, width=0.0625, class_weights="balanced"
    ).write(store)
    said = refused(store, "two_stage")
    assert "2 studies have as many runs (8)" in said and said.count("study=") == 2
    (first, second) = re.findall(r"study=(\S+)  dld, 8 runs", said)
    chosen = [chosen_runs(store, process="two_stage", runs=(), study=one) for one in (first, second)]
    assert not {run.path for run in chosen[0]} & {run.path for run in chosen[1]}
    shutil.rmtree(own[0].path)
    assert len(targets(store)) == 2, "the study with more runs"


def test_a_run_that_is_not_complete(own: list[RunFolder]) -> None:
    own[0].record.unlink()
    assert "is not complete" in refused(own[0].path.parents[1], None, own[0].path.name)


def test_probabilities_by_hand(store: Path) -> None:
    """Each network scales by its own deviation; how many images go at once does not matter."""
    ensemble = load_ensemble(targets(store), CPU)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 32, 32), np.uint8))
    logits = ensemble.logits(pixels, batch_size=2)
    assert (logits.shape, logits.dtype) == ((2, 5, len(ensemble.classes)), torch.float32)
    for member, found in zip(ensemble.members, logits, strict=True):
        resized = torch.nn.functional.interpolate(pixels[:, None] / 255.0, (SIZE, SIZE), mode="bicubic")
        inputs = (resized.expand(-1, 3, -1, -1) - 0.4) / member.input.std[0]
        with torch.no_grad():
            torch.testing.assert_close(found, member.network(inputs), rtol=1e-4, atol=1e-4)
    assert ensemble.members[0].input.std != ensemble.members[1].input.std
    cooled = replace(ensemble, temperature=2.0).probabilities(pixels)
    torch.testing.assert_close(cooled, torch.softmax(logits / 2, 2), rtol=1e-5, atol=1e-6)
    assert not any(member.network.training for member in ensemble.members)


@pytest.mark.parametrize("what", ["classes", "size of their training images", "window", "colour"])
def test_networks_that_differ_are_refused_by_name(own: list[RunFolder], what: str) -> None:
    content = content_of(own[1])
    data, given = content["data"], content["input"]
    changes = {
        "classes": {"data": data | {"classes": data["classes"][::-1]}},
        "size of their training images": {"data": data | {"height": 40}},
        "window": {"input": given | {"window": [-1000.0, 400.0]}},
        "colour": {"input": given | {"color": True}},
    }
    seal(own[1], content | changes[what])
    with pytest.raises(RelayError, match=f"the same {what}: {own[1].path} has"):
        load_ensemble(own, CPU)


def test_a_record_without_the_scaling(own: list[RunFolder]) -> None:
    run = own[0]
    content = content_of(run)
    del content["input"]
    seal(run, content)
    with pytest.raises(RelayError, match=r"does not say what the network's input is made of.*Train it again"):
        load_ensemble([run], CPU)


def test_weights_that_are_not_there_or_not_the_records(own: list[RunFolder]) -> None:
    content = own[0].weights.read_bytes()
    own[0].weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RelayError, match="is not the file that its run wrote"):
        load_ensemble(own, CPU)
    own[0].weights.unlink()
    with pytest.raises(RelayError, match=r"has no model.ckpt"):
        load_ensemble(own, CPU)
