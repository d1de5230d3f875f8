"""What is written comes back from disk as it was, and nothing in a file is unpickled."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.explain.arrays import (
    DAMAGED,
    keep,
    read_arrays,
    read_tree,
    tree_digest,
    write_arrays,
    write_tree,
)

TREE: dict[str, Any] = {
    "text": "pool5",
    "number": 3,
    "real": 0.1,
    "nothing": None,
    "nested": {"table": {"array": {"bytes": "no array"}}},
    "names": ["b", "a"],
    "arrays": {"two_stage": np.arange(6.0).reshape(2, 3), "scratch": np.ones((1, 2), dtype=np.float32)},
    "listed": [{"png": b"\x89PNG\0", "width": 7}],
    "table": pd.DataFrame({"process": ["z", "a"], "rank": [0.25, float("nan")], "seeds": [1, 2]}),
    "empty": pd.DataFrame([], columns=["process", "cka"]),
}


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    write_tree(tmp_path / "new" / "a.npz", TREE)
    found = read_tree(tmp_path / "new" / "a.npz")
    assert list(found) == list(TREE)
    for name in ("text", "number", "real", "nothing", "nested", "names", "listed"):
        assert found[name] == TREE[name]
    assert list(found["arrays"]) == ["two_stage", "scratch"]  # the page's order
    for process, expected in TREE["arrays"].items():
        assert found["arrays"][process].dtype == expected.dtype
        np.testing.assert_array_equal(found["arrays"][process], expected)
    pd.testing.assert_frame_equal(found["table"], TREE["table"], check_exact=True)
    pd.testing.assert_frame_equal(found["empty"], TREE["empty"], check_dtype=False)


def test_equal_trees_are_equal_bytes_and_have_equal_digests(tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "a", tmp_path / "two" / "a"
    for file in (first, second):
        write_tree(file, TREE)
    assert first.read_bytes() == second.read_bytes()
    assert tree_digest(read_tree(first)) == tree_digest(TREE)


@pytest.mark.parametrize(
    "change",
    [
        {"text": "pool2"},
        {"nothing": 0},
        {"listed": [{"png": b"\x89PNG\1", "width": 7}]},
        {"arrays": {**TREE["arrays"], "scratch": np.ones((2, 1), dtype=np.float32)}},
        {"arrays": {**TREE["arrays"], "scratch": np.ones((1, 2))}},
        {"table": TREE["table"].assign(rank=[0.25, 0.0])},
    ],
    ids=["text", "none", "bytes", "shape", "type", "table"],
)
def test_another_tree_has_another_digest(change: dict[str, Any]) -> None:
    assert tree_digest({**TREE, **change}) != tree_digest(TREE)


def test_what_is_not_json_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_tree(tmp_path / "a.npz", {"folder": tmp_path})
    assert list(tmp_path.iterdir()) == []


class _Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("read", [read_arrays, read_tree])
def test_no_object_is_unpickled(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    file, trap = tmp_path / "a.npz", _Trap(tmp_path / "trace")
    np.savez(file, plain=np.asarray([trap], dtype=object))
    with pytest.raises(DAMAGED):
        read(file)
    file.write_bytes(pickle.dumps(trap))
    with pytest.raises(DAMAGED):
        read(file)
    assert not trap.trace.exists()
    pickle.loads(pickle.dumps(trap))
    assert trap.trace.exists()  # the trap would have closed


def test_arrays_come_back(tmp_path: Path) -> None:
    write_arrays(tmp_path / "new" / "a.npz", {"gain": np.arange(3.0)})
    found = read_arrays(tmp_path / "new" / "a.npz")
    assert found.keys() == {"gain"}
    np.testing.assert_array_equal(found["gain"], [0.0, 1.0, 2.0])


def test_a_flipped_bit_is_damage_or_changes_nothing(tmp_path: Path) -> None:
    """Every bit of a file; some of an archive's are read by no one."""
    file, gain = tmp_path / "a.npz", np.arange(3.0)
    write_arrays(file, {"gain": gain})
    content, found = file.read_bytes(), 0
    for place, bit in product(range(len(content)), range(8)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        try:
            arrays = read_arrays(file)
        except DAMAGED:
            found += 1
        else:
            assert arrays.keys() == {"gain"} and np.array_equal(arrays["gain"], gain)
    assert found > 6 * len(content)


def test_arrays_of_something_else_are_damage(tmp_path: Path) -> None:
    """Well-formed ones: another network's file under this one's name, and values that someone wrote."""
    for name, values in (("a", [1.0]), ("b", [2.0])):
        write_arrays(tmp_path / f"{name}.npz", {"gain": np.array(values)})
    (tmp_path / "b.npz").replace(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="under another name"):
        read_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", gain=np.array([3.0]))
    with pytest.raises(ValueError, match="it was changed"):
        read_arrays(tmp_path / "a.npz")


def test_a_store_that_is_only_read_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "runs").write_text("no folder, so that nothing can be made in it")
    explanations = tmp_path / "runs" / ".explanations"
    for run in ("0123", "4567"):
        file = explanations / run / "x.npz"
        keep(lambda file=file: write_arrays(file, {"x": np.zeros(3)}), explanations)
    (message,) = caplog.messages
    assert message == (
        f"What is computed is not kept in {explanations}, and will be computed again: Not a directory"
    )
