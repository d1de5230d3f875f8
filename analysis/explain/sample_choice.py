"""The rule that chooses which images of the evaluation set are shown; nobody picks them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from stages.errors import RelayError
from stages.predictions import read_predictions
from stages.store import RunFolder

RULE = (
    "Of each class, images are ordered by the probability of the true class, averaged over the runs that are "
    "compared; those at equal steps of that order are taken, the median one if there is one"
)


def choose_samples(
    probability: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], per_class: int
) -> npt.NDArray[np.int64]:
    """Images that are neither the easiest nor the hardest of their class.

    Args:
        probability: (N,), of `true_class_probability`.
        labels: int64, (N,).
        per_class: How many of each class, at least 1; all of a class that has fewer.

    Returns:
        int64 rows of the evaluation set, class by class, from the least probable. A class without images has
        none.

    Raises:
        RelayError: If `per_class` is out of range.
    """
    if per_class < 1:
        raise RelayError(f"per_class is {per_class}; give at least 1")
    chosen: list[int] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        ordered = rows[np.lexsort((rows, probability[rows]))]
        count = min(per_class, len(ordered))
        places = [int((step + 0.5) / count * len(ordered)) for step in range(count)]
        chosen += [int(ordered[place]) for place in places]
    return np.asarray(chosen, dtype=np.int64)


def true_class_probability(
    folders: Sequence[Path], samples: Sequence[str], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The probability of each image's true class, summed over runs, (N,).

    Args:
        folders: The stage runs that are compared; of each, `predictions.parquet` is read.
        samples: N names of the evaluation set.
        labels: int64, (N,).

    Raises:
        RelayError: If predictions cannot be read or are of another evaluation set.
    """
    total = np.zeros(len(samples))
    for folder in folders:
        total += _of_run(folder, samples, labels)
    return total


def _of_run(folder: Path, samples: Sequence[str], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    file = RunFolder(folder).predictions
    predictions = read_predictions(file, samples=True)
    if predictions.samples != tuple(samples):
        raise RelayError(f"{file} is of another evaluation set than the images that config.yaml names")
    probabilities = softmax(predictions.logits.astype(np.float64), axis=1)
    return np.asarray(probabilities[np.arange(len(labels)), labels])
