"""Finds the series of a path: a folder with what is below it, or one file."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from datamodules.faults import Faults, UnusableError
from datamodules.files.names import is_image
from datamodules.files.walk import walk
from datamodules.readers.hrct.scans.header import SliceHeader, read_slice_header
from datamodules.readers.hrct.scans.images import ImageHeader, read_image_header
from datamodules.readers.hrct.scans.kinds import is_nifti, may_be_dicom, natural
from datamodules.readers.hrct.scans.scan import Scan, dicom_scan, image_scan, nifti_scan


@dataclass(frozen=True)
class Found:
    """The series of a path.

    Attributes:
        scans: All that can be used: those of DICOM by SeriesInstanceUID, then each NIfTI file, then the image
            files of each folder.
        passed_over: What DICOM files are that are no slices of CT -> how many.
    """

    scans: tuple[Scan, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)


def read_scans(
    source: Path,
    faults: Faults,
    *,
    spacing: tuple[float, float] | None = None,
    unsigned_offset: int | None = None,
) -> Found:
    """Read the headers of all series of a path; slice 1 is the lowest, of image files the first by name.

    Args:
        source: A folder, or one file.
        faults: Takes files and series that cannot be used, "series 2" being the second by its UID; the caller
            settles them.
        spacing: mm between rows and between columns of image files, which do not say.
        unsigned_offset: What is added to unsigned 16-bit image files to make them Hounsfield units.
    """
    dicom: list[str] = []
    volumes: list[str] = []
    images: defaultdict[str, list[str]] = defaultdict(list)
    for number, path in enumerate(_files(source, faults), start=1):
        try:
            if is_nifti(path):
                volumes.append(path)
            elif is_image(path):
                images[os.path.dirname(path)].append(path)
            elif may_be_dicom(path, path):
                dicom.append(path)
        except UnusableError as error:
            faults.add(f"file {number} of source", error)
    scans, passed_over = _of_dicom(dicom, faults)
    for number, path in enumerate(volumes, start=1):
        title = f"NIfTI file {number} of source"
        scans += _tried(title, faults, partial(_of_volume, path))
    for number, paths in enumerate(images.values(), start=1):
        title = f"folder {number} of image files"
        scans += _tried(title, faults, partial(_of_images, paths, spacing, unsigned_offset))
    return Found(tuple(scans), passed_over)


def _files(source: Path, faults: Faults) -> list[str]:
    if source.is_file():
        return [str(source)]

    def unreadable(_folder: str, _depth: int, error: OSError) -> None:
        faults.add("source", f"a folder of it cannot be read ({error.strerror}); change its permissions")

    found = walk(source, on_unreadable=unreadable, dropped=faults.litter)
    return sorted((entry.path for _, entry in found if os.path.isfile(entry.path)), key=natural)


def _of_dicom(paths: Sequence[str], faults: Faults) -> tuple[list[Scan], Counter[str]]:
    by_uid: defaultdict[str, list[SliceHeader]] = defaultdict(list)
    passed_over: Counter[str] = Counter()
    for number, path in enumerate(paths, start=1):
        try:
            header = read_slice_header(path)
        except UnusableError as error:
            faults.add(f"DICOM file {number} of source", error)
            continue
        if isinstance(header, SliceHeader):
            by_uid[header.series].append(header)
        else:
            passed_over[header.kind] += 1
    scans: list[Scan] = []
    for number, uid in enumerate(sorted(by_uid), start=1):
        title = f"series {number} of source"
        scans += _tried(title, faults, partial(dicom_scan, by_uid[uid], "ascending"))
    return scans, passed_over


def _of_volume(path: str) -> Scan:
    return nifti_scan(path, os.stat(path).st_mtime_ns, "ascending")


def _of_images(
    paths: Sequence[str], spacing: tuple[float, float] | None, unsigned_offset: int | None
) -> Scan:
    headers: set[ImageHeader] = {read_image_header(path) for path in paths}
    if len(headers) > 1:
        raise UnusableError("its slices differ in size or in bits; divide them into one folder each")
    return image_scan(paths, headers.pop(), spacing, unsigned_offset)


def _tried(title: str, faults: Faults, read: Callable[[], Scan]) -> list[Scan]:
    try:
        return [read()]
    except UnusableError as error:
        faults.add(title, error)
        return []
