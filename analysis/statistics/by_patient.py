"""Counts by group (patient, object), and what leaving one group out does to a metric."""

import math
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.statistics.intervals import Array, as_fractions
from stages.checks import is_whole
from stages.errors import RelayError
from stages.metrics import Counts


def numbered_groups(groups: Any, images: int) -> npt.NDArray[np.int64]:
    """Each image's group as a number from 0, in the order of appearance.

    Args:
        groups: hashable names, one of each image.
        images: how many images there are.

    Returns:
        int64, shape (images,).

    Raises:
        RelayError: if the number of groups is another, a group is missing (None or NaN) or not hashable, or
            there are no images.
    """
    names = groups.tolist() if hasattr(groups, "tolist") else list(groups)  # of numpy, pandas or a sequence
    if len(names) != images:
        raise RelayError(f"there are {len(names)} groups for {images} images; give one of each image.")
    if not images:
        raise RelayError("there are no images; check which runs were selected.")
    number_of: dict[Hashable, int] = {}
    try:
        numbers = [number_of.setdefault(name, len(number_of)) for name in names]
    except TypeError as error:
        raise RelayError(f"a group cannot be hashed ({error}); name each by a string or number.") from None
    if any(name is None or (isinstance(name, float) and math.isnan(name)) for name in number_of):
        raise RelayError("an image has no group (None or NaN); give it a group of its own.")
    return np.asarray(numbers, dtype=np.int64)


def correct_by_group(correct: Any, groups: Any, name: str, axes: int | None) -> tuple[Array, Array]:
    """Correct images of each group, and its images.

    Args:
        correct: 0 or 1, or mean correctness in [0, 1], shape (..., images).
        groups: one of each image.
        name: what to call `correct` in messages.
        axes: how many axes `correct` must have; None: one or more.

    Returns:
        Sums, shape (..., groups), and sizes, shape (groups,).

    Raises:
        RelayError: for another number of axes, no seed, NaN, values outside of [0, 1], or as
            `numbered_groups`.
    """
    array = as_fractions(correct, name)
    if array.ndim != axes if axes is not None else array.ndim < 1:
        raise RelayError(f"{name} has shape {array.shape}; give (seeds, images), also for one seed.")
    if np.isnan(array).any():
        raise RelayError(f"{name} holds NaN; every run must have judged every image.")
    number = numbered_groups(groups, array.shape[-1])
    if not array.size:
        raise RelayError(f"{name} has shape {array.shape}: no seed; give one or more.")
    sizes = np.bincount(number)
    rows = array.reshape(-1, array.shape[-1])
    sums = np.stack([np.bincount(number, weights=row, minlength=len(sizes)) for row in rows])
    return sums.reshape(*array.shape[:-1], len(sizes)).astype(np.float64), sizes.astype(np.float64)


def classes_by_group(labels: Any, predicted: Any, groups: Any) -> tuple[Array, Array, Array]:
    """Images, correct predictions and predictions of each group and class.

    Args:
        labels: true classes, whole numbers of 0 or more, shape (images,).
        predicted: predicted classes, shape (..., images).
        groups: one of each image.

    Returns:
        Images (groups, classes), correct predictions and predictions, both (..., groups, classes).

    Raises:
        RelayError: if classes are not whole numbers of 0 or more, the shapes do not fit, or as
            `numbered_groups`.
    """
    true, guess = _classes(labels, "labels"), _classes(predicted, "predicted")
    if true.ndim != 1 or guess.ndim < 1 or guess.shape[-1] != len(true):
        raise RelayError(
            f"labels have shape {true.shape}, predicted {guess.shape}; give (images,) and (..., images)."
        )
    number = numbered_groups(groups, len(true))
    if not guess.size:
        raise RelayError(f"predicted has shape {guess.shape}: no run; give one or more.")
    shape = (int(number.max()) + 1, int(max(true.max(), guess.max())) + 1)

    def count(classes: npt.NDArray[np.int64], which: npt.NDArray[np.bool_]) -> Array:
        cells = (number * shape[1] + classes)[which]
        return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    rows = guess.reshape(-1, len(true))
    all_images = np.ones(len(true), dtype=np.bool_)
    hits = np.stack([count(row, row == true) for row in rows])
    predictions = np.stack([count(row, all_images) for row in rows])
    runs = guess.shape[:-1]
    return count(true, all_images), hits.reshape(*runs, *shape), predictions.reshape(*runs, *shape)


def kish(sizes: Array) -> Array:
    """Kish's effective number of groups, (sum n)^2 / sum n^2 (Kish 1965): G where all are of equal size.

    Args:
        sizes: images of each group, shape (..., groups); groups without an image do not count.
    """
    return np.asarray(sizes.sum(axis=-1) ** 2 / (sizes**2).sum(axis=-1), dtype=np.float64)


def patients_dof(sizes: Array, *, level: bool) -> Array:
    """Degrees of freedom of a jackknife variance over patients of unequal size.

    For a difference Kish's number minus 1. For a level the harmonic mean of that and (sum n^2)^2 / sum n^4,
    which is Satterthwaite's for patients of equal variance: levels move with the largest patients where these
    are harder or easier than others. For patients of equal size both are close to their number minus 1.

    Args:
        sizes: images of each patient, shape (..., patients).
        level: for a level, otherwise for a difference.
    """
    dof = kish(sizes) - 1
    if not level:
        return dof
    squares = sizes**2
    inverse = 1 / np.maximum(dof, 1e-9) + 1 / kish(squares)
    return np.asarray(2 / inverse, dtype=np.float64)


def leave_one_out(sums: Array, sizes: Array) -> tuple[Array, Array]:
    """A ratio of sums over groups, on all groups and with each group left out.

    Args:
        sums: numerators, shape (..., groups).
        sizes: denominators, of a shape that broadcasts, not all 0.

    Returns:
        sum(sums) / sum(sizes), shape (...), and the same without each group, shape (..., groups): NaN where
        nothing is left.
    """
    total, size = sums.sum(axis=-1, keepdims=True), sizes.sum(axis=-1, keepdims=True)
    left = size - sizes
    return (total / size)[..., 0], (total - sums) / np.where(left > 0, left, np.nan)


def leave_one_out_counts(
    of_counts: Callable[[Counts], Array], images: Array, hits: Array, predictions: Array
) -> tuple[Array, Array]:
    """A metric of counts on all groups and with each group left out.

    A class that one group alone holds leaves averages over classes with it: it is not counted as one that is
    only predicted.

    Args:
        of_counts: the metric, see `stages.metrics.Metric`.
        images: shape (..., groups, classes).
        hits: as images, or with more axes before.
        predictions: as hits.

    Returns:
        Shapes (...) and (..., groups).
    """
    totals = [each.sum(axis=-2) for each in (images, predictions, hits)]
    true, predicted, right = (
        total[..., None, :] - each for total, each in zip(totals, (images, predictions, hits), strict=True)
    )
    gone = (totals[0][..., None, :] > 0) & (true == 0)
    return of_counts(Counts(*totals)), of_counts(Counts(true, np.where(gone, 0.0, predicted), right))


def jackknife_variance(without: Array) -> Array:
    """Delete-one-group jackknife variance, (G - 1) / G sum_g (v_g - mean)^2 (Tukey 1958); groups last."""
    groups = without.shape[-1]
    off = without - without.mean(axis=-1, keepdims=True)
    return np.asarray((groups - 1) / groups * (off**2).sum(axis=-1), dtype=np.float64)


def _classes(values: Any, name: str) -> npt.NDArray[np.int64]:
    array = np.asarray(values)
    if not (np.issubdtype(array.dtype, np.integer) or all(is_whole(value) for value in array.flat)):
        raise RelayError(f"{name} are not whole numbers; give the numbers of the classes, from 0.")
    if array.size and array.min() < 0:
        raise RelayError(f"{name} hold {array.min()}; classes are numbered from 0.")
    return array.astype(np.int64)
