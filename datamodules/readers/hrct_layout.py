"""Which folders of a source hold slices, and what lies beside them?

Accepted are `PATIENT/[FOLDER/...]` with DICOM files or image slices, contours (`*.txt`), boxes (`*.csv`) and
masks (in a folder `masks`) beside them; slices in a folder `Imgs` with masks of equal names in a folder `GT`
beside it; and both below `train` and `test` (or `val`), the provider's split.
"""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.listing import is_image, normalised
from datamodules.packing.units import Side, UnusableError
from datamodules.readers.hrct_faults import Faults
from datamodules.readers.hrct_slices import is_dicom
from datamodules.walk import is_folder, walk
from stages.errors import RelayError

_SIDES: dict[str, Side] = {"train": "train", "test": "val", "val": "val"}
_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})


@dataclass(frozen=True)
class SourceFile:
    """A file of the source; where it lies is not printed.

    Attributes:
        path: Name below the source with forward slashes, in Unicode's NFC.
        location: Where it lies on this machine.
        size: Bytes.
        modified: Time of the last change, nanoseconds.
    """

    path: str = field(repr=False)
    location: str = field(repr=False)
    size: int
    modified: int

    @property
    def stem(self) -> str:
        """Its name without folder and suffix."""
        return os.path.splitext(self.path.rpartition("/")[2])[0]


@dataclass(frozen=True)
class SliceFolder:
    """A folder with slices and the regions drawn on them.

    Attributes:
        number: Place among the folders with slices, sorted by path, from 1: what messages call it.
        path: Below the source; not printed.
        patient: The first folder below the source (and below the split's folder); not printed.
        side: The provider's split.
        independent: Whether each slice stands for itself, of a patient of its own.
        dicom: DICOM files.
        images: Image slices in the order of their names, numbers in them counted as numbers.
        masks: Label masks by the stem of their slice, None where there is no folder of masks.
        contours: MedGIFT's text files.
        boxes: CSV files.
    """

    number: int
    path: str = field(repr=False)
    patient: str = field(repr=False)
    side: Side | None
    independent: bool
    dicom: tuple[SourceFile, ...]
    images: tuple[SourceFile, ...]
    masks: dict[str, SourceFile] | None
    contours: tuple[SourceFile, ...]
    boxes: tuple[SourceFile, ...]


def find_slice_folders(source: Path, faults: Faults) -> tuple[list[SliceFolder], str]:
    """List a source.

    Args:
        source: Its folder.
        faults: Takes files that cannot be reached.

    Returns:
        The folders, sorted by path, and text that only someone with the files can know: paths and sizes.

    Raises:
        RelayError: The source is no folder that can be read, or its split lacks a side.
    """
    if not source.is_dir():
        raise RelayError("source is not a folder that exists; set it to the folder of the patients.")
    files: defaultdict[str, list[SourceFile]] = defaultdict(list)
    for file in sorted(_walk(source, faults), key=lambda file: _natural(file.path)):
        files[file.path.rpartition("/")[0]].append(file)
    secret = "\n".join(sorted(f"{file.path} {file.size}" for found in files.values() for file in found))
    split = _is_split(source)
    folders: list[SliceFolder] = []
    for path in sorted(files, key=_natural):
        if _holds_masks(path, files):
            continue
        number = len(folders) + 1
        dicom = tuple(file for file in files[path] if _may_be_dicom(file, number, faults))
        images = tuple(file for file in files[path] if is_image(file.path))
        if not dicom and not images:
            continue
        parts = path.split("/") if path else []
        below = parts[1:] if split else parts
        in_pairs = bool(parts) and parts[-1].lower() == "imgs"
        masks = files.get(_beside(path, "GT") if in_pairs else f"{path}/masks".lstrip("/"))
        folders.append(
            SliceFolder(
                number=number,
                path=path,
                patient=below[0] if below else "",
                side=_SIDES.get(parts[0]) if split and parts else None,
                independent=in_pairs and len(below) == 1,
                dicom=dicom,
                images=images,
                masks=None if masks is None else {file.stem: file for file in masks if is_image(file.path)},
                contours=tuple(file for file in files[path] if file.path.lower().endswith(".txt")),
                boxes=tuple(file for file in files[path] if file.path.lower().endswith(".csv")),
            )
        )
    return folders, secret


def _is_split(source: Path) -> bool:
    """Whether the folders below the source are the sides of a split."""
    try:
        with os.scandir(source) as entries:
            names = {entry.name for entry in entries if not entry.name.startswith(".") and is_folder(entry)}
    except OSError as error:
        raise RelayError(f"source cannot be read ({error.strerror}); change its permissions.") from None
    sides = sorted(names & set(_SIDES))
    if not sides or names - set(_SIDES):
        return False
    if len(sides) != 2 or "train" not in sides:
        raise RelayError(
            f"source has the folders {', '.join(sides)}; a split by the provider is train and test, or train "
            "and val."
        )
    return True


def _beside(path: str, name: str) -> str:
    return f"{path.rpartition('/')[0]}/{name}".lstrip("/")


def _holds_masks(path: str, files: dict[str, list[SourceFile]]) -> bool:
    name = path.rpartition("/")[2]
    return name == "masks" or (
        name == "GT" and any(_beside(path, other) in files for other in ("Imgs", "imgs"))
    )


def _may_be_dicom(file: SourceFile, number: int, faults: Faults) -> bool:
    suffix = os.path.splitext(file.path)[1].lower()
    if suffix in _DICOM_SUFFIXES:
        return True
    if is_image(file.path) or suffix in (".txt", ".csv"):
        return False
    try:  # DICOM files often have no suffix, or the last part of a UID in its place
        return is_dicom(file.location)
    except UnusableError as error:
        faults.add(f"a file in folder {number}", error)
        return False


def _walk(source: Path, faults: Faults) -> Iterator[SourceFile]:
    lost: list[str] = []

    def unreadable(_folder: str, _depth: int, error: OSError) -> None:
        lost.append(f"a folder that cannot be read ({error.strerror})")

    def loop() -> None:
        lost.append("a link to a folder that it stands in")

    for below, entry in walk(source, on_unreadable=unreadable, on_loop=loop):
        try:
            status = entry.stat()
        except OSError as error:
            lost.append(f"a file that cannot be reached ({error.strerror})")
            continue
        if stat.S_ISREG(status.st_mode):
            path = normalised(below.replace(os.sep, "/"))
            yield SourceFile(path, entry.path, status.st_size, status.st_mtime_ns)
    for what in sorted(set(lost)):
        faults.add("source", f"it holds {what}, {lost.count(what)} in all; mend or remove it")


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Sorts slice 9 before slice 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path)]
