"""A study's report: its statistics, caveats, sentences, tables and figures, in the order of the page."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from analysis.report import (
    figures_curves,
    figures_study,
    provenance,
    run_tables,
    sentences,
    study_evaluation,
    study_tables,
)
from analysis.report.baseline_section import baseline_section
from analysis.report.caveats import study_caveats
from analysis.report.data_section import data_section
from analysis.report.errors_section import errors_section
from analysis.report.explained_sections import explained_sections
from analysis.report.explained_study import load_explained
from analysis.report.figures import ProcessStyle
from analysis.report.page import Caveat, Report, Section
from analysis.report.processes import process_labels, styles_of
from analysis.report.study_tables import Labels
from analysis.report.tables import Table
from analysis.runs.details import Cell, RunDetails, read_details
from analysis.runs.out_of_fold import PooledPredictions, pool_folds
from analysis.runs.selection import metrics_of, on_whole_set, process_order
from analysis.runs.study import Study
from analysis.statistics.comparison import compare, pairwise
from analysis.statistics.robustness import at_ratios, slope_tests, slopes
from stages.errors import RelayError
from stages.metrics import PRIMARY, Place, shown_in


def study_report(
    study: Study,
    runs_dir: Path,
    *,
    sources: pd.DataFrame,
    store_caveats: Sequence[Caveat],
    studies: Table | None,
    version: str,
) -> Report:
    """The report of a study.

    Args:
        study: which one.
        runs_dir: its store.
        sources: the sources of its runs.
        store_caveats: caveats about the store.
        studies: table of the store's studies, if there are several.
        version: Relay's.

    Raises:
        RelayError: if two runs of the study have the same process, seed and data ratio.
    """
    runs = study.runs
    labels = process_labels(process_order(runs["process"]))
    comparison = compare(runs)  # refuses mixed runs before files are read and figures drawn
    details = read_details(runs, sources)
    styles = styles_of(labels)
    pooled = _pooled(runs)
    pairs = _by_metric(runs, "table 1", pairwise)
    primary_pairs = pairs[pairs["metric"] == PRIMARY]
    of_classes = run_tables.class_data(details.matrices, labels, details.classes)
    bootstrap, over_patients = study_evaluation.bootstrap_patients(runs, details, runs_dir)
    found = [
        *store_caveats,
        *over_patients,
        *study_caveats(runs, sources, details, comparison, primary_pairs, labels, runs_dir),
    ]
    summary = [sentences.headline(comparison, primary_pairs, labels)]
    if bootstrap is not None:
        sentence = sentences.patients_sentence(comparison, bootstrap.differences, labels, bootstrap.groups)
        summary += [sentence] if sentence else []
    sections = [
        data_section(study, sources),
        _comparison(runs, comparison, pairs, labels, styles, details.baseline.get(1.0)),
        baseline_section(runs, pooled, labels),
        errors_section(pooled, labels),
        study_evaluation.patients(details, of_classes, bootstrap, labels, styles),
        _robustness(runs, details, labels, styles),
        study_evaluation.confusion(details, of_classes, labels, styles),
        study_evaluation.calibration(details, styles),
        study_evaluation.curves(details, styles),
        *explained_sections(
            load_explained(runs_dir, study.id),
            labels,
            styles,
            runs_dir,
            runs=int((runs["data_ratio"] == 1.0).sum()),
        ),
        Section(
            "runs", "Runs", folded=[run_tables.runs_table(runs, labels, runs_dir)], folded_title="All runs"
        ),
        _provenance(study, details, labels, studies),
    ]
    return Report(
        title=f"Relay: which learning process for {study.target}?",
        question="Which chain of source domains should a network see before it is trained on "
        f"{study.target}, how sure is that, and how much does it depend on the amount of training data?",
        version=version,
        facts=_facts(study, details),
        caveats=sorted(found, key=lambda caveat: not caveat.serious),
        summary=summary,
        sentences=sentences.process_sentences(comparison, primary_pairs, labels),
        sections=[section for section in sections if section is not None],
    )


def _by_metric(
    runs: pd.DataFrame, place: Place, statistic: Callable[[pd.DataFrame, str], pd.DataFrame]
) -> pd.DataFrame:
    """A statistic of the metrics that are shown in a place and that the runs have, one after the other."""
    there = [metric.name for metric in shown_in(place) if metric.name in metrics_of(runs)]
    parts = [statistic(runs, metric).assign(metric=metric) for metric in there]
    return pd.concat(parts, ignore_index=True)


def _pooled(runs: pd.DataFrame) -> PooledPredictions | None:
    """Predictions with all training data; None where there are none, or some cannot be read."""
    try:
        return pool_folds(on_whole_set(runs))
    except RelayError:
        return None


def _unreached(runs: pd.DataFrame) -> set[Cell]:
    rows = runs[~runs["plateau_reached"].astype(bool)]
    return set(zip(rows["process"], rows["data_ratio"], strict=True))


def _facts(study: Study, details: RunDetails) -> list[tuple[str, str]]:
    runs = study.runs
    images = sum(details.evaluation_images)
    groups = f" of {details.evaluation_groups} patients (groups)" if details.groups_known else ""
    return [
        ("study", study.id),
        ("target", f"{study.target}, {len(details.classes)} classes"),
        ("runs", str(len(runs))),
        ("seeds", str(runs["seed"].nunique())),
        ("training images", ", ".join(f"{100 * ratio:g}%" for ratio in sorted(runs["data_ratio"].unique()))),
        ("evaluation set", f"{images} images{groups}"),
        ("last run finished", _time(max(details.finished))),
    ]


def _time(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _comparison(
    runs: pd.DataFrame,
    comparison: pd.DataFrame,
    pairs: pd.DataFrame,
    labels: Labels,
    styles: Mapping[str, ProcessStyle],
    baseline: float | None,
) -> Section:
    title = "Comparison with all training data"
    if comparison.empty:
        return Section("comparison", title, ["No run of this study used all training data."])
    several = comparison["process"].nunique() > 1
    tables = [study_tables.table_1(comparison, runs, labels)]
    folded = [study_tables.all_metrics(comparison, labels)]
    if several:
        tables.append(study_tables.pairwise_table(pairs[pairs["metric"] == PRIMARY], labels))
        folded.insert(0, study_tables.all_pairwise_table(pairs, labels))
    return Section(
        "comparison",
        title,
        [] if several else ["There is only one process, so there is nothing to compare it with."],
        pictures=[figures_study.performance_points(runs, comparison, styles, baseline)],
        tables=tables,
        folded=folded,
        folded_title="Every metric",
    )


def _robustness(
    runs: pd.DataFrame, details: RunDetails, labels: Labels, styles: Mapping[str, ProcessStyle]
) -> Section:
    means = _by_metric(runs, "robustness", at_ratios)
    unreached = _unreached(runs)
    lines = slopes(runs)
    several = runs["data_ratio"].nunique() > 1
    pictures = [figures_study.ratio_bars(means, styles, details.baseline, unreached)]
    if details.curves:
        pictures.append(figures_curves.learning_curves(details.curves, styles, details.baseline))
    tables, folded = [], [study_tables.ratio_table(means, labels, unreached)]
    if several:
        tables.append(study_tables.slope_table(lines, labels))
        if runs["process"].nunique() > 1:
            tests = _by_metric(runs, "robustness", slope_tests)
            tables.append(study_tables.slope_test_table(tests, labels))
    return Section(
        "robustness",
        "Robustness to the amount of training data",
        [] if several else ["There is only one amount of training data, so there are no slopes."],
        sentences=sentences.robustness_sentences(lines, means[means["metric"] == PRIMARY], labels),
        pictures=pictures,
        tables=tables,
        folded=folded,
        folded_title="Values at each amount of training data",
        print_folded=True,
    )


def _provenance(study: Study, details: RunDetails, labels: Labels, studies: Table | None) -> Section:
    tables = [
        provenance.process_table(study.runs, labels),
        provenance.origin_table(details),
        provenance.settings_table(study),
    ]
    return Section(
        "provenance",
        "Provenance",
        [
            "Each run is in the folder STAGE/ID of the store, with its whole recipe in recipe.yaml and its "
            "configuration in config.yaml. The table of runs names the folders."
        ],
        tables=[*([studies] if studies else []), *tables],
    )
