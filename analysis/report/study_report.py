"""A study's report: its statistics, caveats, sentences, tables and figures, in the order of the page."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from analysis.explain.study_networks import rows_to_explain
from analysis.report import (
    figures_curves,
    figures_study,
    inference_tables,
    provenance,
    run_tables,
    sentences,
    study_evaluation,
    study_tables,
)
from analysis.report.baseline_section import baseline_level, baseline_section
from analysis.report.caveats import study_caveats
from analysis.report.data_section import data_section
from analysis.report.errors_section import errors_section
from analysis.report.explained_sections import explained_sections
from analysis.report.explained_study import load_explained
from analysis.report.figures import ProcessStyle
from analysis.report.judgement import Words, companion
from analysis.report.page import Caveat, Report, Section
from analysis.report.processes import process_labels, styles_of
from analysis.report.repeat import repeat_section
from analysis.report.study_tables import Labels
from analysis.report.tables import Table
from analysis.runs.details import Cell, RunDetails, most_frequent, read_details
from analysis.runs.folds import in_folds
from analysis.runs.selection import metric_column, metrics_of, process_order
from analysis.runs.study import Study
from analysis.statistics.comparison import compare
from analysis.statistics.inference import infer
from analysis.statistics.robustness import at_ratios, slope_tests, slopes
from stages.console.words import counted
from stages.metrics import MEAN, PRIMARY, REPRESENTATIVE, Metric, metric_of, shown_in


def study_report(
    study: Study,
    runs_dir: Path,
    *,
    metric: str,
    sources: pd.DataFrame,
    store_caveats: Sequence[Caveat],
    studies: Table | None,
    version: str,
) -> Report:
    """The report of a study.

    Args:
        study: which one.
        runs_dir: its store.
        metric: name of the main one.
        sources: the sources of its runs.
        store_caveats: caveats about the store.
        studies: table of the store's studies, if there are several.
        version: Relay's.

    Raises:
        RelayError: if two runs of the study have the same process, seed and data ratio, or no run has the
            metric.
    """
    runs = study.runs
    labels = process_labels(process_order(runs["process"]))
    comparison = compare(runs)  # refuses mixed runs before files are read and figures drawn
    main = metric_of(metric_column(runs, metric).removesuffix(REPRESENTATIVE))
    details = read_details(runs, sources)
    styles = styles_of(labels)
    readable = runs[~runs["folder"].isin(details.without_predictions)]
    pooled, over_patients = study_evaluation.pooled_predictions(readable, runs_dir)
    second = companion(main, details.evaluation_images)
    judged = [each for each in (main, second, metric_of(PRIMARY)) if each is not None]
    judged = list(dict.fromkeys([*judged, *shown_in("table 1")]))
    there = [each for each in judged if each.name in metrics_of(runs)]
    words = Words(infer(runs, pooled, there), main, second, labels, details.test_set)
    of_classes = run_tables.class_data(details.matrices, labels, details.classes)
    found = [*store_caveats, *over_patients, *study_caveats(runs, sources, details, words, runs_dir)]
    sections = [
        data_section(study, sources),
        _comparison(runs, comparison, words, there),
        baseline_section(pooled, labels),
        errors_section(pooled, labels),
        study_evaluation.recall(details, of_classes, words, styles),
        _robustness(runs, details, words, styles),
        study_evaluation.confusion(details, of_classes, labels, styles),
        study_evaluation.calibration(details, styles),
        study_evaluation.curves(details, styles),
        *explained_sections(
            load_explained(runs_dir, study.id),
            labels,
            styles,
            runs_dir,
            runs=len(rows_to_explain(runs)),
            of_a_fold=in_folds(runs),
        ),
        Section(
            "runs", "Runs", folded=[run_tables.runs_table(runs, labels, runs_dir)], folded_title="All runs"
        ),
        _provenance(study, sources, details, labels, studies),
        repeat_section(
            study, details.origins.get("commit", {}), version, metric if metric != PRIMARY else None
        ),
    ]
    baseline = details.baseline.get(1.0) if main.name == PRIMARY else baseline_level(main, pooled)
    return Report(
        title=f"Which learning process for {study.target}?"
        + (f" Study {study.name}" if study.name != study.target else ""),
        question="Which chain of source domains should a network see before it is trained on "
        f"{study.target}, how sure is that, and how much does it depend on the amount of training data?",
        version=version,
        facts=_facts(study, sources, details),
        caveats=sorted(found, key=lambda caveat: not caveat.serious),
        summary=sentences.headline(words),
        figure=None
        if words.ranking(main).empty
        else figures_study.performance_points(words, styles, baseline),
        sentences=sentences.process_sentences(words),
        sections=[section for section in sections if section is not None],
    )


def _shown(runs: pd.DataFrame, metric: Metric) -> list[Metric]:
    """The main metric and those of the robustness, which the runs have."""
    shown = shown_in("robustness")
    chosen = shown if metric in shown else [metric, *shown]
    return [each for each in chosen if each.name in metrics_of(runs)]


def _by_metric(
    runs: pd.DataFrame,
    metrics: Sequence[Metric],
    statistic: Callable[..., pd.DataFrame],
    of: str = REPRESENTATIVE,
) -> pd.DataFrame:
    """A statistic of some metrics, one after the other."""
    parts = [statistic(runs, metric.name, of=of).assign(metric=metric.name) for metric in metrics]
    return pd.concat(parts, ignore_index=True)


def _unreached(runs: pd.DataFrame) -> set[Cell]:
    rows = runs[~runs["plateau_reached"].astype(bool)]
    return set(zip(rows["process"], rows["data_ratio"], strict=True))


def _facts(study: Study, sources: pd.DataFrame, details: RunDetails) -> list[tuple[str, str]]:
    runs = study.runs
    images = sum(details.evaluation_images)
    groups = f" of {details.evaluation_groups} patients (groups)" if details.groups_known else ""
    return [
        ("study", f"{study.name} ({study.id})"),
        ("target", f"{study.target}, {len(details.classes)} classes"),
        ("runs", str(len(runs))),
        ("seeds", str(runs["seed"].nunique())),
        ("training images", ", ".join(f"{100 * ratio:g}%" for ratio in sorted(runs["data_ratio"].unique()))),
        ("evaluation set", f"{images} images{groups}"),
        ("image size", _sizes(*details.sizes)),
        ("training time", _cost(runs, sources, details)),
        ("last run finished", _time(max(details.finished))),
    ]


def _cost(runs: pd.DataFrame, sources: pd.DataFrame, details: RunDetails) -> str:
    minutes = (runs["seconds"].sum() + sources["seconds"].sum()) / 60.0
    time = f"{minutes / 60:.1f} hours" if minutes >= 90 else counted(round(minutes), "minute")
    of = counted(len(runs), "run") + (f" and {counted(len(sources), 'source')}" if len(sources) else "")
    devices = details.origins.get("processor or GPU", Counter())
    named = " and ".join(name for name, _ in most_frequent(devices)) or "a device that is not known"
    return f"{time} together for {of}, on {named}; energy was not measured"


def _sizes(height: int, width: int, trained: int) -> str:
    own = f"{height} x {width} px"
    return own if height == width == trained else f"{own}, trained at {trained} x {trained} px"


def _time(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _comparison(
    runs: pd.DataFrame,
    comparison: pd.DataFrame,
    words: Words,
    metrics: Sequence[Metric],
) -> Section:
    title = "Comparison with all training data"
    if comparison.empty or words.ranking(words.metric).empty:
        return Section("comparison", title, ["No run of this study used all training data."])
    several = comparison["process"].nunique() > 1
    tables = [inference_tables.levels_table(words, metrics)]
    folded = [study_tables.all_metrics(comparison, words.labels)]
    if several:
        tables.append(inference_tables.differences_table(words))
        folded.insert(0, inference_tables.all_differences_table(words.inference, words.labels))
    return Section(
        "comparison",
        title,
        [] if several else ["There is only one process, so there is nothing to compare it with."],
        tables=[*tables, study_tables.table_1(comparison, runs, words.labels)],
        folded=folded,
        folded_title="Every metric",
    )


def _robustness(
    runs: pd.DataFrame, details: RunDetails, words: Words, styles: Mapping[str, ProcessStyle]
) -> Section:
    labels, metrics = words.labels, _shown(runs, words.metric)
    means = _by_metric(runs, metrics, at_ratios)
    of_plateaus = at_ratios(runs, words.metric.name, of=MEAN)
    unreached = _unreached(runs)
    several = runs["data_ratio"].nunique() > 1
    pictures = [figures_study.ratio_bars(means, styles, details.baseline, unreached)]
    if details.curves:
        pictures.append(figures_curves.learning_curves(details.curves, styles, details.baseline))
    tables, folded = [], [study_tables.ratio_table(means, labels, unreached)]
    if several:
        tables.append(study_tables.slope_table(slopes(runs), metrics, labels))
        if runs["process"].nunique() > 1:
            tests = _by_metric(runs, metrics, slope_tests, MEAN)
            tables.append(study_tables.slope_test_table(tests, labels))
    return Section(
        "robustness",
        "Robustness to the amount of training data",
        [] if several else ["There is only one amount of training data, so there are no slopes."],
        sentences=sentences.robustness_sentences(words, slopes(runs, of=MEAN), of_plateaus),
        pictures=pictures,
        tables=tables,
        folded=folded,
        folded_title="Values at each amount of training data",
        print_folded=True,
    )


def _provenance(
    study: Study, sources: pd.DataFrame, details: RunDetails, labels: Labels, studies: Table | None
) -> Section:
    tables = [
        provenance.process_table(study.runs, labels, sources),
        *([provenance.given_table(details)] if details.given else []),
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
