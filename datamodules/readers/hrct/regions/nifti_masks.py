"""NIfTI files as masks of series."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.faults import Faults, UnusableError
from datamodules.readers.hrct.regions.carriers import Shape, by_value
from datamodules.readers.hrct.regions.drawing import Drawing, label_mask
from datamodules.readers.hrct.regions.drawn import Drawn, needed_classes
from datamodules.readers.hrct.scans.geometry import Planes, Turn
from datamodules.readers.hrct.scans.nifti import Volume, VolumePlane, read_volume
from datamodules.readers.hrct.sources.beside import names_for, slice_stem
from datamodules.readers.hrct.sources.folders import MaskVolume
from datamodules.readers.hrct.sources.options import HrctOptions
from datamodules.readers.hrct.sources.series import Series
from datamodules.readers.hrct.sources.source_file import SourceFile

_AS_PICTURES = Turn(transposed=True)  # how ITK writes a picture: columns first, to the left; rows to the back


@dataclass(frozen=True)
class MaskPlane:
    """A plane of a NIfTI mask.

    Attributes:
        plane: The plane, turned as its slice.
        classes: Value -> class, None: left out.
    """

    plane: VolumePlane
    classes: Mapping[int, str | None]

    def draw(self, shape: Shape, labels: Mapping[str, int]) -> Drawing:
        """Decode it; `carriers.SliceRegions.draw`."""
        values = self.plane.whole_numbers()
        if values.shape != shape:
            raise UnusableError("its size changed since the source was listed; list it again")
        return label_mask(values, by_value(self.classes, labels))


def volume_masks(
    masks: Sequence[MaskVolume], series: Sequence[Series], options: HrctOptions, faults: Faults
) -> Iterator[tuple[int, Drawn]]:
    """Find the slices that NIfTI masks lie on, by their place in the patient's coordinates.

    Args:
        masks: The files, in the order of their paths.
        series: All that can be used.
        options: What values mean.
        faults: Takes masks that cannot be used.

    Yields:
        Index of a series, and what is drawn on it; once for each series whose masks lie on different slices.

    Raises:
        RelayError: Nothing says what their values mean.
    """
    found: defaultdict[int, list[tuple[SourceFile, dict[int, VolumePlane], int]]] = defaultdict(list)
    for number, mask in enumerate(masks, start=1):
        try:
            index, planes, off = _placed(mask, series)
        except UnusableError as error:
            faults.add(f"NIfTI mask {number} of the source", error)
        else:
            if planes:
                found[index].append((mask.file, planes, off))
            else:
                faults.left_out(f"NIfTI mask {number} of the source", "all its values on its series are 0")
    for index, parts in found.items():
        places = Counter(place for _, planes, _ in parts for place in planes)
        together = [parts] if max(places.values()) == 1 else [[part] for part in parts]
        for some in together:
            yield index, _drawn(some, options)


def _drawn(parts: Sequence[tuple[SourceFile, dict[int, VolumePlane], int]], options: HrctOptions) -> Drawn:
    classes = needed_classes(options)
    off = sum(off for _, _, off in parts)
    return Drawn(
        "NIfTI mask",
        {place: MaskPlane(plane, classes) for _, planes, _ in parts for place, plane in planes.items()},
        frozenset(name for name in classes.values() if name is not None),
        tuple(file for file, _, _ in parts),
        notes={"planes of NIfTI masks lie on no slice of their series and are left out": off} if off else {},
    )


def _placed(mask: MaskVolume, series: Sequence[Series]) -> tuple[int, dict[int, VolumePlane], int]:
    """Index of its series, index of a slice -> labelled plane, and how many labelled ones lie on none.

    Raises:
        UnusableError: It lies on none, or may lie on several.
    """
    beside = [index for index, one in enumerate(series) if one.folder.path == mask.owner]
    below = [index for index, one in enumerate(series) if _is_below(one.folder.path, mask.owner)]
    candidates = beside or below
    candidates = [index for index in candidates if _is_named(mask.file, series[index])] or candidates
    if not candidates:
        raise UnusableError("there is no series beside it or below its folder that can be used")
    volume = read_volume(mask.file.location, mask.file.modified)
    fitting: list[tuple[int, dict[int, VolumePlane], int]] = []
    why = ""
    for index in candidates:
        try:
            fitting.append((index, *_onto(volume, mask.file, series[index])))
        except UnusableError as error:
            why = why or str(error)
    if not fitting:
        raise UnusableError(why)
    if len(fitting) > 1:
        raise UnusableError(
            f"it lies on {len(fitting)} series; keep it in a folder with its own, or name it after it"
        )
    return fitting[0]


def _onto(volume: Volume, file: SourceFile, series: Series) -> tuple[dict[int, VolumePlane], int]:
    if series.scan.planes is None:
        return _onto_picture(volume, file, series), 0
    found, off = planes_onto(volume, series.scan.planes)
    drawn = {index: plane for index, plane in found.items() if plane.values().any()}
    return drawn, sum(bool(plane.values().any()) for plane in off)


def planes_onto(
    volume: Volume, slices: Planes, *, in_part: bool = False
) -> tuple[dict[int, VolumePlane], list[VolumePlane]]:
    """Find the slices of a series that the planes of a mask lie on.

    Args:
        volume: The mask.
        slices: Of the series.
        in_part: Whether a mask may lie on some of the slices, if each of its planes lies on one.

    Returns:
        Index of a slice -> the plane, turned as the slice; and the planes that lie on none.

    Raises:
        UnusableError: It lies on none, or not on all.
    """
    axis = volume.axis_along(slices.planes[0].normal)
    planes = volume.planes(axis)
    found: dict[int, VolumePlane] = {}
    off: list[VolumePlane] = []
    for place, plane in enumerate(planes):
        under = slices.below(plane)
        if under is None:
            off.append(VolumePlane(volume.location, volume.modified, axis, place, Turn()))
        else:
            found[under[0]] = VolumePlane(volume.location, volume.modified, axis, place, under[1])
    whole = len(planes) == 1 or len(found) == len(slices.planes) or (in_part and not off)
    if not found or not whole:
        raise UnusableError(
            f"it lies on {len(found)} of the {len(slices.planes)} slices of its series: it has {volume}, the "
            f"series {slices}; make it from this series, or bring it to its geometry without interpolating "
            "labels"
        )
    return found, off


def _onto_picture(volume: Volume, file: SourceFile, series: Series) -> dict[int, VolumePlane]:
    """A mask of one slice without a place, which is known by name."""
    if series.dicom:
        raise UnusableError("its series has no position, orientation or pixel spacing to place it by")
    named = [index for index, one in enumerate(series.files) if one.stem in _stems(file)]
    axis = int(np.argmin(volume.shape))
    plane = volume.planes(axis)[0]
    if (
        len(named) != 1
        or volume.shape[axis] != 1
        or plane.upright() != _AS_PICTURES
        or plane.shape[::-1] != series.scan.shape
    ):
        raise UnusableError(
            f"its slices are image files of {series.scan.shape[0]} x {series.scan.shape[1]} pixels without a "
            f"position, and it has {volume}, so that nothing says how they lie on each other; save its "
            "planes as PNG, one for each slice"
        )
    return {named[0]: VolumePlane(volume.location, volume.modified, axis, 0, _AS_PICTURES)}


def _is_below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def _is_named(file: SourceFile, series: Series) -> bool:
    """Whether a mask is named after a series, or after its folder or a slice."""
    own = {name for one in set(series.files) for name in names_for(one.stem)}
    own.update(part for part in series.folder.path.split("/") if part)
    return not own.isdisjoint(_stems(file))


def _stems(file: SourceFile) -> frozenset[str]:
    """The names of slices, series or folders that a mask may be named after."""
    after = slice_stem(file.stem)
    return frozenset({file.stem} if after is None else {file.stem, after})
