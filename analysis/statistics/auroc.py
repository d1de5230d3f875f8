"""Macro AUROC with each group left out, without computing it anew for each group."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analysis.statistics.intervals import Array

Integers = npt.NDArray[np.int64]


def leave_one_out_auroc(scores: Array, labels: Integers, groups: Integers) -> tuple[float, Array]:
    """Macro AUROC of all images, and with each group left out.

    The area of a class is the share of pairs of an image of it and another one that stand in the right order
    (Mann and Whitney; equal scores count half). Without a group its pairs with all are taken off, and those
    within it, taken off twice, are added. A class whose images, or all others, are of the group alone leaves
    the average.

    Args:
        scores: of each class, shape (N, C).
        labels: int64, (N,).
        groups: numbers from 0, (N,).

    Returns:
        The metric, NaN where it is not defined, and shape (groups,): without each group.
    """
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    areas = [_of_class(scores[:, label], labels == label, groups, members) for label in np.unique(labels)]
    pairs, of_groups, possible = map(np.array, zip(*areas, strict=True))
    wins = np.concatenate([pairs[:, None], pairs[:, None] - of_groups], axis=1)
    defined = possible > 0
    share = np.divide(wins, possible, out=np.zeros_like(wins), where=defined)
    count = defined.sum(axis=0)
    mean = np.divide(share.sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)
    return float(mean[0]), mean[1:]


def _of_class(
    scores: Array, own: npt.NDArray[np.bool_], groups: Integers, members: Sequence[Integers]
) -> tuple[float, Array, Array]:
    """Ordered pairs of a class, those that each group takes away, and the pairs that there are then.

    Args:
        scores: of the class, (N,).
        own: which images are of it, (N,).
        groups: of the images, (N,).
        members: the images of each group.

    Returns:
        A number, (G,) and (1 + G,): first of all images, then without each group.
    """
    wins = np.empty(len(scores))
    wins[own] = _below(np.sort(scores[~own]), scores[own])
    wins[~own] = own.sum() - _below(np.sort(scores[own]), scores[~own])
    number = int(groups.max()) + 1
    ours = np.bincount(groups[own], minlength=number)
    others = np.bincount(groups[~own], minlength=number)
    lost = np.bincount(groups, weights=wins, minlength=number)
    for group in np.flatnonzero((ours > 0) & (others > 0)).tolist():
        here = members[group]
        is_own = own[here]
        within = _below(np.sort(scores[here[~is_own]]), scores[here[is_own]])
        lost[group] -= within.sum()
    left = np.concatenate([[0], ours]), np.concatenate([[0], others])
    possible = (own.sum() - left[0]) * ((~own).sum() - left[1])
    return float(wins[own].sum()), lost.astype(np.float64), possible.astype(np.float64)


def _below(ordered: Array, scores: Array) -> Array:
    """How many of the ordered numbers are below each score; equal ones count half."""
    sides = [np.searchsorted(ordered, scores, side) for side in ("left", "right")]
    return np.asarray((sides[0] + sides[1]) / 2, dtype=np.float64)
