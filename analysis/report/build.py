"""From a store to a report: of the chosen study, or of what is missing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.report.caveats import incomplete_caveats
from analysis.report.locked_test_set import locked_facts, opened_section, refuse_incomplete
from analysis.report.page import Caveat, Report, relay_version
from analysis.report.processes import process_labels
from analysis.report.provenance import studies_table
from analysis.report.store_caveats import (
    damaged_caveats,
    other_studies_caveats,
    replaced_caveats,
    unfinished_caveats,
    unknown_caveats,
)
from analysis.report.study_report import study_report
from analysis.runs.folds import complete_seeds
from analysis.runs.load import read_runs
from analysis.runs.openings import check_test, open_test_sets, with_test
from analysis.runs.selection import process_order
from analysis.runs.study import Study, find_studies
from analysis.runs.study_choice import select_study
from analysis.runs.unfinished import unfinished_runs
from stages.errors import RelayError
from stages.metrics import PRIMARY


def build_report(
    runs_dir: Path,
    study: str | None = None,
    metric: str = PRIMARY,
    *,
    test: str | None = None,
    command: str = "build_report",
) -> Report:
    """Read a store and make the report of a study.

    Args:
        runs_dir: the store.
        study: a study's name, its target, or the beginning of its id; None for the one with more runs than
            any other.
        metric: name of the metric that the answer is about.
        test: "open" reads the study's locked test set; see `analysis.runs.openings`.
        command: what to write down as having opened it.

    Raises:
        RelayError: if the folder or the study does not exist, all runs are damaged, no run has the metric, or
            the test set cannot be opened.
    """
    check_test(test)
    try:
        runs, damaged = read_runs(runs_dir)
    except FileNotFoundError as error:
        raise RelayError(str(error)) from None
    of_store = [*damaged_caveats(damaged, runs_dir), *unfinished_caveats(unfinished_runs(runs_dir))]
    studies = find_studies(runs)
    if not studies:
        if study is not None:
            select_study(studies, study)
        if test is not None:
            open_test_sets(with_test(runs)[:0], runs_dir, command)
        return _without_targets(runs, of_store)
    chosen = select_study(studies, study)
    if complete_seeds(chosen.runs).empty:
        if test is not None:
            refuse_incomplete(with_test(chosen.runs))
            open_test_sets(with_test(chosen.runs)[:0], runs_dir, command)
        return _without_complete_seeds(chosen, of_store)
    report = study_report(
        chosen,
        runs_dir,
        metric=metric,
        sources=_sources(runs, chosen),
        store_caveats=[
            *other_studies_caveats(studies, chosen),
            *replaced_caveats(runs),
            *of_store,
            *unknown_caveats(runs, chosen.target),
        ],
        studies=studies_table(studies) if len(studies) > 1 else None,
        version=relay_version(),
    )
    sections = list(report.sections)
    if test is not None:
        labels = process_labels(process_order(chosen.runs["process"]))
        sections.insert(1, opened_section(chosen, runs_dir, command, labels))
    return replace(report, facts=[*report.facts, *locked_facts(chosen, runs_dir)], sections=sections)


def _sources(runs: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The ancestors of a study's runs: their sources."""
    parents = dict(zip(runs["id"], runs["parent"], strict=True))
    found: set[str] = set()
    for run in study.runs["parent"]:
        ancestor = run
        while ancestor in parents and ancestor not in found:
            found.add(ancestor)
            ancestor = parents[ancestor]
    return runs[runs["id"].isin(found)]


def _without_targets(runs: pd.DataFrame, caveats: Sequence[Caveat]) -> Report:
    if len(runs) == 0:
        text = "There is no finished stage run in this store, so there is nothing to compare."
    else:
        stages = ", ".join(f"{number} of {stage}" for stage, number in runs["stage"].value_counts().items())
        text = (
            f"The store holds finished runs of stages ({stages}), but none whose chain is that of a learning "
            "process, so there is nothing to compare."
        )
    return _nothing_to_compare(
        text,
        "Train a learning process, for example: python train.py -m process=scratch,two_stage. A chain of "
        "your own becomes one by a file of two lines in the folder process of conf/, or of one that "
        "--config-dir names (docs/your-own-domains.md): type its command once more.",
        caveats,
    )


def _without_complete_seeds(study: Study, caveats: Sequence[Caveat]) -> Report:
    labels = process_labels(process_order(study.runs["process"]))
    return _nothing_to_compare(
        f"No seed of {study.target} has all of its {study.runs['folds'].iloc[0]} folds yet, so there is "
        "nothing to compare.",
        "Train the other folds: the command that trained these does it, typed with every fold.",
        [*incomplete_caveats(study.runs, labels), *caveats],
    )


def _nothing_to_compare(why: str, what_to_do: str, caveats: Sequence[Caveat]) -> Report:
    return Report(
        title="Relay: nothing to compare yet",
        question="Which chain of source domains should a network see before its target?",
        version=relay_version(),
        caveats=caveats,
        summary=(why, what_to_do),
        complete=False,
    )
