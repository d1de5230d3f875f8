"""Intervals for other patients, of networks that stay as they are.

Neither seeds nor training images vary. Accuracy, macro F1 and their differences: delete-one-patient jackknife
with Student's quantile, on the logit scale for levels. Resampling patients instead (percentile, BCa,
bootstrap-t) covers less if there are few. What each covers: benchmarks/coverage.md.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from analysis.statistics.by_patient import (
    classes_by_group,
    correct_by_group,
    jackknife_variance,
    kish,
    leave_one_out,
    patients_dof,
)
from analysis.statistics.intervals import (
    CONFIDENCE,
    Array,
    Interval,
    logit_ends,
    no_interval,
    plain_ends,
    t_quantile,
)
from analysis.statistics.two_way import metric_by_seed
from stages.checks import is_whole
from stages.errors import RelayError
from stages.metrics import Metric

_TAIL = (1 - CONFIDENCE) / 2

Ends = tuple[Array, Array, Array]


def patients_accuracy(correct: Any, groups: Any) -> Interval:
    """Accuracy of fixed networks on other patients: share of correct images.

    Variance: jackknife over patients; logit scale; degrees of freedom as `patients_dof`. If all images are
    right, or all wrong, the ends are those of Clopper and Pearson with as many independent observations as
    Kish's number of patients.

    Args:
        correct: 0 or 1, or mean correctness, shape (images,) or (..., images): the mean is judged.
        groups: patient of each image, shape (images,), hashable names.

    Returns:
        Without interval for a single patient, or where every patient has the same share, below 1 and above 0.

    Raises:
        RelayError: for NaN, values outside of [0, 1], or shapes that do not fit.
    """
    sums, sizes = correct_by_group(correct, groups, "correct", None)
    value, without = _accuracy(sums, sizes)
    return interval(value, without, sizes, accuracy_ends)


def patients_difference(a: Any, b: Any, groups: Any) -> Interval:
    """Accuracy of networks a minus that of networks b on other patients, both fixed.

    Variance: jackknife over patients of the difference; degrees of freedom as `patients_dof`.

    Args:
        a: as `patients_accuracy`.
        b: the same of the other networks, which may be another number of them.
        groups: patient of each image, shape (images,).

    Returns:
        Without interval for a single patient, or where every patient has the same difference.

    Raises:
        RelayError: as `patients_accuracy`.
    """
    first, sizes = correct_by_group(a, groups, "a", None)
    second, _ = correct_by_group(b, groups, "b", None)
    value, without = _accuracy(first, sizes)
    other, without_other = _accuracy(second, sizes)
    return interval(value - other, without - without_other, sizes, difference_ends)


def patients_metric(metric: Metric, labels: Any, predicted: Any, groups: Any) -> Interval:
    """A metric of fixed networks on other patients, a fraction, such as macro F1.

    Variance: jackknife over patients; logit scale; degrees of freedom as `patients_dof`. A class that
    one patient alone holds leaves averages over classes with it, which makes the interval wider.

    Args:
        metric: one that is computed from counts.
        labels: true class of each image, whole numbers from 0, shape (images,).
        predicted: predicted classes, shape (images,) or (..., images): the mean over networks is judged.
        groups: patient of each image, shape (images,).

    Returns:
        Without interval for a single patient, or if the metric is 0 or 1.

    Raises:
        RelayError: for classes that are not whole numbers of 0 or more, or shapes that do not fit.
    """
    return interval(*_metric(metric, labels, predicted, groups), level_ends)


def patients_metric_difference(metric: Metric, labels: Any, a: Any, b: Any, groups: Any) -> Interval:
    """A metric of networks a minus that of networks b on other patients, both fixed.

    Variance: jackknife over patients of the difference; degrees of freedom as `patients_dof`.

    Args:
        metric: one that is computed from counts.
        labels: true class of each image, shape (images,).
        a: classes predicted by networks a, shape (images,) or (..., images).
        b: classes predicted by networks b.
        groups: patient of each image, shape (images,).

    Returns:
        Without interval for a single patient, or if leaving patients out changes nothing.

    Raises:
        RelayError: as `patients_metric`.
    """
    value, without, sizes = _metric(metric, labels, a, groups)
    other, without_other, _ = _metric(metric, labels, b, groups)
    return interval(value - other, without - without_other, sizes, difference_ends)


def patients_recall(labels: Any, predicted: Any, groups: Any, label: int) -> Interval:
    """Recall of a class of fixed networks on other patients, by Korn and Graubard (1998).

    Clopper and Pearson's ends for p = recall at the effective number of images
    p (1 - p) / V * (t(0.975, N - 1) / t(0.975, dof))^2, at most N. N: images of the class; V: jackknife
    variance over the patients that have it; dof: Kish's number of them minus 1. Where recall is 0 or 1 there
    is no V: the effective number is that of the class's patients.

    Args:
        labels: true class of each image, whole numbers from 0, shape (images,).
        predicted: predicted classes, shape (images,) or (..., images): the mean over networks is judged.
        groups: patient of each image, shape (images,).
        label: the class.

    Returns:
        Without an estimate if the class has no image; without interval if a single patient holds it.

    Raises:
        RelayError: as `patients_metric`, or if the class is not a whole number of 0 or more.
    """
    if not is_whole(label) or label < 0:
        raise RelayError(f"the class is {label!r}; give its number, from 0.")
    images, hits, _ = classes_by_group(labels, predicted, groups)
    if label >= images.shape[1]:
        return no_interval(np.nan)
    return recall(hits[..., label].reshape(-1, len(images)).mean(axis=0), images[:, label])


def recall(right: Array, images: Array) -> Interval:
    """The interval of `patients_recall`, from counts.

    Args:
        right: right images of the class, of each group, shape (groups,); a mean over networks.
        images: images of the class, of each group, shape (groups,).
    """
    holds = images > 0
    if not holds.any():
        return no_interval(np.nan)
    sums, sizes = right[holds], images[holds]
    value = float(sums.sum() / sizes.sum())
    if len(sizes) < 2:
        return no_interval(value)
    low, high = korn_graubard(sums, sizes)
    return Interval(value, float(low), float(high), float(kish(sizes)) - 1)


def difference_ends(value: Array, without: Array, sizes: Array, *, confidence: float = CONFIDENCE) -> Ends:
    """Ends of a difference of fractions, and the degrees of freedom.

    Args:
        value: on all patients, shape (...).
        without: without each patient, shape (..., patients).
        sizes: images of each patient, shape (..., patients).
        confidence: of the interval.

    Returns:
        Lower ends, upper ends and degrees of freedom, shape (...).
    """
    dof = patients_dof(sizes, level=False)
    return *plain_ends(value, jackknife_variance(without), t_quantile(dof, confidence), 1.0), dof


def level_ends(value: Array, without: Array, sizes: Array) -> Ends:
    """Ends of a fraction, on the logit scale; arguments as `difference_ends`."""
    dof = patients_dof(sizes, level=True)
    return *logit_ends(value, jackknife_variance(without), t_quantile(dof)), dof


def accuracy_ends(value: Array, without: Array, sizes: Array) -> Ends:
    """As `level_ends`; where the value is 0 or 1, Clopper and Pearson's ends of Kish's number of patients."""
    low, high, dof = level_ends(value, without, sizes)
    certain = ((value <= 0) | (value >= 1)) & (without.shape[-1] > 1)
    least, most = clopper_pearson(value, kish(sizes))
    return np.where(certain, least, low), np.where(certain, most, high), dof


def korn_graubard(sums: Array, sizes: Array) -> tuple[Array, Array]:
    """Ends of a fraction's interval over groups, see `patients_recall`.

    Args:
        sums: correct images of each group, shape (..., groups).
        sizes: images of each group, same shape; groups without an image do not count.

    Returns:
        Lower and upper ends, shape (...).
    """
    groups = (sizes > 0).sum(axis=-1)
    value, without = leave_one_out(sums, sizes)
    off = np.where(sizes > 0, without - value[..., None], 0.0)
    off -= np.where(sizes > 0, off.sum(axis=-1, keepdims=True) / groups[..., None], 0.0)
    variance = (groups - 1) / groups * (off**2).sum(axis=-1)
    images = sizes.sum(axis=-1)
    known = (variance > 0) & (value > 0) & (value < 1)
    shrink = (t_quantile(images - 1) / t_quantile(kish(sizes) - 1)) ** 2
    effective = value * (1 - value) / np.where(known, variance, 1.0) * shrink
    return clopper_pearson(value, np.where(known, np.minimum(effective, images), groups))


def clopper_pearson(fraction: Array, number: Array) -> tuple[Array, Array]:
    """Ends of Clopper and Pearson's (1934) interval of a fraction of `number` observations."""
    right, wrong = fraction * number, (1 - fraction) * number
    low = stats.beta.ppf(_TAIL, np.where(right > 0, right, 1.0), wrong + 1)
    high = stats.beta.ppf(1 - _TAIL, right + 1, np.where(wrong > 0, wrong, 1.0))
    return np.where(right > 0, low, 0.0), np.where(wrong > 0, high, 1.0)


def _accuracy(sums: Array, sizes: Array) -> tuple[float, Array]:
    """Accuracy, the mean over all axes before the last, and the same without each group, shape (groups,)."""
    value, without = leave_one_out(sums.reshape(-1, len(sizes)).mean(axis=0), sizes)
    return float(value), without


def _metric(metric: Metric, labels: Any, predicted: Any, groups: Any) -> tuple[float, Array, Array]:
    """A metric, the mean over all axes before the last, the same without each group, and their images."""
    array = np.atleast_1d(predicted)
    networks = array.reshape(-1, array.shape[-1]) if array.shape[-1] else array
    value, without, sizes = metric_by_seed(metric, labels, networks, groups)
    return float(value.mean()), without.mean(axis=0), sizes


def interval(
    value: float, without: Array, sizes: Array, ends: Callable[[Array, Array, Array], Ends]
) -> Interval:
    """The interval that `ends` gives, of one quantity.

    Args:
        value: on all patients.
        without: without each patient, shape (patients,).
        sizes: images of each patient, shape (patients,).
        ends: `difference_ends`, `level_ends` or `accuracy_ends`.
    """
    if len(sizes) < 2:
        return no_interval(value)
    low, high, dof = ends(np.asarray(value), without, sizes)
    return Interval(value, float(low), float(high), float(dof)) if np.isfinite(low) else no_interval(value)
