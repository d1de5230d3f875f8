"""Step-down max-T: against all sign flips spelt out, scipy for one pair, and its intervals against p."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics.max_t import max_t, simultaneous_intervals
from stages.errors import RelayError

Array = npt.NDArray[np.float64]


def statistic(differences: Any) -> float:
    there = [value for value in differences if not np.isnan(value)]
    length = sum(value**2 for value in there) ** 0.5
    return abs(sum(there)) / length if length else 0.0


def spelt_out(differences: Array) -> list[float]:
    """All 2^n flips, the largest statistic of what is left at each step, p never falling."""
    observed = [statistic(row) for row in differences]
    order = sorted(range(len(observed)), key=lambda pair: -observed[pair])
    flipped = [
        [statistic(row * np.array(signs)) for row in differences]
        for signs in product([1, -1], repeat=differences.shape[1])
    ]
    adjusted, least = [0.0] * len(observed), 0.0
    for step, pair in enumerate(order):
        reached = [max(each[other] for other in order[step:]) >= observed[pair] - 1e-9 for each in flipped]
        least = max(least, float(np.mean(reached)))
        adjusted[pair] = least
    return adjusted


def draw(seed: int, pairs: int, seeds: int) -> Array:
    """Differences of processes that share seeds, some with an effect, on a grid as accuracies are."""
    generator = np.random.default_rng(seed)
    shared = generator.standard_normal(seeds)
    effects = generator.choice([0.0, 0.0, 1.5], (pairs, 1))
    return np.round(shared + generator.standard_normal((pairs, seeds)) + effects, 1)


@pytest.mark.parametrize(
    ("seed", "pairs", "seeds"),
    [(0, 6, 6), (1, 3, 8), (2, 1, 5), (3, 10, 4), (4, 4, 1), (739238, 5, 7)],  # the last: one mean is 0
)
def test_all_flips_spelt_out(seed: int, pairs: int, seeds: int) -> None:
    differences = draw(seed, pairs, seeds)
    assert max_t(differences) == pytest.approx(spelt_out(differences))


def test_missing_seeds_spelt_out() -> None:
    differences = draw(5, 5, 6)
    differences[0, 2] = differences[3, 0] = differences[3, 5] = np.nan
    assert max_t(differences) == pytest.approx(spelt_out(differences))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_one_pair_is_scipys_permutation_test(seed: int, seeds: int) -> None:
    differences = np.random.default_rng(seed).normal(0.7, 1, seeds)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=False, n_resamples=np.inf
    )
    assert max_t(differences[None])[0] == pytest.approx(expected.pvalue)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 10**6))
def test_what_must_not_matter(seed: int) -> None:
    """Signs of pairs, their unit and order, the order of seeds, pairs twice."""
    differences = draw(seed, 5, 7)
    p = max_t(differences)
    generator = np.random.default_rng(seed)
    assert max_t(differences * generator.choice([-100, 0.01], (5, 1))) == pytest.approx(p)
    assert max_t(differences[:, generator.permutation(7)]) == pytest.approx(p)
    assert max_t(np.concatenate([differences, differences])) == pytest.approx(np.concatenate([p, p]))
    single = np.array([max_t(row[None])[0] for row in differences])
    assert (p >= single - 1e-12).all(), "no smaller than uncorrected"


def test_the_smallest_p_does_not_grow_with_the_number_of_pairs() -> None:
    differences = np.tile(np.arange(1.0, 7.0), (15, 1)) + np.arange(15)[:, None]
    assert max_t(differences) == pytest.approx([2 / 2**6] * 15)
    assert (max_t(differences[:, :5]) > 0.05).all()


def test_a_pair_without_differences_or_without_seeds() -> None:
    p = max_t([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [np.nan] * 3, [np.nan, 2.0, np.nan]])
    assert p[[0, 1, 3]] == pytest.approx([0.25, 1.0, 1.0])
    assert np.isnan(p[2])
    assert len(max_t(np.empty((0, 4)))) == 0


def test_differences_that_are_equal_but_for_rounding_count_as_equal() -> None:
    """Flipping seeds 1 and 2 gives the same sum, whichever way it is added up."""
    differences = np.array([[0.1, 0.2, 0.3, 0.1 + 0.2]])
    assert max_t(differences)[0] == pytest.approx(2 / 16)
    mixed = np.array([[0.3, -0.3, 0.2 + 0.1]])
    assert max_t(mixed)[0] == pytest.approx(1.0)


def test_drawn_flips_come_near_all_of_them_and_are_the_same_each_time() -> None:
    differences = draw(7, 6, 12)
    exact, drawn = max_t(differences), max_t(differences, flips=1000)
    assert drawn == pytest.approx(exact, abs=4 * 0.5 / 1000**0.5)
    assert (drawn >= 1 / 1000).all(), "the identity is one of them"
    assert (max_t(differences, flips=1000) == drawn).all()
    assert (max_t(differences, flips=1000, seed=1) != drawn).any()
    many = draw(8, 3, 70)  # more seeds than a word has bits
    assert max_t(many, flips=3000) == pytest.approx(max_t(many, flips=3000, seed=5), abs=0.05)


def test_drawn_flips_do_not_change_between_versions_of_numpy() -> None:
    differences = [[0.5, -0.2, 0.4, 0.1, 0.6, -0.1, 0.2, 0.3], [0.1, 0.3, -0.2, 0.2, -0.1, 0.4, 0.1, -0.3]]
    assert max_t(differences, flips=50).tolist() == PINNED


PINNED = [0.12, 0.54]


@settings(deadline=None, derandomize=True, max_examples=80)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_an_interval_excludes_0_exactly_where_p_is_below_5_percent(seed: int, seeds: int) -> None:
    differences = draw(seed, 6, seeds)
    found = simultaneous_intervals(differences)
    there = ~np.isnan(found.low)
    excludes = (found.low > 0) | (found.high < 0)
    assert (excludes == (found.p < 0.05))[there].all()
    assert (found.p == max_t(differences)).all()
    assert ((found.low <= found.estimate) & (found.estimate <= found.high))[there].all()
    spread = differences.std(axis=1, ddof=1)
    assert (there == (spread > 0)).all()
    half = stats.t.ppf(1 - 0.025 / 6, seeds - 1) * spread / seeds**0.5
    for end, bonferroni in [(found.low, found.estimate - half), (found.high, found.estimate + half)]:
        moved = ~np.isclose(end, bonferroni) & there
        assert (np.abs(end[moved]) < 1e-300).all(), "an end is Bonferroni's or at 0"


def test_both_ways_of_moving_an_end() -> None:
    """Five seeds: p cannot be below 0.05, Bonferroni's interval excludes 0. Eight: the other way round."""
    few = simultaneous_intervals([[1.0, 1.1, 1.2, 0.9, 1.0], [0.1, -0.2, 0.1, 0.3, -0.1]])
    assert few.low[0] == 0 and few.high[0] > 1
    pairs = [[1.0, 3.0, 0.2, 2.5, 0.3, 0.6, 3.5, 0.1]] * 10  # so alike that they are one test
    many = simultaneous_intervals(pairs)
    bonferroni = np.mean(pairs[0]) - stats.t.ppf(1 - 0.0025, 7) * stats.sem(pairs[0])
    assert many.p[0] < 0.05 and bonferroni < 0 < many.low[0] < 1e-300
    mirrored = simultaneous_intervals(-np.array(pairs))
    assert mirrored.high == pytest.approx(-many.low) and mirrored.high[0] < 0


def test_no_interval_without_spread_or_with_one_seed() -> None:
    found = simultaneous_intervals(
        [[0.3, 0.1 + 0.2, 0.3], [1.0, np.nan, np.nan], [np.nan] * 3, [1.0, 2.0, 3.0]]
    )
    assert found.estimate[:2] == pytest.approx([0.3, 1.0])
    assert np.isnan(found.low[:3]).all() and np.isnan(found.high[:3]).all()
    half = stats.t.ppf(1 - 0.025 / 2, 2) * 1 / 3**0.5  # of the two pairs with two seeds or more
    assert (found.low[3], found.high[3]) == pytest.approx((2 - half, 2 + half))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: max_t([1.0, 2.0]), r"\(pairs, seeds\)"),
        (lambda: max_t(np.empty((2, 0))), r"\(pairs, seeds\)"),
        (lambda: max_t([[1.0, np.inf]]), "infinite"),
        (lambda: max_t([["a", "b"]]), "not an array of numbers"),
        (lambda: max_t([[1.0, 2.0]], flips=1), "flips"),
        (lambda: max_t([[1.0, 2.0]], flips=2.5), "flips"),  # type: ignore[arg-type]
        (lambda: max_t([[1.0, 2.0]], seed=-1), "seed"),
        (lambda: simultaneous_intervals([1.0, 2.0]), r"\(pairs, seeds\)"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        call()
