"""The tables that lie beside the page of a set elsewhere."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.prediction.evaluation.judged import Judged
from analysis.prediction.evaluation.measures import groups_of

TABLES = ("predictions.csv", "metrics.csv", "groups.csv", "known_images.csv")
"""Names that `tables_of` may write."""


def predictions_of(judged: Judged) -> pd.DataFrame:
    """One row per image: path, class, probability_CLASS..., spread, true_class, group, temperature.

    `spread` is the standard deviation over networks of the probability of the class; empty with one network.
    Groups stand there where there are some, temperatures where there is a calibration.
    """
    answers = judged.answers
    mean, each = np.exp(answers.together[0]), np.exp(answers.each)
    said = mean.argmax(axis=1)
    rows = np.arange(judged.images)
    columns: dict[str, Sequence[object] | npt.NDArray[np.generic]] = {
        "path": judged.samples,
        "class": [judged.classes[label] for label in said],
    }
    columns |= {f"probability_{name}": mean[:, label] for label, name in enumerate(judged.classes)}
    alone = len(each) < 2
    columns["spread"] = np.full(judged.images, np.nan) if alone else each[:, rows, said].std(axis=0, ddof=1)
    columns["true_class"] = [judged.classes[label] for label in answers.labels]
    if not answers.groups_are_images:
        columns["group"] = [judged.group_names[group] for group in answers.groups]
    if judged.calibration is not None:
        columns["temperature"] = judged.temperatures
    return pd.DataFrame(columns)


def tables_of(judged: Judged) -> Mapping[str, pd.DataFrame]:
    """The tables that lie beside the page, by file name."""
    found = {"predictions.csv": predictions_of(judged), "metrics.csv": judged.metrics}
    if not judged.answers.groups_are_images:
        found["groups.csv"] = groups_of(judged.answers, judged.classes, list(judged.group_names))
    overlap = judged.overlap
    if overlap.any:
        kinds = np.where(overlap.equal, "trained on", "trained on, nearly equal")
        before = np.where(overlap.sources, "trained on in a source stage", "evaluated at home")
        kinds = np.where(overlap.trained, kinds, before)
        known = overlap.trained | overlap.evaluated | overlap.sources
        found["known_images.csv"] = pd.DataFrame(
            {"path": np.asarray(judged.samples, dtype=object)[known], "known": kinds[known]}
        )
    return found
