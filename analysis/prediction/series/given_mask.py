"""A mask of the lungs from another program: NIfTI, DICOM SEG, or a picture for each slice."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.prediction.series.choose import stem
from analysis.prediction.series.volume import CTVolume
from datamodules.faults import UnusableError
from datamodules.files.names import is_image
from datamodules.readers.hrct.regions.nifti_masks import planes_onto
from datamodules.readers.hrct.regions.references import References
from datamodules.readers.hrct.regions.segments import SegmentFrames, read_segments, segment_regions
from datamodules.readers.hrct.scans.geometry import Planes
from datamodules.readers.hrct.scans.images import read_mask
from datamodules.readers.hrct.scans.kinds import is_nifti, may_be_dicom, natural
from datamodules.readers.hrct.scans.nifti import read_volume
from datamodules.readers.hrct.sources.beside import slice_stem
from stages.console.words import counted
from stages.errors import RelayError

Labels = npt.NDArray[np.int32]

_SIDES = 2  # values that can be right and left
_NAMED = 6  # values that are listed

_WITHIN = ("nodul", "tumo", "lesion", "mass", "vessel", "airway", "cancer")  # lung vessels are no lungs

_FORMS = "a mask is a NIfTI file, a DICOM SEG, or a folder with one picture (PNG, TIFF) for each slice"


@dataclass(frozen=True)
class GivenMask:
    """A mask that lies on a series.

    Attributes:
        typed: What was typed.
        volume: The series.
        files: Its files, for its digest.
        read: Slice, from 0 -> labels, (H, W); 0 outside.
        found: What was noticed when it was opened, a sentence each.
        covered: The slices that it says something of, from 0; None: all.
    """

    typed: Path
    volume: CTVolume = field(repr=False)
    files: tuple[str, ...] = field(repr=False)
    read: Callable[[int], Labels] = field(repr=False)
    found: tuple[str, ...] = ()
    covered: frozenset[int] | None = None

    def labels(self, number: int) -> Labels:
        """Of a slice, (H, W).

        Raises:
            RelayError: It cannot be decoded, or has another size.
        """
        if self.covered is not None and number not in self.covered:
            return np.zeros(self.volume.shape[1:], np.int32)
        of = f"mask={self.typed}: slice {number + 1}, counted {self.volume.order},"
        try:
            labels = self.read(number)
        except UnusableError as error:
            raise RelayError(f"{of} cannot be used: {error}.") from None
        if labels.min() < 0:
            raise RelayError(
                f"{of} has the value {labels.min()}, and a mask has none below 0: it may be the series "
                "itself; give the file of the lungs."
            )
        return labels

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it, a sentence each; reads all of it.

        Raises:
            RelayError: As `labels`.
        """
        slices = self.volume.shape[0]
        values: set[int] = set()
        held = []
        for number in range(slices):
            here = np.unique(self.labels(number))
            values.update(here[here > 0].tolist())
            held += [number] if here[-1] > 0 else []
        said = list(self.found)
        if len(values) > _SIDES:
            named = ", ".join(map(str, sorted(values)[:_NAMED])) + (", ..." if len(values) > _NAMED else "")
            said.append(
                f"The mask has {len(values)} values above 0 ({named}): all of them count as lung. If one is "
                "something else, such as the trachea, set it to 0."
            )
        covered = frozenset(range(slices)) if self.covered is None else self.covered
        if len(covered) < slices:
            said.append(
                f"The mask covers {len(covered)} of {slices} slices: the others are not mapped. Percentages, "
                "millilitres and thirds are of the slices that it covers."
            )
        if gap := len(covered.intersection(range(held[0], held[-1] + 1) if held else ()).difference(held)):
            said.append(
                f"{counted(gap, 'slice')} without lungs in the mask between slices with lungs: look whether "
                "it is whole."
            )
        return tuple(said)

    @property
    def digest(self) -> str:
        """SHA-256 of its files' content."""
        digest = hashlib.sha256()
        for location in self.files:
            digest.update(Path(location).read_bytes())
        return digest.hexdigest()


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
    except UnusableError as error:
        raise RelayError(f"mask={typed}: {error}.") from None
    return _of_pictures(typed, files, volume)


def _files(typed: Path) -> list[str]:
    """The file, or those of a folder that can be masks.

    Raises:
        RelayError: There are none, or several that are no pictures.
    """
    if not typed.exists():
        raise RelayError(f"mask={typed} is not there; {_FORMS}.")
    inside = [typed] if typed.is_file() else [one for one in typed.iterdir() if one.is_file()]
    paths = sorted(map(str, inside), key=natural)
    try:
        found = [path for path in paths if is_image(path) or is_nifti(path) or may_be_dicom(path, path)]
    except UnusableError as error:
        raise RelayError(f"mask={typed}: {error}.") from None
    if not found or (len(found) > 1 and not all(map(is_image, found))):
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


def _of_segments(typed: Path, location: str, volume: CTVolume) -> GivenMask:
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
    return GivenMask(typed, volume, (location,), read, tuple(notes), covered)


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
