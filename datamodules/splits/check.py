"""Checks a split that a set brings along."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.files.names import first_and_more
from datamodules.splits.table import group_table
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
        sides: "train" or "val" for each sample.
        allow_crossing: Whether groups may be on both sides; say their number in every report then.

    Returns:
        How many groups are on both sides; 0 unless `allow_crossing`.

    Raises:
        RelayError: Groups are on both sides (the message has their number, never their names), a side is
            unknown or has no samples, a class has no training samples, or as `split_by_group` about labels
            and groups.
    """
    table = group_table(labels, groups)
    if len(sides) != len(table.group_of):
        raise RelayError(f"{len(sides)} sides for {len(table.group_of)} samples; give one side per sample.")
    unknown = sum(side not in ("train", "val") for side in sides)
    if unknown:
        raise RelayError(f"{unknown} samples have a side that is neither train nor val; name it so.")
    held_out = np.asarray([side == "val" for side in sides], dtype=np.bool_)
    if held_out.all() or not held_out.any():
        raise RelayError(
            f"the split has no {'train' if held_out.all() else 'val'} samples; it needs both sides."
        )
    trained = set(table.label_of[~held_out].tolist())
    untrained = [str(name) for label, name in enumerate(table.classes) if label not in trained]
    if untrained:
        raise RelayError(
            f"class {first_and_more(untrained)} has evaluation samples but none for training; "
            "move a group of it to train or leave the class out."
        )
    crossing = np.intersect1d(table.group_of[held_out], table.group_of[~held_out])
    if len(crossing) and not allow_crossing:
        touched = np.isin(table.group_of, crossing)
        names = [str(table.classes[label]) for label in np.unique(table.label_of[touched])]
        raise RelayError(
            f"{len(crossing)} of {table.size} groups are on both sides of the split, in class "
            f"{first_and_more(names, 3)}; split by group instead, or set `allow_crossing`, and every report "
            "will say so."
        )
    return len(crossing)
