"""What would other patients have shown? A bootstrap that resamples the evaluation set's groups.

Seeds say how much training varies on one fixed evaluation set; they say nothing about new patients. What
this view can and cannot say stands in docs/statistics.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.runs.selection import process_order, refuse_several_targets, whole_set_rows
from analysis.statistics.comparison import CONFIDENCE
from stages.errors import RelayError
from stages.seeds import derive_seed
from stages.store import RunFolder

FEW_GROUPS = 10

_LOGIT = "logit_"
_PERCENTILES = (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE))
_METRICS = ("accuracy", "f1_score_macro")

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PatientBootstrap:
    """Uncertainty over patients, of the predictions after the last epoch.

    Attributes:
        metrics: a row a process and metric (accuracy, f1_score_macro). Columns: `process`, `metric`, `mean`
            over its runs on the evaluation set as it is, `ci_low`, `ci_high` (95% percentile interval), and
            `n` runs.
        differences: a row an unordered pair of processes and a metric. Columns: `process_a`, `process_b`,
            `metric`, `difference` (a minus b), `ci_low`, `ci_high`.
        recall: a row a process and class. Columns: `process`, `class`, `recall`, `ci_low`, `ci_high`, the
            class's `samples` and `groups` in the evaluation set, and `absent`, the share of resamples
            without the class: there its recall does not exist, and the interval is over the others.
        samples: size of the evaluation set.
        groups: number of its groups (patients, physical objects).
        without_group: how many samples have none; each of them counts as a group of its own.
        resamples: how often the groups were resampled.
    """

    metrics: pd.DataFrame
    differences: pd.DataFrame
    recall: pd.DataFrame
    samples: int
    groups: int
    without_group: int
    resamples: int

    @property
    def ungrouped(self) -> bool:
        """Whether every sample is a group of its own, as in data whose patients are not known.

        Intervals are too narrow then if several samples are of one patient.
        """
        return self.groups == self.samples

    def few_patients(self, threshold: int = FEW_GROUPS) -> bool:
        """Whether the evaluation set has fewer groups than the threshold: too few for the intervals."""
        return self.groups < threshold


def resample_patients(runs: pd.DataFrame, resamples: int = 2000) -> PatientBootstrap:
    """Clustered bootstrap of the evaluation set for all learning processes at once.

    Each resample draws as many groups as there are, with replacement, and takes all their samples; classes
    are not stratified. Every run of every process is evaluated on the same resamples, so that differences
    between processes are paired. A process's value is the mean over its runs, which are not resampled. The
    resamples are the same in every call with as many groups.

    Args:
        runs: columns `process` and `folder`, of which `predictions.parquet` is read; where there is a column
            `data_ratio`, only rows with 1.0 count. See `analysis.runs.load_runs`.
        resamples: how many.

    Returns:
        Intervals are NaN where there is only one group to draw from.

    Raises:
        RelayError: if there are no such runs, predictions are missing or damaged, or the runs have not the
            same evaluation set.
    """
    rows = whole_set_rows(runs, "folder")
    refuse_several_targets(rows)
    processes = process_order(rows["process"])
    if not processes:
        raise RelayError(
            "no run of a learning process on its whole training set; train one at data_ratio=1.0"
        )
    first = _read(rows["folder"].iloc[0])
    group_of, without_group = _group_numbers(first.images.column("group"))
    groups = int(group_of.max()) + 1
    counter = _Counter(group_of, groups, first.labels, len(first.classes))
    weights = _weights(groups, resamples)
    draws: dict[str, dict[str, _Array]] = {}
    recalls: dict[str, _Array] = {}
    number: dict[str, int] = {}
    for process in processes:
        folders = rows.loc[rows["process"] == process, "folder"]
        found = [_scores(counter, weights, each) for each in _predicted(folders, first)]
        draws[process] = {name: np.mean([run[name] for run in found], axis=0) for name in _METRICS}
        recalls[process] = np.mean([run["recall"] for run in found], axis=0)
        number[process] = len(found)
    metrics = [
        (process, name, *_estimate(draws[process][name], groups), number[process])
        for process in processes
        for name in _METRICS
    ]
    differences = [
        (a, b, name, *_estimate(draws[a][name] - draws[b][name], groups))
        for a, b in combinations(processes, 2)
        for name in _METRICS
    ]
    recall = []
    for process in processes:
        for column, label in enumerate(first.classes):
            values = recalls[process][:, column]
            absent = float(np.isnan(values[1:]).mean())
            recall.append((process, label, *_estimate(values, groups), *counter.occurrence(column), absent))
    ends = ["ci_low", "ci_high"]
    return PatientBootstrap(
        metrics=pd.DataFrame(metrics, columns=["process", "metric", "mean", *ends, "n"]),
        differences=pd.DataFrame(
            differences, columns=["process_a", "process_b", "metric", "difference", *ends]
        ),
        recall=pd.DataFrame(
            recall, columns=["process", "class", "recall", *ends, "samples", "groups", "absent"]
        ),
        samples=len(group_of),
        groups=groups,
        without_group=without_group,
        resamples=resamples,
    )


@dataclass(frozen=True)
class _Predictions:
    """A run's file: its images (sample, group, label), N labels and N predicted classes, C class names."""

    images: pa.Table
    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    classes: tuple[str, ...]


def _read(folder: str) -> _Predictions:
    path = RunFolder(Path(folder)).predictions
    try:
        table = pq.read_table(path, use_threads=False)
        images = table.select(["sample", "group", "label"])
        names = [name for name in table.column_names if name.startswith(_LOGIT)]
        logits = np.stack([table.column(name).to_numpy() for name in names], axis=1)
        labels = images.column("label").to_numpy().astype(np.int64)
        if not (len(labels) and labels.min() >= 0 and labels.max() < len(names)):
            raise ValueError("there are no images, or labels without a column of logits")
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among them
        raise RelayError(
            f"{path} cannot be read: {error}. Remove the folder and train the run again, or leave it out."
        ) from None
    classes = tuple(name.removeprefix(_LOGIT) for name in names)
    return _Predictions(images, labels, logits.argmax(axis=1).astype(np.int64), classes)


def _predicted(folders: "pd.Series[str]", first: _Predictions) -> Iterator[npt.NDArray[np.int64]]:
    """The classes that each run predicts, after checking that its evaluation set is the first run's."""
    for folder in folders:
        run = _read(folder)
        if run.classes != first.classes or not run.images.equals(first.images):
            raise RelayError(
                f"{RunFolder(Path(folder)).predictions} has another evaluation set than the other runs: "
                "images, groups, labels or classes differ, so that they cannot be compared on the same "
                "patients. Select the runs of one study and one data set."
            )
        yield run.predicted


def _group_numbers(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], int]:
    """Each sample's group as a number from 0, and how many samples have none and got their own."""
    names = column.to_pandas().astype(object)
    missing = (names.isna() | (names == "")).to_numpy()
    numbers, known = pd.factorize(names.where(~missing, None))
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

    def hits_and_predicted(
        self, predicted: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Correct predictions and all predictions of each class, shape (G, C) both."""
        right = predicted == self._labels
        return self._count(predicted, right), self._count(predicted, np.ones(len(right), dtype=bool))

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


def _scores(
    counter: _Counter, weights: npt.NDArray[np.float32], predicted: npt.NDArray[np.int64]
) -> dict[str, _Array]:
    """A run's metrics on each of B resamples: accuracy and f1_score_macro, shape (B,), recall (B, C).

    As torchmetrics: macro F1 leaves out a class that is neither among the labels nor among the predictions.
    """
    hits, all_predicted = (
        np.asarray(weights @ counts, dtype=np.float64) for counts in counter.hits_and_predicted(predicted)
    )
    true = np.asarray(weights @ counter.true, dtype=np.float64)
    either = true + all_predicted
    f1 = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    return {
        "accuracy": hits.sum(axis=1) / true.sum(axis=1),
        "f1_score_macro": f1.sum(axis=1) / (either > 0).sum(axis=1),
        "recall": np.divide(hits, true, out=np.full_like(hits, np.nan), where=true > 0),
    }


def _estimate(values: _Array, groups: int) -> tuple[float, float, float]:
    """The value on the set as it is, and the percentile interval of the resamples that have one."""
    drawn = values[1:][~np.isnan(values[1:])]
    if groups < 2 or not len(drawn):
        return float(values[0]), np.nan, np.nan
    low, high = np.percentile(drawn, _PERCENTILES)
    return float(values[0]), float(low), float(high)
