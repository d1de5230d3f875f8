"""The search for the whole groups that bring every class nearest to its share."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datamodules.rounding import share
from stages.seeds import seeded_order

_CANDIDATES = 128  # groups a side that one step compares: 16 thousand swaps, about a millisecond
_STEPS = 1000
_STARTS = 12
_MOST_STARTS = 24  # while a class is without a side
_SMALL = 256  # groups up to which several starts cost little
_ENUMERATED = 14  # groups up to which all divisions are compared
_AS_GOOD = 1e-4  # squared shares: a percentage point, within which the seed decides between divisions
_EXACT = (
    2.0**49
)  # sums of cost stay whole numbers below 2**53: the same in any order of adding, on any machine
_MISSING = 2.0**51  # a class without a side outweighs every deviation

_Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Groups that are linked through the classes they share.

    Attributes:
        groups: Their numbers, (G,).
        labels: Numbers of the classes, (C,).
        counts: Samples of each class in each group, (G, C).
        free: Whether a group may be kept for evaluation, (G,); the others are for training.
        fraction: Share of each class to keep for evaluation.
    """

    groups: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    free: npt.NDArray[np.bool_]
    fraction: float


def solve(problem: Problem, seed: int) -> tuple[npt.NDArray[np.bool_], list[int]]:
    """Choose the groups for evaluation.

    Args:
        problem: Linked groups.
        seed: Seed of the draw.

    Returns:
        bool, (G,), and the labels of classes that miss a side.
    """
    search = _Search(problem)
    if problem.free.sum() <= _ENUMERATED:
        order = seeded_order(len(problem.groups), seed, int(problem.groups[0]))
        best = search.enumerated(order)
        return best, problem.labels[search.missing(best)].tolist()
    return _searched(search, problem, seed)


def _searched(search: "_Search", problem: Problem, seed: int) -> tuple[npt.NDArray[np.bool_], list[int]]:
    best: npt.NDArray[np.bool_] | None = None
    least = np.inf
    starts = _STARTS if len(problem.groups) <= _SMALL else 1
    for start in range(_MOST_STARTS):
        order = seeded_order(len(problem.groups), seed, int(problem.groups[0]), start)
        chosen = search.improved(search.greedy(order), order)
        cost = search.cost(chosen)
        if cost < least:
            best, least = chosen, cost
        if least == 0 or (start + 1 >= starts and least < _MISSING):
            break
    assert best is not None
    return best, problem.labels[search.missing(best)].tolist()


class _Search:
    """The cost of a division, and steps that lower it.

    Cost is sum_c w_c (e_c - t_c)^2 with e_c the samples of class c for evaluation, t_c their wanted number
    and w_c = 1 / n_c^2, and a price for each class without a side. Everything is a whole number (w_c scaled
    and rounded), so that no machine adds it up differently and takes another step.
    """

    def __init__(self, problem: Problem) -> None:
        self.free = problem.free
        self.counts = problem.counts.astype(np.float64)
        self.holds = (problem.counts > 0).astype(np.float64)
        totals = problem.counts.sum(axis=0)
        wanted = [share(problem.fraction, int(total)) for total in totals]
        self.wanted = np.clip(np.asarray(wanted), 1, totals - 1).astype(np.float64)
        scale = _EXACT / len(totals)
        self.weights = np.maximum(np.floor(scale / (totals.astype(np.float64) ** 2)), 1.0)
        self.weighted = self.counts * self.weights
        self.squares = (self.weighted * self.counts).sum(axis=1)

    def missing(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which classes are on one side only, bool (C,)."""
        held = self.holds[chosen].sum(axis=0)
        absent: npt.NDArray[np.bool_] = (held == 0) | (held == self.holds.sum(axis=0))
        return absent

    def cost(self, chosen: npt.NDArray[np.bool_]) -> float:
        """The cost of a division, (G,) bool."""
        off = self.counts[chosen].sum(axis=0) - self.wanted
        return float((self.weights * off * off).sum() + _MISSING * self.missing(chosen).sum())

    def greedy(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Go through the groups in a drawn order and take each that brings the classes nearer."""
        chosen = np.zeros(len(order), dtype=np.bool_)
        off = -self.wanted.copy()
        for group in order.tolist():
            change = self.squares[group] + 2 * float(self.weighted[group] @ off)
            if self.free[group] and change < 0:
                chosen[group] = True
                off += self.counts[group]
                if not off.any():
                    break
        return chosen

    def improved(self, chosen: npt.NDArray[np.bool_], order: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Move or swap groups while the cost falls; the best of each step's candidates."""
        chosen = chosen.copy()
        fruitless, turns = 0, 1 + len(order) // _CANDIDATES
        cost = self.cost(chosen)
        for step in range(_STEPS):
            if cost == 0 or fruitless >= turns:
                break
            turned = np.roll(order, -step * (_CANDIDATES // 2))
            out, into, after = self._best_step(chosen, turned)
            if after >= cost:
                fruitless += 1
                continue
            fruitless, cost = 0, after
            if out is not None:
                chosen[out] = False
            if into is not None:
                chosen[into] = True
        return chosen

    def _best_step(
        self, chosen: npt.NDArray[np.bool_], order: npt.NDArray[np.int64]
    ) -> tuple[int | None, int | None, float]:
        """The group that leaves evaluation, the one that enters (None: none does), and the cost after."""
        off = self.counts[chosen].sum(axis=0) - self.wanted
        pull = 2 * (self.weighted @ off)
        out = self._candidates(order[chosen[order]], self.squares - pull)
        into = self._candidates(order[~chosen[order] & self.free[order]], self.squares + pull)
        # A last row and column for "none": a swap with nothing is a move.
        leaving = np.append(self.squares[out] - pull[out], 0.0)
        entering = np.append(self.squares[into] + pull[into], 0.0)
        cross = np.zeros((len(out) + 1, len(into) + 1))
        cross[:-1, :-1] = 2 * (self.weighted[out] @ self.counts[into].T)
        after = leaving[:, None] + entering[None, :] - cross + float((self.weights * off * off).sum())
        after += _MISSING * self._missing_after(chosen, out, into)
        place = int(np.argmin(after))
        row, column = divmod(place, after.shape[1])
        return (
            int(out[row]) if row < len(out) else None,
            int(into[column]) if column < len(into) else None,
            float(after[row, column]),
        )

    @staticmethod
    def _candidates(groups: npt.NDArray[np.int64], change: _Float) -> npt.NDArray[np.int64]:
        if len(groups) <= _CANDIDATES:
            return groups
        half = _CANDIDATES // 2  # the best on their own, and others: two that harm alone may help together
        best = groups[np.argsort(change[groups], kind="stable")[:half]]
        return np.concatenate([best, groups[~np.isin(groups, best)][:half]])

    def _missing_after(
        self, chosen: npt.NDArray[np.bool_], out: npt.NDArray[np.int64], into: npt.NDArray[np.int64]
    ) -> _Float:
        """Classes without a side after each swap, (len(out) + 1, len(into) + 1)."""
        nothing = np.zeros((1, self.holds.shape[1]))
        leaves = np.concatenate([self.holds[out], nothing])
        enters = np.concatenate([self.holds[into], nothing])
        evaluated = self.holds[chosen].sum(axis=0)
        trained = self.holds[~chosen].sum(axis=0)
        stays, comes = 1 - leaves, 1 - enters
        empty, last = (evaluated == 0).astype(np.float64), (evaluated == 1).astype(np.float64)
        count: _Float = (comes @ empty)[None, :] + (leaves * last) @ comes.T
        empty, last = (trained == 0).astype(np.float64), (trained == 1).astype(np.float64)
        count += (stays @ empty)[:, None] + stays @ (enters * last).T
        return count

    def enumerated(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """The first in a drawn order among all divisions that are as good as the best."""
        free = order[self.free[order]]
        divisions = np.zeros((1 << len(free), len(order)), dtype=np.bool_)
        divisions[:, free] = np.arange(1 << len(free))[:, None] >> np.arange(len(free)) & 1
        held = divisions @ self.holds
        absent = (held == 0) | (held == self.holds.sum(axis=0))
        off = divisions @ self.counts - self.wanted
        costs = (self.weights * off * off).sum(axis=1) + _MISSING * absent.sum(axis=1)
        best: npt.NDArray[np.bool_] = divisions[np.argmax(costs <= costs.min() + _AS_GOOD * _EXACT)]
        return best
