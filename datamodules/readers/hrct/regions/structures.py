"""DICOM structure sets (RTSTRUCT): named regions as contours in millimetres (PS3.3, C.8.8.5 and C.8.8.6)."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from datamodules.faults import UnusableError
from datamodules.readers.hrct.regions.drawing import fill_outline
from datamodules.readers.hrct.regions.references import References
from datamodules.readers.hrct.regions.rois import Region
from datamodules.readers.hrct.scans.dicom import read_dicom, silent
from datamodules.readers.hrct.scans.geometry import Planes, Points
from datamodules.readers.hrct.sources.series import Series

_TAGS = ("StructureSetROISequence", "ROIContourSequence", "ReferencedFrameOfReferenceSequence")
_FILLED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OPEN = {kind: f"of type {kind}" for kind in ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")}
_DIGITS = 3  # of a pixel; millimetres are written with few digits


@dataclass(frozen=True)
class Contour:
    """One closed contour.

    Attributes:
        roi: ROINumber.
        points: (N, 3), mm.
        instance: SOPInstanceUID of the slice that it names, empty where it names none.
    """

    roi: int
    points: Points = field(repr=False)
    instance: str = field(repr=False)


@dataclass(frozen=True)
class StructureSet:
    """What a structure set holds.

    Attributes:
        references: What it was drawn on.
        names: ROINumber -> ROIName; names are free text, and not printed.
        contours: Those that enclose an area.
        others: What contours are that enclose none, such as `of type POINT` -> how many there are.
    """

    references: References
    names: Mapping[int, str] = field(repr=False)
    contours: tuple[Contour, ...] = field(repr=False)
    others: Mapping[str, int]


def read_structures(location: str) -> StructureSet:
    """Read a structure set.

    Raises:
        UnusableError: It cannot be read, or holds no contour.
    """
    data = read_dicom(location, _TAGS)
    try:
        with silent():
            found = _structures(data)
    except Exception:  # values that do not parse make pydicom raise nearly anything, quoting them
        raise UnusableError("its contours cannot be read; export the structure set again") from None
    if not found.contours and not found.others:
        raise UnusableError("it holds no contour; export the structure set again, or remove it")
    return found


def structure_regions(found: StructureSet, series: Series) -> tuple[tuple[Region, ...], Counter[str]]:
    """Bring contours to the pixels of a series.

    A contour lies on the slice that it names, or else on the one whose plane it is in. Several contours of a
    region on one slice are read by the even-odd rule: one inside another is a hole.

    Returns:
        One region for each ROI and slice, numbered by ROINumber; and what was left out -> how often.

    Raises:
        UnusableError: The slices do not say where they lie, or a contour names one slice and lies on another.
    """
    planes = series.scan.planes
    if planes is None:
        raise UnusableError("its series has no position, orientation or pixel spacing to place contours by")
    places = {instance: index for index, instance in enumerate(series.scan.instances) if instance}
    loops: defaultdict[tuple[int, int], list[list[tuple[float, float]]]] = defaultdict(list)
    off = 0
    for contour in found.contours:
        index = _slice_of(contour, planes, places)
        if index is None:
            off += 1
            continue
        pixels = planes.planes[index].pixels(contour.points)[:, :2].round(_DIGITS)
        loop = [(float(row), float(column)) for row, column in pixels]
        if loop not in loops[contour.roi, index]:  # some systems write a contour twice, which would be a hole
            loops[contour.roi, index].append(loop)
    crossing = sum(_cross(outlines, series.scan.shape) for outlines in loops.values())
    regions = tuple(
        Region(roi, found.names.get(roi, ""), index + 1, tuple(_joined(outlines)))
        for (roi, index), outlines in sorted(loops.items())
    )
    if off and not regions:
        raise UnusableError(
            f"none of its {off} contours lies on a slice of the series; it was drawn on another series"
        )
    notes = Counter(
        {f"contours {what} enclose no area and are left out": n for what, n in found.others.items()}
    )
    notes["regions have contours that cross on a slice: pixels in two of them are outside"] += crossing
    notes["contours lie on no slice of their series and are left out"] += off
    return regions, +notes


def _structures(data: Any) -> StructureSet:
    names = {
        int(roi.ROINumber): str(roi.get("ROIName") or "") for roi in data.get("StructureSetROISequence") or ()
    }
    contours: list[Contour] = []
    others: Counter[str] = Counter()
    named = set()
    for roi in data.get("ROIContourSequence") or ():
        for item in roi.get("ContourSequence") or ():
            kind = str(item.get("ContourGeometricType") or "")
            points = np.array([float(value) for value in item.get("ContourData") or ()]).reshape(-1, 3)
            if (
                len(points) != int(item.get("NumberOfContourPoints") or len(points))
                or not np.isfinite(points).all()
            ):
                raise ValueError("points are missing, or are no numbers")
            images = [str(image.ReferencedSOPInstanceUID) for image in item.get("ContourImageSequence") or ()]
            named.update(images)
            if kind in _FILLED and len(points) >= 3:
                contours.append(
                    Contour(int(roi.ReferencedROINumber), points, images[0] if len(images) == 1 else "")
                )
            else:
                others[
                    "of fewer than three points" if kind in _FILLED else _OPEN.get(kind, "of no known type")
                ] += 1
    return StructureSet(_references(data, named), names, tuple(contours), others)


def _references(data: Any, instances: set[str]) -> References:
    frames = {
        str(roi.get("ReferencedFrameOfReferenceUID") or "")
        for roi in data.get("StructureSetROISequence") or ()
    }
    series = set()
    for frame in data.get("ReferencedFrameOfReferenceSequence") or ():
        frames.add(str(frame.get("FrameOfReferenceUID") or ""))
        for study in frame.get("RTReferencedStudySequence") or ():
            for one in study.get("RTReferencedSeriesSequence") or ():
                series.add(str(one.get("SeriesInstanceUID") or ""))
    return References(frozenset(series - {""}), frozenset(frames - {""}), frozenset(instances))


def _slice_of(contour: Contour, planes: Planes, places: Mapping[str, int]) -> int | None:
    if contour.instance not in places:
        return planes.nearest(contour.points)
    index = places[contour.instance]
    distance = planes.distance(contour.points, index)
    if distance > planes.step / 2:
        raise UnusableError(
            f"a contour of ROI {contour.roi} names slice {index + 1} and lies {distance:.2f} mm from it; "
            "export the structure set again"
        )
    return index


def _cross(loops: Sequence[Sequence[tuple[float, float]]], shape: tuple[int, int]) -> bool:
    """Whether two outlines of a region overlap, and neither lies in the other."""
    areas = [fill_outline(loop, shape) for loop in loops] if len(loops) > 1 else []
    return any(
        (both := one & other).any() and (both != one).any() and (both != other).any()
        for one, other in combinations(areas, 2)
    )


def _joined(loops: Sequence[Sequence[tuple[float, float]]]) -> Iterator[tuple[float, float]]:
    """Several closed outlines as one: the way from one to the next is gone back on, and encloses nothing."""
    for loop in loops:
        yield from loop
        if len(loops) > 1:
            yield loop[0]
    for loop in loops[-2::-1] if len(loops) > 1 else ():
        yield loop[0]
