"""Finds the folders of a source that hold slices, and the contours, boxes and masks beside them.

Accepted are `PATIENT/[FOLDER/...]` (also in a disc's `DICOM`) with DICOM files, image slices or NIfTI files,
contours (`*.txt`) and boxes (`*.csv`) beside them, and masks where `beside` finds them; and all of these
below `train` and `val`, `train` and `test`, or all three, the provider's split.
"""

import re
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.domain import SideName, side_named
from datamodules.faults import Faults, UnusableError
from datamodules.files.names import is_image
from datamodules.files.walk import walk
from datamodules.readers.hrct.scans.dicom import DICOM_MARK_END
from datamodules.readers.hrct.scans.kinds import TEXT_SUFFIXES, is_nifti, may_be_dicom, natural
from datamodules.readers.hrct.sources.beside import mask_folders, slice_stem, sort_files
from datamodules.readers.hrct.sources.foreign import foreign_kinds
from datamodules.readers.hrct.sources.source_file import SourceFile
from stages.errors import RelayError

_BELOW_PATIENT = re.compile(r"(st|study|se|ser|series|s|im|i)\W*\d+", re.IGNORECASE)  # of a disc
_NO_TEXT = frozenset(range(32)) - frozenset(b"\t\n\f\r")


@dataclass(frozen=True)
class SliceFolder:
    """A folder with slices and the regions drawn on them.

    Attributes:
        number: Place among the folders with slices, sorted by path, from 1: what messages call it.
        path: Below the source; not printed.
        patient: The first folder below the source (and below the split's folder, and a disc's DICOM); not
            printed.
        side: The provider's split.
        independent: Whether each slice is taken as one of a patient of its own.
        dicom: DICOM files.
        images: Image slices in the order of their names, numbers in them counted as numbers.
        volumes: NIfTI files that hold a series each.
        masks: Label masks by the stem of their slice, None where there are none.
        contours: MedGIFT's text files.
        boxes: CSV files.
        cut: How many files beside the DICOM files are too short for DICOM's mark, and may be slices.
    """

    number: int
    path: str = field(repr=False)
    patient: str = field(repr=False)
    side: SideName | None
    independent: bool
    dicom: tuple[SourceFile, ...]
    images: tuple[SourceFile, ...]
    volumes: tuple[SourceFile, ...]
    masks: dict[str, SourceFile] | None
    contours: tuple[SourceFile, ...]
    boxes: tuple[SourceFile, ...]
    cut: int


@dataclass(frozen=True)
class MaskVolume:
    """A NIfTI file of masks.

    Attributes:
        file: The file.
        owner: The folder whose series it may lie on, or those below it.
    """

    file: SourceFile
    owner: str = field(repr=False)


@dataclass(frozen=True)
class SourceFiles:
    """What a source holds.

    Attributes:
        folders: With slices, sorted by path.
        masks: NIfTI masks, sorted by path.
        foreign: Files of other programs, and how to convert them -> how many.
        secret: Text that only someone with the files can know: paths and sizes.
    """

    folders: tuple[SliceFolder, ...]
    masks: tuple[MaskVolume, ...]
    foreign: Mapping[str, int]
    secret: str = field(repr=False)


def find_slice_folders(source: Path, faults: Faults) -> SourceFiles:
    """List a source.

    Args:
        source: Its folder.
        faults: Takes files that cannot be reached.

    Raises:
        RelayError: The source is not a folder that can be read, or its split lacks a side.
    """
    if not source.is_dir():
        raise RelayError("source is not a folder that exists; set it to the folder of the patients.")
    files: defaultdict[str, list[SourceFile]] = defaultdict(list)
    for file in sorted(_walk(source, faults), key=lambda file: natural(file.path)):
        files[file.path.rpartition("/")[0]].append(file)
    holding = [path for path, found in files.items() if any(map(_is_slice, found))]
    pairs = mask_folders(holding)
    plain_paths = [pairs.plain(path) for path in holding if path]
    split = _is_split(plain_paths)
    wrapped = _wrapped([path.split("/")[split:] for path in plain_paths])
    folders: list[SliceFolder] = []
    masks: list[MaskVolume] = []
    for path in sorted(files, key=natural):
        number = len(folders) + 1
        dicom = tuple(_dicom(files[path], number, faults))
        beside = sort_files(files[path], dicom, pairs.holds_masks(path))
        masks += [MaskVolume(file, pairs.owner(path)) for file in beside.mask_volumes]
        if not dicom and not beside.images and not beside.volumes:
            continue
        plain = pairs.plain(path)
        parts = plain.split("/") if plain else []
        below = (parts[1:] if split else parts)[wrapped:]
        of_slices = [files[folder] for folder in pairs.masks.get(path, ())]
        folders.append(
            SliceFolder(
                number=number,
                path=path,
                patient=below[0] if below else "",
                side=side_named(parts[0]) if split and parts else None,
                independent=not dicom and pairs.alone(path) and not below,
                dicom=dicom,
                images=beside.images,
                volumes=beside.volumes,
                masks=_by_stem([*of_slices, beside.masks], [*dicom, *beside.images], number, faults),
                contours=tuple(file for file in files[path] if file.path.lower().endswith(".txt")),
                boxes=tuple(file for file in files[path] if file.path.lower().endswith(".csv")),
                cut=sum(map(_is_cut, set(files[path]).difference(dicom, beside.images))),
            )
        )
    every = [file for found in files.values() for file in found]
    secret = "\n".join(sorted(f"{file.path} {file.size}" for file in every))
    return SourceFiles(
        tuple(folders),
        tuple(masks),
        foreign_kinds(every),
        secret,
    )


def _is_split(holding: Sequence[str]) -> bool:
    """Whether the folders below the source are the sides of a split; others without slices may lie there.

    Args:
        holding: The paths of all folders that hold slices.

    Raises:
        RelayError: There is one side only, or one of them twice, or there are slices beside them.
    """
    top = {path.partition("/")[0] for path in holding if path}
    sides = sorted(name for name in top if side_named(name))
    found_sides = [side_named(name) for name in sides]
    others = len(top) - len(sides)
    if not sides or (others and len(set(found_sides)) == 1):  # a patient's folder may be named so
        return False
    twice = len(set(found_sides)) < len(found_sides)
    if "train" in found_sides and len(found_sides) > 1 and not twice and not others:
        return True
    beside = f" and {others} others with slices beside them" if others else ""
    raise RelayError(
        f"source has the folders {', '.join(sides)}{beside}; a split by the provider is train and val, train "
        "and test, or all three, and nothing else."
    )


def _wrapped(paths: Sequence[Sequence[str]]) -> int:
    """How many folders lie around all patients: 1 for a disc's DICOM with PA0, PA1 in it, otherwise 0."""
    if not paths or any(len(parts) < 2 or parts[0].lower() != "dicom" for parts in paths):
        return 0
    return int(not any(_BELOW_PATIENT.fullmatch(parts[1]) for parts in paths))


def _is_slice(file: SourceFile) -> bool:
    try:
        return is_image(file.path) or is_nifti(file.path) or may_be_dicom(file.path, file.location)
    except UnusableError:
        return False


def _is_cut(file: SourceFile) -> bool:
    """Whether a file that is too short for DICOM's mark may be what is left of a slice: it is no text."""
    if file.size >= DICOM_MARK_END or file.path.lower().endswith(TEXT_SUFFIXES):
        return False
    try:
        content = Path(file.location).read_bytes()
    except OSError:
        return True
    return not content or bool(set(content) & _NO_TEXT)


def _dicom(files: Sequence[SourceFile], number: int, faults: Faults) -> Iterator[SourceFile]:
    for file in files:
        try:
            if may_be_dicom(file.path, file.location):
                yield file
        except UnusableError as error:
            faults.add(f"a file in folder {number}", error)


def _by_stem(
    given: Sequence[Sequence[SourceFile]], slices: Sequence[SourceFile], number: int, faults: Faults
) -> dict[str, SourceFile] | None:
    """Masks by the name of their slice, from the one place that has some; None where none has."""
    places = [images for masks in given if (images := [file for file in masks if is_image(file.path)])]
    if not places:
        return None
    if len(places) > 1:
        why = f"masks of its slices lie in {len(places)} places (folders, or beside them); keep one"
        faults.add(f"folder {number}", why)
    names = _names(slices)
    by_stem: dict[str, SourceFile] = {}
    twice = 0
    for file in places[0]:
        tried = (file.stem, file.stem.casefold(), after := slice_stem(file.stem) or "", after.casefold())
        stem = next((names[name] for name in tried if name in names), file.stem)
        twice += by_stem.setdefault(stem, file) is not file
    if twice:
        faults.add(
            f"folder {number}", f"{twice} of its slices have two masks, which differ in suffix; keep one"
        )
    return by_stem


def _names(slices: Sequence[SourceFile]) -> dict[str, str]:
    """The stem of each slice by what its mask may be named after: `s01`, `s01.dcm`, in any case."""
    loose: defaultdict[str, set[str]] = defaultdict(set)
    for file in slices:
        for name in (file.stem, file.path.rpartition("/")[2]):
            loose[name.casefold()].add(file.stem)
    stems = {file.stem: file.stem for file in slices}
    return {name: min(several) for name, several in loose.items() if len(several) == 1} | stems


def _walk(source: Path, faults: Faults) -> Iterator[SourceFile]:
    lost: list[str] = []

    def unreadable(_folder: str, depth: int, error: OSError) -> None:
        if not depth:
            raise RelayError(f"source cannot be read ({error.strerror}); change its permissions.")
        lost.append(f"a folder that cannot be read ({error.strerror})")

    def loop() -> None:
        lost.append("a link to a folder that contains it")

    for path, entry in walk(source, on_unreadable=unreadable, on_loop=loop, dropped=faults.litter):
        try:
            status = entry.stat()
        except OSError as error:
            lost.append(f"a file that cannot be reached ({error.strerror})")
            continue
        if stat.S_ISREG(status.st_mode):
            yield SourceFile(path, entry.path, status.st_size, status.st_mtime_ns)
    for what in sorted(set(lost)):
        faults.add("source", f"it holds {what}, {lost.count(what)} in all; fix or remove it")
