"""The order of the slices of a series, and whether all of them are there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from datamodules.faults import UnusableError
from datamodules.files.spelling import spelled_alike
from datamodules.readers.hrct.scans.header import SliceHeader

Direction = Literal["image_numbers", "ascending", "descending"]
"""Where a series starts, along the normal of its slices: at the end where the image numbers (InstanceNumber)
start, at the lowest or at the highest position."""

_PARALLEL = 1e-3  # largest difference of direction cosines, which are written with few digits
_SAME_PLACE = 1e-2  # mm
_GAP = 1.5  # steps; a missing slice leaves two
_SPACING = 0.01  # relative; the spacing's last digits differ between a provider's tools


@dataclass(frozen=True)
class Ordered:
    """A series in order.

    Attributes:
        headers: One per slice.
        unnumbered: Why it is not known which slice is number 1, or that some are missing; empty where it is,
            from image numbers or because the direction was asked for.
        holes: Why no number of a slice can be believed, whatever direction is asked for; empty where one can.
    """

    headers: tuple[SliceHeader, ...]
    unnumbered: str
    holes: str = ""


def order_slices(headers: Sequence[SliceHeader], direction: Direction) -> Ordered:
    """Order a series by the position of its slices along their normal.

    Regions that name their slice by its file do not need this order, those that name it by number do: what
    makes numbers doubtful is said in the answer.

    Args:
        headers: Of one series, in any order.
        direction: Which end is first. Image numbers that are missing, do not follow the positions or do not
            count from 1 (or 0) without a gap cannot tell: then the lowest position is first, and the answer
            says so.

    Raises:
        UnusableError: Slices differ in size or spacing, or show several patients.
    """
    _check_alike(headers)
    if len(headers) == 1:
        return Ordered(tuple(headers), number_gap([headers[0].number or 0], direction))
    unplaced, heights = _heights(headers)
    if unplaced:
        numbered = sorted(headers, key=lambda header: (header.number is None, header.number, header.location))
        return Ordered(tuple(numbered), "", unplaced)
    order = sorted(range(len(headers)), key=lambda index: heights[index])
    numbers = [headers[index].number for index in order]
    known = [number for number in numbers if number is not None]
    rising = len(known) == len(numbers) and all(a < b for a, b in pairwise(known))
    falling = len(known) == len(numbers) and all(a > b for a, b in pairwise(known))
    if direction == "descending" or (direction == "image_numbers" and falling):
        order.reverse()
    unnumbered = number_gap(known, direction)
    if direction == "image_numbers" and not (rising or falling):
        unnumbered = "its image numbers are missing or do not follow the positions of its slices"
    return Ordered(tuple(headers[index] for index in order), unnumbered, _holes(sorted(heights), headers))


def _holes(heights: Sequence[float], headers: Sequence[SliceHeader]) -> str:
    """What of positions, in mm and rising, is not that of each slice of a series once."""
    steps = [after - before for before, after in pairwise(heights)]
    twice = sum(step < _SAME_PLACE for step in steps)
    if twice:
        kernels = len({header.kernel for header in headers})
        several = f" (it has {kernels} reconstruction kernels)" if kernels > 1 else ""
        return (
            f"{twice} of its {len(heights)} slices are where another one is{several}; remove the copies, and "
            "divide what was scanned or reconstructed twice into folders with a series number of their own"
        )
    usual = float(np.median(steps))
    gaps = [place for place, step in enumerate(steps, start=1) if step > _GAP * usual]
    if gaps:
        return (
            f"slices are missing: behind slice {gaps[0]} of {len(heights)}, counted from the lowest "
            f"position, the step is {steps[gaps[0] - 1]:.2f} mm, the usual one {usual:.2f} mm ({len(gaps)} "
            "such gaps); copy the series again"
        )
    return ""


def number_gap(numbers: Sequence[int], direction: Direction) -> str:
    """What is wrong with numbers that should count from 1 or 0; nothing if the direction was asked for."""
    if direction != "image_numbers" or not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    if low in (0, 1) and sorted(numbers) == list(range(low, high + 1)):
        return ""
    return f"its {len(numbers)} slices have numbers from {low} to {high}, so that slices are missing"


def _check_alike(headers: Sequence[SliceHeader]) -> None:
    first = headers[0]
    if len(spelled_alike(header.patient for header in headers)) > 1:
        raise UnusableError(
            "its files name several patients; give each patient a folder and a series of its own"
        )
    if any(header.shape != first.shape for header in headers):
        raise UnusableError("its slices differ in size; divide them into one folder and series each")
    spacings = [header.spacing for header in headers]
    if any(spacing is None for spacing in spacings) and any(spacing is not None for spacing in spacings):
        raise UnusableError("some of its slices have no pixel spacing; copy the series again")
    known = np.array([spacing for spacing in spacings if spacing is not None])
    if len(known) and (np.abs(known / known[0] - 1) > _SPACING).any():
        raise UnusableError("its slices differ in pixel spacing; divide them into one folder and series each")


def _heights(headers: Sequence[SliceHeader]) -> tuple[str, list[float]]:
    """Why there are no positions along the common normal, and these, mm."""
    lost = sum(header.position is None or header.orientation is None for header in headers)
    if lost:
        return (
            f"{lost} of its {len(headers)} slices have no position or orientation, so that their order is "
            "not known; export the series again with both tags",
            [],
        )
    orientations = np.array([header.orientation for header in headers])
    if np.abs(orientations - orientations[0]).max() > _PARALLEL:
        return "its slices are not parallel; divide it into one folder and series each direction", []
    normal = np.cross(orientations[0, :3], orientations[0, 3:])
    if abs(np.linalg.norm(normal) - 1) > 0.01:
        return "the directions of its rows and columns are not perpendicular unit vectors", []
    return "", (np.array([header.position for header in headers]) @ normal).tolist()
