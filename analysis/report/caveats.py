"""Caveats about a study: what a reader must know before believing its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.report.judgement import ALPHA, Words
from analysis.report.page import MOST_ITEMS, Caveat, relative
from analysis.report.plateau_caveats import plateau_caveats, source_caveats
from analysis.runs.details import RunDetails, most_frequent
from analysis.runs.folds import incomplete_seeds
from analysis.runs.selection import numbers
from analysis.statistics.comparison import pairs_needed, smallest_p
from stages.console.words import counted
from stages.metrics import PRIMARY, metric_of

PAPERS_ALPHA = 0.01
"""The level of the paper's Table 1."""

FEW_GROUPS = 10
_FEW_IMAGES = 30


def study_caveats(
    runs: pd.DataFrame,
    sources: pd.DataFrame,
    details: RunDetails,
    words: Words,
    runs_dir: Path,
) -> list[Caveat]:
    """All caveats about a study.

    Args:
        runs: the study's runs.
        sources: the sources of these runs.
        details: of the runs.
        words: of the study.
        runs_dir: the store, to which folders are shown relative.
    """
    return [
        *plateau_caveats(runs, words.labels, runs_dir),
        *source_caveats(sources, runs_dir),
        *_run_caveats(runs, words, runs_dir),
        *_seed_caveats(words),
        *_baseline_caveats(words, details),
        *_data_caveats(details),
        *_origin_caveats(details, len(runs) + len(sources)),
        *_file_caveats(details, runs_dir),
    ]


def _run_caveats(runs: pd.DataFrame, words: Words, runs_dir: Path) -> list[Caveat]:
    """Runs without the main metric, and missing cells of the grid."""
    found, labels, metric = [], words.labels, words.metric
    without = runs[np.isnan(numbers(runs[metric.column]))] if metric.column in runs else runs
    if len(without):
        found.append(
            Caveat.listing(
                f"{counted(len(without), 'run')} without {metric.title}",
                "Their records are complete, but do not have this metric; means and tests leave them out.",
                [relative(folder, runs_dir) for folder in without["folder"]],
            )
        )
    return found + incomplete_caveats(runs, labels) + _grid_caveats(runs, labels)


def incomplete_caveats(runs: pd.DataFrame, labels: Mapping[str, str]) -> list[Caveat]:
    """Seeds that lack a fold.

    Args:
        runs: of one study.
        labels: of the processes.
    """
    items = [str(replace(each, process=labels[each.process])) for each in incomplete_seeds(runs)]
    if not items:
        return []
    return [
        Caveat.listing(
            f"{counted(len(items), 'seed')} without all folds",
            "A seed counts as a whole: these are left out of every mean, interval and test. The same command "
            "of the sweep trains what is missing.",
            items,
        )
    ]


def _grid_caveats(runs: pd.DataFrame, labels: Mapping[str, str]) -> list[Caveat]:
    seeds, ratios = set(runs["seed"]), sorted(runs["data_ratio"].unique())
    present = runs.groupby(["process", "data_ratio"])["seed"].agg(set).to_dict()
    missing, untried = [], []
    for process, label in labels.items():
        for ratio in ratios:
            absent = sorted(seeds - present.get((process, ratio), set()))
            if (process, ratio) not in present:
                untried.append(f"{label} at {100 * ratio:g}%")
            elif absent:
                missing.append((f"{label} at {100 * ratio:g}%: seed {_list(absent)}", len(absent)))
    found = []
    if missing:
        total = sum(number for _, number in missing)
        found.append(
            Caveat.listing(
                f"{counted(total, 'run')} of the grid {'is' if total == 1 else 'are'} missing",
                "Processes are compared on the seeds that they share; means are over the seeds that are "
                "there. The same command of the sweep trains what is missing.",
                [item for item, _ in missing],
            )
        )
    if untried:
        found.append(
            Caveat.listing(
                "Some processes were not run at every amount of data",
                "They have no seed there, so these runs were probably not asked for.",
                untried,
                serious=False,
            )
        )
    return found


def _data_caveats(details: RunDetails) -> list[Caveat]:
    """Whether the split is crossed, patients are few or not known, and classes have few images."""
    found = []
    groups, pictures = details.crossing
    if groups or pictures:
        found.append(
            Caveat(
                "The split is crossed",
                f"{counted(groups, 'patient (group)', 'patients (groups)')} and "
                f"{counted(pictures, 'picture', 'pictures')} (equal or nearly so) are on both sides of the "
                "split; the set was prepared so, or its folders or manifest are so. Networks are evaluated "
                "on images that they have seen: no number here says how they would do on new patients.",
            )
        )
    if details.image_notes:
        found.append(
            Caveat.listing(
                "Notes on how the images were read",
                "All networks saw the same pixels; whether these are what was meant is for a person to see.",
                details.image_notes,
                serious=False,
            )
        )
    images = sum(details.evaluation_images)
    if not details.groups_known:
        found.append(
            Caveat(
                "Patients are not known",
                f"Each of the {images} evaluation images counts as its own group. Whether images of one "
                "patient are on both sides of the split cannot be seen, and intervals over patients are too "
                "narrow if some images share a patient. Give groups in a manifest.",
            )
        )
    elif details.evaluation_groups < FEW_GROUPS:
        found.append(
            Caveat(
                f"Only {details.evaluation_groups} patients (groups) in the evaluation set",
                f"Fewer than {FEW_GROUPS} say little about other patients, for any number of images "
                f"({images}) and seeds.",
            )
        )
    few = [
        f"{name}: {number}"
        for name, number in zip(details.classes, details.evaluation_images, strict=True)
        if number < _FEW_IMAGES
    ]
    if few:
        found.append(
            Caveat.listing(
                f"{counted(len(few), 'class', 'classes')} with fewer than {_FEW_IMAGES} evaluation images",
                "Their recall changes in large steps, and macro averages with it.",
                few,
                serious=False,
            )
        )
    return found


def _origin_caveats(details: RunDetails, runs: int) -> list[Caveat]:
    """Mixed versions, commits and machines; code that was not committed."""
    found = []
    mixed = {what: counts for what, counts in details.origins.items() if len(counts) > 1}
    machines = ("machine", "processor or GPU", "threads")
    versions = [what for what in mixed if what not in ("commit", *machines)]
    for title, names, serious in (
        ("Mixed versions", versions, True),
        ("Mixed commits", ["commit"], True),
        ("Mixed machines", machines, False),
    ):
        items = [
            f"{what}: "
            + "; ".join(f"{value} ({counted(number, 'run')})" for value, number in most_frequent(mixed[what]))
            for what in names
            if what in mixed
        ]
        if items:
            text = "Differences between runs may come from these as well as from the learning process."
            found.append(Caveat.listing(title, text, items, serious=serious))
    if details.uncommitted:
        found.append(
            Caveat(
                f"{details.uncommitted} of {counted(runs, 'run')} with uncommitted changes",
                "The commit in their records is not exactly the code that trained them (dirty git).",
            )
        )
    return found


def _seed_caveats(words: Words) -> list[Caveat]:
    """Whether the seeds can give p below 0.05 at all, by max-T and by the paper's test."""
    differences = words.differences(words.metric)
    tested = differences[differences["n"] > 0]
    if tested.empty:
        return []
    tests, fewest = len(tested), int(tested["n"].min())
    if fewest >= pairs_needed(ALPHA):
        return []
    return [
        Caveat(
            f"Too few seeds for p < {ALPHA:g}",
            f"With {counted(fewest, 'pair')} of seeds no test over seeds can give a p below "
            f"{smallest_p(fewest):.2g}, for any values. For p < {ALPHA:g} it takes "
            f"{counted(pairs_needed(ALPHA), 'seed')} with max-T, whatever the number of pairs, and "
            f"{pairs_needed(ALPHA, tests)} with the paper's test after Holm's correction for {tests}; for "
            f"p < {PAPERS_ALPHA:g}, {pairs_needed(PAPERS_ALPHA)} and {pairs_needed(PAPERS_ALPHA, tests)}. A "
            "large p does not show equality here.",
        )
    ]


def _baseline_caveats(words: Words, details: RunDetails) -> list[Caveat]:
    """Processes that are not better than a linear classifier on grey-level histograms."""
    baseline = details.baseline.get(1.0)
    if baseline is None:
        return []
    metric = metric_of(PRIMARY)
    below = [
        f"{words.labels[str(name)]}: {metric.text(mean)}"
        for name, mean in words.ranking(metric).items()
        if mean <= baseline
    ]
    if not below:
        return []
    return [
        Caveat.listing(
            f"{counted(len(below), 'process', 'processes')} not above grey-level histograms",
            f"A linear classifier on histograms of the same images reaches {metric.text(baseline)}. Where "
            "the mean over seeds is not above that, the process is not shown to use the images' structure.",
            below,
        )
    ]


def _file_caveats(details: RunDetails, runs_dir: Path) -> list[Caveat]:
    """Histories and predictions that are missing or damaged."""
    found = []
    for name, folders, effect in (
        ("history.csv", details.without_history, "Learning curves leave these runs out."),
        ("predictions.parquet", details.without_predictions, "Calibration and patients leave them out."),
    ):
        if folders:
            found.append(
                Caveat.listing(
                    f"{name} is missing or damaged in {counted(len(folders), 'run')}",
                    f"{effect} Their records are complete, so the tables of means include them.",
                    [relative(folder, runs_dir) for folder in folders],
                )
            )
    return found


def _list(seeds: Sequence[int]) -> str:
    shown = ", ".join(str(seed) for seed in seeds[:MOST_ITEMS])
    return shown if len(seeds) <= MOST_ITEMS else f"{shown} and {len(seeds) - MOST_ITEMS} more"
