"""What a split reached: samples and groups of each class on both sides."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from datamodules.splits.table import group_table
from stages.errors import RelayError

_ALL = "(all)"  # the report's last row
_ONE_GROUP = "in one group only: all for training"


def split_report(
    labels: Sequence[Hashable] | npt.NDArray[Any],
    groups: Sequence[Hashable] | npt.NDArray[Any],
    is_evaluation: npt.NDArray[np.bool_],
    asked: float | None = None,
    *,
    is_test: npt.NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Say what a split reached.

    Args:
        labels: Class of each sample, N ints or strings.
        groups: Group of each sample, N hashable names.
        is_evaluation: bool, (N,), True for evaluation.
        asked: The share that was asked for; NaN in the table where it is None.
        is_test: bool, (N,), True for samples of a test set, which the other columns do not count; None
            without one.

    Returns:
        One row per class, sorted by class, and a last one, `(all)`. Columns: class, train_samples,
        val_samples, train_groups, val_groups, crossing_groups (on both sides), share (of the samples, for
        evaluation), asked, note (empty, or why a class misses a side); with a test set also test_samples
        and test_groups.

    Raises:
        RelayError: As `split_by_group` about labels and groups; `is_evaluation` has another length.
    """
    table = group_table(labels, groups)
    held_out = np.asarray(is_evaluation, dtype=np.bool_)
    if held_out.shape != (len(table.group_of),):
        raise RelayError(
            f"is_evaluation has shape {held_out.shape}, there are {len(table.group_of)} samples; "
            "give one value per sample."
        )
    tested = np.zeros(len(held_out), dtype=np.bool_) if is_test is None else is_test
    rows = []
    order = np.argsort(table.label_of, kind="stable")
    starts = np.searchsorted(table.label_of[order], np.arange(len(table.classes) + 1))
    for label, name in enumerate(table.classes):
        members = order[starts[label] : starts[label + 1]]
        rest = members[~tested[members]]
        rows.append({"class": name, **_counts(table.group_of[rest], held_out[rest])})
    rows.append({"class": _ALL, **_counts(table.group_of[~tested], held_out[~tested])})
    report = pd.DataFrame(rows)
    if is_test is not None:
        of_class = [tested & (table.label_of == label) for label in range(len(table.classes))]
        report["test_samples"] = [int(chosen.sum()) for chosen in (*of_class, tested)]
        report["test_groups"] = [len(np.unique(table.group_of[chosen])) for chosen in (*of_class, tested)]
    report["asked"] = np.nan if asked is None else asked
    report["note"] = [_note(row) for row in rows[:-1]] + [""]
    return report


def _counts(groups: npt.NDArray[np.int64], held_out: npt.NDArray[np.bool_]) -> dict[str, Any]:
    val, train = np.unique(groups[held_out]), np.unique(groups[~held_out])
    return {
        "train_samples": int((~held_out).sum()),
        "val_samples": int(held_out.sum()),
        "train_groups": len(train),
        "val_groups": len(val),
        "crossing_groups": len(np.intersect1d(train, val, assume_unique=True)),
        "share": float(held_out.mean()),
    }


def _note(row: dict[str, Any]) -> str:
    if row["val_samples"] == 0:
        return _ONE_GROUP if row["train_groups"] == 1 else "no evaluation samples"
    return "no training samples" if row["train_samples"] == 0 else ""
