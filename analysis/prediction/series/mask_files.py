"""The files that a mask of the lungs can be: NIfTI, DICOM SEG, or a picture for each slice."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.prediction.series.choose import stem
from analysis.prediction.series.given_mask import GivenMask, Labels
from analysis.prediction.series.volume import CTVolume
from datamodules.faults import UnusableError
from datamodules.files.names import is_image
from datamodules.readers.hrct.regions.nifti_masks import planes_onto
from datamodules.readers.hrct.regions.references import References
from datamodules.readers.hrct.regions.segments import SegmentFrames, read_segments, segment_regions
from datamodules.readers.hrct.scans.geometry import Planes
from datamodules.readers.hrct.scans.header import NoSlice, read_slice_header
from datamodules.readers.hrct.scans.images import read_mask
from datamodules.readers.hrct.scans.kinds import is_nifti, may_be_dicom, natural
from datamodules.readers.hrct.scans.nifti import read_volume
from datamodules.readers.hrct.sources.beside import slice_stem
from stages.console.words import counted
from stages.errors import RelayError

_WITHIN = ("nodul", "tumo", "lesion", "mass", "vessel", "airway", "cancer")  # lung vessels are no lungs

_FORMS = (
    "a mask is a NIfTI file, a DICOM SEG, a folder with one picture (PNG, TIFF) for each slice, or a folder "
    "with a NIfTI file for each lung or lobe, which have lung in their names"
)


def open_mask(typed: Path, volume: CTVolume) -> GivenMask:
    """Open a mask, and see that it lies on the series.

    Any value above 0 is lung; of a DICOM SEG of which some segments are named lung, these segments.

    Raises:
        RelayError: It is not there, is no mask, or lies on another series.
    """
    files = _files(typed)
    try:
        if len(files) == 1 and is_nifti(files[0]):
            return _of_nifti(typed, files[0], volume)
        if len(files) == 1 and not is_image(files[0]):
            return _of_segments(typed, files[0], volume)
        if is_nifti(files[0]):
            return _of_parts(typed, files, volume)
    except UnusableError as error:
        raise RelayError(f"mask={typed}: {error}.") from None
    return _of_pictures(typed, files, volume)


def _files(typed: Path) -> list[str]:
    """The file, or those of a folder that can be masks.

    Raises:
        RelayError: There are none, or several that are neither pictures nor parts of lungs.
    """
    if not typed.exists():
        raise RelayError(f"mask={typed} is not there; {_FORMS}.")
    inside = [typed] if typed.is_file() else [one for one in typed.iterdir() if one.is_file()]
    paths = sorted(map(str, inside), key=natural)
    try:
        found = [path for path in paths if is_image(path) or is_nifti(path) or may_be_dicom(path, path)]
    except UnusableError as error:
        raise RelayError(f"mask={typed}: {error}.") from None
    parts = all(map(is_nifti, found)) and any(_is_lung(stem(path)) for path in found)
    if not found or (len(found) > 1 and not all(map(is_image, found)) and not parts):
        raise RelayError(f"mask={typed} holds {len(found)} files that can be a mask; {_FORMS}.")
    return found


def _planes(volume: CTVolume) -> Planes:
    if volume.scan.planes is None:
        raise UnusableError(
            "the slices of the series do not say where they lie, so that nothing says how it lies on them; "
            "save it as one picture for each slice"
        )
    return volume.scan.planes


def _of_nifti(typed: Path, location: str, volume: CTVolume) -> GivenMask:
    read = read_volume(location, os.stat(location).st_mtime_ns)
    found, off = planes_onto(read, _planes(volume), in_part=True)
    beside = sum(bool(plane.values().any()) for plane in off)
    notes = (
        (f"The mask has {beside} planes with lungs that lie on no slice of the series.",) if beside else ()
    )
    return GivenMask(
        typed, volume, (location,), lambda number: found[number].whole_numbers(), notes, frozenset(found)
    )


def _of_parts(typed: Path, files: Sequence[str], volume: CTVolume) -> GivenMask:
    """A file for each lung or lobe, as TotalSegmentator writes; files of other names are not used."""
    named = [path for path in files if _is_lung(stem(path))]
    parts = [_of_nifti(typed, path, volume) for path in named]

    @cache
    def together() -> npt.NDArray[np.uint8]:
        labels = np.zeros(volume.shape, np.uint8)
        for value, part in enumerate(parts, start=1):  # each file is decoded once
            for number in part.covered or ():
                labels[number][part.labels(number) > 0] = value
        return labels

    notes = dict.fromkeys(note for part in parts for note in part.found)
    if len(named) < len(files):
        notes[f"Of {len(files)} files of the mask, those that are named lung are used: {len(named)}."] = None
    covered = frozenset(number for part in parts for number in part.covered or ())

    def read(number: int) -> Labels:
        labels: Labels = together()[number].astype(np.int32)
        return labels

    return GivenMask(typed, volume, tuple(named), read, tuple(notes), covered, named=True)


def _of_segments(typed: Path, location: str, volume: CTVolume) -> GivenMask:
    header = read_slice_header(location)
    if not isinstance(header, NoSlice) or header.regions != "segmentation":
        kind = header.kind if isinstance(header, NoSlice) else "a slice of CT"
        raise UnusableError(
            f"it holds {kind}, and a mask in DICOM is a segmentation (SEG); save it as one, or as NIfTI"
        )
    modified = os.stat(location).st_mtime_ns
    found = read_segments(location, modified)
    _check_drawn_on(found.references, volume)
    of_lungs = {number for number, name in found.names.items() if _is_lung(name)}
    used = of_lungs or set(found.names)
    if used.isdisjoint(number for frame in found.frames for number in frame.segments):
        raise UnusableError("its segments of lungs hold no pixel")
    frames, more = segment_regions(found, volume.scan.planes, location, modified, dict.fromkeys(used, "lung"))
    notes = [f"Of the mask, {count} {what}." for what, count in more.items() if count]
    if not of_lungs:
        notes.append(
            f"No segment of the mask is named lung: {counted(len(used), 'segment')} of other names count as "
            "lung. See on the overlays whether they show lungs."
        )
    elif len(used) < len(found.names):
        notes.append(
            f"Of {len(found.names)} segments of the mask, those that are named lung are used: {len(used)}."
        )
    drawn_on = {
        number for number, uid in enumerate(volume.scan.instances) if uid in found.references.instances
    }

    def read(number: int) -> Labels:
        labels = np.zeros(volume.shape[1:], np.int32)
        for inside, segment, _ in frames.get(number, SegmentFrames(location, modified, ())).areas():
            labels[inside] = segment
        return labels

    covered = frozenset(drawn_on | frames.keys()) if drawn_on else None
    return GivenMask(typed, volume, (location,), read, tuple(notes), covered, named=bool(of_lungs))


def _is_lung(name: str) -> bool:
    """Whether a segment of this name is a lung or a part of it, and not something within."""
    folded = name.casefold()
    return "lung" in folded and not any(word in folded for word in _WITHIN)


def _check_drawn_on(references: References, volume: CTVolume) -> None:
    """Refuse a segmentation of another series, which can have the same geometry.

    Raises:
        UnusableError: It names other series and slices, and another frame of reference.
    """
    scan = volume.scan
    named = (references.series, references.instances, references.frames)
    own = ({scan.uid}, set(scan.instances), {scan.frame_of_reference})
    if scan.uid and any(named) and all(its.isdisjoint(ours) for its, ours in zip(named, own, strict=True)):
        raise UnusableError(
            "it was drawn on another series: series, slices and frame of reference that it names are not "
            "those of the source. Give the mask of this series; if numbers were replaced in only one of the "
            "two, save the mask as NIfTI"
        )


def _of_pictures(typed: Path, files: Sequence[str], volume: CTVolume) -> GivenMask:
    """By the names of the slices, of which some can be without a picture; or in order.

    Raises:
        RelayError: Some are named as slices and some are not, or none is, and there are more or fewer.
    """
    names = [stem(path) for path in volume.files]
    by_name = {(slice_stem(stem(path)) or stem(path)): path for path in files}
    known = by_name.keys() & set(names)
    shape = volume.scan.shape
    if known and len(set(names)) == len(names) and len(by_name) == len(files):
        if len(known) < len(files):
            other = next(path for name, path in by_name.items() if name not in known)
            raise RelayError(
                f"mask={typed}: {len(files) - len(known)} of its {len(files)} pictures are named as no slice "
                f"of the series, such as {Path(other).name}, the others as one; name each as its slice."
            )
        of = {number: by_name[name] for number, name in enumerate(names) if name in known}
        return GivenMask(
            typed, volume, tuple(of.values()), lambda number: read_mask(of[number], shape), (), frozenset(of)
        )
    if len(files) != len(names):
        raise RelayError(
            f"mask={typed} holds {len(files)} pictures for {len(names)} slices; name each as its slice, or "
            "give one for each slice in the order of their names."
        )
    notes = (
        "The pictures of the mask are not named as the slices and are taken in the order of their names, "
        f"the first for slice 1, counted {volume.order}: look at the overlays.",
    )
    return GivenMask(typed, volume, tuple(files), lambda number: read_mask(files[number], shape), notes)
