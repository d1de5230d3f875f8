"""The samples that a data ratio keeps."""

from typing import get_args

import numpy as np
import numpy.typing as npt

from datamodules.rounding import share
from stages.errors import RelayError, unknown_name
from stages.recipe import RatioUnit
from stages.seeds import seeded_order

_CANDIDATES = 4  # groups of each class to choose the next from: balanced, yet the seed decides


def stratified_subset(
    labels: npt.NDArray[np.int64], groups: tuple[str, ...], ratio: float, unit: RatioUnit, seed: int
) -> npt.NDArray[np.int64]:
    """Draw a share of the samples, stratified by class and nested: 20 % is inside 40 %.

    Unit "patch": each class keeps round-half-up(ratio * n) of its n samples, at least one, in the order of
    one seeded permutation per class. Unit "patient": whole groups, in one seeded order whose every beginning
    has proportions near those of the whole, as well as whole groups allow; it starts with groups that hold
    every class, and ends where the number of samples is nearest to ratio * N.

    The draw depends on the order of the samples (which domains sort by name), not on their names.

    Args:
        labels: Class of each sample, int64, (N,); classes are 0..labels.max().
        groups: Group of each sample, N names.
        ratio: Share to keep, in (0, 1].
        unit: What is kept or dropped as a whole.
        seed: Seed of the draw, non-negative.

    Returns:
        Indices of the kept samples, sorted, int64.

    Raises:
        RelayError: The ratio is outside (0, 1], the unit is unknown, or a class has no samples.
    """
    if not 0 < ratio <= 1:
        raise RelayError(f"data_ratio is {ratio}; give a share above 0 and up to 1, such as 0.2.")
    if unit not in get_args(RatioUnit):
        raise unknown_name("ratio_unit", unit, get_args(RatioUnit))
    counts = np.bincount(labels) if len(labels) else np.zeros(1, dtype=np.int64)
    if not counts.all():
        raise RelayError(
            f"class {int(np.argmin(counts))} has no training samples; every class needs at least one."
        )
    if ratio == 1:
        return np.arange(len(labels), dtype=np.int64)
    if unit == "patch":
        return _patches(labels, counts, ratio, seed)
    return _patients(labels, groups, counts, ratio, seed)


def _patches(
    labels: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], ratio: float, seed: int
) -> npt.NDArray[np.int64]:
    kept = []
    for label, count in enumerate(counts.tolist()):
        members = np.flatnonzero(labels == label)
        kept.append(members[seeded_order(count, seed, label)[: max(share(ratio, count), 1)]])
    return np.sort(np.concatenate(kept)).astype(np.int64)


def _patients(
    labels: npt.NDArray[np.int64],
    groups: tuple[str, ...],
    counts: npt.NDArray[np.int64],
    ratio: float,
    seed: int,
) -> npt.NDArray[np.int64]:
    group_of, table = _class_table(labels, groups, len(counts))
    order, covering = _balanced_order(table, counts, seed)
    held = np.cumsum(table[order].sum(axis=1))
    # Distance to the wanted number, of every beginning that covers the classes; of two equal, the longer.
    distances = np.abs(held[covering - 1 :] - ratio * len(labels))
    kept_groups = covering + int(np.flatnonzero(distances == distances.min())[-1])
    return np.flatnonzero(np.isin(group_of, order[:kept_groups])).astype(np.int64)


def _class_table(
    labels: npt.NDArray[np.int64], groups: tuple[str, ...], classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each sample's group as a number, in order of first appearance, and (groups, classes) counts."""
    numbers: dict[str, int] = {}
    group_of = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    table = np.zeros((len(numbers), classes), dtype=np.int64)
    np.add.at(table, (group_of, labels), 1)
    return group_of, table


def _balanced_order(
    table: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], seed: int
) -> tuple[npt.NDArray[np.int64], int]:
    """An order of all groups, and how many of them it takes to hold every class."""
    remaining: list[int] = seeded_order(len(table), seed).tolist()
    taken: list[int] = []
    held = np.zeros(len(counts), dtype=np.int64)
    # Rarest class first: its few groups often hold common classes too.
    for label in np.argsort((table > 0).sum(axis=0), kind="stable").tolist():
        if not held[label]:
            group = next(group for group in remaining if table[group, label])
            remaining.remove(group)
            taken.append(group)
            held += table[group]
    covering = len(taken)
    # A queue for the groups of each class, a group counted to the rarest class it holds.
    rarity = np.where(table > 0, (table > 0).sum(axis=0), len(table) + 1).argmin(axis=1)
    queues: list[list[int]] = [[] for _ in counts]
    for group in reversed(remaining):  # popping from the end is cheap
        queues[rarity[group]].append(group)
    candidates = [queue.pop() for queue in queues for _ in range(min(_CANDIDATES, len(queue)))]
    total = counts.sum()
    while candidates:
        after = held + table[candidates]
        overall = after.sum(axis=1, keepdims=True) / total
        imbalance = np.square(after / counts - overall).sum(axis=1)
        chosen = candidates.pop(int(np.argmin(imbalance)))
        taken.append(chosen)
        held = held + table[chosen]
        queue = queues[rarity[chosen]]
        if queue:
            candidates.append(queue.pop())
    return np.array(taken, dtype=np.int64), covering
