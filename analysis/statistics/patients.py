"""A bootstrap over the evaluation set's groups: what other patients might have shown.

Seeds say how much training varies on one fixed evaluation set. They say nothing about new patients. What this
bootstrap can and cannot say is in docs/statistics.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.runs.selection import on_whole_set, process_order, refuse_several_targets, run_rows
from analysis.statistics.comparison import CONFIDENCE
from stages.errors import RelayError
from stages.metrics import METRICS, Array, Counts
from stages.predictions import Predictions, read_predictions
from stages.seeds import derive_seed
from stages.store import RunFolder

_PERCENTILES = (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE))
_RECALL = "sensitivity"  # as a metric of a class

_Draws = Mapping[str, Array]
"""By metric, a value for the set as it is and for each resample, (1 + resamples,) or (1 + resamples, C)."""


@dataclass(frozen=True)
class PatientBootstrap:
    """Uncertainty over patients, of the predictions after the last epoch.

    Attributes:
        metrics: one row per process and metric (those that are declared with `of_counts`). Columns:
            `process`, `metric`, `mean` over its runs on the evaluation set as it is, `ci_low`, `ci_high` (95%
            percentile interval), and `n` runs.
        differences: one row per unordered pair of processes and metric. Columns: `process_a`, `process_b`,
            `metric`, `difference` (a minus b), `ci_low`, `ci_high`.
        recall: one row per process and class. Columns: `process`, `class`, `recall`, `ci_low`, `ci_high`, the
            class's `samples` and `groups` in the evaluation set, and `absent`, the share of resamples
            without the class. Its recall is not defined in them, and the interval is over the others.
        samples: size of the evaluation set.
        groups: number of its groups (patients, physical objects).
        without_group: how many samples have no group; each counts as a group of its own.
        resamples: how often the groups were resampled.
    """

    metrics: pd.DataFrame
    differences: pd.DataFrame
    recall: pd.DataFrame
    samples: int
    groups: int
    without_group: int
    resamples: int


def resample_patients(runs: pd.DataFrame, resamples: int = 2000) -> PatientBootstrap:
    """Clustered bootstrap of the evaluation set for all learning processes at once.

    Each resample draws as many groups as there are, with replacement, and takes all their samples; classes
    are not stratified. Every run of every process is evaluated on the same resamples, so that differences
    between processes are paired. A process's value is the mean over its runs, which are not resampled. Calls
    with equal numbers of groups and resamples draw the same ones.

    Args:
        runs: columns `process` and `folder`, of which `predictions.parquet` is read; where there is a column
            `data_ratio`, only rows with 1.0 count. See `analysis.runs.load_runs`.
        resamples: how many.

    Returns:
        The values and intervals; intervals are NaN if there is only one group to draw from.

    Raises:
        RelayError: if there are no such runs, predictions are missing or damaged, or the runs have different
            evaluation sets.
    """
    rows = run_rows(on_whole_set(runs), "folder")
    refuse_several_targets(rows)
    processes = process_order(rows["process"])
    if not processes:
        raise RelayError(
            "no run of a learning process on its whole training set; train one at data_ratio=1.0"
        )
    first = _read(rows["folder"].iloc[0])
    group_of, without_group = _group_numbers(first.groups)
    groups = int(group_of.max()) + 1
    counter = _Counter(group_of, groups, first.labels, len(first.classes))
    weights = _weights(groups, resamples)
    draws: dict[str, _Draws] = {}
    number: dict[str, int] = {}
    for process in processes:
        folders = rows.loc[rows["process"] == process, "folder"]
        found = [_scores(counter, weights, each) for each in _predicted(folders, first)]
        draws[process] = {name: np.mean([run[name] for run in found], axis=0) for name in found[0]}
        number[process] = len(found)
    return PatientBootstrap(
        metrics=_metric_table(draws, number, groups),
        differences=_difference_table(draws, groups),
        recall=_recall_table(draws, first.classes, counter, groups),
        samples=len(group_of),
        groups=groups,
        without_group=without_group,
        resamples=resamples,
    )


def _metric_table(draws: Mapping[str, _Draws], number: Mapping[str, int], groups: int) -> pd.DataFrame:
    rows = [
        (process, name, *_estimate(values, groups), number[process])
        for process, of_process in draws.items()
        for name, values in of_process.items()
        if name != _RECALL
    ]
    return pd.DataFrame(rows, columns=["process", "metric", "mean", "ci_low", "ci_high", "n"])


def _difference_table(draws: Mapping[str, _Draws], groups: int) -> pd.DataFrame:
    rows = [
        (a, b, name, *_estimate(values - draws[b][name], groups))
        for a, b in combinations(draws, 2)
        for name, values in draws[a].items()
        if name != _RECALL
    ]
    columns = ["process_a", "process_b", "metric", "difference", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns)


def _recall_table(
    draws: Mapping[str, _Draws], classes: Sequence[str], counter: "_Counter", groups: int
) -> pd.DataFrame:
    rows = []
    for process, of_process in draws.items():
        for column, name in enumerate(classes):
            values = of_process[_RECALL][:, column]
            absent = float(np.isnan(values[1:]).mean())
            rows.append((process, name, *_estimate(values, groups), *counter.occurrence(column), absent))
    columns = ["process", "class", "recall", "ci_low", "ci_high", "samples", "groups", "absent"]
    return pd.DataFrame(rows, columns=columns)


def _read(folder: str) -> Predictions:
    return read_predictions(RunFolder(Path(folder)).predictions, samples=True, groups=True)


def _predicted(folders: "pd.Series[str]", first: Predictions) -> Iterator[npt.NDArray[np.int64]]:
    """The classes that each run predicts, after checking that its evaluation set is the first run's."""
    for folder in folders:
        run = _read(folder)
        same = (run.classes, run.samples, run.groups) == (first.classes, first.samples, first.groups)
        if not same or not np.array_equal(run.labels, first.labels):
            raise RelayError(
                f"{RunFolder(Path(folder)).predictions} has another evaluation set than the other runs: "
                "images, groups, labels or classes differ, so that they cannot be compared on the same "
                "patients. Select the runs of one study and one data set."
            )
        yield run.predicted


def _group_numbers(names: Sequence[str | None]) -> tuple[npt.NDArray[np.int64], int]:
    """Each sample's group as a number from 0, and how many samples have none and got their own."""
    given = np.array([name or None for name in names], dtype=object)
    numbers, known = pd.factorize(given)
    missing = numbers < 0
    numbers[missing] = len(known) + np.arange(missing.sum())
    return numbers.astype(np.int64), int(missing.sum())


class _Counter:
    """Counts by group and class, so that a resample is a weighted sum over groups.

    Args:
        group_of: N groups, in 0..G-1.
        groups: G.
        labels: N true classes, in 0..C-1.
        classes: C.
    """

    def __init__(
        self, group_of: npt.NDArray[np.int64], groups: int, labels: npt.NDArray[np.int64], classes: int
    ) -> None:
        self._group_of, self._labels, self._shape = group_of, labels, (groups, classes)
        self.true = self._count(labels, np.ones(len(labels), dtype=bool))

    def resampled(self, weights: npt.NDArray[np.float32], predicted: npt.NDArray[np.int64]) -> Counts:
        """Counts of each class, (B, C), in B resamples of the groups.

        Args:
            weights: how often each group is in each resample, shape (B, G).
            predicted: N predicted classes.
        """
        right = predicted == self._labels
        every = np.ones_like(right)
        by_group = (self.true, self._count(predicted, every), self._count(predicted, right))
        return Counts(*(np.asarray(weights @ counts, dtype=np.float64) for counts in by_group))

    def occurrence(self, label: int) -> tuple[int, int]:
        """How many samples and how many groups a class has."""
        return int(self.true[:, label].sum()), int((self.true[:, label] > 0).sum())

    def _count(self, classes: npt.NDArray[np.int64], which: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        cells = (self._group_of * self._shape[1] + classes)[which]
        counts = np.bincount(cells, minlength=self._shape[0] * self._shape[1])
        return counts.reshape(self._shape).astype(np.float32)  # exact below 2^24 samples


def _weights(groups: int, resamples: int) -> npt.NDArray[np.float32]:
    """How often each group is in a resample, shape (1 + resamples, G); the first row is the set as it is."""
    generator = np.random.default_rng(derive_seed(0, "patients"))
    weights = np.ones((1 + resamples, groups), dtype=np.float32)
    for row in range(1, 1 + resamples):
        weights[row] = np.bincount(generator.integers(groups, size=groups), minlength=groups)
    return weights


def _scores(counter: _Counter, weights: npt.NDArray[np.float32], predicted: npt.NDArray[np.int64]) -> _Draws:
    """A run's metrics on each of B resamples: of the whole set, (B,), and recall of each class, (B, C)."""
    counts = counter.resampled(weights, predicted)
    return {
        name: metric.of_counts(counts)
        for name, metric in METRICS.items()
        if metric.of_counts is not None and (not metric.per_class or name == _RECALL)
    }


def _estimate(values: Array, groups: int) -> tuple[float, float, float]:
    """The value on the set as it is, and the percentile interval of the resamples that have one."""
    drawn = values[1:][~np.isnan(values[1:])]
    if groups < 2 or not len(drawn):
        return float(values[0]), np.nan, np.nan
    low, high = np.percentile(drawn, _PERCENTILES)
    return float(values[0]), float(low), float(high)
