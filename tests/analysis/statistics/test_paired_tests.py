"""Wilcoxon's p, its effect size, Holm's correction, seeds needed: against scipy, and worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics.comparison import (
    holm,
    pairs_needed,
    rank_biserial,
    signed_rank_p,
    smallest_p,
)

# the signed-rank test


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=7).filter(any))
def test_zeros_and_ties_as_scipy_by_all_signs(differences: list[int]) -> None:
    d = np.array(differences, dtype=float)
    assert signed_rank_p(d) == pytest.approx(stats.wilcoxon(d, zero_method="wilcox").pvalue, rel=1e-12)
    assert signed_rank_p(d[d != 0]) == signed_rank_p(d)


@pytest.mark.parametrize("n", [9, pytest.param(13, marks=pytest.mark.slow), 14, 40, 60])
@pytest.mark.parametrize("kind", ["distinct", "tied", "zero"])
def test_many_pairs_as_scipy(n: int, kind: str) -> None:
    d = np.random.default_rng(n).normal(0.4, 1.0, n)
    d = np.round(d * 3) + 0.25 if kind == "tied" else d
    d[: 2 if kind == "zero" else 0] = 0.0
    assert signed_rank_p(d) == pytest.approx(stats.wilcoxon(d).pvalue, rel=1e-12)


def test_signed_rank_by_hand() -> None:
    """Ranks 1, 2.5, 2.5, 4 with a minus at 1: R- = 1. Of 16 signs, 2 give R- of at most 1: p = 4/16."""
    d = np.array([3.0, -1.0, 2.0, 2.0])
    assert signed_rank_p(d) == 0.25
    assert rank_biserial(d) == pytest.approx(0.8)  # (9 - 1) / 10
    assert rank_biserial(-d) == pytest.approx(-0.8)
    assert signed_rank_p(-d) == 0.25


def test_no_differences_cannot_be_tested() -> None:
    assert np.isnan(signed_rank_p(np.array([]))) and np.isnan(rank_biserial(np.array([])))


# Holm's correction


def test_holm_by_hand() -> None:
    # Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 0.04; the last may not fall below 0.06.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.5, 0.6])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([0.04])) == pytest.approx([0.04])
    assert holm(np.array([])).size == 0


def test_holm_leaves_out_what_was_not_tested() -> None:
    corrected = holm(np.array([np.nan, 0.02, np.nan, 0.01]))
    assert corrected[[1, 3]] == pytest.approx([0.02, 0.02])
    assert np.isnan(corrected[[0, 2]]).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], alpha: float) -> None:
    """The definition: from the smallest, reject while p <= alpha / (tests left); then stop."""
    rejected = [False] * len(p)
    for left, index in zip(range(len(p), 0, -1), np.argsort(p, kind="stable"), strict=True):
        if p[index] * left > alpha:
            break
        rejected[index] = True
    corrected = holm(np.array(p))
    assert (corrected <= alpha).tolist() == rejected
    assert (corrected >= p).all() and (corrected <= 1).all()


# how many seeds


@pytest.mark.parametrize("n", range(1, 11))
def test_smallest_p_is_that_of_differences_that_all_agree(n: int) -> None:
    assert smallest_p(n) == pytest.approx(stats.wilcoxon(np.arange(1.0, n + 1)).pvalue, rel=1e-12)


def test_the_fewest_seeds_for_a_level() -> None:
    assert pairs_needed() == 8  # 2/128 = 0.0156, 2/256 = 0.0078
    assert pairs_needed(0.05) == 6  # 2/32 = 0.0625, 2/64 = 0.031
    assert pairs_needed(0.01, tests=15) == 12  # 30/2048 = 0.0146, 30/4096 = 0.0073
    assert np.isnan(smallest_p(0))
    assert pairs_needed(0.25) == 4  # 2/8 is not below a quarter
    with pytest.raises(ValueError, match="alpha"):
        pairs_needed(0.0)
