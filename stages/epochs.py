"""The epochs of a run, as `history.csv` has them, and what a record says of those of the plateau."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from stages.metrics import METRICS
from stages.plateau import Plateau, representative_value
from stages.record import MetricRecord

Row = dict[str, float | int]

LEARNING_RATE = "learning_rate"
"""The column of the rate of an epoch's last step; where layers differ, the highest."""


def to_csv(rows: list[Row]) -> str:
    """Rows as CSV with a header; numbers in full precision.

    A run that was begun by a version with other metrics has empty fields.
    """
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_csv(path: Path) -> list[Row]:
    """The rows that `to_csv` wrote.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not such a file.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = [
            {name: int(value) if name == "epoch" else float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file, strict=True)
        ]
    if not rows or any(None in row for row in rows):
        raise ValueError("it is not a table of epochs")
    return rows


def summarise(rows: Sequence[Row], plateau: Plateau) -> dict[str, MetricRecord]:
    """Every metric over the plateau's epochs: percentiles (paper, section 6), mean, last and best value.

    A run that was begun by a version with other metrics has those that each epoch of the plateau has.

    Args:
        rows: one for each epoch of the training.
        plateau: its epochs.
    """
    of_plateau = [rows[epoch] for epoch in plateau.epochs]
    summary = {}
    for name, metric in METRICS.items():
        if not all(name in row for row in of_plateau):
            continue
        values = [float(row[name]) for row in of_plateau]
        summary[name] = MetricRecord(
            p75=representative_value(values, 75.0),
            p50=representative_value(values, 50.0),
            p25=representative_value(values, 25.0),
            mean=math.fsum(values) / len(values),
            last=values[-1],
            best=metric.best(values),
        )
    return summary
