"""Intervals for other seeds and other patients at once.

A value of each seed and patient varies with the seed, with the patient and with both together. With V_s the
variance of the mean over seeds, V_p the jackknife variance over patients and V_sp that of what neither
explains, the estimate varies by V_s + V_p - V_sp, because V_s and V_p both contain V_sp (two-way analysis of
variance; two-way clustering, Cameron, Gelbach and Miller 2011). Student's quantile is the mean of the
components' quantiles, weighted by the components (Cochran 1964): with three seeds Satterthwaite's degrees of
freedom, themselves estimated, are too many. What each covers, and the alternatives: benchmarks/coverage.md.
"""

from typing import Any, NamedTuple

import numpy as np

from analysis.statistics.by_patient import (
    classes_by_group,
    correct_by_group,
    jackknife_variance,
    leave_one_out,
    leave_one_out_counts,
    patients_dof,
)
from analysis.statistics.intervals import (
    CONFIDENCE,
    Array,
    Interval,
    dof_of_quantile,
    logit_ends,
    no_interval,
    plain_ends,
    t_quantile,
)
from stages.errors import RelayError
from stages.metrics import Metric

DIFFERENCE, LEVEL = 1.0, 0.5
"""The share of V_sp that is taken off. All of it is right for differences. A level near 1 has its smallest
standard errors where it is highest by chance; with half of V_sp the interval covers as often as it says."""


class Components(NamedTuple):
    """Variance of a mean over seeds and patients, by where it comes from. All of shape (...).

    Attributes:
        estimate: mean over seeds of the value on all patients.
        seeds: variance of the mean over seeds, s^2 / S, which contains `both`.
        patients: jackknife variance over patients of the mean over seeds, which contains `both`.
        both: variance of what neither seeds nor patients explain.
    """

    estimate: Array
    seeds: Array
    patients: Array
    both: Array


def two_way_difference(a: Any, b: Any, groups: Any, *, confidence: float = CONFIDENCE) -> Interval:
    """Accuracy of process a minus that of b, for other seeds and other patients.

    The differences of equal seeds are taken first: equal rows of a and b share their seed. See
    `combined` for the formula.

    Args:
        a: 0 or 1, or mean correctness over the plateau's epochs, shape (seeds, images).
        b: the same of the other process, same shape.
        groups: patient of each image, shape (images,), hashable names.
        confidence: of the interval.

    Returns:
        A difference of fractions: 0.02 is 2 percentage points. The interval is cut at -1 and 1. There is none
        (NaN) for one patient, or if all seeds and patients have the same difference.

    Raises:
        RelayError: for a single seed, NaN, values outside of [0, 1] (such as percent), or shapes that do not
            fit.

    Examples:
        >>> a = [[1, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 0]]  # two seeds, six images
        >>> b = [[1, 0, 1, 0, 1, 0], [1, 0, 1, 1, 0, 0]]
        >>> found = two_way_difference(a, b, ["ann", "ann", "bob", "bob", "cem", "cem"])
        >>> round(found.estimate, 3), found.low < 0 < found.high
        (0.333, True)
    """
    first, sizes = correct_by_group(a, groups, "a", 2)
    second, _ = correct_by_group(b, groups, "b", 2)
    _refuse_other_seeds(first, second)
    return interval(*leave_one_out(first - second, sizes), sizes, level=False, confidence=confidence)


def two_way_level(a: Any, groups: Any) -> Interval:
    """Accuracy of a process, for other seeds and other patients, on the logit scale.

    Args:
        a: 0 or 1, or mean correctness over the plateau's epochs, shape (seeds, images).
        groups: patient of each image, shape (images,), hashable names.

    Returns:
        A fraction, not percent. The interval is within 0 and 1. There is none (NaN) for one patient, if all
        images are right or all are wrong, or if all seeds and patients have the same accuracy.

    Raises:
        RelayError: as `two_way_difference`.

    Examples:
        >>> correct = [[1, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 0]]  # two seeds, six images
        >>> found = two_way_level(correct, ["ann", "ann", "bob", "bob", "cem", "cem"])
        >>> round(found.estimate, 3), 0 < found.low < found.high < 1
        (0.75, True)
    """
    sums, sizes = correct_by_group(a, groups, "a", 2)
    return interval(*leave_one_out(sums, sizes), sizes, level=True)


def two_way_metric_difference(metric: Metric, labels: Any, a: Any, b: Any, groups: Any) -> Interval:
    """A metric of process a minus that of b, for other seeds and other patients.

    Args:
        metric: one that is computed from counts, such as macro F1.
        labels: true class of each image, whole numbers from 0, shape (images,).
        a: predicted classes, shape (seeds, images) or (seeds, epochs, images): the epochs' mean is judged.
        b: the same of the other process, same seeds.
        groups: patient of each image, shape (images,).

    Returns:
        As `two_way_difference`.

    Raises:
        RelayError: as `two_way_difference`, or for classes that are not whole numbers of 0 or more, or a
            metric that is not computed from counts.
    """
    first, without, sizes = metric_by_seed(metric, labels, a, groups)
    second, without_second, _ = metric_by_seed(metric, labels, b, groups)
    _refuse_other_seeds(without, without_second)
    return interval(first - second, without - without_second, sizes, level=False)


def two_way_metric_level(metric: Metric, labels: Any, a: Any, groups: Any) -> Interval:
    """A metric of a process, a fraction, for other seeds and other patients, on the logit scale.

    Args:
        metric: as `two_way_metric_difference`.
        labels: true class of each image, whole numbers from 0, shape (images,).
        a: predicted classes, shape (seeds, images) or (seeds, epochs, images).
        groups: patient of each image, shape (images,).

    Returns:
        As `two_way_level`.

    Raises:
        RelayError: as `two_way_metric_difference`.
    """
    return interval(*metric_by_seed(metric, labels, a, groups), level=True)


def components(value: Array, without: Array) -> Components:
    """Split the variance of a mean over seeds.

    Args:
        value: of each seed on all patients, shape (..., seeds), two seeds or more.
        without: the same without each patient, shape (..., seeds, patients), two patients or more.
    """
    seeds = value.shape[-1]
    by_patient = without - value[..., None]
    shared = by_patient.mean(axis=-2)
    return Components(
        estimate=value.mean(axis=-1),
        seeds=value.var(axis=-1, ddof=1) / seeds,
        patients=jackknife_variance(shared),
        both=jackknife_variance(by_patient - shared[..., None, :]).sum(axis=-1) / (seeds * (seeds - 1)),
    )


def combined(
    parts: Components, dof_seeds: Array, dof_patients: Array, share: float, confidence: float = CONFIDENCE
) -> tuple[Array, Array]:
    """Variance and Student's quantile for seeds and patients together.

    V = V_s + V_p - share V_sp, at least the larger of V_s and V_p; q = (v_s t_s + v_p t_p + V_sp t_sp) /
    (v_s + v_p + V_sp) with v_s = max(V_s - V_sp, 0), v_p likewise, t_s and t_p Student's quantiles at the
    degrees of freedom of seeds and patients and t_sp that at their product. The interval is
    estimate -/+ q sqrt(V). Above 95%, as corrections for many pairs ask for, it is at least as wide as those
    of seeds alone, t_s sqrt(V_s), and of patients alone, t_p sqrt(V_p): far in the tails, a small estimate of
    one component gives its long tail too little weight.

    Args:
        parts: shape (...).
        dof_seeds: number of seeds minus 1.
        dof_patients: of the patients, see `patients_dof`.
        share: of V_sp to take off, see `DIFFERENCE` and `LEVEL`.
        confidence: of the interval.

    Returns:
        V and q, shape (...); where V is 0 q is NaN.
    """
    _, seeds, patients, both = parts
    variance = np.maximum(seeds + patients - share * both, np.maximum(seeds, patients))
    own_seeds, own_patients = np.maximum(seeds - both, 0.0), np.maximum(patients - both, 0.0)
    total = own_seeds + own_patients + both
    of_seeds, of_patients = t_quantile(dof_seeds, confidence), t_quantile(dof_patients, confidence)
    of_both = t_quantile(np.multiply(dof_seeds, dof_patients), confidence)
    weighted = _times(own_seeds, of_seeds) + _times(own_patients, of_patients) + _times(both, of_both)
    quantile = weighted / np.where(total > 0, total, np.nan)
    if confidence > CONFIDENCE:
        shares = [np.sqrt(part / np.where(variance > 0, variance, np.nan)) for part in (seeds, patients)]
        alone = np.maximum(_times(shares[0], of_seeds), _times(shares[1], of_patients))
        quantile = np.maximum(quantile, alone)
    return variance, quantile


def _times(weight: Array, quantile: Array) -> Array:
    """Their product; 0 for no weight, though a quantile is infinite if one patient has nearly all images."""
    finite = np.where(weight == 0, 0.0, quantile)
    return np.asarray(weight * finite, dtype=np.float64)


def ends(
    value: Array, without: Array, sizes: Array, *, level: bool, confidence: float = CONFIDENCE
) -> tuple[Array, Array, Array]:
    """Both ends of the interval for seeds and patients, and Student's quantile; NaN where there is none.

    Args:
        value: of each seed on all patients, shape (..., seeds), two seeds or more.
        without: the same without each patient, shape (..., seeds, patients), two patients or more.
        sizes: images of each patient, shape (..., patients).
        level: a fraction, on the logit scale; otherwise a difference of fractions.
        confidence: of the interval.
    """
    parts = components(value, without)
    dof_seeds, dof_patients = np.asarray(value.shape[-1] - 1.0), patients_dof(sizes, level=level)
    share = LEVEL if level else DIFFERENCE
    variance, quantile = combined(parts, dof_seeds, dof_patients, share, confidence)
    if level:
        return *logit_ends(parts.estimate, variance, quantile), quantile
    return *plain_ends(parts.estimate, variance, quantile, 1.0), quantile


def interval(
    value: Array, without: Array, sizes: Array, *, level: bool, confidence: float = CONFIDENCE
) -> Interval:
    """As `ends`, of one quantity.

    Args:
        value: shape (seeds,).
        without: shape (seeds, patients).
        sizes: shape (patients,).
        level: as `ends`.
        confidence: as `ends`.

    Raises:
        RelayError: for a single seed.
    """
    estimate = float(value.mean())
    if len(value) < 2:
        raise RelayError(
            "one seed does not show how seeds vary; train more seeds, or judge the network as it is with "
            "analysis.statistics.fixed_networks."
        )
    if without.shape[1] < 2:
        return no_interval(estimate)
    low, high, quantile = ends(value, without, sizes, level=level, confidence=confidence)
    if not np.isfinite(low):
        return no_interval(estimate)
    return Interval(estimate, float(low), float(high), dof_of_quantile(float(quantile), confidence))


def metric_by_seed(metric: Metric, labels: Any, predicted: Any, groups: Any) -> tuple[Array, Array, Array]:
    """A metric of each seed, the same without each patient, and the patients' images.

    Args:
        metric: one that is computed from counts.
        labels: true classes, shape (images,).
        predicted: shape (seeds, images) or (seeds, epochs, images): the epochs' mean.
        groups: patient of each image.

    Returns:
        Shapes (seeds,), (seeds, patients) and (patients,).

    Raises:
        RelayError: as `two_way_metric_difference`.
    """
    if metric.of_counts is None or metric.per_class:
        raise RelayError(f"{metric.name} is not computed from the numbers of predicted classes of a set.")
    if np.ndim(predicted) not in (2, 3):
        raise RelayError(
            f"predicted has shape {np.shape(predicted)}; give (seeds, images) or (seeds, epochs, images)."
        )
    images, hits, predictions = classes_by_group(labels, predicted, groups)
    value, without = leave_one_out_counts(metric.of_counts, images, hits, predictions)
    if np.ndim(predicted) == 3:
        value, without = value.mean(axis=1), without.mean(axis=1)
    return value, without, images.sum(axis=1)


def _refuse_other_seeds(first: Array, second: Array) -> None:
    if first.shape != second.shape:
        raise RelayError(
            f"a has {first.shape[0]} seeds, b {second.shape[0]}; give both the same seeds, in the same order."
        )
