"""The locked test set on the page: that there is one, or what the networks reach on it once it is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.report import tables
from analysis.report.page import Section
from analysis.report.study_tables import PAIR, PROCESS, Labels, labelled, labelled_pairs
from analysis.report.tables import Column, Table
from analysis.runs.folds import by_seed, complete_seeds
from analysis.runs.openings import Opening, open_test_sets, ordinal, read_openings, with_test
from analysis.runs.study import Study
from analysis.statistics.by_seed import group_numbers
from analysis.statistics.comparison import over_seeds, paired_differences
from analysis.statistics.intervals import CONFIDENCE, Interval
from analysis.statistics.two_way import two_way_difference, two_way_level, two_way_metric_level
from stages.console.words import counted
from stages.errors import RelayError
from stages.metrics import Metric, metric_of
from stages.predictions import Predictions

_ACCURACY, _F1 = metric_of("accuracy"), metric_of("f1_score_macro")


def locked_facts(study: Study, runs_dir: Path) -> list[tuple[str, str]]:
    """That the study has a locked test set, its size, and how often and when it was opened.

    Raises:
        RelayError: if the list of openings is damaged.
    """
    tested = with_test(study.runs)
    if tested.empty:
        return []
    images, groups = (int(tested[name].max()) for name in ("test_images", "test_groups"))
    size = counted(images, "image") + (f" of {groups} patients (groups)" if groups < images else "")
    return [("test set", f"{size}, locked; {_history(read_openings(runs_dir))}")]


def _history(openings: Sequence[Opening]) -> str:
    """How often the test sets of a store were opened, and when."""
    if not openings:
        return "never opened in this store"
    times = "once" if len(openings) == 1 else "twice" if len(openings) == 2 else f"{len(openings)} times"
    last = "" if len(openings) == 1 else f", last on {_date(openings[-1])}"
    return f"opened {times} in this store, first on {_date(openings[0])}{last}"


def _date(opening: Opening) -> str:
    return datetime.fromisoformat(opening.time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


@dataclass(frozen=True)
class Outcomes:
    """What a study's networks predicted for the N test images, of all training images.

    Attributes:
        groups: patient or object of each image as a number from 0, int64, (N,).
        labels: int64, (N,).
        by_process: seeds, ascending, and what the networks of each predicted, (seeds, networks, N): one
            network for each seed, or one for each fold.
    """

    groups: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    by_process: Mapping[str, tuple[tuple[int, ...], npt.NDArray[np.int64]]]

    def correctness(self, process: str, seeds: Sequence[int] | None = None) -> npt.NDArray[np.float64]:
        """Share of a seed's networks that classify an image correctly, (seeds, N)."""
        of, predicted = self.by_process[process]
        rows = [of.index(seed) for seed in (of if seeds is None else seeds)]
        return np.asarray((predicted[rows] == self.labels).mean(axis=1), dtype=np.float64)


def opened_section(study: Study, runs_dir: Path, command: str, labels: Labels) -> Section:
    """Open the test set of a study: written down first, then read.

    Args:
        study: which.
        runs_dir: its store.
        command: what asked for it.
        labels: of the processes.

    Raises:
        RelayError: as `analysis.runs.openings.open_test_sets`; if no seed has all of its folds with all
            training images, or the runs have different test sets.
    """
    rows = with_test(study.runs)
    refuse_incomplete(rows)
    predictions, opening = open_test_sets(rows, runs_dir, command)
    earlier = read_openings(runs_dir)[: opening.number - 1]
    found = _outcomes(rows, dict(zip(rows["id"], predictions, strict=True)))
    images, groups = len(found.labels), len(np.unique(found.groups))
    said = (
        f"This is the {ordinal(opening.number)} opening of the test sets of this store, on {_date(opening)}. "
        f"{counted(images, 'image')} of {counted(groups, 'patient')} (groups) were kept apart before "
        "anything else was drawn. At the end of each run the last epoch's network predicted them once."
    )
    if earlier:
        said += (
            f" Before that they were {_history(earlier)}. What was changed since may have been chosen by "
            "this very set; its numbers are then too good."
        )
    return Section(
        "test-set",
        "Locked test set",
        [said],
        tables=[_levels(found, labels), *_differences(found, labels)],
    )


def refuse_incomplete(rows: pd.DataFrame) -> None:
    """Refuse to open test sets of which nothing could be shown.

    Args:
        rows: runs of a study that have a test set; without any, `open_test_sets` refuses.

    Raises:
        RelayError: if no seed has all of its folds with all training images.
    """
    if len(rows) and complete_seeds(rows[rows["data_ratio"] == 1.0]).empty:
        raise RelayError(
            "test=open, but no seed has all of its runs with all training images, so there is nothing to "
            "show; train them first. Nothing was opened"
        )


def _outcomes(rows: pd.DataFrame, predictions: Mapping[str, Predictions]) -> Outcomes:
    first: Predictions | None = None
    by_process: dict[str, dict[int, npt.NDArray[np.int64]]] = {}
    for process, _, seed, of_seed in by_seed(complete_seeds(rows[rows["data_ratio"] == 1.0])):
        read = [predictions[run] for run in of_seed.sort_values("fold")["id"]]
        first = first or read[0]
        for each in read:
            if (each.samples, each.groups, each.classes) != (first.samples, first.groups, first.classes):
                raise RelayError(
                    f"{process}, seed {seed} has other test images than the runs before it; select the runs "
                    "of one data set"
                )
        by_process.setdefault(process, {})[seed] = np.stack([each.predicted for each in read])
    assert first is not None, "nothing is opened without a complete seed"
    return Outcomes(
        group_numbers(first.groups)[0],
        first.labels,
        {
            process: (tuple(sorted(of)), np.stack([of[seed] for seed in sorted(of)]))
            for process, of in by_process.items()
        },
    )


def _levels(found: Outcomes, labels: Labels) -> Table:
    rows = []
    for process in (name for name in labels if name in found.by_process):
        seeds, predicted = found.by_process[process]
        correct = found.correctness(process)
        row: dict[str, object] = {"process": process, "n": len(seeds), "accuracy": correct.mean()}
        if len(seeds) > 1:
            row |= _interval("accuracy", two_way_level(correct, found.groups))
            row |= _interval("f1", two_way_metric_level(_F1, found.labels, predicted, found.groups))
        rows.append(row)
    ends = [name + part for name in ("accuracy", "f1") for part in ("", "_low", "_high")]
    data = pd.DataFrame(rows).reindex(columns=["process", "n", *ends])
    return Table(
        "test-levels",
        "On the locked test set",
        "Mean over seeds, of the network after the last epoch (with folds, of all networks of a seed), with "
        "all training images. Below it the 95% interval for new seeds and new patients, which needs two "
        "seeds and two patients.",
        [PROCESS, tables.number("n", "seeds", 0), _estimate(_ACCURACY, "accuracy"), _estimate(_F1, "f1")],
        labelled(data, labels),
    )


def _differences(found: Outcomes, labels: Labels) -> list[Table]:
    shared = {
        (first, second): sorted(set(found.by_process[first][0]) & set(found.by_process[second][0]))
        for second, first in combinations([name for name in labels if name in found.by_process], 2)
    }
    pairs = {pair: seeds for pair, seeds in shared.items() if len(seeds) > 1}
    if not pairs:
        return []
    by_seed = {
        process: pd.Series(found.correctness(process).mean(axis=1), index=list(seeds))
        for process, (seeds, _) in found.by_process.items()
    }
    together = over_seeds(paired_differences(by_seed, list(pairs)))
    rows = []
    for ((first, second), seeds), p in zip(pairs.items(), together["p_max_t"], strict=True):
        difference = two_way_difference(
            found.correctness(first, seeds),
            found.correctness(second, seeds),
            found.groups,
            confidence=1 - (1 - CONFIDENCE) / len(pairs),
        )
        row = {"process_a": first, "process_b": second, "n": len(seeds), "p_max_t": p}
        rows.append(row | _interval("difference", difference))
    return [
        Table(
            "test-differences",
            "Differences on the locked test set",
            f"Of accuracy, in {_ACCURACY.unit_of_differences}: process minus the one against it, paired by "
            "seed. The 95% interval is for new seeds and new patients, corrected for all pairs "
            f"({len(pairs)}, Bonferroni); max-T is of seeds alone, over all pairs.",
            [
                *PAIR,
                tables.number("n", "seeds", 0),
                _estimate(_ACCURACY, "difference"),
                tables.p_value("p_max_t", "p, max-T"),
            ],
            labelled_pairs(pd.DataFrame(rows), labels),
        )
    ]


def _interval(name: str, found: Interval) -> dict[str, float]:
    return {name: float(found.estimate), f"{name}_low": float(found.low), f"{name}_high": float(found.high)}


def _estimate(metric: Metric, name: str) -> Column:
    title = "difference" if name == "difference" else metric.heading
    ends = {"low": f"{name}_low", "high": f"{name}_high"}
    return tables.estimate(title, metric.digits, scale=metric.scale, mean=name, error=None, **ends)
