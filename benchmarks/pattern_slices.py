r"""Maps of real slices against radiologists' masks, beside two thresholds on grey levels.

    python -m benchmarks.pattern_slices patches --data DATA --out one-side.csv
    python train.py +stage=natural,texture,dld -m seed=0,1 data.domains.dld.kind=manifest \
        data.domains.dld.root=DATA/lung/semiseg-patches32 data.domains.dld.manifest=$PWD/one-side.csv \
        data.domains.dld.{generator,classes,train_images,val_images,size,seed}=null
    python -m benchmarks.pattern_slices maps --data DATA --runs-dir runs --run ID,ID

DATA has the layout of docs/real-data.md, and lung/semiseg-slices: MedSeg's 98 slices with their provider's
sides, train/{Imgs,GT} and test/{Imgs,GT}. Networks and thresholds learn from the train side only; the slices
of the test side are mapped, but for two whose patient is on the train side. Slices are 8-bit pictures in
unknown windows, cut to the lungs, without Hounsfield units or spacing.

Percentages are of the lungs. No lungs were drawn, so a mask is made from grey levels, the same for both
methods; it loses dense disease at the lungs' edge. A second table has the drawn disease added to it, as a
mask would be that keeps it: both methods gain what no mask made from grey levels gives.
"""

import argparse
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import isotropic_closing

from analysis.prediction.chosen import chosen_runs
from analysis.prediction.ensemble import Ensemble, load_ensemble
from analysis.prediction.series.patches import fill_outside, grid_of
from benchmarks.agreement import (
    Counts,
    Pairs,
    confusion,
    dice,
    limits_of_agreement,
    percentages,
    plot_agreement,
)

CLASSES = ("normal", "ground_glass", "consolidation")
"""Of a map, index + 1; the masks' 1 and 2 are the second and third."""

_OTHER_SIDE = (91, 93)  # slices of the test side whose patient is on the train side (SOURCE.txt)
_BLURS = (0.0, 1.0, 2.0, 3.0, 4.0)  # standard deviations, pixels
_RESAMPLED = 2000

Levels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Drawn:
    """A slice: its grey levels and its mask (0 other, 1 ground glass, 2 consolidation), (H, W) each."""

    number: int
    image: Levels
    mask: Levels


def slices_of(data: Path, side: str) -> Iterator[Drawn]:
    """The slices of a side, train or test, by their numbers."""
    folder = data / "lung" / "semiseg-slices" / side
    for path in sorted((folder / "Imgs").iterdir(), key=lambda path: int(path.stem)):
        if side == "test" and int(path.stem) in _OTHER_SIDE:
            continue
        image = np.asarray(Image.open(path).convert("L"))
        yield Drawn(int(path.stem), image, np.asarray(Image.open(folder / "GT" / f"{path.stem}.png")))


def write_patches(data: Path, out: Path) -> dict[tuple[str, str], int]:
    """Write a manifest of the patches by their slices' sides; returns how many there are of each.

    The patches are lung/semiseg-patches32, cut from these slices; normal lung in it is a heuristic. Those of
    the test side are for the run's own evaluation only: no stop, size or threshold hangs on them.
    """
    counts: dict[tuple[str, str], int] = {}
    sides = {one.number: side for side in ("train", "test") for one in slices_of(data, side)}
    with (
        open(data / "lung/semiseg-patches32/manifest.csv", newline="") as source,
        open(out, "w", newline="") as file,
    ):
        writer = csv.DictWriter(file, ("path", "class", "group", "split"))
        writer.writeheader()
        for row in csv.DictReader(source):
            found = re.search(r"img(\d+)_", row["path"])
            assert found is not None
            side = sides.get(int(found[1]))
            if side is None:
                continue
            split = {"train": "train", "test": "val"}[side]
            writer.writerow(row | {"split": split})
            counts[split, row["class"]] = counts.get((split, row["class"]), 0) + 1
    return counts


def grey_lungs(image: Levels) -> Mask:
    """Lungs from grey levels alone.

    Pixels below Otsu's threshold (after a blur of one pixel), their parts of 2% of the slice or more that
    hold no corner of it, each closed by a disc of 20 pixels, with its holes filled.
    """
    blurred = ndimage.gaussian_filter(image.astype(np.float64), 1.0)
    threshold = threshold_otsu(blurred)  # type: ignore[no-untyped-call]
    parts, count = ndimage.label(blurred < threshold)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    corners = {int(parts[row, column]) for row in (0, -1) for column in (0, -1)}
    lungs = np.zeros(image.shape, np.bool_)
    for part in range(1, count + 1):
        if sizes[part] >= 0.02 * image.size and part not in corners:
            wide = np.pad(parts == part, 22)
            closed = isotropic_closing(wide, 20)  # type: ignore[no-untyped-call]
            lungs |= ndimage.binary_fill_holes(closed[22:-22, 22:-22])
    return lungs


def true_map(slice_: Drawn, lungs: Mask) -> Levels:
    """The radiologist's map: what was drawn, and normal in the rest of the lungs."""
    return np.where(slice_.mask > 0, slice_.mask + 1, lungs).astype(np.uint8)


@dataclass(frozen=True)
class Thresholds:
    """Two thresholds on grey levels.

    Attributes:
        glass: Least level of ground glass.
        dense: Least level of consolidation.
        blur: Standard deviation of the Gaussian before them, pixels.
        dice: Mean of both classes' Dice on the slices that they were fitted to.
    """

    glass: int
    dense: int
    blur: float
    dice: float

    def map_of(self, image: Levels, lungs: Mask) -> Levels:
        """As a map of patterns."""
        levels = _blurred(image, self.blur)
        found = 1 + (levels >= self.glass).astype(np.uint8) + (levels >= self.dense)
        return np.where(lungs, found, 0).astype(np.uint8)


def _blurred(image: Levels, blur: float) -> Levels:
    return np.rint(ndimage.gaussian_filter(image.astype(np.float64), blur)).astype(np.uint8)


def fit_thresholds(slices: Sequence[tuple[Drawn, Mask]], blurs: Sequence[float] = _BLURS) -> Thresholds:
    """The thresholds and blur of the greatest mean of both classes' Dice over all pixels; all are tried."""
    found = []
    for blur in blurs:
        histograms = np.zeros((3, 256))  # of normal, ground glass and consolidation, within the lungs
        drawn = np.zeros(3)  # everywhere
        for slice_, lungs in slices:
            levels, true = _blurred(slice_.image, blur), true_map(slice_, lungs)
            for label in range(3):
                histograms[label] += np.bincount(levels[lungs & (true == label + 1)], minlength=256)
                drawn[label] += (true == label + 1).sum()
        below = np.zeros((3, 257))
        below[:, 1:] = histograms.cumsum(axis=1)
        glass, dense = np.meshgrid(np.arange(257), np.arange(257), indexing="ij")
        between = below[:, dense] - below[:, glass]
        above = below[:, 256, None, None] - below[:, dense]
        scores = between[1] / np.maximum(between.sum(axis=0) + drawn[1], 1)
        scores = scores + above[2] / np.maximum(above.sum(axis=0) + drawn[2], 1)
        scores[glass > dense] = -1.0
        best = np.unravel_index(int(scores.argmax()), scores.shape)
        found.append(Thresholds(int(best[0]), int(best[1]), blur, float(scores[best])))
    return max(found, key=lambda each: each.dice)


def map_of(ensemble: Ensemble, image: Levels, lungs: Mask, stride: int) -> Levels:
    """The networks' map: the mean probability over networks and overlapping patches, as of a series."""
    grid = grid_of(lungs, ensemble.shape, stride)
    probabilities = (
        ensemble.probabilities(torch.from_numpy(grid.cut(fill_outside(image, lungs)))).mean(dim=0).numpy()
    )
    labels = np.array([CLASSES.index(name) + 1 for name in ensemble.classes], np.uint8)
    return np.where(lungs, labels[grid.spread(probabilities).argmax(axis=0)], 0).astype(np.uint8)


def _dice_with_interval(counts: Counts, label: int) -> str:
    """Dice over all slices, and its 95% percentile interval over resampled slices; counts (N, 4, 4)."""
    rng = np.random.default_rng(0)
    drawn = [counts[rng.integers(0, len(counts), len(counts))].sum(axis=0) for _ in range(_RESAMPLED)]
    low, high = np.percentile([dice(one, label) or 0.0 for one in drawn], [2.5, 97.5])
    return f"{dice(counts.sum(axis=0), label):.3f} ({low:.3f} to {high:.3f})"


def _difference(one: Counts, other: Counts, label: int) -> str:
    """Dice of the first less that of the second, with the interval over the same resampled slices."""
    rng = np.random.default_rng(0)
    places = [rng.integers(0, len(one), len(one)) for _ in range(_RESAMPLED)]
    drawn = [
        (dice(one[each].sum(axis=0), label) or 0.0) - (dice(other[each].sum(axis=0), label) or 0.0)
        for each in places
    ]
    whole = (dice(one.sum(axis=0), label) or 0.0) - (dice(other.sum(axis=0), label) or 0.0)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{whole:+.3f} ({low:+.3f} to {high:+.3f})"


def print_comparison(counts: dict[str, Counts], title: str) -> dict[str, dict[str, Pairs]]:
    """Print a table of methods, and return their percentages per slice: class -> method -> true and found."""
    print(f"\n{title}\n")
    print("| class | method | Dice (95%) | percent per slice: bias | limits of agreement |")
    print("|---|---|---|---|---|")
    pairs: dict[str, dict[str, Pairs]] = {}
    for label, name in enumerate(CLASSES[1:], start=2):
        pairs[name.replace("_", " ")] = of_class = {}
        for method, of_method in counts.items():
            percent = np.array([percentages(one) for one in of_method])[:, :, label - 1]
            of_class[method] = (percent[:, 0], percent[:, 1])
            limits = limits_of_agreement(percent[:, 1] - percent[:, 0])
            print(
                f"| {name.replace('_', ' ')} | {method} | {_dice_with_interval(of_method, label)} "
                f"| {limits.bias:+.1f} | {limits.low:+.1f} to {limits.high:+.1f} |"
            )
        one, other = counts.values()
        print(f"| {name.replace('_', ' ')} | {' - '.join(counts)} | {_difference(one, other, label)} | | |")
    return pairs


def compare(data: Path, ensemble: Ensemble, stride: int, figure: Path | None) -> None:
    """Print both tables, and draw the Bland-Altman plots of the first."""
    known = [(one, grey_lungs(one.image)) for one in slices_of(data, "train")]
    asked = [(one, grey_lungs(one.image)) for one in slices_of(data, "test")]
    for title, with_disease in (("Mask from grey levels", False), ("The same mask with the disease", True)):
        thresholds = fit_thresholds([(one, _mask(one, lungs, with_disease)) for one, lungs in known])
        print(f"{title}: {thresholds}")
        counts: dict[str, list[Counts]] = {"networks": [], "thresholds": []}
        for one, grey in asked:
            lungs = _mask(one, grey, with_disease)
            true = true_map(one, lungs)
            for method, found in (
                ("networks", map_of(ensemble, one.image, lungs, stride)),
                ("thresholds", thresholds.map_of(one.image, lungs)),
            ):
                counts[method].append(confusion(true, found, len(CLASSES)))
        pairs = print_comparison({name: np.array(each) for name, each in counts.items()}, title)
        if figure is not None and not with_disease:
            plot_agreement(figure, pairs, "% of the lungs")
    for label, name in enumerate(CLASSES[1:], start=1):
        drawn = sum(int((one.mask == label).sum()) for one, _ in asked)
        kept = sum(int(((one.mask == label) & lungs).sum()) for one, lungs in asked)
        print(f"\n{name} in the mask from grey levels: {kept / drawn:.1%}")


def _mask(slice_: Drawn, lungs: Mask, with_disease: bool) -> Mask:
    return lungs | (slice_.mask > 0) if with_disease else lungs


def main() -> None:
    """Write the manifest, or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("patches", "maps"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("one-side.csv"), help="patches: the manifest")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--run", default="", help="maps: ids of the networks, ID,ID")
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--figure", type=Path, help="maps: where the Bland-Altman plots go, an SVG")
    arguments = parser.parse_args()
    if arguments.what == "patches":
        for (split, name), count in sorted(write_patches(arguments.data, arguments.out).items()):
            print(f"{split} {name}: {count}")
        return
    runs = chosen_runs(arguments.runs_dir, process=None, runs=arguments.run.split(","), study=None)
    ensemble = load_ensemble(runs, torch.device("cpu"))
    compare(arguments.data, ensemble, arguments.stride, arguments.figure)


if __name__ == "__main__":
    main()
