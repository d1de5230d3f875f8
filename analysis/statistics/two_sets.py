"""A metric of the same networks on two sets of images with different patients: one set minus the other.

Seeds are paired, patients are not. With V_s the variance of the mean difference over seeds, V_p and V_sp of
each set as in `analysis.statistics.two_way`, the difference varies by V_s plus, for each set, V_p - V_sp:
V_s contains the V_sp of both. Degrees of freedom of the patients are Satterthwaite's (Welch 1947) for the two
sets. The interval is at least as wide as for seeds alone. Of 400 simulated studies each, with 10 or 40
patients a set, it covered in 96 to 99% with 2 or 3 seeds and in 93 to 97% with 5 or 10, or with one, fixed.
"""

from typing import NamedTuple

import numpy as np

from analysis.statistics.by_patient import jackknife_variance, patients_dof
from analysis.statistics.intervals import (
    Array,
    Interval,
    dof_of_quantile,
    no_interval,
    plain_ends,
    t_quantile,
)
from analysis.statistics.two_way import DIFFERENCE, Components, combined, components


class OnSet(NamedTuple):
    """A metric on a set.

    Attributes:
        value: of each seed, shape (seeds,).
        without: the same without each patient, shape (seeds, patients).
        sizes: images of each patient, shape (patients,).
    """

    value: Array
    without: Array
    sizes: Array


def difference_of_sets(a: OnSet, b: OnSet, *, span: float = np.inf) -> Interval:
    """A metric on set a minus that on set b, for other seeds (paired) and other patients of both.

    With one seed, or networks that are what they are: give their mean as one seed; the interval is then for
    other patients, the networks fixed.

    Args:
        a: the seeds on one set.
        b: the same seeds, in the same order, on another set with no patient of the first.
        span: largest difference that there can be.

    Returns:
        Without interval if a set has one patient, or nothing varies.
    """
    estimate = float((a.value - b.value).mean())
    if min(a.without.shape[1], b.without.shape[1]) < 2:
        return no_interval(estimate)
    dofs = [float(patients_dof(each.sizes, level=True)) for each in (a, b)]
    if len(a.value) < 2:
        of_sets = [float(jackknife_variance(each.without[0])) for each in (a, b)]
        variance, quantile = np.asarray(sum(of_sets)), t_quantile(_welch(of_sets, dofs))
    else:
        parts = [components(each.value, each.without) for each in (a, b)]
        seeds = np.asarray((a.value - b.value).var(ddof=1) / len(a.value))
        both = Components(
            np.asarray(estimate), seeds, parts[0].patients + parts[1].patients, parts[0].both + parts[1].both
        )
        of_patients = np.asarray(_welch([float(each.patients) for each in parts], dofs))
        of_seeds = np.asarray(len(a.value) - 1.0)
        variance, quantile = combined(both, of_seeds, of_patients, DIFFERENCE)
        # As wide as for seeds alone, at least: with three of them their variance is often far too small.
        of_seeds_alone = t_quantile(of_seeds) * np.sqrt(seeds / np.where(variance > 0, variance, np.nan))
        quantile = np.fmax(quantile, of_seeds_alone)
    low, high = plain_ends(np.asarray(estimate), variance, quantile, span)
    if not np.isfinite(low):
        return no_interval(estimate)
    return Interval(estimate, float(low), float(high), dof_of_quantile(float(quantile)))


def _welch(variances: list[float], dofs: list[float]) -> float:
    """Satterthwaite's degrees of freedom of a sum of variances."""
    squares = sum(v**2 / max(dof, 1e-9) for v, dof in zip(variances, dofs, strict=True))
    return sum(variances) ** 2 / squares if squares > 0 else np.inf
