"""Embedded domain: HRCT patches of diffuse lung disease from synthetic patients, in Hounsfield units.

A patient has a scanner (dose, reconstruction kernel, calibration), a level of inspiration and one or more
patterns. For each pattern a slice is drawn once, scanned, and cut into patches where the pattern is present,
so that the patches of one patient resemble each other as real ones do. Classes, their order and their
imbalance are the paper's (section 4.1, Fig. 4): seven patterns, 11783 training and 927 evaluation patches.
"""

import numpy as np
import numpy.typing as npt

from datamodules.domain import Domain, Side
from datamodules.embedded.dld_patterns import draw
from datamodules.embedded.dld_scan import Scan, acquire, draw_scan
from datamodules.embedded.dld_structures import Lung
from stages.errors import RelayError

VERSION = 2

_CLASSES = ("CON", "GGO", "HCM", "RET", "EMP", "NOD", "NOR")
_PAPER_COUNTS = {
    "train": (143, 609, 282, 210, 4406, 762, 5371),
    "val": (26, 46, 73, 66, 296, 65, 355),
}
_AT_LEAST = 2  # patches per class

# Patches taken from one patient's slice (of the 3 x 3 it is cut into). Rare classes give fewer, so that they
# too come from several patients.
_GRID = 3
_PATCHES_PER_SLICE = {"CON": 4, "GGO": 5, "HCM": 4, "RET": 4, "EMP": 7, "NOD": 5, "NOR": 8}
# Share of a patch that the pattern must cover for a radiologist to mark it.
_PRESENT = {"CON": 0.35, "GGO": 0.35, "HCM": 0.45, "RET": 0.5, "EMP": 0.2, "NOD": 0.04, "NOR": 0.0}
# Patterns of patient number p on a side: row p modulo 12. Fibrosis shows reticulation and honeycombing
# together, pneumonia ground glass and consolidation; most patients also have normal lung.
_PATTERNS = (
    ("EMP", "NOR"),
    ("EMP", "NOD", "NOR"),
    ("HCM", "RET"),
    ("EMP", "NOR"),
    ("CON", "GGO", "NOR"),
    ("EMP", "NOR"),
    ("NOD", "NOR"),
    ("EMP", "NOR"),
    ("HCM", "RET", "EMP"),
    ("GGO", "EMP", "NOR"),
    ("EMP", "NOR"),
    ("EMP", "NOD", "NOR"),
)


def class_names(classes: int) -> tuple[str, ...]:
    """Names of the seven patterns, in the paper's order.

    Raises:
        RelayError: `classes` is not 7.
    """
    if classes != len(_CLASSES):
        raise RelayError(
            f"The embedded dld domain has {len(_CLASSES)} classes ({', '.join(_CLASSES)}), not {classes}. "
            f"Set data.domains.dld.classes={len(_CLASSES)}."
        )
    return _CLASSES


def generate(*, classes: int, train_images: int, val_images: int, size: int, seed: int) -> Domain:
    """Generate the domain. A sample depends on the seed, its side, class, index and `size`, on nothing else.

    Args:
        classes: 7.
        train_images: Training patches over all classes, 14 or more, shared out in the paper's proportions.
        val_images: Evaluation patches over all classes, likewise.
        size: Side of a patch in pixels, 16 to 64; the paper's is 32. A pixel is 0.6 to 0.7 mm at any size.
        seed: 0 or more.

    Returns:
        Domain with int16 images in HU, shape (N, size, size), ordered by class; groups are patients.

    Raises:
        RelayError: An argument is out of its range.
    """
    names = class_names(classes)
    if not 16 <= size <= 64:
        raise RelayError(
            f"The embedded dld domain makes patches of 16 to 64 pixels, not {size}. Set data.size."
        )
    if seed < 0:
        raise RelayError(f"The seed of the embedded dld domain is {seed}. Set it to 0 or more.")
    totals = {"train": train_images, "val": val_images}
    counts = {side: _class_counts(side, total) for side, total in totals.items()}
    sides = {side: _generate_side(side, counts[side], size, seed) for side in totals}
    return Domain(names, sides["train"], sides["val"])


def _generate_side(side: str, counts: list[int], size: int, seed: int) -> Side:
    images = np.empty((sum(counts), size, size), dtype=np.int16)
    groups: list[str] = []
    samples: list[str] = []
    for label, (pattern, count) in enumerate(zip(_CLASSES, counts, strict=True)):
        per_slice = _PATCHES_PER_SLICE[pattern]
        for position in range(0, count, per_slice):
            patient = _patient_with(pattern, position // per_slice)
            name = _patient_name(side, patient)
            patches = _slice_patches(side, label, patient, size, seed)[: count - position]
            images[len(groups) : len(groups) + len(patches)] = patches
            groups += [name] * len(patches)
            samples += [f"{name}/{pattern}-{index:02d}" for index in range(len(patches))]
    labels = np.repeat(np.arange(len(_CLASSES), dtype=np.int64), counts)
    return Side(images, labels, tuple(groups), tuple(samples))


def _class_counts(side: str, total: int) -> list[int]:
    """Share `total` out in the paper's proportions by largest remainder, at least two per class."""
    paper = np.array(_PAPER_COUNTS[side])
    if total < _AT_LEAST * len(paper):
        raise RelayError(
            f"The embedded dld domain needs {_AT_LEAST * len(paper)} images or more on each side "
            f"({_AT_LEAST} per class), but data.{side}_images is {total}."
        )
    counts = np.full(len(paper), _AT_LEAST)
    free = np.ones(len(paper), dtype=bool)  # classes whose share is not below the minimum
    while True:
        rest = total - _AT_LEAST * int((~free).sum())
        # In whole numbers, so that no rounding decides a tie: the first class of equal remainders wins.
        whole, remainder = np.divmod(paper * rest, int(paper[free].sum()))
        short = free & (whole < _AT_LEAST)
        if not short.any():
            break
        free &= ~short
    counts[free] = whole[free]
    order = np.argsort(np.where(free, -remainder, 1), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return [int(count) for count in counts]


def _patient_with(pattern: str, position: int) -> int:
    """Number, within its side, of the patient who is the `position`-th to have a pattern."""
    rows = [row for row, patterns in enumerate(_PATTERNS) if pattern in patterns]
    rounds, row = divmod(position, len(rows))
    return rounds * len(_PATTERNS) + rows[row]


def _patient_name(side: str, patient: int) -> str:
    """Name of a patient: every fourth number is an evaluation patient, however many there are of each."""
    number = patient * 4 + 3 if side == "val" else patient + patient // 3
    return f"patient-{number:03d}"


def _generator(seed: int, side: str, stream: int, patient: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, int(side == "val"), stream, patient]))


def _patient_scan(side: str, patient: int, seed: int) -> Scan:
    return draw_scan(_generator(seed, side, len(_CLASSES), patient))


def _slice_patches(side: str, label: int, patient: int, size: int, seed: int) -> npt.NDArray[np.int16]:
    """Draw, scan and cut one patient's slice with one pattern: int16 HU, shape (patches, size, size)."""
    pattern = _CLASSES[label]
    scan = _patient_scan(side, patient, seed)
    rng = _generator(seed, side, label, patient)
    lung = Lung(size * _GRID, scan.spacing, scan.density + rng.normal(0.0, 8.0))
    attenuation, affected = draw(pattern, rng, lung, severity=rng.random())
    image = acquire(attenuation, scan, scan.noise * rng.uniform(0.85, 1.15), rng)
    patches = _cut(image, size)
    extent = _cut(affected, size).mean(axis=(1, 2))
    # Marked are patches in which the pattern is present, in no order; only where those are too few, the best
    # of the others.
    order = rng.permutation(len(patches))
    present = extent[order] >= _PRESENT[pattern]
    missing = order[~present]
    chosen = np.concatenate([order[present], missing[np.argsort(-extent[missing], kind="stable")]])
    kept: npt.NDArray[np.int16] = patches[chosen[: _PATCHES_PER_SLICE[pattern]]]
    return kept


def _cut(image: npt.NDArray[np.generic], size: int) -> npt.NDArray[np.generic]:
    """Cut a slice into its patches, shape (_GRID * _GRID, size, size)."""
    return image.reshape(_GRID, size, _GRID, size).swapaxes(1, 2).reshape(-1, size, size)
