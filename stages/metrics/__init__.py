"""The metrics: name, title, unit and direction of each, from one table of declarations."""

from stages.metrics.declaration import MEAN, REPRESENTATIVE, Array, Counts, Metric, Outputs, Place
from stages.metrics.table import (
    CALIBRATION_BINS,
    METRICS,
    MOST_CONFIDENT,
    PRIMARY,
    TRAIN_LOSS,
    metric_of,
    of_a_class,
    shown_in,
    titles_in,
)

__all__ = [
    "CALIBRATION_BINS",
    "MEAN",
    "METRICS",
    "MOST_CONFIDENT",
    "PRIMARY",
    "REPRESENTATIVE",
    "TRAIN_LOSS",
    "Array",
    "Counts",
    "Metric",
    "Outputs",
    "Place",
    "metric_of",
    "of_a_class",
    "shown_in",
    "titles_in",
]
