"""A locked test set in the folders of runs that nobody trained."""

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stages.predictions import write_predictions
from stages.store import RunFolder
from tests.helpers.stage_helpers import seal

Predicted = npt.NDArray[np.int64]


def add_test_set(
    folders: Sequence[RunFolder], *, images: int = 60, patients: int = 12, accuracy: float = 0.8
) -> tuple[Predicted, tuple[str, ...], dict[str, Predicted]]:
    """Give each run the predictions of one test set, and its record the counts.

    Returns:
        Labels and groups of the images, and the predicted classes by the run's id.
    """
    predicted: dict[str, Predicted] = {}
    groups = tuple(f"TEST-PATIENT-{image % patients:02d}" for image in range(images))
    labels = np.zeros(0, np.int64)
    for number, folder in enumerate(folders):
        content = json.loads(folder.record.read_text())
        classes = content["data"]["classes"]
        labels = np.arange(images, dtype=np.int64) % len(classes)
        random = np.random.default_rng(number)
        right = random.random(images) < accuracy
        chosen = np.where(right, labels, (labels + 1 + number % (len(classes) - 1)) % len(classes))
        logits = random.normal(size=(images, len(classes))).astype(np.float32)
        logits[np.arange(images), chosen] = 9.0
        write_predictions(
            folder.test_predictions,
            samples=[f"{group}/{image}.png" for image, group in enumerate(groups)],
            groups=groups,
            labels=labels,
            logits=logits,
            classes=classes,
        )
        content["data"]["test_counts"] = np.bincount(labels, minlength=len(classes)).tolist()
        content["data"]["test_groups"] = patients
        seal(folder, content)
        predicted[content["id"]] = chosen
    return labels, groups, predicted
