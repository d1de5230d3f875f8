"""What was seen in a study comes back from disk as it was, and nothing else is read in its place."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.explain.observations import Observations, Shown, load_observations, save_observations
from stages.errors import RelayError
from tests.helpers.fake_observations import fake_observations, fake_shown

TABLES = ("randomisation", "agreement", "stages", "processes_cka")


def _same_shown(first: Shown | None, second: Shown | None) -> None:
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert (first.rows, first.seed) == (second.rows, second.seed)
        for part in ("images", "maps", "heat"):
            _same_array(getattr(first, part), getattr(second, part))


def _same_array(first: Any, second: Any) -> None:
    assert first.dtype == second.dtype
    np.testing.assert_array_equal(first, second)


def _same(first: Observations, second: Observations) -> None:
    for name in ("study", "target", "runs", "settings", "facts", "processes", "seeds", "skipped"):
        assert getattr(first, name) == getattr(second, name), name
    _same_shown(first.shown, second.shown)
    _same_shown(first.own, second.own)
    for name in ("responses", "filters"):
        one, other = getattr(first, name), getattr(second, name)
        assert list(one) == list(other)
        for process in one:
            _same_array(one[process], other[process])
    assert list(first.curves) == list(second.curves)
    for process, curves in first.curves.items():
        assert set(curves) == set(second.curves[process])
        for kind, values in curves.items():
            _same_array(values, second.curves[process][kind])
    for name in TABLES:
        one, other = getattr(first, name), getattr(second, name)
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_dtype=len(one) > 0)


@pytest.mark.parametrize(
    "seen",
    [
        fake_observations(),
        fake_observations({"scratch": (0,)}),
        fake_observations({"scratch": (0,), "natural": (1,), "natural_2": (2,)}, colour=True),
        fake_observations(
            own=fake_shown(["image 1", "image 2"], 2, 0), skipped=["natural, seed 4: dld/0 has no model.ckpt"]
        ),
        fake_observations(
            agreement=pd.DataFrame([{"process_a": "scratch", "process_b": "scratch", "rank": float("nan")}])
        ),
    ],
    ids=["two processes", "one run", "no common seed, colour", "own images", "nothing to compare"],
)
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, seen: Observations) -> None:
    file = save_observations(seen, tmp_path / "runs")
    assert file == tmp_path / "runs" / ".observed" / f"study-{seen.study}.npz"
    loaded = load_observations(tmp_path / "runs", seen.study)
    assert loaded is not None
    _same(seen, loaded)


def test_the_same_observations_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = (save_observations(fake_observations(), tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_study_that_nobody_looked_at_has_none(tmp_path: Path) -> None:
    assert load_observations(tmp_path, "0a1b2c3d") is None
    save_observations(fake_observations(study="0a1b2c3d"), tmp_path)
    assert load_observations(tmp_path, "99999999") is None


def test_a_later_look_replaces_the_earlier_one_of_its_study_only(tmp_path: Path) -> None:
    save_observations(fake_observations(study="11111111"), tmp_path)
    save_observations(fake_observations(study="22222222"), tmp_path)
    save_observations(fake_observations({"scratch": (7,)}, study="22222222"), tmp_path)
    first, second = (load_observations(tmp_path, study) for study in ("11111111", "22222222"))
    assert first is not None and first.seeds == {"scratch": [0, 1], "natural": [0, 1]}
    assert second is not None and second.seeds == {"scratch": [7]}
    names = {path.name for path in (tmp_path / ".observed").iterdir()}
    assert names == {"study-11111111.npz", "study-22222222.npz"}  # nothing half-written either


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
    file = save_observations(fake_observations(), tmp_path)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(RelayError, match=r"study-0a1b2c3d\.npz is damaged .*run analysis\.visualize again"):
        load_observations(tmp_path, "0a1b2c3d")


def _rewritten(file: Path, plain: dict[str, Any], left_out: str = "-") -> None:
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files if not name.startswith(left_out)}
        arrays["plain"] = np.asarray(json.dumps(json.loads(str(stored["plain"])) | plain))
    np.savez(file, **arrays)


def test_another_version_is_refused_as_such(tmp_path: Path) -> None:
    file = save_observations(fake_observations(), tmp_path)
    _rewritten(file, {"version": 999})
    with pytest.raises(RelayError, match=r"npz is of another version of Relay; run analysis\.visualize"):
        load_observations(tmp_path, "0a1b2c3d")


@pytest.mark.parametrize("part", ["shown/maps", "shown/"])
def test_a_file_without_one_of_its_arrays_is_damaged(tmp_path: Path, part: str) -> None:
    file = save_observations(fake_observations(), tmp_path)
    _rewritten(file, {}, left_out=part)
    with pytest.raises(RelayError, match="is damaged"):
        load_observations(tmp_path, "0a1b2c3d")


class _Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.trace),)


def test_no_object_is_unpickled(tmp_path: Path) -> None:
    file = save_observations(fake_observations(), tmp_path)
    trap = _Trap(tmp_path / "trace")
    np.savez(file, plain=np.asarray([trap], dtype=object))
    with pytest.raises(RelayError, match="is damaged"):
        load_observations(tmp_path, "0a1b2c3d")
    file.write_bytes(pickle.dumps(trap))
    with pytest.raises(RelayError, match="is damaged"):
        load_observations(tmp_path, "0a1b2c3d")
    assert not trap.trace.exists()
    pickle.loads(pickle.dumps(trap))
    assert trap.trace.exists()  # the trap would have closed
