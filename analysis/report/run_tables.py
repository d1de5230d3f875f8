"""Tables of the predictions and of the runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.report import tables
from analysis.report.page import relative
from analysis.report.study_tables import (
    PROCESS,
    Labels,
    estimates,
    in_order,
    labelled,
)
from analysis.report.tables import Table
from analysis.runs.folds import in_folds
from analysis.statistics.comparison import mean_interval
from stages.metrics import Counts, of_a_class, shown_in
from stages.recipe import short_id
from stages.record import NOT_LEARNING


def class_data(
    matrices: Mapping[str, Mapping[int, npt.NDArray[np.int64]]], labels: Labels, classes: Sequence[str]
) -> pd.DataFrame:
    """The metrics of each class, from the confusion matrices of a process's seeds.

    Returns:
        One row per process and class. Columns: process, class, images, and for each metric of a class
        METRIC_mean, _std, _n, _ci_low and _ci_high, over the seeds at which it is defined.
    """
    rows = []
    for process in (name for name in labels if name in matrices):
        counts = Counts.of(np.stack(list(matrices[process].values())))
        values = [(metric, metric.of_counts(counts)) for metric in of_a_class() if metric.of_counts]
        for index, name in enumerate(classes):
            row = {"process": process, "class": name, "images": int(counts.true[0, index])}
            for metric, of_seeds in values:
                over_seeds = mean_interval(of_seeds[:, index], metric)
                row |= {f"{metric.name}_{part}": value for part, value in over_seeds._asdict().items()}
            rows.append(row)
    return pd.DataFrame(rows)


def class_table(data: pd.DataFrame, labels: Labels) -> Table:
    """Sensitivity, specificity and precision of each class.

    Args:
        data: of `class_data`.
        labels: of the processes.
    """
    return Table(
        "classes",
        "Metrics of each class",
        "All training data, after the last epoch: mean ± standard deviation over seeds, with the mean's 95% "
        "interval for new seeds on these images. Sensitivity is not defined for a class without images, "
        "specificity for one that all images are of. Precision is 0 for a class that has images and is "
        "never predicted.",
        [
            PROCESS,
            tables.text("class", "class"),
            tables.number("images", "images", 0),
            *estimates(of_a_class(), digits=1),
        ],
        labelled(data, labels),
    )


def confusion_table(process: str, label: str, counts: npt.NDArray[np.int64], classes: Sequence[str]) -> Table:
    """A process's confusion matrix as counts, summed over seeds."""
    predicted = [f"predicted {name}" for name in classes]
    data = pd.DataFrame(counts, columns=predicted)
    data.insert(0, "true class", list(classes))
    columns = [tables.text("true class", "true class")]
    columns += [tables.number(key, name, 0) for key, name in zip(predicted, classes, strict=True)]
    return Table(
        f"confusion_{tables.file_name(process)}",
        f"Confusion matrix of {label}, counts",
        "One row per true class, one column per predicted class; all training data, summed over seeds.",
        columns,
        data,
    )


def runs_table(runs: pd.DataFrame, labels: Labels, runs_dir: Path) -> Table:
    """Every run of the study; paths are relative to the store."""
    data = runs.assign(
        label=runs["process"].map(dict(labels)),
        short_id=runs["id"].map(short_id),
        plateau=[
            f"{onset + 1} to {onset + length}{mark}"
            for onset, length, mark in zip(
                runs["plateau_onset"], runs["plateau_length"], _plateau_marks(runs), strict=True
            )
        ],
        folder=[relative(folder, runs_dir) for folder in runs["folder"]],
    )
    has_folds = in_folds(runs)
    data = in_order(data, labels, "data_ratio", "seed", *(["fold"] if has_folds else []))
    columns = [
        PROCESS,
        tables.number("data_ratio", "data (%)", 0, scale=100.0),
        tables.number("seed", "seed", 0),
        *([tables.number("fold", "fold", 0)] if has_folds else []),
    ]
    columns += [
        tables.number(column, heading, metric.digits, scale=metric.scale)
        for metric in shown_in("overview")
        for column, heading in (
            (metric.column, metric.short_heading),
            (metric.mean_column, f"mean {metric.short_heading}"),
        )
        if column in runs
    ]
    columns += [
        tables.number("epochs", "epochs", 0),
        tables.text("plateau", "plateau"),
        tables.number("seconds", "seconds", 0),
        tables.text("folder", "folder", code=True),
    ]
    return Table(
        "runs",
        "Runs",
        "Representative values (75th percentiles over the plateau's epochs), and means over these epochs. "
        f"Plateau: its epochs; * means that it was not reached, {NOT_LEARNING} that in the end the "
        "training loss is about that of guessing by the classes' frequencies.",
        columns,
        data,
    )


def _plateau_marks(runs: pd.DataFrame) -> list[str]:
    reached, learning = runs["plateau_reached"], runs["learning"]
    return [
        "" if good else " *" if learned else f" *, {NOT_LEARNING}"
        for good, learned in zip(reached, learning, strict=True)
    ]
