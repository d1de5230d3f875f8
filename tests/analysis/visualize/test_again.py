"""Explained again, a study is read from disk; what is missing, damaged or newly asked for is computed."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.explain.frequency import frequency_response
from analysis.explain.stored_network import load_network
from analysis.visualize import main
from tests.helpers.explained_store import (
    COMPUTING,
    SIZE,
    ExplainedStore,
    contents,
    explained_with,
    fails,
    target,
)


@pytest.mark.usefixtures("nothing_computed")
def test_again_computes_nothing_and_gives_the_same_bytes(
    explained: ExplainedStore, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(store / ".explanations")
    times = {path: path.stat().st_mtime_ns for path in (store / ".explanations").glob("*/*.npz")}
    loaded: list[Path] = []

    def load(folder: Path) -> torch.nn.Module:
        loaded.append(folder)
        return load_network(folder)

    monkeypatch.setattr("analysis.explain.stored_network.load_network", load)
    main([f"runs_dir={store}"])
    assert loaded == []
    assert contents(store / ".explanations") == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert contents(store / "explanations") == contents(explained.store / "explanations")


@pytest.mark.usefixtures("undrawn")
def test_interrupted_it_keeps_what_it_has_and_goes_on_from_there(
    explained: ExplainedStore,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is known of the last run, and of no run the response: it ends in the second one's."""
    observed, last = store / ".explanations", target(store, "two_stage", 1)
    for file in {*observed.glob("study-*"), *observed.glob("*/response-*"), *observed.glob(f"{last.name}/*")}:
        file.unlink()
    calls = 0

    def interrupted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return frequency_response(*arguments, **named)

    monkeypatch.setattr("analysis.explain.frequency.frequency_response", interrupted)
    with pytest.raises(SystemExit) as ended:
        main([f"runs_dir={store}"])
    assert ended.value.code == 130
    printed = capsys.readouterr()
    assert printed.out.startswith("Interrupted. What has been computed is kept") and printed.err == ""
    assert not (store / "explanations").exists()
    whole, kept = contents(explained.store / ".explanations"), contents(observed)
    assert all(whole[name] == content for name, content in kept.items())
    assert sum("response-" in name for name in kept) == 1
    assert not any(name.startswith((last.name, "study-")) for name in kept)

    times = {path: path.stat().st_mtime_ns for path in observed.glob("*/*.npz")}
    main([f"runs_dir={store}"])
    assert calls == 5  # three more
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert contents(observed) == whole


def _other_values(content: bytes) -> bytes:
    """The same file with some of its numbers' bits turned: the checksum does not fit."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"something else",
        lambda content: content[: len(content) // 2],
        _other_values,
    ],
    ids=["empty", "other bytes", "cut short", "flipped bits"],
)
def test_a_damaged_file_is_computed_again(store: Path, damage: Callable[[bytes], bytes]) -> None:
    before = contents(store / ".explanations")
    observed = store / ".explanations" / target(store, "two_stage", 1).name
    for kind in ("deletion", "heat", "grams"):
        (file,) = observed.glob(f"{kind}-*.npz")
        file.write_bytes(damage(file.read_bytes()))
    explained_with(store)
    assert contents(store / ".explanations") == before


def test_a_file_of_other_contents_is_computed_again(store: Path) -> None:
    """A whole file, without what is looked for in it."""
    before = contents(store / ".explanations")
    (file,) = (store / ".explanations" / target(store, "scratch", 0).name).glob("deletion-*.npz")
    np.savez(file, other=np.zeros(3))
    explained_with(store)
    assert contents(store / ".explanations") == before


def test_no_object_in_a_kept_file_is_unpickled(store: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "trace"),)

    before = contents(store / ".explanations")
    (file,) = (store / ".explanations" / target(store, "scratch", 0).name).glob("heat-*.npz")
    np.savez(file, heat=np.asarray([Trap()], dtype=object))
    explained_with(store)
    assert not (tmp_path / "trace").exists()
    assert contents(store / ".explanations") == before


def _of_runs(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in contents.items() if "/" in name}


def _cheap_curve(_: Any, images: Any, *__: Any, steps: int, **___: Any) -> torch.Tensor:
    return torch.zeros(len(images), steps + 1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ("norm=unit", {"response"}),
        ("directions=cosine", {"response"}),
        ("precision=bfloat16", {"response"}),
        ("layer=pool2", {"response", "heat", "maps", "deletion", "randomisation"}),
        ("rule=saliency", {"response", "heat", "maps", "deletion", "randomisation"}),
        ("window=5", set()),
    ],
)
def test_another_question_has_files_of_its_own(
    explained: ExplainedStore, store: Path, monkeypatch: pytest.MonkeyPatch, asked: str, kinds: set[str]
) -> None:
    """What was known before stays, so that the first question asked again is answered from disk."""
    key, value = asked.split("=")
    calls: list[dict[str, Any]] = []

    def response(_: Any, **named: Any) -> tuple[Any, Any]:
        calls.append(named)
        gain = np.linspace(0.0, 1.0, SIZE // 2 + 1)
        return gain, gain

    before, first = _of_runs(contents(store / ".explanations")), explained.explained.summaries
    with monkeypatch.context() as patched:
        patched.setattr("analysis.explain.frequency.frequency_response", response)
        patched.setattr("analysis.explain.insertion_deletion.curve", _cheap_curve)
        summaries = explained_with(store, asked).summaries
    after = _of_runs(contents(store / ".explanations"))
    assert {name: after[name] for name in before} == before
    new = {Path(name).name.split("-")[0] for name in after.keys() - before.keys()}
    assert new - {"grams", "filters"} == kinds  # these two depend on no setting, and may be kept by all
    assert len(calls) == (4 if "response" in kinds else 0)
    assert all(named[key] == value for named in calls)
    used = summaries["frequencies"][key]
    assert used in (value, [value], int(value) if value.isdecimal() else value)
    assert summaries["maps"].get(key, value) == value
    for name in COMPUTING:
        monkeypatch.setattr(name, fails(f"{name} was called"))
    again = explained_with(store).summaries
    for summaries in (first, again):
        assert summaries["frequencies"]["responses"].keys() == {"scratch", "two_stage"}
    np.testing.assert_array_equal(
        again["frequencies"]["responses"]["scratch"], first["frequencies"]["responses"]["scratch"]
    )
    np.testing.assert_array_equal(again["maps"]["shown"]["maps"], first["maps"]["shown"]["maps"])


def test_one_network_is_in_memory_at_a_time(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets and sources: something is asked of each that is not on disk."""
    for file in (store / ".explanations").glob("*/grams-*"):
        file.unlink()
    loaded: list[weakref.ref[torch.nn.Module]] = []

    def load(folder: Path) -> torch.nn.Module:
        assert not _in_memory(loaded)
        network = load_network(folder)
        loaded.append(weakref.ref(network))
        return network

    def grams(_: Any, images: Any, layers: list[str]) -> dict[str, torch.Tensor]:
        return dict.fromkeys(layers, torch.zeros(len(images), len(images), dtype=torch.float64))

    monkeypatch.setattr("analysis.explain.stored_network.load_network", load)
    monkeypatch.setattr("analysis.explain.cka.layer_grams", grams)
    explained_with(store)
    assert len(loaded) == 8 and not _in_memory(loaded)


def _in_memory(networks: list[weakref.ref[torch.nn.Module]]) -> bool:
    if any(each() is not None for each in networks):
        gc.collect()  # what is left in a circle of references
    return any(each() is not None for each in networks)
