"""Predictions of a study's runs, pooled over folds: one row of images for each seed, all in one order.

With folds each image is predicted by the one run of its seed that had the image's group out of training.
Without folds a run is all of its seed. What is compared is the same in both cases.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.runs.details import Cell
from analysis.runs.folds import SEED, IncompleteSeed, by_seed, complete_seeds, incomplete_seeds
from analysis.runs.selection import run_rows
from stages.console.words import counted
from stages.errors import RelayError
from stages.predictions import Predictions, read_predictions
from stages.store import RunFolder

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PooledPredictions:
    """What the runs predicted for N images.

    Attributes:
        classes: C names.
        samples: N names of images, sorted.
        groups: N names of patients or objects, None for an image without one.
        labels: int64, shape (N,), in 0..C-1.
        by_epoch: by process and data ratio, then by seed, ascending: the class predicted in each epoch of
            the plateau, int64, shape (N, epochs). Where folds have unequal numbers of epochs (a plateau that
            was not reached), the last ones that all of them have.
        incomplete: seeds that lack a fold; they are not in `by_epoch`.
        histogram: by data ratio, then by seed, ascending: the class that the histogram baseline predicts,
            int64, shape (N,). It is the same for all processes; seeds without it are left out.
    """

    classes: tuple[str, ...]
    samples: tuple[str, ...]
    groups: tuple[str | None, ...]
    labels: _Ints
    by_epoch: Mapping[Cell, Mapping[int, _Ints]]
    incomplete: tuple[IncompleteSeed, ...]
    histogram: Mapping[float, Mapping[int, _Ints]] = field(default_factory=dict)

    def seeds(self, *cells: Cell) -> tuple[int, ...]:
        """The seeds that all of some cells have, ascending."""
        common = set.intersection(*(set(self.by_epoch.get(cell, {})) for cell in cells))
        return tuple(sorted(common))

    def correctness(self, cell: Cell, seeds: tuple[int, ...] | None = None) -> npt.NDArray[np.float64]:
        """Share of the plateau's epochs in which each image was classified correctly, shape (seeds, N).

        Args:
            cell: a process and a data ratio.
            seeds: which; None for all that the cell has.
        """
        of_cell = self.by_epoch[cell]
        rows = [
            (of_cell[seed] == self.labels[:, None]).mean(axis=1)
            for seed in (self.seeds(cell) if seeds is None else seeds)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, len(self.labels))


def pool_folds(runs: pd.DataFrame) -> PooledPredictions:
    """Pool the predictions of target runs over the folds of each process, data ratio and seed.

    Args:
        runs: rows of `analysis.runs.load_runs` of one study, of which `predictions.parquet` is read; sources,
            which have no process, are passed over.

    Returns:
        The predictions, and which seeds lack a fold.

    Raises:
        RelayError: if no seed is complete, predictions are missing or damaged, runs have different numbers of
            folds or different evaluation images, or an image is in two folds of one seed.
    """
    rows = run_rows(runs, "folder", *SEED)
    by_epoch: dict[Cell, dict[int, _Ints]] = {}
    histogram: dict[float, dict[int, _Ints]] = {}
    incomplete = incomplete_seeds(rows)
    first: _Pooled | None = None
    for process, ratio, seed, of_seed in by_seed(complete_seeds(rows)):
        pooled = _pool([Path(folder) for folder in of_seed["folder"]])
        first = first or pooled
        if not pooled.same_images(first):
            raise RelayError(
                f"{process}, data ratio {ratio:g}, seed {seed} has other evaluation images than the runs "
                "before it: images, groups, labels or classes differ, so that they cannot be compared. "
                "Select the runs of one study and one data set."
            )
        by_epoch.setdefault((process, ratio), {})[seed] = pooled.by_epoch
        if pooled.histogram is not None:
            histogram.setdefault(ratio, {}).setdefault(seed, pooled.histogram)
    if first is None:
        said = f": {incomplete[0]}" if incomplete else "; train some of a learning process"
        raise RelayError(f"no seed has all of its runs{said}")
    return PooledPredictions(
        *(first.classes, first.samples, first.groups, first.labels),
        by_epoch,
        tuple(incomplete),
        {ratio: dict(sorted(of_seeds.items())) for ratio, of_seeds in sorted(histogram.items())},
    )


@dataclass(frozen=True)
class _Pooled:
    """The images of one seed, sorted by name."""

    classes: tuple[str, ...]
    samples: tuple[str, ...]
    groups: tuple[str | None, ...]
    labels: _Ints
    by_epoch: _Ints
    histogram: _Ints | None

    def same_images(self, other: "_Pooled") -> bool:
        mine, others = ((each.classes, each.samples, each.groups) for each in (self, other))
        return mine == others and np.array_equal(self.labels, other.labels)


def _pool(folders: list[Path]) -> _Pooled:
    parts = [_read(folder) for folder in folders]
    epochs = [part.by_epoch for part in parts]
    shared = min(each.shape[1] for each in epochs)
    by_epoch = np.concatenate([each[:, each.shape[1] - shared :] for each in epochs])
    samples = [sample for part in parts for sample in part.samples]
    groups = [group for part in parts for group in part.groups]
    labels = np.concatenate([part.labels for part in parts])
    if len({part.classes for part in parts}) > 1:
        raise RelayError(f"{folders[0]} and the other folds of its seed have different classes")
    twice = len(samples) - len(set(samples))
    if twice:
        raise RelayError(
            f"{folders[0]} and the other folds of its seed share {counted(twice, 'image')}: these are not "
            "the folds of one partition. Remove the folders and train them again."
        )
    order = sorted(range(len(samples)), key=samples.__getitem__)
    histograms = [part.histogram for part in parts if part.histogram is not None]
    return _Pooled(
        parts[0].classes,
        tuple(samples[row] for row in order),
        tuple(groups[row] for row in order),
        labels[order],
        by_epoch[order],
        np.concatenate(histograms)[order] if len(histograms) == len(parts) else None,
    )


def _read(folder: Path) -> Predictions:
    path = RunFolder(folder).predictions
    return read_predictions(path, samples=True, groups=True, by_epoch=True, histogram=True)
