"""NIfTI files as stacks of planes: where each lies in DICOM's coordinates, and its values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.faults import UnusableError
from datamodules.readers.hrct.scans.dicom import silent
from datamodules.readers.hrct.scans.geometry import Plane, Turn, Vector, vector
from datamodules.readers.hrct.scans.header import MOST_PIXELS
from datamodules.readers.hrct.scans.hounsfield import check_hounsfield

TO_DICOM = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From NIfTI's coordinates, mm to the right, to the front and to the head, to DICOM's, and back."""

_MOST_BYTES = 1 << 32
_SAME = 0.1  # of a voxel
_WHOLE = 1e-3  # what is left of a whole number after scaling
_UNITS_IN_MM = ("unknown", "mm")


@dataclass(frozen=True)
class Volume:
    """A NIfTI file before its values are decoded.

    Attributes:
        location: The file; not printed.
        modified: Time of its last change, nanoseconds.
        shape: Voxels along its three axes.
        axes: Step from a voxel to the next one along each axis, mm.
        origin: Centre of the first voxel, mm.
    """

    location: str = field(repr=False)
    modified: int
    shape: tuple[int, int, int]
    axes: tuple[Vector, Vector, Vector]
    origin: Vector

    def axis_along(self, direction: npt.NDArray[np.float64]) -> int:
        """The axis that is the nearest to a direction."""
        return int(np.argmax([abs(np.dot(step, direction)) / np.linalg.norm(step) for step in self.axes]))

    def planes(self, axis: int) -> list[Plane]:
        """Its planes across an axis: their rows are the first of the other two axes."""
        rows, columns = (other for other in range(3) if other != axis)
        shape = (self.shape[rows], self.shape[columns])
        step, origin = np.array(self.axes[axis]), np.array(self.origin)
        return [
            Plane(vector(origin + place * step), self.axes[columns], self.axes[rows], shape)
            for place in range(self.shape[axis])
        ]

    def __str__(self) -> str:
        sides = " x ".join(f"{np.linalg.norm(step):.4g}" for step in self.axes)
        corner = ", ".join(f"{value:.4g}" for value in self.origin)
        return f"{' x '.join(map(str, self.shape))} voxels of {sides} mm from ({corner}) mm"


@dataclass(frozen=True)
class VolumePlane:
    """A plane of a NIfTI file.

    Attributes:
        location: The file; not printed.
        modified: Time of its last change, nanoseconds.
        axis: The axis that it lies across.
        place: Its place along that axis.
        turn: How its pixels are turned.
    """

    location: str = field(repr=False)
    modified: int
    axis: int
    place: int
    turn: Turn

    def values(self) -> npt.NDArray[np.float64]:
        """Decode it: scl_slope * stored + scl_inter, float64, (H, W).

        Raises:
            UnusableError: The file ends early, or a value is not a number.
        """
        stored, slope, intercept = _voxels(self.location, self.modified)
        try:
            plane = np.moveaxis(stored, self.axis, 0)[self.place].astype(np.float64)  # take copies it all
        except (OSError, ValueError):  # of a memory map
            raise UnusableError("it ends early; copy it again") from None
        values = self.turn.apply(plane) * slope + intercept
        if not np.isfinite(values).all():
            lost = int((~np.isfinite(values)).sum())
            raise UnusableError(
                f"{lost} of its values are NaN or infinite; save them as air, -1000, in a mask as 0"
            )
        return values

    def whole_numbers(self) -> npt.NDArray[np.int32]:
        """Decode a plane of labels, int32, (H, W).

        Raises:
            UnusableError: As `values`, or a value is not a whole number.
        """
        values = self.values()
        whole = np.rint(values)
        if np.abs(values - whole).max() > _WHOLE or np.abs(whole).max() > np.iinfo(np.int32).max:
            raise UnusableError(
                "its mask has values that are not whole numbers, such as probabilities or labels that were "
                "interpolated; save one whole number per voxel"
            )
        return whole.astype(np.int32)

    def read(self) -> npt.NDArray[np.int16]:
        """Decode a slice of CT: rounded, int16, (H, W).

        Raises:
            UnusableError: As `values`, or its values cannot be Hounsfield units.
        """
        values = np.rint(self.values())
        limits = np.iinfo(np.int16)
        if values.min() < limits.min or values.max() > limits.max:
            raise UnusableError(
                f"its values reach from {values.min():.0f} to {values.max():.0f}, beyond 16 bits, and cannot "
                "be Hounsfield units; convert the CT series again"
            )
        whole = values.astype(np.int16)
        check_hounsfield(whole)
        return whole


def read_volume(location: str, modified: int) -> Volume:
    """Read a NIfTI file's header.

    Raises:
        UnusableError: It is damaged, holds several volumes or colours, or does not say where it lies.
    """
    image = _opened(location, modified)
    header = image.header
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3:
        raise UnusableError(
            f"it holds {math.prod(shape[3:])} volumes ({' x '.join(map(str, shape))}: time, or channels); "
            "save each as a file of its own"
        )
    shape = (*shape, *(1,) * (3 - len(shape)))
    kind = header.get_data_dtype()
    if kind.kind not in "iuf":
        raise UnusableError("its voxels are colours or complex numbers; save one number per voxel")
    if min(shape) < 1 or math.prod(shape) * kind.itemsize > _MOST_BYTES or shape[0] * shape[1] > MOST_PIXELS:
        raise UnusableError(
            f"it says that it has {' x '.join(map(str, shape))} voxels, more than any series; copy it again"
        )
    if header.get_xyzt_units()[0] not in _UNITS_IN_MM:
        raise UnusableError("its voxels are measured in another unit than mm (xyzt_units); save them in mm")
    affine = TO_DICOM @ _affine(header, shape)
    axes = (vector(affine[:3, 0]), vector(affine[:3, 1]), vector(affine[:3, 2]))
    return Volume(location, modified, (shape[0], shape[1], shape[2]), axes, vector(affine[:3, 3]))


def voxels(
    planes: Sequence[VolumePlane], values: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Values of all planes of a NIfTI file in that file's own axes, and its affine.

    Args:
        planes: Of one file and one turn.
        values: (S, H, W), one for each plane.
    """
    first = planes[0]
    turned = np.stack([first.turn.undo(values[at]) for at in np.argsort([one.place for one in planes])])
    image = _opened(first.location, first.modified)
    return np.moveaxis(turned, 0, first.axis), _affine(image.header, turned.shape)


def _affine(header: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """What places its voxels: sform or qform, which programs prefer differently.

    Raises:
        UnusableError: It has none, or two that differ, or one that is no affine.
    """
    found = [
        np.asarray(matrix, np.float64)
        for matrix, code in (header.get_sform(coded=True), header.get_qform(coded=True))
        if matrix is not None and code > 0
    ]
    if not found:
        raise UnusableError(
            "it does not say where its voxels lie (sform_code and qform_code are 0), so that its orientation "
            "is not known; convert it again from DICOM"
        )
    corner = np.array([*(side - 1 for side in shape), 1.0])
    sides = np.linalg.norm(found[0][:3, :3], axis=0)
    if not all(np.isfinite(one).all() for one in found) or sides.min() <= 0:
        raise UnusableError("its affine has no step along an axis; convert it again from DICOM")
    if len(found) == 2:
        away = max(np.abs((found[0] - found[1]) @ at).max() for at in (corner, np.array([0.0, 0, 0, 1])))
        if away > _SAME * sides.min():
            raise UnusableError(
                f"its sform and its qform differ by {away:.3g} mm, and programs prefer one or the other; "
                "convert it again from DICOM"
            )
    return found[0]


def _opened(location: str, modified: int) -> Any:
    import nibabel

    del modified
    try:
        with silent():
            image = nibabel.load(location)
            if not isinstance(image, nibabel.Nifti1Pair):
                raise UnusableError("it is not a NIfTI file, although its name says so")
            return image
    except UnusableError:
        raise
    except OSError as error:
        raise UnusableError(
            f"it cannot be read: {error.strerror or 'it ends early'}; copy it again"
        ) from None
    except Exception:  # messages quote paths
        raise UnusableError("it is not a NIfTI file that can be read; copy it again, or remove it") from None


@lru_cache(maxsize=2)  # a series and its mask; compressed files are decoded whole
def _voxels(location: str, modified: int) -> tuple[npt.NDArray[Any], float, float]:
    """Stored values of three dimensions, slope and intercept."""
    image = _opened(location, modified)
    shape = read_volume(location, modified).shape
    try:
        with silent():
            slope, intercept = image.dataobj.slope, image.dataobj.inter
            stored = np.asanyarray(image.dataobj.get_unscaled()).reshape(shape, order="F")
    except Exception:  # zlib, gzip and nibabel raise many kinds
        raise UnusableError("its voxels end early or are damaged; copy it again") from None
    return stored, float(slope), float(intercept)
