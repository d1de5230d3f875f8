"""A synthetic series of a whole thorax with known maps of the seven patterns, in Hounsfield units.

A patient of their own (no patch of the domain dld is of one): a thorax whose lungs are divided into regions
that go on from slice to slice. Each region shows one pattern, drawn by what draws the domain's patches, at
their scale and scanned as they are. A slice's texture does not go on in the next one, as on slices with gaps
between them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datamodules.embedded.dld import class_names
from datamodules.embedded.dld_patterns import draw
from datamodules.embedded.dld_scan import Scan, acquire, draw_scan
from datamodules.embedded.dld_structures import Array, Lung, mix, smooth_noise
from datamodules.embedded.thorax import LEFT, LUNG_CENTRE, LUNG_HALF_AXES, RIGHT, draw_anatomy

CLASSES = class_names(7)

_STREAM = 2  # of the seeds: 0 and 1 are the sides of the domain
_SITES = 8  # regions of a lung, each about 9 cm across
_TALL = 1.5  # height of the lungs in halves of the field of view
_BORDER_MM = 1.5  # patterns pass into each other over about twice that
_MILDEST = 0.3  # of the severity: milder patches show hardly more than normal lung


@dataclass(frozen=True)
class Series:
    """A series and what is known of it.

    Attributes:
        hounsfield: int16 (S, H, W), the first slice at the head, the first column at the patient's right.
        patterns: uint8 (S, H, W): 0 outside the lungs, else index + 1 in `CLASSES`.
        lungs: uint8 (S, H, W): 0 outside, 1 the right lung, 2 the left.
        spacing: mm between slices, rows and columns.
    """

    hounsfield: npt.NDArray[np.int16]
    patterns: npt.NDArray[np.uint8]
    lungs: npt.NDArray[np.uint8]
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class _Region:
    """Part of a lung with one pattern.

    Attributes:
        label: Index of the pattern.
        place: Its centre (row, column, height), mm from the middle of the first slice's upper edge.
        severity: 0 to 1.
        density: Attenuation of normal parenchyma, HU.
    """

    label: int
    place: Array
    severity: float
    density: float


def draw_series(slices: int, size: int, seed: int) -> Series:
    """Draw a series; it depends on these three only.

    Args:
        slices: From a little above the lungs to a little below them.
        size: Rows and columns. A pixel is 0.62 to 0.70 mm as in the domain's patches, so that below 512 the
            thorax is smaller than a human's, and patterns are as large as ever.
        seed: 0 or more.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, _STREAM]))
    scan = draw_scan(rng)
    step = 1.1 * _TALL * size / 2 * scan.spacing / slices
    regions = _draw_regions(rng, size, scan)
    warp = [6.0 * smooth_noise(rng, size, 15.0 / scan.spacing) for _ in range(2)]
    shape = (slices, size, size)
    hounsfield = np.empty(shape, np.int16)
    patterns, lungs = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for number in range(slices):
        of_slice = np.random.default_rng(np.random.SeedSequence([seed, _STREAM, number]))
        height = -0.05 + 1.1 * (number + 0.5) / slices
        anatomy = draw_anatomy(of_slice, size, height)
        image = anatomy.tissue
        for side, covered, of_lung in zip((RIGHT, LEFT), anatomy.lungs, regions, strict=True):
            if not covered.any():
                continue
            texture, labels = _lung_texture(of_slice, covered, of_lung, height, scan, warp)
            image = mix(image, covered, texture)
            inside = covered >= 0.5
            lungs[number][inside] = side
            patterns[number][inside] = labels[inside] + 1
        hounsfield[number] = acquire(image, scan, scan.noise, of_slice)
    return Series(hounsfield, patterns, lungs, (step, scan.spacing, scan.spacing))


def _draw_regions(rng: np.random.Generator, size: int, scan: Scan) -> list[list[_Region]]:
    """Regions of the right and the left lung; each pattern has two at least, normal lung the rest."""
    half = size / 2 * scan.spacing  # mm
    labels = np.array([*range(len(CLASSES))] * 2 + [CLASSES.index("NOR")] * (2 * _SITES - 2 * len(CLASSES)))
    rng.shuffle(labels)
    lungs = []
    for sign, of_lung in zip((-1.0, 1.0), labels.reshape(2, _SITES), strict=True):
        centre = np.array([1.0 + LUNG_CENTRE[1], 1.0 + sign * LUNG_CENTRE[0], _TALL / 2]) * half
        extent = np.array([LUNG_HALF_AXES[1], LUNG_HALF_AXES[0], _TALL / 2]) * half
        places: list[Array] = []
        for _ in of_lung:  # far from each other: each the farthest of ten from those before
            candidates = centre + extent * rng.uniform(-0.85, 0.85, (10, 3))
            apart = [
                min((float(np.linalg.norm(each - other)) for other in places), default=0.0)
                for each in candidates
            ]
            places.append(candidates[int(np.argmax(apart))])
        lungs.append(
            [
                _Region(int(label), place, rng.uniform(_MILDEST, 1.0), scan.density + rng.normal(0.0, 8.0))
                for label, place in zip(of_lung, places, strict=True)
            ]
        )
    return lungs


def _lung_texture(
    rng: np.random.Generator,
    covered: Array,
    regions: list[_Region],
    height: float,
    scan: Scan,
    warp: list[Array],
) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Attenuation of a lung in a slice, and the index of the pattern at each pixel; shape of `covered`.

    Both hold inside the lung only. A pixel belongs to the region whose centre is nearest; at borders patterns
    are averaged by how near both are.
    """
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    y, x = np.mgrid[box]
    at = (y * scan.spacing + warp[0][box], x * scan.spacing + warp[1][box])
    z = height * _TALL * covered.shape[0] / 2 * scan.spacing
    distances = np.stack(
        [
            np.sqrt((at[0] - each.place[0]) ** 2 + (at[1] - each.place[1]) ** 2 + (z - each.place[2]) ** 2)
            for each in regions
        ]
    )
    weights = np.exp((distances.min(axis=0) - distances) / _BORDER_MM)
    weights /= weights.sum(axis=0)
    side = max(y.shape)
    image = np.zeros(y.shape)
    for region, weight in zip(regions, weights, strict=True):
        if (weight * covered[box]).max() < 0.01:
            continue
        lung = Lung(side, scan.spacing, region.density, filled=True)
        drawn, _ = draw(CLASSES[region.label], rng, lung, region.severity)
        image += weight * drawn[: y.shape[0], : y.shape[1]]
    texture, labels = np.zeros(covered.shape), np.zeros(covered.shape, np.uint8)
    texture[box] = image
    labels[box] = np.array([each.label for each in regions], np.uint8)[distances.argmin(axis=0)]
    return texture, labels
