"""The difference of two sets: against Welch's interval where patients are all that varies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.by_patient import leave_one_out
from analysis.statistics.two_sets import OnSet, difference_of_sets


def _set(values: np.ndarray) -> OnSet:
    """Patients of one image each, a value for each seed and patient."""
    sizes = np.ones(values.shape[1])
    return OnSet(*leave_one_out(values, sizes), sizes)


def test_of_fixed_networks_it_is_nearly_welchs() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(0.8, 0.1, (1, 30)), draw.normal(0.7, 0.2, (1, 12))
    found = difference_of_sets(_set(a), _set(b))
    reference = stats.ttest_ind(a[0], b[0], equal_var=False).confidence_interval()
    assert found.estimate == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx(tuple(reference), abs=0.003)


def test_seeds_are_paired_and_patients_of_both_sets_count() -> None:
    draw = np.random.default_rng(1)
    seed = draw.normal(0, 0.2, (5, 1))  # what a seed has on both sets leaves the difference
    a, b = 0.8 + seed + draw.normal(0, 0.1, 40), 0.6 + seed + draw.normal(0, 0.1, 40)
    found = difference_of_sets(_set(a), _set(b))
    patients = np.hypot(a[0].std(ddof=1), b[0].std(ddof=1)) / np.sqrt(40)
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, 78) * patients, rel=0.03)
    alone = difference_of_sets(_set(a - seed), _set(b))
    assert alone.high - alone.low > 2 * (found.high - found.low)
    off = (a - seed).mean(axis=1) - b.mean(axis=1)  # as wide as for these seeds, the patients fixed
    of_seeds = stats.t.ppf(0.975, 4) * off.std(ddof=1) / np.sqrt(5)
    assert alone.high - alone.low >= 2 * of_seeds - 1e-12


def test_one_patient_has_no_interval_and_none_leaves_the_span() -> None:
    a, b = np.full((2, 1), 0.8), np.random.default_rng(2).random((2, 9))
    assert not difference_of_sets(_set(a), _set(b)).exists
    found = difference_of_sets(_set(b), _set(b[:, :2]), span=0.5)
    assert found.low >= -0.5 and found.high <= 0.5
