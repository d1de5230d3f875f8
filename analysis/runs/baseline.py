"""The baseline of a study: a linear classifier on grey-level histograms, in place of the networks.

Each stage run trains it on its own training images and evaluates it on its own evaluation images. These are
the same for all processes of one data ratio, seed and fold, so one process's runs are read.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.runs.folds import SEED, by_seed, complete_seeds, one_row_per_seed
from analysis.runs.selection import run_rows
from stages.errors import RelayError
from stages.predictions import read_predictions
from stages.store import RunFolder


@dataclass(frozen=True)
class Baseline:
    """Which of N images the baseline classifies correctly at one data ratio.

    Attributes:
        seeds: those that it is known for, ascending.
        samples: N names of images, sorted, as in `PooledPredictions`.
        groups: N names of patients or objects, None for an image without one.
        correct: 0 or 1, shape (seeds, N), out of fold where there are folds.
    """

    seeds: tuple[int, ...]
    samples: tuple[str, ...]
    groups: tuple[str | None, ...]
    correct: npt.NDArray[np.float64]


def baseline_levels(runs: pd.DataFrame) -> dict[float, float]:
    """The baseline's accuracy at each data ratio: the mean over seeds, folds pooled; from the table alone.

    Args:
        runs: rows of `analysis.runs.load_runs` of one study. Ratios without a baseline are left out: images
            that stream have none.
    """
    rows = run_rows(runs, *SEED)
    if "histogram_accuracy" not in rows:
        return {}
    pooled = one_row_per_seed(rows.dropna(subset=["histogram_accuracy"]))
    if pooled.empty:
        return {}
    of_seed = pooled.groupby(["data_ratio", "seed"])["histogram_accuracy"].mean()
    means = of_seed.groupby("data_ratio").mean()
    return dict(zip(map(float, means.index), map(float, means), strict=True))


def read_baseline(runs: pd.DataFrame) -> dict[float, Baseline]:
    """What the baseline classifies correctly, by data ratio; for intervals over seeds and patients.

    Args:
        runs: rows of `analysis.runs.load_runs` of one study, of which `predictions.parquet` is read.

    Returns:
        Only ratios at which some seed has it for all of its images.

    Raises:
        RelayError: if predictions are missing or damaged, runs have different numbers of folds, or seeds
            have different evaluation images.
    """
    found: dict[float, dict[int, _OfSeed]] = {}
    for _, ratio, seed, of_seed in by_seed(complete_seeds(run_rows(runs, "folder", *SEED))):
        if seed in found.get(ratio, {}):
            continue
        read = _read([Path(folder) for folder in of_seed["folder"]])
        if read is not None:
            found.setdefault(ratio, {})[seed] = read
    return {ratio: _stacked(ratio, of_seeds) for ratio, of_seeds in sorted(found.items())}


@dataclass(frozen=True)
class _OfSeed:
    samples: tuple[str, ...]
    groups: tuple[str | None, ...]
    correct: npt.NDArray[np.bool_]


def _read(folders: list[Path]) -> _OfSeed | None:
    samples: list[str] = []
    groups: list[str | None] = []
    correct: list[bool] = []
    for folder in folders:
        part = read_predictions(RunFolder(folder).predictions, samples=True, groups=True, histogram=True)
        if part.histogram is None:
            return None
        samples += part.samples
        groups += part.groups
        correct += (part.histogram == part.labels).tolist()
    order = sorted(range(len(samples)), key=samples.__getitem__)
    return _OfSeed(
        tuple(samples[row] for row in order),
        tuple(groups[row] for row in order),
        np.array(correct, dtype=np.bool_)[order],
    )


def _stacked(ratio: float, of_seeds: dict[int, _OfSeed]) -> Baseline:
    seeds = tuple(sorted(of_seeds))
    first = of_seeds[seeds[0]]
    for seed in seeds:
        if (of_seeds[seed].samples, of_seeds[seed].groups) != (first.samples, first.groups):
            raise RelayError(
                f"data ratio {ratio:g}: seeds {seeds[0]} and {seed} have different evaluation images, so "
                "that their baselines cannot be pooled. Select the runs of one study and one data set."
            )
    correct = np.array([of_seeds[seed].correct for seed in seeds], dtype=np.float64)
    return Baseline(seeds, first.samples, first.groups, correct)
