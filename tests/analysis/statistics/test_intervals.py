"""Student's intervals over seeds: against scipy, and formulas worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics.intervals import (
    Interval,
    dof_of_quantile,
    level_over_seeds,
    mean_over_seeds,
    slope_difference,
    slope_over_seeds,
    t_quantile,
)
from stages.errors import RelayError

FRACTIONS = st.lists(st.integers(0, 100).map(lambda count: count / 100), min_size=2, max_size=20)


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_a_mean_is_scipys(values: list[float]) -> None:
    assume(np.std(values) > 1e-6)
    found = mean_over_seeds(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert ends(found) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)
    assert found.dof == len(values) - 1
    assert found.excludes_zero == (stats.ttest_1samp(values, 0.0).pvalue < 0.05)


def test_a_level_by_hand() -> None:
    """Mean 0.98, sd 0.01, so standard error 0.01 / sqrt 3; t(0.975, 2) = 4.30265; logit 0.98 = 3.89182."""
    found = level_over_seeds([0.97, 0.98, 0.99])
    half = 4.30265273 * 0.01 / 3**0.5 / (0.98 * 0.02)
    expected = [1 / (1 + np.exp(-(3.8918203 + sign * half))) for sign in (-1, 1)]
    assert ends(found) == pytest.approx(expected, abs=1e-8)
    assert found.high < 1 < mean_over_seeds([0.97, 0.98, 0.99]).high, "t on the plain scale leaves [0, 1]"
    assert found.estimate - found.low > found.high - found.estimate


@settings(deadline=None, derandomize=True)
@given(FRACTIONS)
def test_a_level_stays_within_0_and_1_and_mirrors(values: list[float]) -> None:
    found = level_over_seeds(values)
    if np.std(values) == 0:
        assert not found.exists
        return
    assert 0 <= found.low < found.estimate < found.high <= 1
    mirrored = level_over_seeds([1 - value for value in values])
    assert ends(mirrored) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-9)


@pytest.mark.parametrize("interval", [mean_over_seeds, level_over_seeds])
def test_no_interval_without_spread(interval: Any) -> None:
    """0.1 + 0.2 and 0.3 are equal but for rounding."""
    for values in ([0.5], [0.5, 0.5, 0.5], [0.1 + 0.2, 0.3, 0.3], [1.0, 1.0], [0.7, np.nan]):
        found = interval(values)
        assert found.estimate == pytest.approx(values[0])
        assert np.isnan([found.low, found.high, found.dof]).all() and not found.exists
        assert not found.excludes_zero


def test_seeds_without_a_value_are_left_out() -> None:
    assert mean_over_seeds([1.0, np.nan, 2.0, 4.0]) == mean_over_seeds([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_over_seeds([]), "no seed has a value"),
        (lambda: mean_over_seeds([np.nan]), "no seed has a value"),
        (lambda: mean_over_seeds([[1.0, 2.0]]), r"\(seeds,\)"),
        (lambda: mean_over_seeds([1.0, np.inf]), "infinite"),
        (lambda: mean_over_seeds(["high", "low"]), "not an array of numbers"),
        (lambda: level_over_seeds([93.0, 95.0]), "not percent"),
        (lambda: level_over_seeds([-0.1, 0.5]), "fractions"),
        (lambda: slope_over_seeds([0.1, 0.2], [0.2, 1.0]), r"\(seeds, ratios\)"),
        (lambda: slope_over_seeds([[0.1, 0.2]], [0.2, 0.4, 1.0]), r"\(seeds, ratios\)"),
        (lambda: slope_over_seeds([[0.1, 0.2]], [0.2, 0.2]), "different"),
        (lambda: slope_over_seeds([[0.1, 0.2]], [0.2, np.nan]), "different"),
        (lambda: slope_difference([[0.1, 0.2]], [[0.1, 0.2]] * 2, [0.2, 1.0]), "same seeds"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        call()


RATIOS = [0.2, 0.4, 0.6, 0.8, 1.0]


def random_values(seeds: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(80, 3, (seeds, 5)) + np.array(RATIOS) * 10


def test_slopes_are_those_of_scipys_lines() -> None:
    values = random_values(6, 0)
    values[0, 1:4] = values[2, 4] = np.nan  # two ratios are enough
    values[3, 1:] = np.nan  # one is not: seed 3 has no slope
    slopes = []
    for row in np.delete(values, 3, axis=0):
        there = ~np.isnan(row)
        slopes.append(stats.linregress(np.array(RATIOS)[there], row[there]).slope)
    found = slope_over_seeds(values, RATIOS)
    expected = stats.ttest_1samp(slopes, 0.0).confidence_interval()
    assert found.estimate == pytest.approx(np.mean(slopes))
    assert ends(found) == pytest.approx((expected.low, expected.high))
    assert found.dof == 4


def test_a_difference_of_slopes_is_paired_and_over_the_ratios_of_both() -> None:
    a, b = random_values(5, 1), random_values(5, 2)
    a[1, 0] = b[1, 4] = np.nan
    slopes = [stats.linregress(RATIOS, a[row] - b[row]).slope for row in (0, 2, 3, 4)]
    slopes.append(stats.linregress(RATIOS[1:4], (a - b)[1, 1:4]).slope)
    found = slope_difference(a, b, RATIOS)
    expected = stats.ttest_rel(slopes, np.zeros(5)).confidence_interval()
    assert ends(found) == pytest.approx((expected.low, expected.high))
    mirrored = slope_difference(b, a, RATIOS)
    assert ends(mirrored) == pytest.approx((-found.high, -found.low))


def test_slopes_that_are_equal_or_missing_have_no_interval() -> None:
    same = slope_over_seeds([[0.1, 0.2], [0.3, 0.4]], [0.2, 1.0])
    assert same.estimate == pytest.approx(0.125) and not same.exists
    one = slope_over_seeds([[0.1, 0.2], [0.3, np.nan]], [0.2, 1.0])
    assert one.estimate == pytest.approx(0.125) and not one.exists
    assert np.isnan(slope_over_seeds([[0.1, np.nan]], [0.2, 1.0]).estimate)
    assert np.isnan(slope_over_seeds(np.empty((0, 2)), [0.2, 1.0]).estimate)


def test_degrees_of_freedom_of_a_quantile() -> None:
    for dof in (0.3, 1.0, 2.0, 7.5, 300.0):
        assert dof_of_quantile(float(t_quantile(dof))) == pytest.approx(dof, rel=1e-6)
    assert dof_of_quantile(1.9599) == np.inf
    assert t_quantile(0.0) == np.inf
    assert float(t_quantile(10, 0.99)) == pytest.approx(stats.t.ppf(0.995, 10))
