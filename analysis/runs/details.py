"""Details of a study's runs beyond the table: epochs, predictions, origins. Each file is read once.

No name of a group or sample is read: of the predictions, only labels and logits.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.runs.baseline import baseline_levels
from analysis.runs.folds import complete_seeds
from stages.epochs import LEARNING_RATE
from stages.errors import RelayError
from stages.metrics import CALIBRATION_BINS, MOST_CONFIDENT, shown_in
from stages.predictions import read_predictions
from stages.record import DataRecord, GivenRecord, Record
from stages.store import RunFolder
from stages.stored import read_stored

Cell = tuple[str, float]
"""A process and a data ratio."""


@dataclass(frozen=True)
class Curve:
    """A run's epochs.

    Attributes:
        seed: of the run.
        onset: first epoch of the plateau, from 0.
        reached: whether the plateau was reached.
        values: float64 of shape (epochs,), by metric, and by `LEARNING_RATE` where a schedule
            lowers it.
    """

    seed: int
    onset: int
    reached: bool
    values: Mapping[str, npt.NDArray[np.float64]]


@dataclass
class Reliability:
    """Confidence and correctness of predictions in equal bins of confidence, summed over runs.

    The folds of a seed are one set of predictions.

    Attributes:
        counts: predictions in each bin, shape (15,).
        confidences: sum of the largest probabilities in each bin.
        hits: correct predictions in each bin.
        gaps: confidence minus hits in each bin, by seed.
        images: predictions, by seed.
    """

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(CALIBRATION_BINS, np.int64))
    confidences: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(CALIBRATION_BINS))
    hits: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(CALIBRATION_BINS, np.int64))
    gaps: dict[int, npt.NDArray[np.float64]] = field(default_factory=dict)
    images: Counter[int] = field(default_factory=Counter)

    @property
    def errors(self) -> list[float]:
        """Expected calibration error of each seed."""
        return [
            float(np.abs(gap).sum() / max(self.images[seed], 1)) for seed, gap in sorted(self.gaps.items())
        ]

    def add(self, seed: int, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
        """Add a run's predictions.

        Args:
            seed: of the run.
            logits: shape (N, C).
            labels: shape (N,), in 0..C-1.
        """
        confidence, hit = _confidence(logits, labels)
        # As torchmetrics: bins include their lower edge.
        of_sample = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        counts = np.bincount(of_sample, minlength=CALIBRATION_BINS)
        confidences = np.bincount(of_sample, weights=confidence, minlength=CALIBRATION_BINS)
        hits = np.bincount(of_sample, weights=hit, minlength=CALIBRATION_BINS).astype(np.int64)
        self.counts += counts
        self.confidences += confidences
        self.hits += hits
        self.gaps[seed] = self.gaps.get(seed, np.zeros(CALIBRATION_BINS)) + (confidences - hits)
        self.images[seed] += len(labels)


@dataclass
class RunDetails:
    """What the files of a study's runs say.

    Attributes:
        classes: names of the target's classes.
        curves: of every run with a history, by process and data ratio.
        matrices: confusion matrices with all training data, by process and seed, summed over the seed's
            folds; seeds that lack a fold are left out. One row per true class.
        reliability: of the same runs' predictions, by process.
        origins: how many runs and sources have each version, commit and machine: {what: {value: runs}}.
        evaluation_images: of each class, over the folds of a seed.
        sizes: height and width of the target's images, and the side of the network's input, in pixels.
        evaluation_groups: patients or objects of the evaluation set.
        groups_known: whether some of the target's images share a group.
        crossing: how many groups, and pictures, are on both sides of the target's split.
        given: how many runs and sources began with each checkpoint of the user's.
        image_notes: what the records say of how images were listed and read, sources' after their stage.
        uncommitted: runs trained with changes that were not committed.
        test_set: whether a test set is kept apart from training and evaluation.
        finished: when each run ended, in ISO 8601.
        baseline: accuracy of a linear classifier on grey-level histograms by data ratio, where it is known.
        without_history: folders whose history is missing or damaged.
        without_predictions: folders of runs with all training data whose predictions are missing or damaged.
    """

    classes: list[str] = field(default_factory=list)
    curves: dict[Cell, list[Curve]] = field(default_factory=dict)
    matrices: dict[str, dict[int, npt.NDArray[np.int64]]] = field(default_factory=dict)
    reliability: dict[str, Reliability] = field(default_factory=dict)
    origins: dict[str, Counter[str]] = field(default_factory=dict)
    evaluation_images: list[int] = field(default_factory=list)
    sizes: tuple[int, int, int] = (0, 0, 0)
    evaluation_groups: int = 0
    groups_known: bool = False
    crossing: tuple[int, int] = (0, 0)
    given: Counter[GivenRecord] = field(default_factory=Counter)
    image_notes: list[str] = field(default_factory=list)
    uncommitted: int = 0
    test_set: bool = False
    finished: list[str] = field(default_factory=list)
    baseline: dict[float, float] = field(default_factory=dict)
    without_history: list[str] = field(default_factory=list)
    without_predictions: list[str] = field(default_factory=list)

    @property
    def confusion(self) -> dict[str, npt.NDArray[np.int64]]:
        """Counts over the seeds by process, shape (classes, classes), one row per true class."""
        return {process: np.sum(list(of.values()), axis=0) for process, of in self.matrices.items()}


def read_details(runs: pd.DataFrame, sources: pd.DataFrame | None = None) -> RunDetails:
    """Read the records, histories and predictions of a study's runs, one after the other.

    A missing or damaged history or predictions file is noted. The rest of the run is used.

    Args:
        runs: rows of `analysis.runs.load_runs`, of one study.
        sources: rows of their sources, of which only the origins are read.

    Raises:
        RelayError: if a record is damaged.
    """
    details = RunDetails(baseline=baseline_levels(runs))
    evaluated: dict[tuple[str, float, int], list[DataRecord]] = {}
    for path in [] if sources is None else sources["folder"]:
        record = RunFolder(Path(path)).read_record()
        _add_origin(details, record)
        of_source = [f"{record.stage}: {note}" for note in record.notes]
        details.image_notes += [note for note in of_source if note not in details.image_notes]
    whole_seeds = set(complete_seeds(runs)["folder"])
    for process, ratio, path in zip(runs["process"], runs["data_ratio"], runs["folder"], strict=True):
        folder = RunFolder(Path(path))
        record = folder.read_record()
        _add_record(details, record)
        evaluated.setdefault((process, ratio, record.seed), []).append(record.data)
        try:
            values = _read_history(folder.history)
        except (OSError, ValueError, KeyError, IndexError, csv.Error):
            details.without_history.append(path)
        else:
            plateau = record.plateau
            curve = Curve(record.seed, plateau.onset, plateau.reached, values)
            details.curves.setdefault((process, ratio), []).append(curve)
        if ratio != 1.0 or path not in whole_seeds:
            continue
        matrix = np.array(record.confusion_matrix, dtype=np.int64)
        of_seeds = details.matrices.setdefault(process, {})
        of_seeds[record.seed] = of_seeds.get(record.seed, np.zeros_like(matrix)) + matrix
        try:
            predictions = read_predictions(folder.predictions, classes=record.data.classes)
        except RelayError:
            details.without_predictions.append(path)
        else:
            of_process = details.reliability.setdefault(process, Reliability())
            of_process.add(record.seed, predictions.logits, predictions.labels)
    if evaluated:  # the folds of a seed are one evaluation set; seeds with the most of them have it whole
        most = max(map(len, evaluated.values()))
        whole = [folds for folds in evaluated.values() if len(folds) == most]
        details.evaluation_images = np.sum([data.val_counts for data in whole[-1]], axis=0).tolist()
        # The worst of what the records say.
        details.evaluation_groups = min(sum(data.val_groups for data in folds) for folds in whole)
    return details


def most_frequent(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Values with their counts, the most frequent first, equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _add_record(details: RunDetails, record: Record) -> None:
    data = record.data
    details.classes = data.classes
    details.sizes = (data.height, data.width, data.image_size)
    groups, pictures = details.crossing
    details.crossing = (max(groups, data.crossing_groups), max(pictures, data.crossing_pictures))
    details.image_notes += [note for note in record.notes if note not in details.image_notes]
    details.groups_known |= data.grouped
    details.test_set |= data.test_counts is not None
    details.finished.append(record.origin.finished)
    _add_origin(details, record)


def _add_origin(details: RunDetails, record: Record) -> None:
    if record.given is not None:
        details.given[record.given] += 1
    details.uncommitted += record.origin.git_dirty is True
    for what, value in _origin(record).items():
        details.origins.setdefault(what, Counter())[value] += 1


def _origin(record: Record) -> dict[str, str]:
    """Where and with what a run was trained; what its attempts do not share is joined."""
    origin, attempts = record.origin, record.attempts
    commit = "unknown" if origin.git_commit is None else origin.git_commit[:12]
    dirty = {True: " with uncommitted changes", False: "", None: ""}[origin.git_dirty]
    machine = ", ".join(f"{name} {value}" for name, value in origin.machine.items())
    return {
        **origin.versions,
        **({"torch": _joined(attempt.torch for attempt in attempts)} if len(attempts) > 1 else {}),
        "commit": commit + dirty,
        "machine": machine,
        "processor or GPU": _joined(attempt.device for attempt in attempts),
        "threads": _joined(
            f"{attempt.threads}{f' on {attempt.cores} cores' if attempt.cores < attempt.threads else ''}"
            for attempt in attempts
        ),
    }


def _joined(values: Iterable[str]) -> str:
    return ", then ".join(dict.fromkeys(values))


def _read_history(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    rows = csv.reader(io.StringIO(read_stored(path), newline=""))
    header = next(rows, [])
    columns = list(zip(*rows, strict=True))
    if not columns:
        raise ValueError(f"{path} has no epochs")
    names = [LEARNING_RATE, *(metric.name for metric in shown_in("robustness"))]
    found = {
        name: np.array([value or "nan" for value in columns[header.index(name)]], np.float64)
        for name in names
        if name in header
    }
    rates = found.get(LEARNING_RATE)
    if rates is not None and not rates[-1] < rates.max():  # after its warm-up a constant one says nothing
        del found[LEARNING_RATE]
    return found


def _confidence(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The largest probability of each sample, below 1, and whether its class is the label."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    confidence = np.minimum((1.0 / shifted.sum(axis=1)).astype(np.float32), np.float32(MOST_CONFIDENT))
    hit = logits.argmax(axis=1) == labels
    return confidence.astype(np.float64), hit.astype(np.float64)
