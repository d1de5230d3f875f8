"""A CT series: its slices in Hounsfield units, decoded when they are asked for, and where they lie.

This package needs no options, folders of classes or masks: `find.read_scans` finds the series of a path, and
a `Scan` gives their pixels (`slice`, `hounsfield`), their geometry (`spacing`, `planes`, `affine`), what
their headers say (`kernels`, `thickness`, `marks`, `instances`), and values as a NIfTI file has them
(`as_nifti`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from datamodules.faults import UnusableError
from datamodules.readers.hrct.scans.dicom_pixels import read_hounsfield
from datamodules.readers.hrct.scans.geometry import Planes, parallel_planes
from datamodules.readers.hrct.scans.header import Mark, SliceHeader
from datamodules.readers.hrct.scans.hounsfield import check_hounsfield
from datamodules.readers.hrct.scans.images import ImageHeader, Slice, read_slice_image
from datamodules.readers.hrct.scans.nifti import TO_DICOM, VolumePlane, read_volume, voxels
from datamodules.readers.hrct.scans.order import Direction, order_slices

Kind = Literal["DICOM", "NIfTI", "image files"]

_AXIAL = 0.8  # least cosine between the slices' normal and the body's axis
_IN_PLANE = 2.0  # largest ratio of a pixel's sides; beyond, slices were cut from others


class StoredSlice(Protocol):
    """Where a slice is stored; small enough to be pickled and sent to a worker."""

    @property
    def location(self) -> str:
        """Its file; not printed."""
        ...

    def read(self) -> Slice:
        """Decode it: int16 (H, W), Hounsfield units, or uint8 from an 8-bit image, which holds none.

        Raises:
            UnusableError: It cannot be decoded, or its values cannot be Hounsfield units.
        """
        ...


@dataclass(frozen=True)
class DicomSlice:
    """A slice that is a DICOM file; where it lies is not printed."""

    location: str = field(repr=False)

    def read(self) -> Slice:
        """Decode it; `StoredSlice.read`."""
        return read_hounsfield(self.location)


@dataclass(frozen=True)
class ImageSlice:
    """A slice that is an image file.

    Attributes:
        location: The file; not printed.
        unsigned_offset: As `images.read_slice_image` takes it.
    """

    location: str = field(repr=False)
    unsigned_offset: int | None

    def read(self) -> Slice:
        """Decode it; `StoredSlice.read`."""
        image = read_slice_image(self.location, self.unsigned_offset)
        if image.dtype == np.int16:
            check_hounsfield(image.astype(np.int16))
        return image


@dataclass(frozen=True)
class Scan:
    """A series of slices in order, before its pixels are decoded.

    Attributes:
        kind: What its files are.
        slices: Slice 1 first.
        shape: (H, W) of each.
        spacing: mm between rows and between columns, None where it is not known.
        eight_bit: Whether its values are 8-bit grey levels instead of Hounsfield units.
        unnumbered: Why it is not known which slice is number 1; empty where it is.
        holes: Why no number of a slice can be believed: slices are missing, in one place, or not parallel;
            empty where one can.
        planes: Where its slices lie, None where they do not say.
        marks: How many of its slices have which oddity.
        kernels: Its reconstruction kernels, where its files name them; not printed.
        thickness: Its slices' thicknesses (SliceThickness), mm, where its files name them.
        uid: SeriesInstanceUID, empty where there is none; not printed.
        patient: PatientID, empty where there is none; not printed.
        instances: SOPInstanceUID of each slice, empty where there are none; not printed.
        frame_of_reference: Its UID, empty where there is none; not printed.
    """

    kind: Kind
    slices: tuple[StoredSlice, ...] = field(repr=False)
    shape: tuple[int, int]
    spacing: tuple[float, float] | None
    eight_bit: bool = False
    unnumbered: str = ""
    holes: str = ""
    planes: Planes | None = field(default=None, repr=False)
    marks: Mapping[Mark, int] = field(default_factory=dict)
    kernels: frozenset[str] = field(default=frozenset(), repr=False)
    thickness: frozenset[float] = frozenset()
    uid: str = field(default="", repr=False)
    patient: str = field(default="", repr=False)
    instances: tuple[str, ...] = field(default=(), repr=False)
    frame_of_reference: str = field(default="", repr=False)

    def slice(self, index: int) -> Slice:
        """Decode a slice, the first being 0.

        Raises:
            UnusableError: As `StoredSlice.read`, or its size is not the one that its header said.
        """
        return read_checked(self.slices[index], self.shape)

    def hounsfield(self, first: int, end: int) -> npt.NDArray[np.int16]:
        """Decode the slices from `first` to the one before `end`: int16, (N, H, W).

        Raises:
            UnusableError: As `slice`, or the series has no Hounsfield units.
        """
        if self.eight_bit:
            raise UnusableError(
                "its slices have 8 bits and no Hounsfield units; take the original series, or 16-bit images"
            )
        values = np.empty((end - first, *self.shape), np.int16)
        for place in range(first, end):
            values[place - first] = self.slice(place)
        return values

    @property
    def affine(self) -> npt.NDArray[np.float64] | None:
        """(column, row, slice, 1) -> mm in DICOM's coordinates, (4, 4); None where slices have no place.

        It holds for all slices where `holes` is empty.
        """
        return None if self.planes is None else self.planes.affine

    def as_nifti(self, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        """Values of its pixels as a NIfTI file has them: of the axes that its own file has, if it is one.

        Args:
            values: (S, H, W).

        Returns:
            Voxels of three dimensions, and the affine from them to mm in NIfTI's coordinates, (4, 4).

        Raises:
            UnusableError: Its slices have no place.
        """
        planes = [one for one in self.slices if isinstance(one, VolumePlane)]
        if planes:
            return voxels(planes, values)
        if self.affine is None:
            raise UnusableError("its slices do not say where they lie, so that no affine can be written")
        return values.transpose(2, 1, 0), TO_DICOM @ self.affine


def read_checked(stored: StoredSlice, shape: tuple[int, int]) -> Slice:
    """Decode a slice whose size is known.

    Raises:
        UnusableError: As `StoredSlice.read`, or it has another size.
    """
    image = stored.read()
    if image.shape != shape:
        raise UnusableError("its size changed since the source was listed; list it again")
    return image


def dicom_scan(headers: Sequence[SliceHeader], direction: Direction) -> Scan:
    """The series of some DICOM files.

    Args:
        headers: In any order.
        direction: Which end is first.

    Raises:
        UnusableError: It cannot be used.
    """
    useless = [header for header in headers if header.faults]
    if useless:
        raise UnusableError(
            f"{len(useless)} of its {len(headers)} files cannot be used, the first since "
            f"{useless[0].faults[0]}"
        )
    ordered = order_slices(headers, direction)
    first = ordered.headers[0]
    return Scan(
        kind="DICOM",
        slices=tuple(DicomSlice(header.location) for header in ordered.headers),
        shape=first.shape,
        spacing=first.spacing,
        unnumbered=ordered.unnumbered,
        holes=ordered.holes,
        planes=parallel_planes([header.plane for header in ordered.headers]),
        marks=Counter(mark for header in headers for mark in header.marks),
        kernels=frozenset(header.kernel for header in headers if header.kernel),
        thickness=frozenset(header.thickness for header in headers if header.thickness),
        uid=first.series,
        patient=first.patient,
        instances=tuple(header.instance for header in ordered.headers),
        frame_of_reference=first.frame_of_reference,
    )


def nifti_scan(location: str, modified: int, direction: Direction) -> Scan:
    """The axial slices of a NIfTI file, as CT is shown: rows to the patient's left, columns to the back.

    Args:
        location: The file.
        modified: Time of its last change, nanoseconds.
        direction: Which end is first; by image numbers, which it has not, the lowest is.

    Raises:
        UnusableError: It cannot be used.
    """
    volume = read_volume(location, modified)
    axis = volume.axis_along(np.array([0.0, 0.0, 1.0]))
    planes = volume.planes(axis)
    turn = planes[0].upright()
    turned = [plane.turned(turn) for plane in planes]
    ratio = max(turned[0].spacing) / min(turned[0].spacing)
    if abs(turned[0].normal[2]) < _AXIAL or ratio > _IN_PLANE:
        raise UnusableError(
            f"its slices are not axial: {volume}; take the axial series, since slices cut from another one "
            "have another resolution in each direction"
        )
    order = sorted(range(len(planes)), key=lambda place: planes[place].origin[2])
    if direction == "descending":
        order.reverse()
    return Scan(
        kind="NIfTI",
        slices=tuple(VolumePlane(location, modified, axis, place, turn) for place in order),
        shape=turned[0].shape,
        spacing=turned[0].spacing,
        unnumbered="a NIfTI file does not say at which end slice 1 is"
        if direction == "image_numbers"
        else "",
        planes=Planes(tuple(turned[place] for place in order)),
    )


def image_scan(
    locations: Sequence[str],
    header: ImageHeader,
    spacing: tuple[float, float] | None,
    unsigned_offset: int | None,
) -> Scan:
    """Image files in order as a series; they do not say where they lie.

    Args:
        locations: Slice 1 first.
        header: That of each.
        spacing: mm between rows and between columns.
        unsigned_offset: As `images.read_slice_image` takes it.
    """
    return Scan(
        kind="image files",
        slices=tuple(ImageSlice(location, unsigned_offset) for location in locations),
        shape=header.shape,
        spacing=spacing,
        eight_bit=header.depth == "8-bit",
    )
