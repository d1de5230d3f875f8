"""How often intervals and tests over seeds are right on simulated values; see `benchmarks.coverage`."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
from scipy import special, stats

from analysis.statistics.comparison import holm, signed_rank_p
from analysis.statistics.intervals import (
    Interval,
    interval_over_seeds,
    mean_over_seeds,
    slope_difference,
    slope_over_seeds,
)
from analysis.statistics.max_t import max_t, simultaneous_intervals
from benchmarks.coverage_of_studies import Cell, cell
from benchmarks.simulated_study import Array

RATIOS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])

_FLIPS = 4096


def levels(seeds: Sequence[int], replicates: int) -> Iterator[Cell]:
    """Mean over seeds of a fraction: accuracies of N images, of networks that vary on the logit scale."""
    for images, logit, spread in [
        (300, 1.4, 0.1),
        (100, 2.6, 0.06),
        (300, 4.4, 0.7),
        (5000, 4.4, 0.7),
        (200, 5.6, 0.5),
    ]:
        points, weights = np.polynomial.hermite_e.hermegauss(60)
        truth = float(weights / weights.sum() @ special.expit(logit + spread * points))
        world = f"{100 * truth:.1f}% of {images} images, seed sd {spread:g} logits"
        for number in seeds:
            generator = np.random.default_rng([images, number])
            chance = special.expit(logit + spread * generator.standard_normal((replicates, number)))
            values = generator.binomial(images, chance) / images
            yield _of(_level, "level over seeds", world, number, values, truth)
            yield _of(mean_over_seeds, "level, t on the plain scale", world, number, values, truth)
    for number in seeds:
        values = np.random.default_rng(number).normal(0.0932, 0.004, (replicates, number))
        world = "near-normal values (a loss)"
        yield _of(mean_over_seeds, "mean, t", world, number, values, 0.0932)
        world = "near-normal, seed sd 0.4 of the step 1 / N"
        yield _of(mean_over_seeds, "mean, t", world, number, np.round(values, 2), 0.0932)


def slopes(seeds: Sequence[int], replicates: int) -> Iterator[Cell]:
    """Slopes over data ratios: the seeds differ in level, in slope, in both; the curve bends."""
    curve = 20 * np.sqrt(RATIOS)
    truth = float(np.polyfit(RATIOS, curve, 1)[0])
    for world, of_level, of_slope in [
        ("seeds differ in level", 3.0, 0.0),
        ("seeds differ in slope", 1.0, 5.0),
    ]:
        for number in seeds:
            generator = np.random.default_rng([number, int(of_slope)])
            shape = (2, replicates, number, 1)
            values = curve + of_level * generator.standard_normal(shape)
            values = values + of_slope * generator.standard_normal(shape) * RATIOS
            values = values + generator.standard_normal((*shape[:-1], len(RATIOS)))
            of_process = [slope_over_seeds(each, RATIOS) for each in values[0]]
            yield _cell("slope of a process", world, "", number, of_process, truth)
            pairs = [slope_difference(a, b, RATIOS) for a, b in zip(*values, strict=True)]
            yield _cell("difference of slopes", world, "", number, pairs, 0.0)


PAIRS: dict[str, tuple[str, list[float]]] = {
    "6 equal processes, normal": ("normal", [0, 0, 0, 0, 0, 0]),
    "6 equal processes, skewed": ("skewed", [0, 0, 0, 0, 0, 0]),
    "6 equal processes, 3 of them restless": ("restless", [0, 0, 0, 0, 0, 0]),
    "6 equal processes, multiples of 1 sd": ("coarse", [0, 0, 0, 0, 0, 0]),
    "3 equal, 3 better by 2 sd": ("normal", [0, 0, 0, 2, 2, 2]),
    "2 equal, 4 better by 1.5 to 6 sd": ("normal", [0, 0, 1.5, 3, 4.5, 6]),
    "4 processes, 2 better by 1 sd": ("normal", [0, 0, 1, 1]),
}


def many_pairs(worlds: Sequence[str], seeds: Sequence[int], replicates: int) -> Iterator[Cell]:
    """Max-T over all pairs of processes, and its intervals; Holm's correction of Wilcoxon's tests."""
    for world in worlds:
        kind, effects = PAIRS[world]
        pairs = list(combinations(range(len(effects)), 2))
        first, second = (np.array(each) for each in zip(*pairs, strict=True))
        truth = np.asarray(effects, dtype=np.float64)[first] - np.asarray(effects, dtype=np.float64)[second]
        for number in seeds:
            generator = np.random.default_rng([number, len(world)])
            counts: dict[str, Array] = {}
            for _ in range(replicates):
                values = _values(kind, len(effects), number, generator) + np.asarray(effects)[:, None]
                for what, positive in _study_of_pairs(values[first] - values[second], truth):
                    counts.setdefault(what, np.zeros(2))
                    counts[what] += [positive, 1.0]
            for what, (sums, total) in counts.items():
                yield Cell(what, world, "", number, 100 * sums / total)


def single_tests(seeds: Sequence[int], replicates: int) -> Iterator[Cell]:
    """Tests of one pair of equal processes."""
    for number in seeds:
        generator = np.random.default_rng([number, 9])
        for world, kind in [("equal, normal", "normal"), ("equal, multiples of 1 sd", "coarse")]:
            found = np.zeros(3)
            for _ in range(replicates):
                one, other = _values(kind, 2, number, generator)
                off = one - other
                p = float(max_t(off[None], flips=_FLIPS)[0])
                found += [signed_rank_p(off) < 0.05, p < 0.05, mean_over_seeds(off).excludes_zero]
            names = [
                "Wilcoxon p < 0.05",
                "sign-flip p < 0.05 (max-T of one pair)",
                "paired t interval excludes 0",
            ]
            for what, count in zip(names, found, strict=True):
                yield Cell(what, world, "", number, 100 * count / replicates)


def _study_of_pairs(differences: Array, truth: Array) -> Iterator[tuple[str, float]]:
    equal = truth == 0
    together = simultaneous_intervals(differences, flips=_FLIPS)
    p = together.p
    wilcoxon = holm(np.array([signed_rank_p(each) for each in differences]))
    if equal.any():
        yield "a false difference, max-T", float((p[equal] < 0.05).any())
        yield "a false difference, Holm-Wilcoxon", float((wilcoxon[equal] < 0.05).any())
    if not equal.all():
        yield "true differences found, max-T (power)", float((p[~equal] < 0.05).mean())
        yield "true differences found, Holm-Wilcoxon (power)", float((wilcoxon[~equal] < 0.05).mean())
    yield "all intervals cover", float((~((together.low > truth) | (together.high < truth))).all())
    count = differences.shape[1]
    error = differences.std(axis=1, ddof=1) / count**0.5
    half = stats.t.ppf(1 - 0.025 / len(truth), count - 1) * error
    off = np.abs(differences.mean(axis=1) - truth) <= half
    yield "all cover, Bonferroni t as it is", float(off[error > 0].all())
    disagrees = (np.abs(differences.mean(axis=1)) > half) != (p < 0.05)
    yield "a pair where Bonferroni t disagrees with p", float(disagrees[error > 0].any())


def _values(kind: str, processes: int, seeds: int, generator: np.random.Generator) -> Array:
    """Values of equal processes that share their seeds, shape (processes, seeds), standard deviation 1."""
    shape = (processes, seeds)
    shared = generator.standard_normal(seeds)
    if kind == "skewed":  # as accuracies near 1 are
        return shared - generator.standard_exponential(shape)
    own = generator.standard_normal(shape)
    if kind == "restless":
        own[processes // 2 :] *= 3
    return np.round(shared) + np.round(own) if kind == "coarse" else shared + own


def _level(values: Array) -> Interval:
    return interval_over_seeds(values, fraction=True)


def _of(
    interval: Callable[[Array], Interval], what: str, world: str, seeds: int, values: Array, truth: float
) -> Cell:
    return _cell(what, world, "", seeds, [interval(each) for each in values], truth)


def _cell(what: str, world: str, row: str, column: int, found: Sequence[Interval], truth: float) -> Cell:
    ends = np.array([[each.low, each.high] for each in found]).T
    return cell(what, world, row, column, [(ends[0], ends[1])], truth)
