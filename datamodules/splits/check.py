"""Checks a split that a set brings along."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.files.names import first_and_more
from datamodules.splits.table import GroupTable, group_table
from stages.errors import RelayError


def check_split(
    labels: Sequence[Hashable] | npt.NDArray[Any],
    groups: Sequence[Hashable] | npt.NDArray[Any],
    sides: Sequence[str] | npt.NDArray[Any],
    *,
    allow_crossing: bool = False,
) -> int:
    """Check a split that a set brings along.

    Args:
        labels: Class of each sample, N ints or strings.
        groups: Group of each sample, N hashable names.
        sides: "train", "val" or "test" for each sample. There may be a test side in place of val: samples
            for evaluation are drawn from the training ones then.
        allow_crossing: Whether groups may be in training and evaluation; say their number in every report
            then. In the test side and elsewhere they may never be.

    Returns:
        How many groups are on both sides; 0 unless `allow_crossing`.

    Raises:
        RelayError: Groups are on several sides (the message has their number, never their names), a side is
            unknown or has no samples, a class has no training samples, or none in the test side, or as
            `split_by_group` about labels and groups.
    """
    table = group_table(labels, groups)
    if len(sides) != len(table.group_of):
        raise RelayError(f"{len(sides)} sides for {len(table.group_of)} samples; give one side per sample.")
    side_of = np.asarray(sides, dtype=np.str_)
    unknown = int((~np.isin(side_of, ("train", "val", "test"))).sum())
    if unknown:
        raise RelayError(f"{unknown} samples have a side that is not train, val or test; name it so.")
    trained, tested = side_of == "train", side_of == "test"
    if not trained.any() or trained.all():
        raise RelayError(
            f"the split has no {'val' if trained.any() else 'train'} samples; it needs both sides."
        )
    _check_classes(table, trained, "evaluation samples but none for training", "train")
    if tested.any():
        _check_classes(table, tested, "no samples in the test set", "test")
        _refuse_crossing(
            table,
            _crossing(table, tested),
            "in the test set and elsewhere",
            "move all samples of a group to one side.",
        )
    crossing = _crossing(table, trained)
    if not allow_crossing:
        _refuse_crossing(
            table,
            crossing,
            "on both sides of the split",
            "split by group instead, or set `allow_crossing`, and every report will say so.",
        )
    return len(crossing)


def _check_classes(table: GroupTable, inside: npt.NDArray[np.bool_], what: str, side: str) -> None:
    present = set(table.label_of[inside].tolist())
    absent = [str(name) for label, name in enumerate(table.classes) if label not in present]
    if absent:
        raise RelayError(
            f"class {first_and_more(absent)} has {what}; move a group of it to {side} or leave the class out."
        )


def _crossing(table: GroupTable, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Numbers of the groups that have samples inside and outside."""
    return np.intersect1d(table.group_of[inside], table.group_of[~inside])


def _refuse_crossing(table: GroupTable, crossing: npt.NDArray[np.int64], where: str, advice: str) -> None:
    if len(crossing):
        touched = np.isin(table.group_of, crossing)
        names = [str(table.classes[label]) for label in np.unique(table.label_of[touched])]
        raise RelayError(
            f"{len(crossing)} of {table.size} groups are {where}, in class {first_and_more(names, 3)}; "
            f"{advice}"
        )
