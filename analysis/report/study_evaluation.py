"""The report's sections on predictions and epochs: patients, classes, confusion, calibration, curves."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.report import figures_curves, figures_evaluation, run_tables
from analysis.report.figures import ProcessStyle
from analysis.report.page import Caveat, Section
from analysis.report.study_tables import Labels
from analysis.report.tables import Table
from analysis.runs.details import RunDetails
from analysis.statistics.patients import PatientBootstrap, resample_patients
from stages.errors import RelayError


def bootstrap_patients(
    runs: pd.DataFrame, details: RunDetails, runs_dir: Path
) -> tuple[PatientBootstrap | None, list[Caveat]]:
    """A bootstrap over patients of the runs whose predictions can be read, or a caveat that says why not."""
    readable = runs[~runs["folder"].isin(details.without_predictions) & (runs["data_ratio"] == 1.0)]
    if readable.empty:
        return None, []
    try:
        return resample_patients(readable), []
    except RelayError as error:
        reason = str(error).replace(f"{runs_dir}/", "")
        return None, [Caveat("No intervals over patients", f"The predictions do not fit together: {reason}")]


def patients(
    details: RunDetails,
    of_classes: pd.DataFrame,
    bootstrap: PatientBootstrap | None,
    labels: Labels,
    styles: Mapping[str, ProcessStyle],
) -> Section | None:
    """Values, differences and recall with intervals over patients; None without whole-set runs.

    Args:
        details: of the study's runs.
        of_classes: of `run_tables.class_data`.
        bootstrap: over patients, if there is one.
        labels: of the processes, in order.
        styles: of the processes.
    """
    if not details.matrices:
        return None
    data = run_tables.recall_data(of_classes, bootstrap)
    recall = run_tables.recall_table(data, labels)
    if bootstrap is None:
        text = ["Patients cannot be resampled, because no predictions were read. Intervals are over seeds."]
        tables: list[Table] = []
        folded: list[Table] = []
        drawn, interval = data, "over seeds"
    else:
        text = [
            "Seeds say how much training varies on one evaluation set, but not what other patients would "
            "show. Here its groups (patients) are resampled instead, in the same way for all processes."
        ]
        differences = [
            run_tables.patients_differences_table(bootstrap, metric, labels)
            for metric in bootstrap.differences["metric"].unique()
        ]
        tables = [run_tables.patients_table(bootstrap, labels), *differences[:1]]
        folded = differences[1:]
        drawn = bootstrap.recall.rename(columns={"recall": "mean"})
        interval = "over patients"
    caption = (
        f"All training data, after the last epoch; mean over seeds with its 95% interval {interval}. "
        "Recall of a class with few images changes in large steps."
    )
    return Section(
        "patients",
        "Patients and classes",
        text,
        pictures=[figures_evaluation.class_recall(drawn, styles, details.classes, caption)],
        tables=tables,
        folded=[recall, *folded],
        folded_title="Recall of each class, and differences in other metrics, as tables",
    )


def confusion(
    details: RunDetails, of_classes: pd.DataFrame, labels: Labels, styles: Mapping[str, ProcessStyle]
) -> Section | None:
    """Confusion matrices and the metrics of each class; None without whole-set runs."""
    if not details.matrices:
        return None
    chosen = [name for name in labels if name in details.matrices]
    counts = details.confusion
    return Section(
        "confusion",
        "Confusion matrices",
        [
            "All training data, after the last epoch, summed over seeds: percent of the true class, and "
            "counts in brackets where there is room."
        ],
        grid=[
            figures_evaluation.confusion_matrix(
                name, styles[name], counts[name], details.classes, len(details.matrices[name])
            )
            for name in chosen
        ],
        folded=[
            run_tables.class_table(of_classes, labels),
            *(
                run_tables.confusion_table(name, labels[name], counts[name], details.classes)
                for name in chosen
            ),
        ],
        folded_title="Sensitivity, specificity and precision of each class, and the counts, as tables",
    )


def calibration(details: RunDetails, styles: Mapping[str, ProcessStyle]) -> Section | None:
    """Reliability diagrams; None without whole-set runs."""
    if not details.matrices:
        return None
    if not details.reliability:
        return Section("calibration", "Calibration", ["No predictions could be read."])
    picture = figures_evaluation.reliability_diagrams(details.reliability, styles)
    return Section("calibration", "Calibration", pictures=[picture])


def curves(details: RunDetails, styles: Mapping[str, ProcessStyle]) -> Section:
    """Learning curves of every run."""
    with_curves = {process for process, _ in details.curves}
    pictures = [
        figures_curves.run_curves(details.curves, name, style, details.baseline)
        for name, style in styles.items()
        if name in with_curves
    ]
    text = [] if pictures else ["No history could be read."]
    return Section("curves", "Learning curves of every run", text, pictures=pictures)
