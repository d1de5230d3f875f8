"""Adjusted p of many pairs of processes, and simultaneous intervals that agree with them.

Step-down max-T over joint sign flips (Westfall and Young 1993; Romano and Wolf 2005): pairs of processes
share their seeds, so their statistics are correlated, which Holm's correction of single tests cannot use. How
often it errs: benchmarks/coverage.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.statistics.intervals import Array, as_numbers, t_quantile
from stages.checks import is_whole
from stages.errors import RelayError
from stages.seeds import derive_seed

FLIPS = 2**16
"""Assignments of signs that are compared: all of them up to 17 seeds, as many drawn ones beyond."""

_ALPHA = 0.05
_CHUNK = 2**13
_SAME = 1e-10  # statistics nearer than this are equal but for rounding; they are 0 to sqrt(seeds)
_LEAST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Simultaneous:
    """Mean differences of many pairs with simultaneous 95% intervals, see `simultaneous_intervals`.

    Attributes:
        estimate: mean difference of each pair, shape (pairs,).
        low: lower ends; NaN for a pair with fewer than two seeds, or whose differences are all equal.
        high: upper ends.
        p: adjusted p, as `max_t` gives it.
    """

    estimate: Array
    low: Array
    high: Array
    p: Array


def max_t(differences: Any, *, flips: int = FLIPS, seed: int = 0) -> Array:
    """Adjusted p of each pair: is its mean difference 0? Step-down max-T over joint sign flips.

    Statistic of a pair: |sum_s d_s| / sqrt(sum_s d_s^2), which orders as |t|. The signs of a seed are flipped
    in all pairs at once. Pairs in descending order of their statistic; p of the j-th is the share of flips
    whose largest statistic among the j-th and all below is at least the j-th's, and at least the p before it.
    The probability to call any of the pairs without difference different is at most alpha where their
    differences are jointly symmetric about 0.

    Args:
        differences: shape (pairs, seeds), in any unit, NaN where a pair has no value of a seed: the pair's
            statistic is of the seeds that it has, and flips of the others leave it as it is. Round
            differences that are equal but for rounding errors first.
        flips: assignments of signs to compare. If the 2^(seeds - 1) that matter are no more, all of them: p
            is exact. Otherwise the identity and flips - 1 drawn ones: p is valid, its standard error
            sqrt(p (1 - p) / flips).
        seed: of the drawn ones.

    Returns:
        float, shape (pairs,), above 0; 1 for a pair whose differences are all 0, NaN for one without a seed.
        The smallest possible p of n seeds is 2^(1 - n), whatever the number of pairs.

    Raises:
        RelayError: for another shape, infinite values, or flips or a seed out of range.

    Examples:
        >>> max_t([[0.05, 0.04, 0.03, 0.05, 0.04, 0.05], [0.01, -0.02, 0.01, 0.0, -0.01, 0.01]]).tolist()
        [0.03125, 1.0]
    """
    values = _differences(differences)
    if not is_whole(flips) or flips < 2:
        raise RelayError(f"flips is {flips!r}; give a whole number of 2 or more.")
    if not is_whole(seed) or seed < 0:
        raise RelayError(f"seed is {seed!r}; give a whole number of 0 or more.")
    adjusted = np.full(len(values), np.nan)
    tested = np.flatnonzero((~np.isnan(values)).any(axis=1))
    if not len(tested):
        return adjusted
    unit = np.nan_to_num(values[tested])
    length = np.sqrt((unit**2).sum(axis=1, keepdims=True))
    unit = np.divide(unit, length, out=np.zeros_like(unit), where=length > 0)
    statistic = np.abs(unit.sum(axis=1))
    order = np.argsort(-statistic, kind="stable")
    falling = unit[order]
    least = statistic[order] - _SAME
    reached, count = np.zeros(len(order)), 0
    for signs in _signs(values.shape[1], int(flips), int(seed)):
        flipped = np.abs(signs @ falling.T)
        largest = np.maximum.accumulate(flipped[:, ::-1], axis=1)[:, ::-1]
        reached += (largest >= least).sum(axis=0)
        count += len(signs)
    adjusted[tested[order]] = np.maximum.accumulate(reached / count)
    return adjusted


def simultaneous_intervals(differences: Any, *, flips: int = FLIPS, seed: int = 0) -> Simultaneous:
    """Intervals of all pairs' mean differences that agree with `max_t`.

    An interval excludes 0 exactly where the adjusted p is below 0.05. It is Student's interval with
    Bonferroni's correction, m -/+ t(1 - 0.025 / pairs, n - 1) s / sqrt(n), of which one end is moved to 0
    where the two disagree: p below 0.05 and 0 inside, and the near end is the smallest number beyond 0 ("only
    the sign is known"); p of 0.05 or more and 0 outside, and the near end is 0. Inverting the step-down test
    itself gives no simultaneous intervals, and inverting its first step gives unbounded ones below 6 seeds.
    The first kind of move costs coverage: with many true differences beside few equal pairs all intervals
    together cover in 91 to 95% of studies, without moves in 94 to 96% (benchmarks/coverage.md).

    Args:
        differences: as for `max_t`.
        flips: as for `max_t`.
        seed: as for `max_t`.

    Raises:
        RelayError: as `max_t`.
    """
    values = _differences(differences)
    p = max_t(values, flips=flips, seed=seed)
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    estimate = np.where(there, values, 0.0).sum(axis=1) / np.where(count > 0, count, np.nan)
    off = np.where(there, values - estimate[:, None], 0.0)
    error = np.sqrt((off**2).sum(axis=1) / np.where(count > 1, count * (count - 1.0), np.nan))
    error[error <= 1e-12 * np.abs(np.nan_to_num(values)).max(axis=1, initial=0.0)] = np.nan
    alpha = _ALPHA / max(1, int((count > 1).sum()))
    half = t_quantile(np.maximum(count - 1, 1), 1 - alpha) * error
    low, high = estimate - half, estimate + half
    differs = p < _ALPHA
    low = np.where(differs & (estimate > 0) & (low <= 0), _LEAST, low)
    high = np.where(differs & (estimate < 0) & (high >= 0), -_LEAST, high)
    low = np.where(~differs & (low > 0), 0.0, low)
    high = np.where(~differs & (high < 0), 0.0, high)
    return Simultaneous(estimate, low, high, p)


def _differences(differences: Any) -> Array:
    values = as_numbers(differences, "differences")
    if values.ndim != 2 or not values.shape[1]:
        raise RelayError(f"differences have shape {values.shape}; give (pairs, seeds), also for one pair.")
    return values


def _signs(seeds: int, flips: int, seed: int) -> Iterator[Array]:
    """Assignments of -1 and 1, shape (some, seeds) at a time; the first keeps all signs.

    Flipping all seeds changes no statistic, so the first seed keeps its sign. Drawn bits are the words of a
    bit generator, which numpy keeps the same between versions.
    """
    free = seeds - 1
    exact = free < 63 and 2**free <= flips
    total = 2**free if exact else flips
    words = -(-free // 64)
    generator = np.random.PCG64(np.random.SeedSequence(derive_seed(seed, "max_t")))
    for start in range(0, total, _CHUNK):
        rows = min(_CHUNK, total - start)
        if exact:
            numbers: npt.NDArray[np.uint64] = np.arange(start, start + rows, dtype=np.uint64)[:, None]
        else:
            numbers = generator.random_raw(rows * words).reshape(rows, words)
            if start == 0:
                numbers[0] = 0
        bits = numbers[:, :, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)
        flipped = bits.reshape(rows, -1)[:, :free].astype(np.float64)
        yield np.concatenate([np.ones((rows, 1)), 1 - 2 * flipped], axis=1)
