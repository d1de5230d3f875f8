"""The series of slices in a folder, checked."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from datamodules.domain import SideName
from datamodules.faults import Faults, UnusableError
from datamodules.readers.hrct.scans.header import Regions, SliceHeader, read_slice_header
from datamodules.readers.hrct.scans.images import ImageHeader, read_image_header
from datamodules.readers.hrct.scans.order import number_gap
from datamodules.readers.hrct.scans.scan import DicomSlice, Scan, dicom_scan, image_scan, nifti_scan
from datamodules.readers.hrct.sources.folders import SliceFolder
from datamodules.readers.hrct.sources.options import HrctOptions
from datamodules.readers.hrct.sources.source_file import SourceFile


@dataclass(frozen=True)
class Series:
    """Slices in order.

    Attributes:
        title: What messages call it.
        folder: Where it lies.
        files: Its files, that of slice 1 first; of NIfTI, one file for all.
        scan: Its slices.
        unnumbered: Why it is not known which slice is number 1; empty where it is.
        first: Number of its first slice: 1, or its place in the folder where each slice is a series.
        patient: Who it shows, as the source names them; not printed.
    """

    title: str
    folder: SliceFolder = field(repr=False)
    files: tuple[SourceFile, ...] = field(repr=False)
    scan: Scan
    unnumbered: str
    first: int
    patient: str = field(repr=False)

    @property
    def dicom(self) -> bool:
        """Whether its files are DICOM."""
        return self.scan.kind == "DICOM"

    @property
    def in_volume(self) -> bool:
        """Whether all its slices are in one NIfTI file."""
        return self.scan.kind == "NIfTI"

    @property
    def side(self) -> SideName | None:
        """The provider's split."""
        return self.folder.side

    def slice_title(self, number: int) -> str:
        """What messages call a slice, numbered from 1."""
        folder = f"folder {self.folder.number}"
        alone = self.folder.independent and not self.in_volume
        return f"slice {number} of {folder if alone else self.title}"


@dataclass(frozen=True)
class FolderSeries:
    """What was found in a folder.

    Attributes:
        usable: The series that patches can be cut from.
        refused: SeriesInstanceUIDs of the others; not printed.
        passed_over: What its other DICOM files are -> how many.
        objects: Those that hold regions, of series here or in other folders.
    """

    usable: tuple[Series, ...]
    refused: frozenset[str] = field(default=frozenset(), repr=False)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    objects: tuple[tuple[SourceFile, Regions], ...] = ()


def find_series(folder: SliceFolder, options: HrctOptions, faults: Faults) -> FolderSeries:
    """Find the series of a folder: of each SeriesInstanceUID, of each NIfTI file, of all image slices.

    Args:
        folder: The folder.
        options: Order, spacing, and what identifies patients.
        faults: Takes what cannot be used.
    """
    if folder.volumes:
        return FolderSeries(tuple(_of_volumes(folder, options, faults)))
    if folder.dicom and folder.images:
        faults.add(f"folder {folder.number}", "it holds both DICOM files and image slices; divide them")
        return FolderSeries(())
    if folder.images:
        return FolderSeries(tuple(_of_images(folder, options, faults)))
    return _of_dicom(folder, options, faults)


def _of_dicom(folder: SliceFolder, options: HrctOptions, faults: Faults) -> FolderSeries:
    by_uid: defaultdict[str, list[SliceHeader]] = defaultdict(list)
    passed_over: Counter[str] = Counter()
    others: defaultdict[str, Counter[str]] = defaultdict(Counter)
    objects: list[tuple[SourceFile, Regions]] = []
    lost = folder.cut
    for number, file in enumerate(folder.dicom, start=1):
        try:
            header = read_slice_header(file.location)
        except UnusableError as error:
            faults.add(f"file {number} of folder {folder.number}", error)
            lost += 1
            continue
        if isinstance(header, SliceHeader):
            by_uid[header.series].append(header)
        elif header.regions is not None:
            objects.append((file, header.regions))
        elif header.image:
            others[header.series][header.kind] += 1
        else:
            passed_over[header.kind] += 1
    for kinds in others.values():
        passed_over += kinds
    if others and not by_uid and (folder.masks or folder.contours or folder.boxes):
        listed = ", ".join(f"{count} {kind}" for kind, count in passed_over.items())
        faults.add(
            f"folder {folder.number}",
            f"it has regions and no slice of CT, the only one with Hounsfield units; its files are {listed}",
        )
    files = {file.location: file for file in folder.dicom}
    series = []
    refused = set(others)
    for number, uid in enumerate(sorted(by_uid), start=1):
        title = f"series {number} of folder {folder.number}"
        try:
            series.append(_series(title, folder, by_uid[uid], options, files, lost))
        except UnusableError as error:
            faults.add(title, error)
            refused.add(uid)
    return FolderSeries(tuple(series), frozenset(refused), passed_over, tuple(objects))


def _series(
    title: str,
    folder: SliceFolder,
    headers: Sequence[SliceHeader],
    options: HrctOptions,
    files: Mapping[str, SourceFile],
    lost: int,
) -> Series:
    """The series of some DICOM files.

    Raises:
        UnusableError: It cannot be used.
    """
    scan = dicom_scan(headers, options.slice_order)
    return Series(
        title=title,
        folder=folder,
        files=tuple(files[one.location] for one in scan.slices if isinstance(one, DicomSlice)),
        scan=scan,
        # Image numbers would show a hole; an order that was asked for does not.
        unnumbered=f"{lost} files of its folder cannot be read"
        if lost and options.slice_order != "image_numbers"
        else scan.unnumbered,
        first=1,
        patient=(scan.patient if options.patient == "tag" else "") or folder.patient,
    )


def _of_images(folder: SliceFolder, options: HrctOptions, faults: Faults) -> list[Series]:
    headers = {}
    for number, file in enumerate(folder.images, start=1):
        try:
            headers[file] = read_image_header(file.location)
        except UnusableError as error:
            faults.add(f"slice {number} of folder {folder.number}", error)
    if not headers:
        return []
    if folder.independent:
        return [
            _image_series(
                f"slice {number} of folder {folder.number}", folder, (file,), options, headers[file], number
            )
            for number, file in enumerate(folder.images, start=1)
            if file in headers
        ]
    title = f"series 1 of folder {folder.number}"
    kinds = set(headers.values())
    if len(kinds) > 1:
        faults.add(title, "its slices differ in size or in bits; divide them into one folder each")
        return []
    if len(headers) < len(folder.images) and (folder.contours or folder.boxes):
        return []  # the numbers of the slices behind the one that cannot be read are not known
    files = tuple(headers)
    if options.slice_order == "descending":
        files = files[::-1]
    return [_image_series(title, folder, files, options, kinds.pop())]


def _unnumbered(files: Sequence[SourceFile], options: HrctOptions) -> str:
    """Why image slices cannot be numbered: the numbers in their names should count from 1 or 0."""
    numbers = name_numbers([file.stem for file in files])
    if numbers is None:
        return ""  # the order of the names is all there is
    if options.slice_order == "image_numbers" and numbers != sorted(numbers):
        return "the numbers at the end of their names do not follow the order of the names"
    return number_gap(numbers, options.slice_order)


def name_numbers(stems: Sequence[str]) -> list[int] | None:
    """The number in each slice's name, the last that is not the same in all; None where there is none."""
    parts = [re.findall(r"\d+", stem) for stem in stems]
    texts = {tuple(re.split(r"\d+", stem)) for stem in stems}
    if len(texts) == 1 and len(stems) > 1:  # one name with other numbers: subject1_slice07_0.625mm
        differing = [place for place, found in enumerate(zip(*parts, strict=True)) if len(set(found)) > 1]
        return [int(found[differing[-1]]) for found in parts] if differing else None
    if not all(parts) or (len(stems) > 1 and len({found[-1] for found in parts}) == 1):
        return None  # subject1_top, subject1_low
    return [int(found[-1]) for found in parts]


def _image_series(
    title: str,
    folder: SliceFolder,
    files: tuple[SourceFile, ...],
    options: HrctOptions,
    header: ImageHeader,
    first: int = 1,
) -> Series:
    return Series(
        title=title,
        folder=folder,
        files=files,
        scan=image_scan([file.location for file in files], header, options.spacing, options.unsigned_offset),
        unnumbered="" if folder.independent else _unnumbered(files, options),
        first=first,
        patient=files[0].path if folder.independent else folder.patient,
    )


def _of_volumes(folder: SliceFolder, options: HrctOptions, faults: Faults) -> Iterator[Series]:
    for number, file in enumerate(folder.volumes, start=1):
        title = f"series {number} of folder {folder.number}"
        try:
            scan = nifti_scan(file.location, file.modified, options.slice_order)
        except UnusableError as error:
            faults.add(title, error)
        else:
            patient = file.path if folder.independent else folder.patient
            yield Series(title, folder, (file,) * len(scan.slices), scan, scan.unnumbered, 1, patient)
