"""Tables of the predictions and of the runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.report import tables
from analysis.report.caveats import relative
from analysis.report.study_tables import (
    MAIN_METRICS,
    METRIC,
    PAIR,
    PROCESS,
    Labels,
    in_order,
    labelled,
    labelled_pairs,
)
from analysis.report.tables import Table
from analysis.runs.selection import is_fraction, scale_of
from analysis.statistics.comparison import mean_interval
from analysis.statistics.patients import PatientBootstrap
from stages.recipe import short_id

_MOST_RUNS = 1000


def recall_data(
    matrices: Mapping[str, Sequence[npt.NDArray[np.int64]]],
    labels: Labels,
    classes: Sequence[str],
    bootstrap: PatientBootstrap | None,
) -> pd.DataFrame:
    """Recall of each class with intervals over seeds and, where it was possible, over patients.

    Returns:
        Columns: process, class, images, groups (NaN if not known), mean, std, n, ci_low, ci_high (over
        seeds), patients_low, patients_high.
    """
    rows = []
    for process in (name for name in labels if name in matrices):
        stacked = np.stack(matrices[process]).astype(np.float64)
        true = stacked.sum(axis=2)
        recall = np.divide(np.diagonal(stacked, axis1=1, axis2=2), true, where=true > 0, out=true * np.nan)
        for index, name in enumerate(classes):
            over_seeds = mean_interval(recall[:, index])
            low, high = np.clip([over_seeds.ci_low, over_seeds.ci_high], 0.0, 1.0)  # a share is no more
            over_seeds = over_seeds._replace(ci_low=float(low), ci_high=float(high))
            rows.append((process, name, int(true[0, index]), *over_seeds))
    data = pd.DataFrame(rows, columns=["process", "class", "images", "mean", "std", "n", "ci_low", "ci_high"])
    if bootstrap is None:
        return data.assign(groups=np.nan, patients_low=np.nan, patients_high=np.nan)
    other = bootstrap.recall.rename(columns={"ci_low": "patients_low", "ci_high": "patients_high"})
    columns = ["process", "class", "groups", "patients_low", "patients_high"]
    return data.merge(other[columns], on=["process", "class"], how="left")


def recall_table(data: pd.DataFrame, labels: Labels) -> Table:
    """Recall of each class.

    Args:
        data: of `recall_data`.
        labels: of the processes.
    """
    return Table(
        "recall",
        "Recall of each class",
        "In percent, all training data, after the last epoch: mean ± standard deviation over seeds with the "
        "mean's 95% t interval, and the 95% interval over patients (groups of the evaluation set resampled).",
        [
            PROCESS,
            tables.text("class", "class"),
            tables.number("images", "images", 0),
            tables.number("groups", "groups", 0),
            tables.estimate("recall, seeds (%)", 1, scale=100.0),
            tables.interval("interval, patients (%)", 1, "patients_low", "patients_high", scale=100.0),
        ],
        labelled(data, labels),
    )


def patients_table(bootstrap: PatientBootstrap, labels: Labels) -> Table:
    """Accuracy and macro F1 with intervals over patients."""
    return Table(
        "patients",
        "What other patients might have shown",
        "In percent, all training data, mean over the seeds as they are; 95% percentile interval of "
        f"{_resamples(bootstrap)}",
        [
            PROCESS,
            METRIC,
            tables.estimate("value (%)", 2, scale=100.0, error=None),
            tables.number("n", "seeds", 0),
        ],
        labelled(bootstrap.metrics, labels),
    )


def patients_differences_table(bootstrap: PatientBootstrap, metric: str, labels: Labels) -> Table:
    """Differences between processes in a metric, with intervals over patients."""
    differences = bootstrap.differences
    return Table(
        f"patients_differences_{metric}",
        f"Differences in {tables.metric_name(metric)}, over patients",
        "In percentage points, process minus the one against it, on the same resamples for both; "
        f"{_resamples(bootstrap)} An interval that contains 0 means that other patients could reverse the "
        "order.",
        [*PAIR, tables.estimate("difference", 2, scale=100.0, mean="difference", error=None)],
        labelled_pairs(differences[differences["metric"] == metric], labels),
    )


def _resamples(bootstrap: PatientBootstrap) -> str:
    return f"{bootstrap.resamples} resamples of {bootstrap.groups} groups, after the last epoch."


def confusion_table(process: str, label: str, counts: npt.NDArray[np.int64], classes: Sequence[str]) -> Table:
    """A process's confusion matrix in counts, summed over seeds."""
    predicted = [f"predicted {name}" for name in classes]
    data = pd.DataFrame(counts, columns=predicted)
    data.insert(0, "true class", list(classes))
    columns = [tables.text("true class", "true class")]
    columns += [tables.number(key, name, 0) for key, name in zip(predicted, classes, strict=True)]
    return Table(
        f"confusion_{tables.file_name(process)}",
        f"Confusion matrix of {label}, counts",
        "A row a true class, a column a predicted class; all training data, summed over seeds.",
        columns,
        data,
    )


def runs_table(runs: pd.DataFrame, labels: Labels, runs_dir: Path) -> Table:
    """Every run of the study; paths are relative to the store."""
    data = runs.assign(
        label=runs["process"].map(dict(labels)),
        short_id=runs["id"].map(short_id),
        plateau=[
            f"{onset + 1} to {onset + length}{'' if reached else ' *'}"
            for onset, length, reached in zip(
                runs["plateau_onset"], runs["plateau_length"], runs["plateau_reached"], strict=True
            )
        ],
        folder=[relative(folder, runs_dir) for folder in runs["folder"]],
    )
    data = in_order(data, labels, "data_ratio", "seed")
    columns = [
        PROCESS,
        tables.number("data_ratio", "data (%)", 0, scale=100.0),
        tables.number("seed", "seed", 0),
    ]
    columns += [
        tables.number(f"{metric}_p75", title, 2 if is_fraction(metric) else 3, scale=scale_of(metric))
        for metric, title in MAIN_METRICS.items()
        if f"{metric}_p75" in runs and metric not in ("precision_macro", "recall_macro")
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
        "Representative values. Plateau: its epochs; * it was not reached."
        + (
            f" The first {_MOST_RUNS} of {len(data)} runs; runs.csv has all."
            if len(data) > _MOST_RUNS
            else ""
        ),
        columns,
        data,
        shown=_MOST_RUNS,
    )
