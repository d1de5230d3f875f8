"""What was computed from a study comes back from disk as it was, and nothing else is read in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.explain.arrays import read_arrays, write_arrays
from analysis.report.explained_study import ExplainedStudy, all_explanations, load_explained, save_explained
from stages.errors import RelayError
from stages.store import Store
from tests.helpers.fake_explained import fake_explained, fake_shown
from tests.helpers.stage_helpers import recipe, record_content, seal


def _same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        for name, value in first.items():
            _same(value, second[name])
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    elif isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_exact=True, check_dtype=len(first) > 0)
    else:
        assert first == second


@pytest.mark.parametrize(
    "explained",
    [
        fake_explained(),
        fake_explained({"scratch": (0,)}),
        fake_explained({"scratch": (0,), "natural": (1,), "natural_2": (2,)}, colour=True),
        fake_explained(
            facts={"skipped": ["natural, seed 4: dld/0 has no model.ckpt"]},
            maps={"own": fake_shown(["image 1", "image 2"], 2)},
        ),
        fake_explained(
            maps={
                "agreement": pd.DataFrame(
                    [{"process_a": "scratch", "process_b": "scratch", "rank": float("nan")}]
                )
            }
        ),
    ],
    ids=["two processes", "one run", "no common seed, colour", "own images", "nothing to compare"],
)
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, explained: ExplainedStudy) -> None:
    file = save_explained(explained, tmp_path / "runs")
    assert file == tmp_path / "runs" / ".explanations" / f"study-{explained.facts.study}.npz"
    loaded = load_explained(tmp_path / "runs", explained.facts.study)
    assert loaded is not None
    assert loaded.facts == explained.facts
    _same(loaded.summaries, explained.summaries)


def test_the_same_study_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = (save_explained(fake_explained(), tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_what_was_computed_from_other_weights_is_none_of_the_study_s(tmp_path: Path) -> None:
    """A run that was removed and trained again has its old id; its bits may be others."""
    of = recipe()
    run = Store(tmp_path).folder(of.stage, of.id)
    run.path.mkdir(parents=True)
    run.weights.write_text("the first training")
    seal(run, record_content(of))
    weights = {f"{of.stage}/{run.path.name}": run.weights_digest()}
    explained = fake_explained(facts={"weights": weights})
    save_explained(explained, tmp_path)
    assert load_explained(tmp_path, explained.facts.study) is not None
    run.weights.write_text("the second one")
    seal(run)
    assert load_explained(tmp_path, explained.facts.study) is None
    run.record.unlink()  # no other one
    assert load_explained(tmp_path, explained.facts.study) is not None


def test_a_study_that_was_not_analysed_has_none(tmp_path: Path) -> None:
    assert load_explained(tmp_path, "0a1b2c3d") is None
    save_explained(fake_explained(study="0a1b2c3d"), tmp_path)
    assert load_explained(tmp_path, "99999999") is None


def test_a_later_call_replaces_what_is_stored_of_its_study_only(tmp_path: Path) -> None:
    save_explained(fake_explained(study="11111111"), tmp_path)
    save_explained(fake_explained(study="22222222"), tmp_path)
    save_explained(fake_explained({"scratch": (7,)}, study="22222222"), tmp_path)
    first, second = (load_explained(tmp_path, study) for study in ("11111111", "22222222"))
    assert first is not None and first.facts.seeds == {"scratch": [0, 1], "natural": [0, 1]}
    assert second is not None and second.facts.seeds == {"scratch": [7]}
    names = {path.name for path in (tmp_path / ".explanations").iterdir()}
    assert names == {"study-11111111.npz", "study-22222222.npz"}  # nothing half-written either


def test_what_an_earlier_version_computed_is_not_read(tmp_path: Path) -> None:
    """It lies in another folder; the networks are then analysed once more."""
    (tmp_path / ".observed").mkdir()
    (tmp_path / ".observed" / "study-0a1b2c3d.npz").write_bytes(b"an earlier version's")
    assert load_explained(tmp_path, "0a1b2c3d") is None


def _flipped(content: bytes) -> bytes:
    """Some bits of each part's content are others; the list of parts at the end is whole."""
    changed = bytearray(content)
    for place in range(200, len(changed) * 3 // 4, 97):
        changed[place] ^= 0xFF
    return bytes(changed)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda content: content[: len(content) // 2],
    "nothing in it": lambda content: b"",
    "other bytes": lambda content: b"something else",
    "flipped bits": _flipped,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    file = save_explained(fake_explained(), tmp_path)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(RelayError, match=r"study-0a1b2c3d\.npz is damaged .*run analysis\.visualize again"):
        load_explained(tmp_path, "0a1b2c3d")


def _rewritten(file: Path, plain: dict[str, Any], left_out: str = "-") -> None:
    stored = read_arrays(file)
    arrays = {name: values for name, values in stored.items() if not name.startswith(left_out)}
    arrays["plain"] = np.asarray(json.dumps(json.loads(str(stored["plain"])) | plain))
    assert left_out == "-" or len(arrays) < len(stored)
    write_arrays(file, arrays)


def test_another_version_is_refused_as_such(tmp_path: Path) -> None:
    file = save_explained(fake_explained(), tmp_path)
    _rewritten(file, {"version": 999})
    with pytest.raises(RelayError, match=r"npz is of another version of Relay; run analysis\.visualize"):
        load_explained(tmp_path, "0a1b2c3d")


@pytest.mark.parametrize("part", ["summaries/maps/shown/maps", "summaries/maps/shown/"])
def test_a_file_without_one_of_its_arrays_is_damaged(tmp_path: Path, part: str) -> None:
    file = save_explained(fake_explained(), tmp_path)
    _rewritten(file, {}, left_out=part)
    with pytest.raises(RelayError, match="is damaged"):
        load_explained(tmp_path, "0a1b2c3d")


def test_a_summary_of_another_version_is_left_out_alone(tmp_path: Path) -> None:
    versions = {analysis.name: analysis.version for analysis in all_explanations()}
    _rewritten(save_explained(fake_explained(), tmp_path), {"versions": versions | {"frequencies": 999}})
    loaded = load_explained(tmp_path, "0a1b2c3d")
    assert loaded is not None and list(loaded.summaries) == ["maps", "layers"]
