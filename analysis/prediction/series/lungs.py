"""The lungs of a series, from a given mask or found, written for a map with the side of each pixel."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from analysis.prediction.series.find_lungs import body_of, find_lungs
from analysis.prediction.series.given_mask import GivenMask
from analysis.prediction.series.pattern_map import PatternMap
from analysis.prediction.series.sides import LEFT, RIGHT, Midline, split_sides
from analysis.prediction.series.volume import CTVolume
from datamodules.readers.hrct.regions.fit import fits_better_turned, other_fits_better
from stages.errors import RelayError
from stages.machine.atomic import atomic_file

_SIDE = 128  # px, about, of the slices by which sides are told apart
_LOOKED_AT = 12  # slices by which the body's middle is found
_APART = 0.25  # of the lungs' width, between the middles of two labels that are right and left
_UNKNOWN = 3
_LEAST_HU, _MOST_HU = -980, -200  # median of lungs, also of emphysema and of consolidation


def write_lungs(path: Path, volume: CTVolume, mask: GivenMask | None) -> None:
    """Write the lungs, uint8, (S, H, W): 0 outside, 1 right, 2 left, 3 where the sides are not known.

    Sides come from the patient's geometry, also those of a given mask. A mask of two labels whose middles lie
    apart from right to left has sides of its own: these are taken.

    Args:
        path: Of the file, raw; it is there when all of it is.
        volume: The series.
        mask: None to find them.

    Raises:
        RelayError: There are none, or the series has no Hounsfield units and no mask is given.
    """
    if mask is None and not volume.hounsfield:
        raise RelayError(
            f"source={volume.source} has 8-bit grey levels, by which lungs are not found; give a mask of "
            "them with mask=PATH: NIfTI, DICOM SEG, or one picture for each slice."
        )
    planes = find_lungs(volume) if mask is None else _of_mask(volume, mask)
    with atomic_file(path) as file:
        for plane in planes:
            file.write(np.ascontiguousarray(plane, np.uint8).tobytes())


def notes_on_lungs(made: PatternMap, given: bool) -> Iterator[str]:
    """What is odd of a map's lungs.

    Args:
        made: The map, whose lungs are known.
        given: Whether they are of a mask, which may have been turned on its way.

    Yields:
        A sentence on a side that is missing, the image's edge, values that are no lung's, and a mask that
        fits better turned, mirrored, or from the last slice to the first.
    """
    found: set[int] = set()
    slices = at_edge = 0
    for plane in made.lungs:
        if plane.any():
            slices += 1
            found.update(np.unique(plane[plane > 0]).tolist())
            at_edge += bool(plane[[0, -1]].any() or plane[:, [0, -1]].any())
    if len(found) == 1 and _UNKNOWN not in found:
        yield f"No {'left' if found == {RIGHT} else 'right'} lung is there: all of it lies on the other side."
    if 2 * at_edge > slices:
        yield (
            f"Lungs reach the edge of the image in {at_edge} of {slices} slices: either slices do not "
            "show all of them, or the mask shows something else, such as all but the lungs."
        )
    numbers = np.flatnonzero([plane.any() for plane in made.lungs])
    values, turned = [], []
    for number in numbers[:: -(-len(numbers) // _LOOKED_AT)].tolist():
        image, inside = made.volume.slice(number), made.lungs[number] > 0
        values.append(image[inside])
        reverse = made.lungs[len(made.lungs) - 1 - number] > 0
        turned.append(
            given and (fits_better_turned(image, inside) or other_fits_better(image, inside, reverse))
        )
    if 2 * sum(turned) > len(turned):
        yield (
            f"The mask follows the edges of {sum(turned)} of {len(turned)} slices better turned, mirrored, "
            "or from the last slice to the first: it may have been saved in another orientation. See on the "
            "overlays whether it lies on the lungs."
        )
    if made.volume.hounsfield:
        median = float(np.median(np.concatenate(values)))
        if not _LEAST_HU <= median <= _MOST_HU:
            yield (
                f"The median of what counts as lung is {median:.0f} HU, where lungs have {_LEAST_HU} to "
                f"{_MOST_HU}: look whether the mask shows the lungs."
            )


def _of_mask(volume: CTVolume, mask: GivenMask) -> Iterator[npt.NDArray[np.uint8]]:
    slices, height, width = volume.shape
    factor = max(1, round(max(height, width) / _SIDE))
    small = np.zeros((slices, -(-height // factor), -(-width // factor)), np.int32)
    for number in range(slices):
        labels = mask.labels(number)
        small[number] = labels[::factor, ::factor]
        thin = np.argwhere(labels > 0) // factor  # what lies between the pixels that were taken
        places = small[number][thin[:, 0], thin[:, 1]]
        small[number][thin[:, 0], thin[:, 1]] = np.where(places > 0, places, labels[labels > 0])
    if not (small > 0).any():
        raise RelayError(f"mask={mask.typed} is empty on this series: it has no value above 0 there.")
    by_label, sides = _sides(volume, small, factor) if volume.placed else ({}, None)
    for number in range(slices):
        labels = mask.labels(number)
        inside = labels > 0
        if by_label:
            plane = np.select([labels == label for label in by_label], list(by_label.values()), 0)
        elif sides is None or not inside.any():
            plane = np.where(inside, _UNKNOWN, 0)
        else:
            nearest = ndimage.distance_transform_edt(
                sides[number] == 0, return_distances=False, return_indices=True
            )
            told = sides[number][tuple(nearest)].repeat(factor, 0).repeat(factor, 1)
            plane = np.where(inside, told[:height, :width], 0)
        yield plane.astype(np.uint8)


def _sides(
    volume: CTVolume, small: npt.NDArray[np.int32], factor: int
) -> tuple[dict[int, int], npt.NDArray[np.uint8]]:
    """The side of each label where these are sides, and else of each pixel of (S, H, W)."""
    _, rows, columns = volume.spacing
    assert rows is not None and columns is not None  # of slices that say where they lie
    every = max(1, volume.shape[0] // _LOOKED_AT)
    body = np.stack(
        [body_of(volume.slice(number)[::factor, ::factor]) for number in range(0, volume.shape[0], every)]
    )
    midline = Midline.of(volume, body, factor, (1.0, rows * factor, columns * factor))
    place = np.broadcast_to(midline.grid(small.shape[1:]), small.shape)
    values = np.unique(small[small > 0]).tolist()
    if len(values) == 2:
        first, second = (float(place[small == value].mean()) for value in values)
        if abs(first - second) > _APART * np.ptp(place[small > 0]):
            right, left = values if first > second else reversed(values)
            return {right: RIGHT, left: LEFT}, small.astype(np.uint8)
    return {}, split_sides(small > 0, midline)
