"""Intervals over seeds and patients: against two-way analysis of variance spelt out, and at the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import f1_score

from analysis import statistics
from analysis.statistics.intervals import Interval, level_over_seeds
from analysis.statistics.two_way import (
    two_way_difference,
    two_way_level,
    two_way_metric_difference,
    two_way_metric_level,
)
from stages.errors import RelayError
from stages.metrics import METRICS
from tests.helpers.fake_outcomes import Outcomes, SharedEffects, Spread

Array = npt.NDArray[Any]
MACRO_F1 = METRICS["f1_score_macro"]


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def study(seed: int, seeds: int = 4, patients: int = 8) -> tuple[Array, Array, Array]:
    """Correctness of two processes (seeds, images), and patients of unequal size."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), generator.integers(1, 15, patients))
    level = generator.normal(1.5, 1.0, patients)[groups]
    a, b = (
        generator.random((seeds, len(groups))) < special.expit(level + generator.normal(0, 0.5, (seeds, 1)))
        for _ in range(2)
    )
    return a.astype(float), b.astype(float), groups


def anova(cells: Array) -> tuple[float, float, float]:
    """Mean squares of seeds, patients and rest over the number of cells; cells: (seeds, patients)."""
    seeds, patients = cells.shape
    of_seed, of_patient, mean = cells.mean(axis=1), cells.mean(axis=0), cells.mean()
    square_seeds = patients * ((of_seed - mean) ** 2).sum() / (seeds - 1)
    square_patients = seeds * ((of_patient - mean) ** 2).sum() / (patients - 1)
    rest = cells - of_seed[:, None] - of_patient + mean
    square_rest = (rest**2).sum() / ((seeds - 1) * (patients - 1))
    return square_seeds / cells.size, square_patients / cells.size, square_rest / cells.size


def cochran(parts: tuple[float, float, float], dof: tuple[float, float], share: float) -> tuple[float, float]:
    """Variance and quantile, from the words of the docstring."""
    of_seeds, of_patients, rest = parts
    variance = max(of_seeds + of_patients - share * rest, of_seeds, of_patients)
    weights = [max(of_seeds - rest, 0.0), max(of_patients - rest, 0.0), rest]
    quantiles = [float(stats.t.ppf(0.975, each)) for each in (*dof, dof[0] * dof[1])]
    return variance, float(np.average(quantiles, weights=weights))


@pytest.mark.parametrize("seed", range(5))
def test_with_patients_of_equal_size_it_is_the_analysis_of_variance(seed: int) -> None:
    seeds, patients, images = 4, 7, 5
    generator = np.random.default_rng(seed)
    effect = generator.normal(0, 0.1, (seeds, patients, 1)) + generator.normal(0, 0.15, (patients, 1))
    a = np.clip(generator.random((seeds, patients, images)) * 0.5 + 0.3 + effect, 0, 1)
    b = np.clip(generator.random((seeds, patients, images)) * 0.5 + 0.2, 0, 1)
    groups = np.repeat(np.arange(patients), images)
    cells = (a - b).mean(axis=2)
    variance, quantile = cochran(anova(cells), (seeds - 1, patients - 1), 1.0)
    found = two_way_difference(a.reshape(seeds, -1), b.reshape(seeds, -1), groups)
    half = quantile * variance**0.5
    assert found.estimate == pytest.approx(cells.mean())
    assert ends(found) == pytest.approx((cells.mean() - half, cells.mean() + half))
    assert stats.t.ppf(0.975, found.dof) == pytest.approx(quantile)

    cells, level = a.mean(axis=2), float(a.mean())
    dof = 2 / (1 / (patients - 1) + 1 / patients)
    variance, quantile = cochran(anova(cells), (seeds - 1, dof), 0.5)
    half = quantile * variance**0.5 / (level * (1 - level))
    found = two_way_level(a.reshape(seeds, -1), groups)
    expected = [special.expit(special.logit(level) + sign * half) for sign in (-1, 1)]
    assert ends(found) == pytest.approx(expected)


def left_out(value: Any, groups: Array, seeds: int) -> tuple[tuple[float, float, float], float]:
    """The variances of `value(seed, kept)`, with patients left out one by one, and the mean."""
    names = np.unique(groups)
    full = np.array([value(seed, np.ones(len(groups), dtype=bool)) for seed in range(seeds)])
    off = np.array([[value(seed, groups != name) - full[seed] for name in names] for seed in range(seeds)])
    factor = (len(names) - 1) / len(names)
    shared = off.mean(axis=0)
    rest = off - shared
    rest -= rest.mean(axis=1, keepdims=True)
    of_patients = factor * ((shared - shared.mean()) ** 2).sum()
    parts = full.var(ddof=1) / seeds, of_patients, factor * (rest**2).sum() / (seeds * (seeds - 1))
    return parts, float(full.mean())


def dofs(groups: Array, seeds: int) -> tuple[tuple[float, float], tuple[float, float]]:
    sizes = np.unique(groups, return_counts=True)[1].astype(float)
    plain = sizes.sum() ** 2 / (sizes**2).sum() - 1
    return (seeds - 1, plain), (seeds - 1, 2 / (1 / plain + (sizes**4).sum() / (sizes**2).sum() ** 2))


@pytest.mark.parametrize("seed", range(4))
def test_patients_of_unequal_size_left_out_one_by_one(seed: int) -> None:
    a, b, groups = study(seed)
    plain, of_level = dofs(groups, len(a))
    parts, mean = left_out(lambda s, kept: (a - b)[s, kept].mean(), groups, len(a))
    variance, quantile = cochran(parts, plain, 1.0)
    half = quantile * variance**0.5
    assert ends(two_way_difference(a, b, groups)) == pytest.approx((mean - half, mean + half))
    parts, mean = left_out(lambda s, kept: a[s, kept].mean(), groups, len(a))
    variance, quantile = cochran(parts, of_level, 0.5)
    half = quantile * variance**0.5 / (mean * (1 - mean))
    expected = [special.expit(special.logit(mean) + sign * half) for sign in (-1, 1)]
    assert ends(two_way_level(a, groups)) == pytest.approx(expected)


def test_macro_f1_by_scikit_learn() -> None:
    _, _, groups = study(3)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, len(groups))
    shape = (3, 2, len(groups))  # seeds, epochs
    a, b = (
        np.where(generator.random(shape) < r, labels, generator.integers(0, 3, shape)) for r in (0.8, 0.5)
    )
    plain, of_level = dofs(groups, 3)

    def f1(predicted: Array, seed: int, kept: Array) -> float:
        return float(
            np.mean([f1_score(labels[kept], each[kept], average="macro") for each in predicted[seed]])
        )

    parts, mean = left_out(lambda s, kept: f1(a, s, kept) - f1(b, s, kept), groups, 3)
    variance, quantile = cochran(parts, plain, 1.0)
    half = quantile * variance**0.5
    found = two_way_metric_difference(MACRO_F1, labels, a, b, groups)
    assert ends(found) == pytest.approx((mean - half, mean + half))
    parts, mean = left_out(lambda s, kept: f1(a, s, kept), groups, 3)
    variance, quantile = cochran(parts, of_level, 0.5)
    half = quantile * variance**0.5 / (mean * (1 - mean))
    expected = [special.expit(special.logit(mean) + sign * half) for sign in (-1, 1)]
    assert ends(two_way_metric_level(MACRO_F1, labels, a, groups)) == pytest.approx(expected)
    assert two_way_metric_level(MACRO_F1, labels, a[:, 0], groups).exists, "a single epoch, (seeds, images)"


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 10**6))
def test_what_must_not_matter(seed: int) -> None:
    """Order of images, of seeds, names of patients; which process comes first but for the sign."""
    a, b, groups = study(seed)
    found, level = two_way_difference(a, b, groups), two_way_level(a, groups)
    order, seeds = np.random.default_rng(seed).permutation(a.shape[1]), [2, 0, 3, 1]
    names = [f"patient {group}" for group in groups[order]]
    again = two_way_difference(a[seeds][:, order], b[seeds][:, order], names)
    assert ends(again) == pytest.approx(ends(found), nan_ok=True)
    swapped = two_way_difference(b, a, groups)
    assert ends(swapped) == pytest.approx((-found.high, -found.low), nan_ok=True)
    mirrored = two_way_level(1 - a[:, order], names)
    assert ends(mirrored) == pytest.approx((1 - level.high, 1 - level.low), nan_ok=True)
    assert not found.exists or -1 <= found.low <= found.estimate <= found.high <= 1
    assert not level.exists or 0 <= level.low < level.estimate < level.high <= 1


def test_it_covers_more_than_either_source_alone() -> None:
    """Wider than the t interval over seeds and the jackknife over patients of the same differences."""
    a, b, groups = study(11, seeds=6, patients=20)
    found = two_way_difference(a, b, groups)
    off = (a - b).mean(axis=1)
    of_seeds = stats.ttest_1samp(off, 0.0).confidence_interval()
    parts, _ = left_out(lambda s, kept: (a - b)[s, kept].mean(), groups, 6)
    of_patients = 2 * stats.t.ppf(0.975, dofs(groups, 6)[0][1]) * parts[1] ** 0.5
    assert found.high - found.low > of_patients
    assert found.high - found.low > 0.9 * (of_seeds.high - of_seeds.low)


def _two_processes(draw: int) -> tuple[Array, Array, Array]:
    """Mean correctness (seeds, images) of two equal processes that are right in 90% of all images."""
    generator = np.random.default_rng(draw)
    groups = np.repeat([f"patient {index}" for index in range(20)], generator.integers(4, 16, 20))
    labels = generator.integers(0, 3, len(groups))

    def correctness(process: str) -> Array:
        shared = SharedEffects(draw, process, groups.tolist(), np.arange(len(groups)))
        of_seeds = [
            Outcomes.drawn(
                generator,
                accuracy=0.9,
                spread=Spread(),
                shared=shared,
                labels=labels,
                classes=3,
                epochs=4,
            )
            for _ in range(5)
        ]
        return np.array([(each.by_epoch == labels[:, None]).mean(axis=1) for each in of_seeds])

    return correctness("a"), correctness("b"), groups


@pytest.mark.slow
def test_new_patients_are_covered_where_seeds_alone_miss_them() -> None:
    """Fake studies of 20 patients and 5 seeds, whose truth for new seeds and patients is 90%."""
    covered = np.zeros(3)
    for draw in range(120):
        a, b, groups = _two_processes(draw)
        of_seeds = level_over_seeds(a.mean(axis=1))
        both, difference = two_way_level(a, groups), two_way_difference(a, b, groups)
        covered += [
            of_seeds.low <= 0.9 <= of_seeds.high,
            both.low <= 0.9 <= both.high,
            difference.low <= 0.0 <= difference.high,
        ]
    of_seeds, level, off = covered / 120
    assert of_seeds < 0.85
    assert level > 0.89 and off > 0.89  # 95% less three standard errors


@pytest.mark.parametrize(
    ("a", "groups", "value"),
    [
        (np.ones((3, 4)), [1, 1, 2, 2], 1.0),  # all right
        (np.zeros((3, 4)), [1, 1, 2, 2], 0.0),  # all wrong
        ([[1, 0, 1, 1], [1, 1, 1, 0]], [1, 1, 1, 1], 0.75),  # one patient
        ([[1, 0, 1, 0]] * 3, [1, 1, 2, 2], 0.5),  # no spread of either
        ([[0.1 + 0.2] * 4, [0.3] * 4], [1, 1, 2, 2], 0.3),  # no spread but for rounding
    ],
)
def test_no_interval_where_nothing_is_known(a: Any, groups: list[int], value: float) -> None:
    level = two_way_level(a, groups)
    difference = two_way_difference(a, np.zeros(np.shape(a)), groups)
    for found in (level, difference):
        assert found.estimate == pytest.approx(value)
        assert np.isnan([found.low, found.high, found.dof]).all(), "never of width zero"


def test_any_kind_of_array_and_of_names() -> None:
    """Booleans, floats, lists, tables; patients by number, by name, or each image its own."""
    a, b, groups = study(7)
    names = [f"patient {group}" for group in groups]
    expected, level = statistics.two_way_difference(a, b, groups), statistics.two_way_level(a, groups)
    for kind in (bool, int, np.float32):
        first, second = a.astype(kind), b.astype(kind)
        for given_groups in (groups.tolist(), names, np.array(names), pd.Series(names)):
            for x, y in ((first, second), (first.tolist(), second.tolist()), (pd.DataFrame(first), second)):
                assert statistics.two_way_difference(x, y, given_groups) == expected
                assert statistics.two_way_level(x, given_groups) == level
    own = statistics.two_way_level(a, range(a.shape[1]))
    assert own == statistics.two_way_level(a, [f"image {index}" for index in range(a.shape[1])])
    assert own.exists and own.estimate == level.estimate


def test_spread_of_one_source_is_enough() -> None:
    alike = [[1, 1, 1, 0, 0, 1]] * 3  # seeds alike, patients not
    assert two_way_level(alike, [1, 1, 2, 2, 3, 3]).exists
    balanced = [[1, 0, 1, 0], [1, 1, 1, 1]]  # patients alike, seeds not
    assert two_way_level(balanced, [1, 1, 2, 2]).exists


@pytest.mark.parametrize("images", [2000, 20000])
def test_a_patient_with_nearly_all_images_leaves_everything_open(images: int) -> None:
    """Below 0.01 degrees of freedom Student's quantile is not known."""
    groups = [0] * images + [1]
    a = np.ones((3, images + 1))
    a[:, :300] = 0
    a[0, 300:310] = 0
    level, off = two_way_level(a, groups), two_way_difference(a, np.full(a.shape, 0.5), groups)
    assert level.low < 0.01 and level.high > 0.99 and level.dof < 1
    assert (off.low, off.high) == (-1.0, 1.0) and off.dof < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_way_level([1, 0], [1, 2]), r"\(seeds, images\)"),
        (lambda: two_way_level([[1, 0]], [1, 2]), "one seed"),
        (lambda: two_way_difference([[1, 0]], [[1, 1]], [1, 2]), "one seed"),
        (lambda: two_way_level([[1, np.nan]], [1, 2]), "NaN"),
        (lambda: two_way_level([[90.0, 95.0]], [1, 2]), "not percent"),
        (lambda: two_way_level(np.ones((2, 0)), []), "no images"),
        (lambda: two_way_level(np.ones((0, 2)), [1, 2]), "no seed"),
        (lambda: two_way_level([[1, 0], [1]], [1, 2]), "not an array"),
        (lambda: two_way_difference([[1, 0]], [[1, 0]], [1, 2, 3]), "3 groups for 2 images"),
        (lambda: two_way_difference([[1, 0]], [[1, 0]] * 2, [1, 2]), "same seeds"),
        (lambda: two_way_difference([[1, 0]], [[1, 0, 1]], [1, 2]), "2 groups for 3 images"),
        (lambda: two_way_difference([[1, 0]], [[1, 0]], [1, None]), "no group"),
        (lambda: two_way_difference([[1, 0]] * 2, [[1, 1]] * 2, [1, 2], confidence=95), "between 0 and 1"),
        (lambda: two_way_metric_level(MACRO_F1, [0, 1], [0, 1], [1, 2]), r"\(seeds, epochs, images\)"),
        (lambda: two_way_metric_difference(MACRO_F1, [0, 1], [[0, 1]], [[0, 1]] * 2, [1, 2]), "same seeds"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        call()
