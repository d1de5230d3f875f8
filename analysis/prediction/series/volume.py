"""A series of CT as a stack of slices: where they lie, and their values, one slice at a time."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.prediction.series.choose import choose_scan
from datamodules.faults import UnusableError
from datamodules.pixels.window import Window, window_to_uint8
from datamodules.readers.hrct.notes import notes_on_marks
from datamodules.readers.hrct.scans.geometry import Planes, Turn
from datamodules.readers.hrct.scans.nifti import TO_DICOM, VolumePlane, read_volume
from datamodules.readers.hrct.scans.scan import Scan
from stages.console.words import counted
from stages.errors import RelayError

Points = npt.NDArray[np.float64]

_AXIAL = 0.8  # least cosine between the slices' normal and the body's axis
_SAME_PLACE = 1e-2  # mm
_GAP = 1.5  # usual steps; a missing slice leaves two
_UNEQUAL = 0.05  # of the usual step: positions are rounded when they are written
_TILTED = 0.02  # shift of a slice against the one before, of their distance

_NO_AFFINE = (
    "The NIfTI file has the affine that programs write where they know none (1 mm, no origin): scale, "
    "millilitres, sides and direction can be wrong. Convert it again from DICOM."
)
_NO_THICKNESS = (
    "It is one slice, and its header does not say how thick: percentages are given, millilitres and thirds "
    "are not."
)


@dataclass(frozen=True)
class CTVolume:
    """A series; nothing of its pixels is kept.

    Attributes:
        scan: Its files as the reader found them, the lowest slice first, or by name.
        source: What was typed; not printed on pages.
        shape: Slices, rows, columns.
        affine: 4 x 4, voxel (column, row, slice) -> mm to the patient's right, front and head, as NIfTI has
            it. Of unequal gaps, the mean step. Where `placed` is false, the spacing alone (1 where unknown).
        spacing: mm between slices (the usual step), rows and columns; None where it is not known.
        heights: Of each slice's centre along the body's axis, mm to the head; None where not `placed`.
        extents: mm along the slices' normal that each slice stands for: half the way to each neighbour, the
            outer half of the ends as the inner one. None where the step is not known.
        notes: What a person should know of the series, a sentence each.
    """

    scan: Scan = field(repr=False)
    source: Path = field(repr=False)
    affine: Points = field(repr=False)
    spacing: tuple[float | None, float | None, float | None]
    heights: Points | None = field(repr=False)
    extents: Points | None = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return (len(self.scan.slices), *self.scan.shape)

    @property
    def placed(self) -> bool:
        """Whether it is known where the slices lie in the patient."""
        return self.scan.planes is not None

    @cached_property
    def upright(self) -> Turn:
        """How a slice is turned to lie as CT is shown: rows to the patient's left, columns to the back."""
        return Turn() if self.scan.planes is None else self.scan.planes.planes[0].upright()

    @property
    def order(self) -> str:
        """How slices are counted, in words."""
        if self.heights is None:
            return "in the order of their names"
        return "from the lowest" if self.heights[0] <= self.heights[-1] else "from the highest"

    @property
    def hounsfield(self) -> bool:
        """Whether values are Hounsfield units; otherwise they are 8-bit grey levels."""
        return not self.scan.eight_bit

    @property
    def kernels(self) -> tuple[str, ...]:
        """Reconstruction kernels that its files name, sorted."""
        return tuple(sorted(self.scan.kernels))

    @property
    def thickness(self) -> float | None:
        """Of a slice, mm, the greatest; None where files do not say."""
        return max(self.scan.thickness, default=None)

    @property
    def files(self) -> tuple[str, ...]:
        """Where each slice's file lies."""
        return tuple(one.location for one in self.scan.slices)

    @property
    def pixel_mm2(self) -> float | None:
        """Area of a pixel, None where it is not known."""
        _, rows, columns = self.spacing
        return None if rows is None or columns is None else rows * columns

    def slice(self, number: int) -> npt.NDArray[np.int16]:
        """Decode a slice, numbered from 0: (H, W), Hounsfield units or grey levels.

        Raises:
            RelayError: It cannot be decoded, or its values cannot be Hounsfield units.
        """
        try:
            return self.scan.slice(number).astype(np.int16)
        except UnusableError as error:
            raise RelayError(
                f"source={self.source}: slice {number + 1}, counted {self.order}: {error}."
            ) from None

    def levels(self, image: npt.NDArray[np.int16], window: Window | None) -> npt.NDArray[np.uint8]:
        """A slice's values as networks were trained on them: through the window, or grey levels."""
        return window_to_uint8(image, window) if self.hounsfield else image.astype(np.uint8)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the files' content, in the order of the slices.

        Raises:
            RelayError: One cannot be read.
        """
        digest = hashlib.sha256()
        try:
            for location in dict.fromkeys(self.files):
                with open(location, "rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise RelayError(f"source={self.source}: a file cannot be read: {error.strerror}.") from None
        return digest.hexdigest()


def open_volume(
    source: Path,
    number: int | None = None,
    spacing: tuple[float, ...] | None = None,
    unsigned_offset: int | None = None,
) -> CTVolume:
    """Open a series.

    Args:
        source: A folder of DICOM files or of slices (PNG, TIFF), or a NIfTI file.
        number: Which series, from 1, where there are several.
        spacing: For slices that do not say: mm between pixels; rows and columns; or slices, rows and columns.
        unsigned_offset: What makes unsigned 16-bit image files Hounsfield units.

    Raises:
        RelayError: There is no series, several, or one that cannot be used.
    """
    between, pixels = _given_spacing(spacing)
    scan, notes = choose_scan(source, number, pixels, unsigned_offset)
    if pixels is not None and scan.spacing not in (None, pixels):
        notes = (*notes, "spacing is not used: the series says its own.")
    if scan.planes is not None:
        return _placed(scan, scan.planes, source, notes)
    if scan.kind == "DICOM" and scan.holes:
        raise RelayError(f"source={source}: {scan.holes}.")
    rows, columns = scan.spacing or pixels or (None, None)
    return CTVolume(
        scan=scan,
        source=source,
        affine=np.diag([columns or 1.0, rows or 1.0, between or 1.0, 1.0]),
        spacing=(between, rows, columns),
        heights=None,
        extents=None if between is None else np.full(len(scan.slices), between),
        notes=(*notes, *_notes_unplaced(scan, None in (between, rows)), *notes_on_marks(scan.marks)),
    )


def _placed(scan: Scan, planes: Planes, source: Path, notes: tuple[str, ...]) -> CTVolume:
    """A series whose slices say where they lie.

    Raises:
        RelayError: They are not axial, or several lie in one place.
    """
    along = np.array([plane.origin for plane in planes.planes]) @ planes.planes[0].normal
    if abs(planes.planes[0].normal[2]) < _AXIAL:
        raise RelayError(
            f"source={source}: its slices are not axial; take the axial series, since patches of another "
            "direction are not what networks learned from."
        )
    if len(along) > 1 and np.diff(np.sort(along)).min() < _SAME_PLACE:
        raise RelayError(f"source={source}: {scan.holes}.")
    affine = TO_DICOM @ planes.affine
    alone = max(scan.thickness, default=None)
    if len(along) == 1:
        first = scan.slices[0]
        if isinstance(first, VolumePlane):
            step = np.array(read_volume(first.location, first.modified).axes[first.axis])
            alone = float(np.linalg.norm(step))
        else:
            step = planes.planes[0].normal * (alone or 1.0)
        affine[:3, 2] = TO_DICOM[:3, :3] @ step
    extents = _extents(along, alone)
    return CTVolume(
        scan=scan,
        source=source,
        affine=affine,
        spacing=(None if extents is None else float(np.median(extents)), *planes.planes[0].spacing),
        heights=np.array([plane.corners()[:, 2].mean() for plane in planes.planes]),
        extents=extents,
        notes=(
            *notes,
            *([_NO_AFFINE] if _is_default(scan) else []),
            *([_NO_THICKNESS] if extents is None else []),
            *_notes_placed(planes, along, affine),
            *notes_on_marks(scan.marks),
        ),
    )


def _is_default(scan: Scan) -> bool:
    """Whether a NIfTI file has the affine that programs write who were told none."""
    first = scan.slices[0]
    if not isinstance(first, VolumePlane):
        return False
    volume = read_volume(first.location, first.modified)
    return not np.any(volume.origin) and bool((np.abs(volume.axes) == np.eye(3)).all())


def _given_spacing(spacing: tuple[float, ...] | None) -> tuple[float | None, tuple[float, float] | None]:
    """Mm between slices, and between rows and columns.

    Raises:
        RelayError: It is not one, two or three numbers above 0.
    """
    if spacing is None:
        return None, None
    if len(spacing) > 3 or not spacing or not all(0 < step < np.inf for step in spacing):
        raise RelayError(
            f"spacing={','.join(map(str, spacing))}: give mm between pixels, such as 0.7; between rows and "
            "columns, 0.7,0.7; or between slices, rows and columns, 10,0.7,0.7."
        )
    between = spacing[0] if len(spacing) == 3 else None
    return between, (spacing[-2] if len(spacing) > 1 else spacing[-1], spacing[-1])


def _extents(along: Points, alone: float | None) -> Points | None:
    """How much of the way along the normal each slice stands for, mm; `alone` of a single one."""
    if len(along) == 1:
        return None if alone is None else np.array([alone])
    steps = np.abs(np.diff(along))
    return np.asarray((np.append(steps[:1], steps) + np.append(steps, steps[-1:])) / 2)


def _notes_unplaced(scan: Scan, unknown: bool) -> Iterator[str]:
    what = "DICOM files have no pixel spacing" if scan.kind == "DICOM" else "Image files have no positions"
    yield f"{what}: right and left lung, and the thirds of the lungs, are not told apart."
    if unknown:
        yield (
            "The spacing is not known: percentages are given, millilitres are not. spacing=10,0.7,0.7 (mm "
            "between slices, rows and columns) gives them."
        )


def _notes_placed(planes: Planes, along: Points, affine: Points) -> Iterator[str]:
    if len(along) == 1:
        return
    steps = np.abs(np.diff(along))
    usual = float(np.median(steps))
    missing = int((steps > _GAP * usual).sum())
    if missing:
        yield (
            f"Slices are missing in {counted(missing, 'place')}: steps are up to {steps.max():.2f} mm, the "
            f"usual one is {usual:.2f} mm. Each slice stands for half the way to its neighbours, also in "
            "millilitres."
        )
    if np.abs(steps - usual).max() > _UNEQUAL * usual:
        origins = np.array([plane.origin for plane in planes.planes]) @ TO_DICOM[:3, :3]
        told = affine[:3, 3] + np.arange(len(origins))[:, None] * affine[:3, 2]
        off = float(np.linalg.norm(origins - told, axis=1).max())
        yield (
            "The steps between slices are unequal, which a NIfTI file cannot say: its affine has the mean "
            f"step, and slices lie up to {off:.2f} mm from where it has them."
        )
    normal = TO_DICOM[:3, :3] @ planes.planes[0].normal
    step = affine[:3, 2]
    lean = float(np.linalg.norm(step - (step @ normal) * normal) / abs(step @ normal))
    if lean > _TILTED:
        yield (
            f"The gantry was tilted by {np.degrees(np.arctan(lean)):.1f} degrees: slices are shifted against "
            "each other, as the maps' affine says. Some viewers pass over it."
        )
