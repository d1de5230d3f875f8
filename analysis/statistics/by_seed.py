"""Metrics of each seed on the pooled evaluation images, and what leaving each patient out does to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.runs.out_of_fold import PooledPredictions
from analysis.statistics.by_patient import classes_by_group, leave_one_out_counts
from analysis.statistics.intervals import Array
from stages.metrics import Counts, Metric


class SeedValues(NamedTuple):
    """A metric of a process.

    Attributes:
        of_seeds: the mean over the plateau's epochs, by seed.
        without: the same without each group, shape (seeds, groups); None if it is not known.
    """

    of_seeds: "pd.Series[float]"
    without: Array | None


@dataclass(frozen=True)
class Counted:
    """What was counted of a study's predictions.

    Attributes:
        metrics: by process and name of the metric.
        hits: by process, right images of each seed, group and class, the mean over epochs.
        images: of each group and class, shape (groups, classes).
    """

    metrics: Mapping[tuple[str, str], SeedValues]
    hits: Mapping[str, Array]
    images: Array

    @property
    def sizes(self) -> Array:
        """Images of each group."""
        return np.asarray(self.images.sum(axis=1))

    @classmethod
    def of(
        cls, pooled: PooledPredictions, groups: npt.NDArray[np.int64], metrics: Sequence[Metric]
    ) -> "Counted":
        """Count the predictions of each process, seed and epoch on the whole training set.

        Args:
            pooled: the predictions.
            groups: of each image, as a number from 0.
            metrics: those of counts are computed; others are passed over.
        """
        of_counts = {
            each.name: each.of_counts for each in metrics if each.of_counts is not None and not each.per_class
        }
        found: dict[tuple[str, str], SeedValues] = {}
        hits: dict[str, Array] = {}
        images = np.zeros((1, 1))
        for (process, ratio), of_seeds in pooled.by_epoch.items():
            if ratio != 1.0:
                continue
            right, of_metrics = [], []
            for by_epoch in of_seeds.values():  # one at a time: counts of many groups are large
                counts = _of_epochs(pooled, by_epoch, groups)
                images = counts.images
                right.append(np.mean(counts.hits, axis=0))
                of_metrics.append({name: counts.mean_of(compute) for name, compute in of_counts.items()})
            hits[process] = np.array(right)
            for name in of_counts:
                values = pd.Series([each[name][0] for each in of_metrics], index=list(of_seeds))
                without = np.array([each[name][1] for each in of_metrics])
                found[process, name] = SeedValues(values, without)
        return cls(found, hits, images)


class _Counts(NamedTuple):
    """Of a seed: images (groups, classes), and of each epoch hits and predictions, of the same shape."""

    images: Array
    hits: list[Array]
    predictions: list[Array]

    def mean_of(self, of_counts: Callable[[Counts], Array]) -> tuple[float, Array]:
        """A metric's mean over the epochs, and the same without each group; one epoch at a time."""
        epochs = zip(self.hits, self.predictions, strict=True)
        pairs = [leave_one_out_counts(of_counts, self.images, *each) for each in epochs]
        values, without = zip(*pairs, strict=True)
        return float(np.mean(values)), np.mean(without, axis=0)


def _of_epochs(
    pooled: PooledPredictions, by_epoch: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]
) -> _Counts:
    classes = len(pooled.classes)
    images, hits, predictions = zip(
        *(_all_classes(classes_by_group(pooled.labels, each, groups), classes) for each in by_epoch.T),
        strict=True,
    )
    return _Counts(images[0], list(hits), list(predictions))


def _all_classes(counts: Sequence[Array], classes: int) -> list[Array]:
    """Counts with columns for classes that are neither labelled nor predicted."""
    return [np.pad(each, ((0, 0), (0, classes - each.shape[1]))) for each in counts]


def group_numbers(names: Sequence[str | None]) -> tuple[npt.NDArray[np.int64], int]:
    """Each image's group as a number from 0, and how many images have none and got their own.

    Args:
        names: of the images' groups, None or empty for an image without one.
    """
    given = np.array([name or None for name in names], dtype=object)
    found, known = pd.factorize(given)
    missing = found < 0
    found[missing] = len(known) + np.arange(missing.sum())
    return found.astype(np.int64), int(missing.sum())
