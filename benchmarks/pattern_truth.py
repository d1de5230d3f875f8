"""Maps of whole synthetic series against their true maps: Dice, percentages, and what the intervals hold.

    python train.py +stage=natural,texture,dld -m seed=0,1
    python -m benchmarks.pattern_truth --runs-dir runs                # four patients of fifteen slices
    python -m benchmarks.pattern_truth --runs-dir runs --first-seed 100
    python -m benchmarks.pattern_truth --runs-dir runs --patients 1 --slices 5 --size 256

The series are `datamodules.embedded.dld_series`: no patch that networks were trained on is of these patients.
Each is mapped twice, with its true lungs and with those that `find_lungs` finds. How `find_lungs` works was
chosen on patients below 100: --first-seed 100 judges it on others, the seeds 100, 101 and on.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from analysis.prediction.chosen import chosen_runs
from analysis.prediction.ensemble import Ensemble, load_ensemble
from analysis.prediction.series.find_lungs import find_lungs
from analysis.prediction.series.measure import UNCERTAIN, measure
from analysis.prediction.series.pattern_map import PatternMap
from analysis.prediction.series.rescale import Rescale
from analysis.prediction.series.sliding import Sliding, map_patterns
from analysis.prediction.series.volume import CTVolume, open_volume
from benchmarks.agreement import Counts, confusion, dice, dice_of_lungs, percentages
from datamodules.embedded.dld_series import CLASSES, Series, draw_series
from datamodules.embedded.series import write_nifti

_LEAST = 2000  # pixels of true lung in a slice whose percentages are looked at
_FAR = 14  # pixels from any border


@dataclass(frozen=True)
class Judged:
    """A map beside the truth.

    Attributes:
        counts: (S, C + 1, C + 1) of the slices, [true, found].
        far: The same, of pixels far from every border of lungs and regions.
        sure: Of all pixels that are not uncertain.
        within: Patterns whose true percentage is inside the networks' interval, and patterns with one.
    """

    counts: Counts
    far: Counts
    sure: Counts
    within: tuple[int, int]


def write_volume(folder: Path, series: Series) -> CTVolume:
    """Write a series as NIfTI, and open it: its slices are the drawn ones from the last to the first."""
    write_nifti(folder / "series.nii.gz", series.hounsfield, series.spacing)
    volume = open_volume(folder / "series.nii.gz")
    assert (volume.slice(0) == series.hounsfield[-1]).all(), "the lowest slice comes first"
    return volume


def new_map(
    folder: Path, volume: CTVolume, lungs: Sequence[npt.NDArray[np.uint8]], made: Ensemble
) -> PatternMap:
    """A map to be made in a new folder."""
    folder.mkdir()
    with open(folder / "lungs.raw", "wb") as file:
        for plane in lungs:
            file.write(np.ascontiguousarray(plane, np.uint8).tobytes())
    found = PatternMap(folder, volume, made.classes, len(made.members))
    found.create()
    return found


def judge(series: Series, made: PatternMap) -> Judged:
    """Compare a finished map with the truth."""
    labels = len(CLASSES)
    assert made.classes == CLASSES
    counts, far, sure = [], [], []
    for number, true in enumerate(series.patterns[::-1]):
        found = made.pattern(number)
        counts.append(confusion(true, found, labels))
        inner = np.zeros(true.shape, np.bool_)
        for label in np.unique(true[true > 0]):
            inner |= ndimage.distance_transform_edt(np.pad(true == label, 1))[1:-1, 1:-1] > _FAR
        far.append(confusion(true * inner, found * inner, labels))
        certain = ~made.uncertain[number]
        sure.append(confusion(true * certain, found * certain, labels))
    whole = np.array(counts)
    true_percent, _ = percentages(whole.sum(axis=0))
    rows = {row.pattern: row for row in measure(made) if row.region == "lungs" and row.pattern != UNCERTAIN}
    ends = [(rows[name].low, rows[name].high) for name in CLASSES]
    held = [
        low <= percent <= high
        for (low, high), percent in zip(ends, true_percent, strict=True)
        if low is not None and high is not None
    ]
    return Judged(whole, np.array(far), np.array(sure), (sum(held), len(held)))


def map_patient(ensemble: Ensemble, series: Series, stride: int) -> tuple[Judged, Judged]:
    """Map a patient with the true lungs and with found ones."""
    with tempfile.TemporaryDirectory() as folder:
        volume = write_volume(Path(folder), series)
        sliding = Sliding(stride, 256, Rescale(volume.shape[1:], None, None))
        judged = []
        for name, lungs in (("true", list(series.lungs[::-1])), ("found", list(find_lungs(volume)))):
            made = new_map(Path(folder) / name, volume, lungs, ensemble)
            map_patterns(made, ensemble, sliding)
            judged.append(judge(series, made))
            shutil.rmtree(Path(folder) / name)
    return judged[0], judged[1]


def accuracy(counts: Counts) -> float:
    """Share of the pixels in both lungs that have their pattern."""
    return float(np.trace(counts[1:, 1:]) / counts[1:, 1:].sum())


def error_per_slice(patients: Sequence[Judged], label: int) -> float:
    """Mean over slices of the absolute error of a pattern's percentage, points."""
    errors = []
    for counts in np.concatenate([each.counts for each in patients]):
        if counts[1:].sum() >= _LEAST:
            true, found = percentages(counts)
            errors.append(abs(found[label - 1] - true[label - 1]))
    return float(np.mean(errors))


def error_of_patients(patients: Sequence[Judged], label: int) -> float:
    """Mean over patients of the absolute error of a pattern's percentage of the whole lungs, points."""
    pairs = [percentages(each.counts.sum(axis=0)) for each in patients]
    return float(np.mean([abs(found[label - 1] - true[label - 1]) for true, found in pairs]))


def print_tables(of_true: Sequence[Judged], of_found: Sequence[Judged]) -> None:
    """One row per pattern, then what holds of all of them."""
    print("| pattern | percent, true | Dice, true lungs | found | error of percent, true lungs | found "
          "| per slice, true lungs | found |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    sums = [np.concatenate([one.counts for one in each]).sum(axis=0) for each in (of_true, of_found)]
    true, _ = percentages(sums[0])
    scores = []
    for label, name in enumerate(CLASSES, start=1):
        scores.append([dice(each, label) or 0.0 for each in sums])
        cells = [f"{score:.2f}" for score in scores[-1]]
        cells += [f"{error_of_patients(each, label):.1f}" for each in (of_true, of_found)]
        cells += [f"{error_per_slice(each, label):.1f}" for each in (of_true, of_found)]
        print(f"| {name} | {true[label - 1]:.1f} | {' | '.join(cells)} |")
    means = [f"{value:.2f}" for value in np.mean(scores, axis=0)]
    print(f"| mean | | {' | '.join(means)} | | | | |\n")
    lungs = [dice_of_lungs(each.counts.sum(axis=0)) for each in of_found]
    print(f"Dice of the found lungs: {dice_of_lungs(sums[1]):.3f} ({min(lungs):.3f} to {max(lungs):.3f})")
    for name, patients in (("true", of_true), ("found", of_found)):
        each = [accuracy(one.counts.sum(axis=0)) for one in patients]
        far, sure, whole = (
            sum(getattr(one, part).sum(axis=0) for one in patients) for part in ("far", "sure", "counts")
        )
        print(
            f"{name} lungs: pixels right {accuracy(whole):.1%} ({min(each):.1%} to {max(each):.1%} of a "
            f"patient), more than {_FAR} pixels from borders {accuracy(far):.1%}, not uncertain "
            f"{accuracy(sure):.1%} ({sure[1:, 1:].sum() / whole[1:, 1:].sum():.1%} of the pixels); true "
            f"percentages inside the networks' intervals: {sum(one.within[0] for one in patients)} of "
            f"{sum(one.within[1] for one in patients)}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Map and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--process", default="two_stage")
    parser.add_argument("--run", default="", help="ids of runs instead of a process, ID,ID")
    parser.add_argument("--patients", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first patient")
    parser.add_argument("--slices", type=int, default=15)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--stride", type=int, default=8)
    given = parser.parse_args(arguments)
    runs = [each for each in given.run.split(",") if each]
    folders = chosen_runs(given.runs_dir, process=None if runs else given.process, runs=runs, study=None)
    ensemble = load_ensemble(folders, torch.device("cpu"))
    seeds = range(given.first_seed, given.first_seed + given.patients)
    print(f"{len(ensemble.members)} networks; patients {seeds[0]} to {seeds[-1]}, {given.slices} slices each")
    of_true, of_found = [], []
    for seed in seeds:
        true, found = map_patient(ensemble, draw_series(given.slices, given.size, seed), given.stride)
        of_true.append(true)
        of_found.append(found)
        print(f"patient {seed}: accuracy {accuracy(true.counts.sum(axis=0)):.1%}", flush=True)
    print_tables(of_true, of_found)


if __name__ == "__main__":
    main()
