"""What a reader must know before believing the numbers: the report's warnings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.report.page import Caveat
from analysis.report.sentences import ALPHA, ranking
from analysis.runs.details import RunDetails, most_frequent
from analysis.runs.selection import numbers
from analysis.runs.unfinished import UnfinishedRun
from analysis.statistics.comparison import pairs_needed
from stages.metrics import PRIMARY, metric_of

MOST_ITEMS = 12
FEW_GROUPS = 10
_FEW_IMAGES = 30


def run_caveats(runs: pd.DataFrame, labels: Mapping[str, str], runs_dir: Path) -> list[Caveat]:
    """Plateaus that were not reached, and cells of the grid that are missing.

    Args:
        runs: the study's runs.
        labels: of the processes, in order.
        runs_dir: the store, to which folders are shown relative.
    """
    found = []
    unreached = runs[~runs["plateau_reached"].astype(bool)]
    if len(unreached):
        items = [
            f"{labels[process]}, seed {seed}, {100 * ratio:g}%: {relative(folder, runs_dir)}"
            for process, seed, ratio, folder in unreached[
                ["process", "seed", "data_ratio", "folder"]
            ].itertuples(index=False)
        ]
        found.append(
            _caveat(
                f"{len(unreached)} of {_count(len(runs), 'run')} did not reach the plateau",
                "Training ended at max_epochs while the loss still fell. Their values are those of their "
                "last epochs, marked * in tables and figures; raise callbacks.plateau.max_epochs.",
                items,
            )
        )
    metric = metric_of(PRIMARY)
    without = runs[np.isnan(numbers(runs[metric.column]))] if metric.column in runs else runs
    if len(without):
        found.append(
            _caveat(
                f"{_count(len(without), 'run')} without {metric.title}",
                "Their records are complete, but do not have this metric; means and tests leave them out.",
                [relative(folder, runs_dir) for folder in without["folder"]],
            )
        )
    return found + _grid_caveats(runs, labels)


def source_caveats(sources: pd.DataFrame, runs_dir: Path) -> list[Caveat]:
    """Plateaus that the runs which others came from did not reach."""
    unreached = sources[~sources["plateau_reached"].astype(bool)]
    if unreached.empty:
        return []
    return [
        _caveat(
            f"{len(unreached)} of {_count(len(sources), 'source run')} did not reach the plateau",
            "Targets started from weights whose training ended at max_epochs while the loss still fell; "
            "longer training of a source may change what transfers.",
            [
                f"{row.stage}, seed {row.seed}: {relative(str(row.folder), runs_dir)}"
                for row in unreached.itertuples()
            ],
        )
    ]


def unknown_caveats(runs: pd.DataFrame, target: str, runs_dir: Path) -> list[Caveat]:
    """Finished runs of the target whose chain and transfer rule are those of no process.

    Args:
        runs: of the whole store.
        target: the study's.
        runs_dir: the store.
    """
    ends = runs[(runs["stage"] == target) & runs["process"].isna() & ~runs["id"].isin(set(runs["parent"]))]
    if ends.empty:
        return []
    chains = sorted({f"{row.chain} ({row.transfer_rule})" for row in ends.itertuples()})
    return [
        _caveat(
            f"{_count(len(ends), 'finished run')} of {target} of no known process",
            "No file in conf/process has their chain and transfer rule, so they are in no table. Write one, "
            "or put back the one that they were trained with.",
            [chain.replace(">", " > ") for chain in chains],
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
            _caveat(
                f"{_count(total, 'run')} of the grid {'is' if total == 1 else 'are'} missing",
                "Processes are compared on the seeds that they share; means are over the seeds that are "
                "there. The command of the sweep, typed again, trains what is missing.",
                [item for item, _ in missing],
            )
        )
    if untried:
        found.append(
            _caveat(
                "Some processes were not run at every amount of data",
                "No seed has these cells, so they were probably not asked for.",
                untried,
                serious=False,
            )
        )
    return found


def store_caveats(unfinished: Sequence[UnfinishedRun]) -> list[Caveat]:
    """Failed and unfinished stage runs of the store, of whatever study."""
    found = []
    for failed in (True, False):
        chosen = [run for run in unfinished if (run.failure is not None) == failed]
        if not chosen:
            continue
        items = [
            f"{run.stage}"
            + ("" if run.seed is None else f", seed {run.seed}")
            + ("" if run.data_ratio is None else f", {100 * run.data_ratio:g}%")
            + (f": {run.failure}" if run.failure else "")
            + f" ({run.folder})"
            for run in chosen
        ]
        text = (
            "They are in no table. The traceback is in failure.txt of each folder; the same command trains "
            "them again."
            if failed
            else "They are running, waiting, or were killed; the same command goes on with them."
        )
        what = "failed" if failed else ("is not finished" if len(chosen) == 1 else "are not finished")
        title = f"{_count(len(chosen), 'stage run')} of this store {what}"
        found.append(_caveat(title, text, items, serious=failed))
    return found


def data_caveats(details: RunDetails) -> list[Caveat]:
    """What crosses the split, few patients, patients that are not known, classes with few images."""
    found = []
    groups, pictures = details.crossing
    if groups or pictures:
        found.append(
            Caveat(
                "The split is crossed",
                f"{_count(groups, 'patient (group)', 'patients (groups)')} and "
                f"{_count(pictures, 'picture', 'pictures')} (equal or nearly so) stand on both sides of "
                "the split, as whoever prepared the set allowed. Networks are evaluated on what they "
                "have seen: no number here says what they would do on new patients.",
            )
        )
    images = sum(details.evaluation_images)
    if not details.groups_known:
        found.append(
            Caveat(
                "Patients are not known",
                f"Each of the {images} evaluation images counts as its own group. Whether images of one "
                "patient stand on both sides of the split cannot be seen here, and intervals over patients "
                "are too narrow if some share a patient. Give groups in a manifest.",
            )
        )
    elif details.evaluation_groups < FEW_GROUPS:
        found.append(
            Caveat(
                f"Only {details.evaluation_groups} patients (groups) in the evaluation set",
                f"Fewer than {FEW_GROUPS} say little about other patients, whatever the number of images "
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
            _caveat(
                f"{_count(len(few), 'class', 'classes')} with fewer than {_FEW_IMAGES} evaluation images",
                "Their recall moves in large steps, and macro averages with it.",
                few,
                serious=False,
            )
        )
    return found


def origin_caveats(details: RunDetails, runs: int) -> list[Caveat]:
    """Mixed versions, commits and machines; code that was not committed."""
    found = []
    mixed = {what: counts for what, counts in details.origins.items() if len(counts) > 1}
    versions = [what for what in mixed if what not in ("commit", "machine", "threads")]
    for title, names, serious in (
        ("Mixed versions", versions, True),
        ("Mixed commits", ["commit"], True),
        ("Mixed machines", ["machine", "threads"], False),
    ):
        items = [
            f"{what}: "
            + "; ".join(f"{value} ({_count(number, 'run')})" for value, number in most_frequent(mixed[what]))
            for what in names
            if what in mixed
        ]
        if items:
            text = "Differences between runs may come from there as well as from the learning process."
            found.append(_caveat(title, text, items, serious=serious))
    if details.uncommitted:
        found.append(
            Caveat(
                f"{details.uncommitted} of {_count(runs, 'run')} with uncommitted changes",
                "The commit that they name is not the code that trained them (dirty git).",
            )
        )
    return found


def seed_caveats(pairs: pd.DataFrame) -> list[Caveat]:
    """Whether the seeds can give p < 0.01 at all.

    Args:
        pairs: of `analysis.statistics.comparison.pairwise`.
    """
    tested = pairs[pairs["n"] > 0]
    if tested.empty:
        return []
    tests, fewest = len(tested), int(tested["n"].min())
    smallest = float(tested["smallest_p"].max())
    if fewest >= pairs_needed(ALPHA, tests):
        return []
    needed, corrected = pairs_needed(ALPHA), pairs_needed(ALPHA, tests)
    text = (
        f"With {_count(fewest, 'pair')} of seeds Wilcoxon's test cannot give a p below {smallest:.2g}, "
        f"whatever the values are; Holm's correction multiplies the smallest of {tests} by {tests}. "
        f"For p < 0.01 it takes {_count(needed, 'seed')}, and {corrected} after the correction. A p that is "
        "not below 0.01 is no sign of equality here."
    )
    after = "" if fewest < needed else " after correction"
    return [Caveat(f"Too few seeds for p < 0.01{after}", text)]


def baseline_caveats(
    comparison: pd.DataFrame, details: RunDetails, labels: Mapping[str, str]
) -> list[Caveat]:
    """Processes that are no better than a linear classifier on grey-level histograms.

    Args:
        comparison: of `analysis.statistics.comparison.compare`.
        details: of the study's runs.
        labels: of the processes.
    """
    baseline = details.histogram_accuracy
    if baseline is None:
        return []
    means, metric = ranking(comparison), metric_of(PRIMARY)
    below = [f"{labels[str(name)]}: {metric.text(mean)}" for name, mean in means.items() if mean <= baseline]
    if not below:
        return []
    return [
        _caveat(
            f"{_count(len(below), 'process', 'processes')} not above grey-level histograms",
            f"A linear classifier on histograms of the same images reaches {metric.text(baseline)}. Where "
            "the mean over seeds is not above that, no use of the images' structure is shown.",
            below,
        )
    ]


def file_caveats(details: RunDetails, runs_dir: Path) -> list[Caveat]:
    """Histories and predictions that are gone."""
    found = []
    for name, folders, effect in (
        ("history.csv", details.without_history, "Learning curves leave these runs out."),
        ("predictions.parquet", details.without_predictions, "Calibration and patients leave them out."),
    ):
        if folders:
            found.append(
                _caveat(
                    f"{name} is missing or damaged in {_count(len(folders), 'run')}",
                    f"{effect} Their records are whole, so the tables of means have them.",
                    [relative(folder, runs_dir) for folder in folders],
                )
            )
    return found


def relative(folder: str, runs_dir: Path) -> str:
    """A run's folder below the store."""
    return Path(folder).relative_to(runs_dir).as_posix()


def _caveat(title: str, text: str, items: Sequence[str], *, serious: bool = True) -> Caveat:
    return Caveat(title, text, tuple(items[:MOST_ITEMS]), max(0, len(items) - MOST_ITEMS), serious)


def _list(seeds: Sequence[int]) -> str:
    shown = ", ".join(str(seed) for seed in seeds[:MOST_ITEMS])
    return shown if len(seeds) <= MOST_ITEMS else f"{shown} and {len(seeds) - MOST_ITEMS} more"


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
