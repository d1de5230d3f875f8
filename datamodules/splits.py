"""Which samples are kept for evaluation, so that no group (patient, object) is on both sides?"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from datamodules.files.names import first_and_more
from datamodules.split_search import Problem, solve
from stages.checks import is_real, is_whole
from stages.errors import RelayError

Impossible = Literal["raise", "report"]
_ALL = "(all)"  # the report's last row
_ONE_GROUP = "in one group only: all for training"


def split_by_group(
    labels: Sequence[Hashable] | npt.NDArray[Any],
    groups: Sequence[Hashable] | npt.NDArray[Any],
    fraction: float,
    seed: int,
    *,
    impossible: Impossible = "raise",
) -> npt.NDArray[np.bool_]:
    """Divide samples by whole groups, stratified by class as well as whole groups allow.

    Minimised is the sum over the classes of the squared distance between the share of the class that is kept
    for evaluation and `fraction`: of up to 14 linked groups all divisions are tried, and the seed draws one
    within a percentage point of the best; of more, by seeded starts and a search that moves and swaps. Every
    class that two groups or more hold is on both sides. A class that one group alone holds is all for
    training, and so is that group; `split_report` says so.

    The result depends on the names of the groups, their classes and the seed, on nothing else: samples in
    another order get the same sides, on every machine and with every version of numpy.

    Args:
        labels: Class of each sample, N ints or strings.
        groups: Group of each sample, N hashable names.
        fraction: Share of the samples to keep for evaluation, above 0 and below 1.
        seed: Seed of the draw, 0 or more.
        impossible: What to do where whole groups cannot give every class of two groups both sides: `raise`,
            or `report`, which lets as few classes as possible miss a side.

    Returns:
        bool, (N,): True for evaluation, False for training.

    Raises:
        RelayError: The lengths differ, there are no samples, the fraction or the seed is out of range, a
            group or label is missing, nothing can be kept for evaluation, or (`impossible="raise"`) a class
            of two groups cannot be on both sides.

    Example:
        >>> split_by_group(["a", "a", "a", "a"], [1, 1, 2, 2], 0.5, seed=0).sum()
        np.int64(2)
    """
    if not is_real(fraction) or not 0 < fraction < 1:
        raise RelayError(f"fraction is {fraction}; give a share above 0 and below 1, such as 0.2.")
    if not is_whole(seed) or seed < 0:
        raise RelayError(f"seed is {seed!r}; give a whole number of 0 or more.")
    table = _table(labels, groups)
    group_counts = np.diff(table.counts.tocsc().indptr)
    lonely = group_counts == 1
    pinned = np.asarray(table.counts[:, lonely].sum(axis=1)).ravel() > 0
    if pinned.all():
        raise RelayError(
            f"each of the {table.size} groups holds a class that no other group holds, so that a split by "
            "group leaves nothing to evaluate; name finer groups, such as the patient instead of the class "
            "or the viewing condition instead of the object."
        )
    evaluation = np.zeros(table.size, dtype=np.bool_)
    missing: list[int] = []
    for problem in _problems(table, pinned, lonely, fraction):
        chosen, lacking = solve(problem, int(seed))
        evaluation[problem.groups] = chosen
        missing += lacking
    if missing and impossible == "raise":
        names = first_and_more(sorted(str(table.classes[label]) for label in missing))
        raise RelayError(
            f"no split by group was found that has class {names} on both sides: the classes' groups overlap "
            "too much. Add groups, leave the class out, or allow it with impossible='report'."
        )
    return evaluation[table.group_of]


def split_report(
    labels: Sequence[Hashable] | npt.NDArray[Any],
    groups: Sequence[Hashable] | npt.NDArray[Any],
    is_evaluation: npt.NDArray[np.bool_],
    asked: float | None = None,
) -> pd.DataFrame:
    """Say what a split reached.

    Args:
        labels: Class of each sample, N ints or strings.
        groups: Group of each sample, N hashable names.
        is_evaluation: bool, (N,), True for evaluation.
        asked: The share that was asked for; NaN in the table where it is None.

    Returns:
        A row a class, sorted by class, and a last one, `(all)`. Columns: class, train_samples, val_samples,
        train_groups, val_groups, crossing_groups (on both sides), share (of the samples, for evaluation),
        asked, note (empty, or why a class misses a side).

    Raises:
        RelayError: As `split_by_group` about labels and groups; `is_evaluation` has another length.
    """
    table = _table(labels, groups)
    held_out = np.asarray(is_evaluation, dtype=np.bool_)
    if held_out.shape != (len(table.group_of),):
        raise RelayError(
            f"is_evaluation has shape {held_out.shape}, there are {len(table.group_of)} samples; "
            "give one value a sample."
        )
    rows = []
    every = np.ones(len(table.group_of), dtype=np.bool_)
    order = np.argsort(table.label_of, kind="stable")
    starts = np.searchsorted(table.label_of[order], np.arange(len(table.classes) + 1))
    for label, name in enumerate(table.classes):
        members = order[starts[label] : starts[label + 1]]
        rows.append({"class": name, **_counts(table.group_of[members], held_out[members])})
    rows.append({"class": _ALL, **_counts(table.group_of[every], held_out)})
    report = pd.DataFrame(rows)
    report["asked"] = np.nan if asked is None else asked
    report["note"] = [_note(row) for row in rows[:-1]] + [""]
    return report


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
        RelayError: Groups are on both sides (their number is told, never their names), a side is unknown or
            has no samples, a class has no training samples, or as `split_by_group` about labels and groups.
    """
    table = _table(labels, groups)
    if len(sides) != len(table.group_of):
        raise RelayError(f"{len(sides)} sides for {len(table.group_of)} samples; give one side a sample.")
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


@dataclass(frozen=True)
class _Table:
    """Samples counted by group (rows) and class (columns), both in an order that names alone decide."""

    classes: tuple[Hashable, ...]
    label_of: npt.NDArray[np.int64]
    group_of: npt.NDArray[np.int64]
    counts: "sparse.csr_matrix[Any]"

    @property
    def size(self) -> int:
        """Number of groups."""
        return int(self.counts.shape[0])


def _table(labels: Any, groups: Any) -> _Table:
    if len(labels) != len(groups):
        raise RelayError(f"{len(labels)} labels for {len(groups)} groups; give one of each for every sample.")
    if len(labels) == 0:
        raise RelayError("there are no samples to split; check what the reader found.")
    classes, label_of = _numbered(labels, "label")
    names, group_of = _numbered(groups, "group")
    ones = np.ones(len(label_of), dtype=np.int64)
    counts = sparse.csr_matrix((ones, (group_of, label_of)), shape=(len(names), len(classes)))
    counts.sum_duplicates()
    return _Table(tuple(classes), label_of, group_of, counts)


def _numbered(values: Any, what: str) -> tuple[list[Hashable], npt.NDArray[np.int64]]:
    plain = values.tolist() if hasattr(values, "tolist") else list(values)  # of numpy, pandas or torch
    try:
        distinct = set(plain)
    except TypeError as error:
        raise RelayError(f"a {what} cannot be hashed ({error}); name each by a string or number.") from error
    if any(_is_missing(value) for value in distinct):
        raise RelayError(f"a sample has no {what} (None or NaN); give every sample a {what}.")
    if all(type(value) is str for value in distinct):
        ordered = sorted(distinct)
    else:
        ordered = sorted(distinct, key=_key)
        keys = [_key(value) for value in ordered]
        if any(one == other for one, other in pairwise(keys)):
            raise RelayError(f"two {what}s print alike but differ; name each by a string or number.")
    number_of = {value: number for number, value in enumerate(ordered)}
    return ordered, np.fromiter((number_of[value] for value in plain), np.int64, len(plain))


def _is_missing(value: Hashable) -> bool:
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, (float, np.floating)) and isnan(value))
    )


def _key(value: Hashable) -> tuple[str, Any]:
    """Sorts any names in an order that does not change between runs; equal names have equal keys."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float)):  # True == 1 == 1.0
        return "number", value
    if isinstance(value, str):
        return "string", str(value)
    if isinstance(value, tuple):
        return "tuple", tuple(_key(part) for part in value)
    if isinstance(value, frozenset):
        return "set", tuple(sorted(_key(part) for part in value))
    if type(value).__repr__ is object.__repr__:  # prints its address, another one in each run
        raise RelayError(f"groups and labels of type {type(value).__name__} have no order; use strings.")
    return type(value).__qualname__, repr(value)


def _problems(
    table: _Table, pinned: npt.NDArray[np.bool_], lonely: npt.NDArray[np.bool_], fraction: float
) -> list[Problem]:
    """The parts of the table that share no class: each can be divided on its own."""
    counts = table.counts[:, ~lonely]
    kept_labels = np.flatnonzero(~lonely)
    size = table.size
    entries = counts.tocoo()
    nodes = (entries.row, entries.col + size)  # groups first, then classes
    graph = sparse.csr_matrix((entries.data, nodes), shape=(size + len(kept_labels),) * 2)
    _, part_of = sparse.csgraph.connected_components(graph, directed=False)
    by_part = np.argsort(part_of[:size], kind="stable")
    edges = np.flatnonzero(np.diff(part_of[:size][by_part])) + 1
    problems = []
    for members in np.split(by_part, edges):
        rows = counts[members]
        if rows.nnz == 0:  # a group whose classes no other group holds
            continue
        columns = np.unique(rows.indices)
        problems.append(
            Problem(
                groups=members,
                labels=kept_labels[columns],
                counts=rows[:, columns].toarray(),
                free=~pinned[members],
                fraction=fraction,
            )
        )
    return problems


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
