"""Folds of whole groups (patients, objects), stratified by class."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.files.names import first_and_more
from datamodules.splits.table import group_table
from stages.checks import is_whole
from stages.errors import RelayError
from stages.seeds import seeded_order

_STARTS = 8  # climbs whose best says how good a partition can be
_MOST_STARTS = 40
_STEPS = 2000
_CANDIDATES = 512  # groups that one step compares: a quarter of a million swaps, some milliseconds
_GOOD = 0.03  # relative deviation of a fold's share of a class that needs no better partition
_AS_GOOD = 1.2  # times the best cost found: among partitions up to that the seed decides
_EXACT = 2.0**44  # sums of cost stay whole numbers below 2**53: the same in any order, on any machine
_MISSING = 2.0**46  # a fold without a class outweighs every deviation

_Float = npt.NDArray[np.float64]
_Folds = npt.NDArray[np.int64]


def group_folds(
    labels: Sequence[Hashable] | npt.NDArray[Any],
    groups: Sequence[Hashable] | npt.NDArray[Any],
    folds: int,
    seed: int,
) -> _Folds:
    """Divide samples into folds by whole groups, every class in every fold.

    Minimised is the sum, over the classes and the samples as a whole, of the squared deviations of the folds'
    shares from 1 / folds, by moves and swaps of groups from seeded starts. Which partition it is, of those
    that are nearly as good as the best found, the seed decides.

    The result depends on the names of the groups, their classes, `folds` and the seed, on nothing else:
    samples in another order get the same folds, on every machine and with every version of numpy.

    Args:
        labels: class of each sample, N ints or strings; a group may hold several classes.
        groups: group of each sample, N hashable names.
        folds: number of folds, 2 or more.
        seed: seed of the draw, 0 or more.

    Returns:
        int64, (N,): fold of each sample, 0 to folds - 1.

    Raises:
        RelayError: folds or seed are out of range, there are fewer groups than folds, fewer groups of a class
            than folds, no partition was found that has every class in every fold, or as
            `split_by_group` about labels and groups.

    Examples:
        >>> sorted(group_folds(["a", "a", "a", "a"], [1, 1, 2, 2], 2, seed=0).tolist())
        [0, 0, 1, 1]
    """
    if not is_whole(folds) or folds < 2:
        raise RelayError(f"folds is {folds!r}; give a whole number of 2 or more.")
    if not is_whole(seed) or seed < 0:
        raise RelayError(f"seed is {seed!r}; give a whole number of 0 or more.")
    table = group_table(labels, groups)
    if table.size == 1:
        raise RelayError(
            "all samples are of one group, so that there is nothing to divide; name finer groups, such as "
            "patients."
        )
    if folds > table.size:
        raise RelayError(f"{folds} folds of {table.size} groups; give at most {table.size} folds.")
    counts = table.counts.toarray().astype(np.float64)
    holders = (counts > 0).sum(axis=0)
    rare = [f"{table.classes[label]} ({holders[label]})" for label in np.flatnonzero(holders < folds)]
    if rare:
        raise RelayError(
            f"{folds} folds, but fewer groups of class {first_and_more(rare)}; every fold must hold every "
            "class: give fewer folds, or leave the class out."
        )
    found = _partition(_Search(counts, int(folds)), int(seed))
    if found is None:
        raise RelayError(
            f"no partition into {folds} folds by group was found that has every class in every fold: the "
            "classes' groups overlap too much. Give fewer folds, or leave a class out."
        )
    return found[table.group_of]


def _partition(search: "_Search", seed: int) -> _Folds | None:
    """Fold of each group; None where a fold would lack a class."""
    best, least, good = None, _MISSING, search.good
    for start in range(_MOST_STARTS):
        order = seeded_order(search.size, seed, search.folds, start)
        fold_of, cost = search.climbed(search.dealt(order), order, good)
        if cost <= good:
            return fold_of
        if cost < least:
            best, least = fold_of, cost
        if start + 1 == _STARTS and best is not None:
            good = _AS_GOOD * least
    return best


class _Search:
    """The cost of a partition, and steps that lower it.

    Cost is sum_c w_c sum_k (K n_ck - n_c)^2 with n_ck the samples of class c in fold k, w_c = 1 / n_c^2, all
    samples together as one more class, and a price for every fold without a class. Everything is a whole
    number (w_c scaled and rounded), so that no machine adds it up differently and takes another step.
    """

    def __init__(self, counts: _Float, folds: int) -> None:
        self.size, self.folds = len(counts), folds
        self.counts = np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)
        self.holds = (counts > 0).astype(np.float64)
        self.totals = self.counts.sum(axis=0)
        scale = _EXACT / (len(self.totals) * folds**2)
        self.weights = np.maximum(np.floor(scale / self.totals**2), 1.0)
        self.weighted = self.counts * self.weights
        self.squares = (self.weighted * self.counts).sum(axis=1)
        self.good = float((self.weights * self.totals**2).sum() * folds * _GOOD**2)

    def off(self, fold_of: _Folds) -> _Float:
        """K n_ck - n_c, shape (folds, classes + 1)."""
        off: _Float = self.folds * (self._members(fold_of) @ self.counts) - self.totals
        return off

    def cost(self, fold_of: _Folds) -> float:
        """The cost of a partition, the fold of each group."""
        missing = (self._members(fold_of) @ self.holds == 0).sum()
        return float((self.weights * self.off(fold_of) ** 2).sum() + _MISSING * missing)

    def dealt(self, order: npt.NDArray[np.int64]) -> _Folds:
        """Put groups into the folds in turn, in the drawn order."""
        fold_of = np.empty(self.size, dtype=np.int64)
        fold_of[order] = np.arange(self.size) % self.folds
        return fold_of

    def climbed(self, fold_of: _Folds, order: npt.NDArray[np.int64], target: float) -> tuple[_Folds, float]:
        """Take the best move or swap again and again, until the cost is at most `target` or falls no more."""
        cost, fruitless = self.cost(fold_of), 0
        turns = 1 + self.size // _CANDIDATES
        for step in range(_STEPS):
            if cost <= target or fruitless >= turns:
                break
            candidates = np.roll(order, -step * (_CANDIDATES // 2))[:_CANDIDATES]
            after = self._best_step(fold_of, candidates)
            new = self.cost(after)
            if new < cost:
                fold_of, cost, fruitless = after, new, 0
            else:
                fruitless += 1
        return fold_of, cost

    def _best_step(self, fold_of: _Folds, candidates: npt.NDArray[np.int64]) -> _Folds:
        """The partition after the best move or swap of candidates."""
        own = fold_of[candidates]
        rows = np.arange(len(candidates))
        pull = 2 * self.folds * (self.weighted[candidates] @ self.off(fold_of).T)
        squares = 2 * self.folds**2 * self.squares[candidates]
        inside = self._members(fold_of) @ self.holds
        holds = self.holds[candidates]
        lost = holds @ (inside == 1).T.astype(np.float64)  # classes that a fold has through one group only
        gained = holds @ (inside == 0).T.astype(np.float64)
        value = pull - _MISSING * gained  # of entering a fold
        leave = _MISSING * lost[rows, own] - pull[rows, own]
        moves = squares[:, None] + leave[:, None] + value
        moves[rows, own] = np.inf
        kept = (holds * (inside[own] == 1)) @ holds.T  # of the lost ones, those that the other group brings
        cross = 4 * self.folds**2 * (self.weighted[candidates] @ self.counts[candidates].T)
        cross += _MISSING * (kept + kept.T)
        one = (squares + leave)[:, None] + value[:, own]
        swaps = one + one.T - cross
        swaps[own[:, None] == own] = np.inf
        after = fold_of.copy()
        if moves.min() <= swaps.min():
            group, fold = divmod(int(np.argmin(moves)), self.folds)
            after[candidates[group]] = fold
        else:
            first, second = divmod(int(np.argmin(swaps)), len(candidates))
            after[candidates[[first, second]]] = own[[second, first]]
        return after

    def _members(self, fold_of: _Folds) -> _Float:
        """Which groups are in a fold, 0 or 1, shape (folds, groups)."""
        members: _Float = (fold_of == np.arange(self.folds)[:, None]).astype(np.float64)
        return members
