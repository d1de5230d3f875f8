"""The report's sections on predictions and epochs: patients, classes, confusion, calibration, curves."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.report import figures_curves, figures_evaluation, inference_tables, run_tables
from analysis.report.figures import ProcessStyle
from analysis.report.judgement import Words
from analysis.report.page import Caveat, Section
from analysis.report.study_tables import Labels
from analysis.runs.details import RunDetails
from analysis.runs.out_of_fold import PooledPredictions, pool_folds
from analysis.runs.selection import on_whole_set
from stages.errors import RelayError


def pooled_predictions(
    readable: pd.DataFrame, runs_dir: Path
) -> tuple[PooledPredictions | None, list[Caveat]]:
    """Predictions with all training data of runs that can be read, or a caveat that says why not."""
    whole = on_whole_set(readable)
    if whole.empty:
        return None, []
    try:
        return pool_folds(whole), []
    except RelayError as error:
        reason = str(error).replace(f"{runs_dir}/", "")
        return None, [Caveat("No intervals over patients", f"The predictions do not fit together: {reason}")]


def recall(
    details: RunDetails, of_classes: pd.DataFrame, words: Words, styles: Mapping[str, ProcessStyle]
) -> Section | None:
    """Recall of each class with intervals; None without whole-set runs.

    Args:
        details: of the study's runs.
        of_classes: of `run_tables.class_data`.
        words: of the study.
        styles: of the processes.
    """
    if not details.matrices:
        return None
    data = inference_tables.recall_data(of_classes, words.inference)
    if len(words.inference.recall):
        caption = "All training data, mean over seeds and the plateau's epochs"
        covers = set(words.inference.recall["covers"]) - {""}
        if covers == {"patients"}:
            caption += (
                f", with its 95% interval for new {words.others}, the networks fixed (Korn and Graubard): "
                "it says nothing of new seeds."
            )
        elif covers:
            caption += f", out of fold, with its 95% interval for new seeds and new {words.others}."
        else:
            caption += ". No interval: with folds it takes two seeds."
    else:
        caption = (
            "All training data, after the last epoch, mean over seeds with its 95% interval for new seeds on "
            "these images: no predictions were read."
        )
    return Section(
        "recall",
        "Recall of each class",
        ["Recall of a class with few images or patients changes in large steps."],
        pictures=[figures_evaluation.class_recall(data, styles, details.classes, caption)],
        folded=[inference_tables.recall_table(data, words.labels, caption)],
        folded_title="Recall of each class, as a table",
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
                name, styles[name], counts[name], details.classes, _of_seeds(len(details.matrices[name]))
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


def _of_seeds(seeds: int) -> str:
    runs = "one run" if seeds == 1 else f"the sum over {seeds} seeds"
    return f"All training data, {runs}"


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
