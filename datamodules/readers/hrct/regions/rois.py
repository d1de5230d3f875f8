"""Regions of interest from a provider's files.

Regions come as MedGIFT's text contours (millimetres), as boxes in a CSV file (pixels), or as label masks.
Slices are numbered from 1, in all of them, in messages and in manifests.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from datamodules.faults import UnusableError
from datamodules.files.table import decimal_mark, read_table
from datamodules.readers.hrct.classes import plain_label
from stages.errors import RelayError

BOX_COLUMNS = ("slice", "top", "left", "height", "width", "label")
_DIGITS = 3  # of a pixel: contours were clicked on pixels, and their millimetres are rounded
_EDGE = 0.5  # pixels that a contour may pass the first or last pixel's centre by
_SPACING = 0.01  # relative


class NoContoursError(UnusableError):
    """A text of another kind, such as a person's notes."""


@dataclass(frozen=True)
class Region:
    """A region as its file gives it.

    Attributes:
        number: Place in its file, from 1.
        label: The provider's label; not printed, since it is free text.
        slice_number: From 1.
        outline: Corners (row, column) in pixels, whole numbers being centres of pixels.
    """

    number: int
    label: str = field(repr=False)
    slice_number: int
    outline: tuple[tuple[float, float], ...] = field(repr=False)


@dataclass(frozen=True)
class ContourFile:
    """What a contour file holds.

    Attributes:
        series: The SeriesInstanceUID it names, empty where it names none; not printed.
        spacing: mm between rows and between columns, None where it does not say.
        contours: Label, number of the slice and points (x, y) in mm of each, in the file's order.
    """

    series: str = field(repr=False)
    spacing: tuple[float, float] | None
    contours: tuple[tuple[str, int, tuple[tuple[float, float], ...]], ...] = field(repr=False)


def read_contours(location: str) -> ContourFile:
    """Read a contour file of the MedGIFT database of interstitial lung diseases.

    Its lines are `Series: UID`, `SpacingX: MM`, `SpacingY: MM`, then `label: NAME`, `slice_number: N` and
    `nb_points_on_contour: K` with K lines of x and y in mm; a label and a slice's number hold until the next
    one. Other lines are passed over.

    Raises:
        NoContoursError: It holds nothing of this format.
        UnusableError: It cannot be read, is empty or breaks this format.
    """
    lines = [line.strip() for line in _text(location).splitlines()]
    header: dict[str, float] = {}
    series, label = "", ""
    slice_number: int | None = None
    found: list[tuple[str, int, tuple[tuple[float, float], ...]]] = []
    at = 0
    while at < len(lines):
        key, colon, value = lines[at].partition(":")
        key, value, at = key.strip().lower(), value.strip(), at + 1
        if not colon:
            continue
        if key == "series":
            series = value
        elif key in ("spacingx", "spacingy"):
            header[key] = _number(value, at, above_zero=True)
        elif key == "label":
            label = value
        elif key == "slice_number":
            slice_number = _whole(value, at)
        elif key == "nb_points_on_contour":
            count = _whole(value, at)
            if not label or slice_number is None:
                raise UnusableError(f"line {at}: a contour comes before the first label or slice_number")
            points = tuple(_point(lines, at + place) for place in range(count))
            found.append((label, slice_number, points))
            at += count
            if at < len(lines) and _is_point(lines[at]):
                raise UnusableError(
                    f"line {at + 1}: a point more than the {count} that nb_points_on_contour says; fix the "
                    "number"
                )
    if not found:
        if not (series or header or label):
            raise NoContoursError("it is a text without contours")
        raise UnusableError("it holds no contour (a line nb_points_on_contour, and its points)")
    spacing = (header["spacingy"], header["spacingx"]) if len(header) == 2 else None
    return ContourFile(series, spacing, tuple(found))


def contour_regions(file: ContourFile, spacing: tuple[float, float] | None) -> tuple[Region, ...]:
    """Bring contours from millimetres to pixels.

    Args:
        file: The contours.
        spacing: Of the series, mm between rows and between columns; taken where the file gives none.

    Raises:
        UnusableError: There is no spacing, or the file's is not that of the series.
    """
    rows, columns = _agreed(file.spacing, spacing)
    return tuple(
        Region(
            number,
            label,
            slice_number,
            tuple((round(y / rows, _DIGITS), round(x / columns, _DIGITS)) for x, y in points),
        )
        for number, (label, slice_number, points) in enumerate(file.contours, start=1)
    )


def read_boxes(location: str) -> tuple[Region, ...]:
    """Read boxes from a CSV file.

    Its columns are slice (from 1), top, left, height, width (pixels) and label, in any order.

    Raises:
        UnusableError: It cannot be read, is empty, lacks a column or has a value that is not a number.
    """
    try:
        table = read_table(location, BOX_COLUMNS, what="it", numbers=BOX_COLUMNS[:5])
        rows = list(table.rows())
        mark = decimal_mark([row[name] for _, row in rows for name in BOX_COLUMNS[:5]], table.separator)
    except (RelayError, ValueError) as error:
        raise UnusableError(str(error).rstrip(".")) from None
    regions = []
    for number, (line, row) in enumerate(rows, start=1):
        slice_number, *box = (_number(row[name].replace(mark, "."), line) for name in BOX_COLUMNS[:5])
        top, left, height, width = box
        if height <= 0 or width <= 0:
            raise UnusableError(f"line {line}: a box needs a height and a width above 0")
        corners = ((top, left), (top, left + width), (top + height, left + width), (top + height, left))
        regions.append(Region(number, row["label"], _whole(str(slice_number), line), corners))
    if not regions:
        raise UnusableError("it holds no box")
    return tuple(regions)


def region_fault(region: Region, slices: int, shape: tuple[int, int], known: Iterable[str]) -> str | None:
    """Why a region cannot be used, None where it can.

    Args:
        region: The region.
        slices: How many its series has.
        shape: (H, W) of a slice.
        known: Labels of the class map, as `plain_label` writes them.
    """
    if plain_label(region.label) not in known:
        return "its label is not in class_map; add it there, with its class or with null to leave it out"
    if not 1 <= region.slice_number <= slices:
        return f"it is drawn on slice {region.slice_number}, the series has slices 1 to {slices}"
    if len(set(region.outline)) < 3:
        return f"it has {len(set(region.outline))} different points; an outline needs three"
    corners = np.array(region.outline)
    if corners.min() < -_EDGE or (corners > np.array(shape) + _EDGE).any():
        return f"it leaves the image of {shape[0]} x {shape[1]} pixels; check its spacing and its series"
    return None


def _text(location: str) -> str:
    try:
        with open(location, "rb") as file:
            content = file.read()
    except OSError as error:
        raise UnusableError(f"it cannot be read: {error.strerror}") from None
    if not content.strip():
        raise UnusableError("it is empty; copy it again or remove it")
    if b"\0" in content:
        raise UnusableError("it is not a text file, whatever its name says")
    return content.decode("utf-8-sig", errors="replace")


def _is_point(line: str) -> bool:
    parts = line.split()
    try:
        return len(parts) == 2 and all(math.isfinite(float(part)) for part in parts)
    except ValueError:
        return False


def _point(lines: Sequence[str], place: int) -> tuple[float, float]:
    if place >= len(lines):
        raise UnusableError("it ends inside a contour; copy it again")
    parts = lines[place].split()
    if len(parts) != 2:
        raise UnusableError(f"line {place + 1}: a point of a contour is two numbers, x and y in mm")
    return _number(parts[0], place + 1), _number(parts[1], place + 1)


def _number(text: str, line: int, above_zero: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (above_zero and value <= 0):
        raise UnusableError(f"line {line}: a number is expected" + (" above 0" if above_zero else ""))
    return value


def _whole(text: str, line: int) -> int:
    value = _number(text, line)
    if value != int(value) or value < 0:
        raise UnusableError(f"line {line}: a whole number is expected, 0 or more")
    return int(value)


def _agreed(own: tuple[float, float] | None, series: tuple[float, float] | None) -> tuple[float, float]:
    if own is None and series is None:
        raise UnusableError("neither it (SpacingX, SpacingY) nor its series has a pixel spacing")
    if own is None or series is None:
        used = own or series
        assert used is not None
        return used
    if any(abs(a / b - 1) > _SPACING for a, b in zip(own, series, strict=True)):
        raise UnusableError(
            f"its pixel spacing {own[0]:g} x {own[1]:g} mm is not that of the series, {series[0]:g} x "
            f"{series[1]:g} mm; it belongs to another series"
        )
    return own
