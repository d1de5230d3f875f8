"""Planes of pixels in the patient's coordinates, and which of them lie on each other.

Coordinates are DICOM's (PS3.3, C.7.6.2.1.1): millimetres to the patient's left, to the back and to the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.faults import UnusableError

Vector = tuple[float, float, float]
Points = npt.NDArray[np.float64]

_SAME_PLACE = 1e-2  # mm
_PARALLEL = 1e-3  # of unit vectors
_SAME = 0.1  # of a pixel, or of the step between slices: written coordinates are rounded


@dataclass(frozen=True)
class Turn:
    """How a plane's pixels are turned to lie as those of another: transposed first, then flipped."""

    transposed: bool = False
    rows: bool = False
    columns: bool = False

    def apply(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The pixels (H, W), turned."""
        turned = pixels.T if self.transposed else pixels
        return turned[:: -1 if self.rows else 1, :: -1 if self.columns else 1]

    def undo(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The pixels (H, W) as they were before `apply`."""
        turned = pixels[:: -1 if self.rows else 1, :: -1 if self.columns else 1]
        return turned.T if self.transposed else turned


@dataclass(frozen=True)
class Plane:
    """Where the pixels of an image lie.

    Attributes:
        origin: Centre of the first pixel, mm.
        across: From a pixel to the next one of its row, mm.
        down: From a pixel to the one below, mm.
        shape: (H, W).
    """

    origin: Vector
    across: Vector
    down: Vector
    shape: tuple[int, int]

    @classmethod
    def of_tags(
        cls,
        position: Sequence[float],
        orientation: Sequence[float],
        spacing: Sequence[float],
        shape: tuple[int, int],
    ) -> "Plane":
        """From ImagePositionPatient, ImageOrientationPatient, PixelSpacing, and rows and columns."""
        cosines = np.array(orientation, dtype=np.float64)
        rows, columns = (float(step) for step in spacing)
        return cls(vector(position), vector(cosines[:3] * columns), vector(cosines[3:] * rows), shape)

    @property
    def spacing(self) -> tuple[float, float]:
        """Mm between rows and between columns."""
        return float(np.linalg.norm(self.down)), float(np.linalg.norm(self.across))

    @cached_property
    def normal(self) -> Points:
        """Unit vector across the plane."""
        across: Points = np.cross(self.across, self.down)
        return across / np.linalg.norm(across)

    def turned(self, turn: Turn) -> "Plane":
        """Where the pixels lie when they are turned."""
        across, down = np.array(self.across), np.array(self.down)
        height, width = self.shape
        if turn.transposed:
            across, down, height, width = down, across, width, height
        origin = np.array(self.origin) + turn.rows * (height - 1) * down + turn.columns * (width - 1) * across
        across, down = -across if turn.columns else across, -down if turn.rows else down
        return Plane(vector(origin), vector(across), vector(down), (height, width))

    def upright(self) -> Turn:
        """How to turn an axial plane as CT is shown: rows to the patient's left, columns to the back."""
        transposed = abs(self.across[0]) * self.spacing[0] < abs(self.down[0]) * self.spacing[1]
        across, down = (self.down, self.across) if transposed else (self.across, self.down)
        return Turn(transposed, down[1] < 0, across[0] < 0)

    def pixels(self, points: Points) -> Points:
        """Points in mm, (N, 3), as row and column of this plane and distance from it in mm, (N, 3)."""
        offset = points - np.array(self.origin)
        across, down = np.array(self.across), np.array(self.down)
        return np.column_stack(
            (offset @ down / (down @ down), offset @ across / (across @ across), offset @ self.normal)
        )

    def corners(self) -> Points:
        """Centres of the four pixels at its corners in mm, (4, 3): (0, 0), (0, W-1), (H-1, 0), (H-1, W-1)."""
        height, width = self.shape
        return np.array(
            [
                np.array(self.origin) + row * np.array(self.down) + column * np.array(self.across)
                for row, column in product((0, height - 1), (0, width - 1))
            ]
        )

    def __str__(self) -> str:
        rows, columns = self.spacing
        corner = ", ".join(f"{value:.4g}" for value in self.origin)
        return f"{self.shape[0]} x {self.shape[1]} pixels of {rows:.4g} x {columns:.4g} mm from ({corner}) mm"


@dataclass(frozen=True)
class Planes:
    """The slices of a series, in order, parallel and of one shape."""

    planes: tuple[Plane, ...]

    @cached_property
    def _heights(self) -> Points:
        normal = self.planes[0].normal
        return np.array([plane.origin for plane in self.planes]) @ normal

    @cached_property
    def step(self) -> float:
        """Smallest distance between two slices, mm; a pixel's side where there is one slice."""
        steps = np.diff(np.sort(self._heights))
        apart = steps[steps > _SAME_PLACE]
        return float(apart.min()) if len(apart) else min(self.planes[0].spacing)

    @property
    def affine(self) -> Points:
        """(column, row, slice, 1) -> mm, (4, 4); the step between slices is the mean one."""
        first, last = self.planes[0], np.array(self.planes[-1].origin)
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 3] = first.across, first.down, first.origin
        steps = len(self.planes) - 1
        affine[:3, 2] = (last - affine[:3, 3]) / steps if steps else first.normal * self.step
        return affine

    def distance(self, points: Points, index: int) -> float:
        """The greatest distance of points (N, 3) from a slice, mm."""
        return float(np.abs(points @ self.planes[0].normal - self._heights[index]).max())

    def nearest(self, points: Points) -> int | None:
        """Index of the slice that points (N, 3) lie on, None where they lie on none.

        Raises:
            UnusableError: They lie on several.
        """
        distances = np.abs(self._heights - (points @ self.planes[0].normal).mean())
        index = int(distances.argmin())
        if self.distance(points, index) > _SAME * self.step:
            return None
        if (distances <= distances[index] + _SAME_PLACE).sum() > 1:
            raise UnusableError(
                "its series has several slices in one place, and nothing says which of them it was drawn on; "
                "remove the copies"
            )
        return index

    def below(self, plane: Plane) -> tuple[int, Turn] | None:
        """Index of the slice that another plane lies on, and how to turn its pixels; None where on none.

        Raises:
            UnusableError: It lies on several, or on one, and its pixels do not lie on those of the slice.
        """
        index = self.nearest(plane.corners())
        if index is None:
            return None
        turn = turn_onto(self.planes[index], plane)
        if turn is None:
            raise UnusableError(
                f"its pixels do not lie on those of the series: it has {plane}, the series {self}; bring it "
                "to the geometry of the series, without interpolating labels"
            )
        return index, turn

    def __str__(self) -> str:
        return f"{len(self.planes)} slices of {self.planes[0]}"


def parallel_planes(planes: Sequence[Plane | None]) -> Planes | None:
    """The slices of a series; None where one does not say where it lies, or they are not parallel."""
    known = tuple(plane for plane in planes if plane is not None)
    if len(known) < len(planes):
        return None
    first = known[0]
    perpendicular = abs(np.dot(first.across, first.down)) <= _PARALLEL * np.prod(first.spacing)
    parallel = all(np.abs(plane.normal - first.normal).max() <= _PARALLEL for plane in known)
    return Planes(known) if perpendicular and parallel else None


def turn_onto(target: Plane, plane: Plane) -> Turn | None:
    """How a plane's pixels are turned to lie on those of another one in the same place; None if they do not.

    Only the places within the planes are compared, not the distance of the two.
    """
    found = plane.pixels(target.corners())[:, :2]
    transposed = abs(found[1, 0] - found[0, 0]) > abs(found[1, 1] - found[0, 1])
    if target.shape != (plane.shape[::-1] if transposed else plane.shape):
        return None
    along_rows, along_columns = (0, 1) if not transposed else (1, 0)
    rows = found[2, along_rows] < found[0, along_rows]
    columns = found[1, along_columns] < found[0, along_columns]
    turn = Turn(bool(transposed), bool(rows), bool(columns))
    places = np.stack(np.meshgrid(*(np.array([0, side - 1]) for side in plane.shape), indexing="ij"))
    expected = np.stack([turn.apply(place).ravel() for place in places], axis=1)
    return turn if np.abs(found - expected).max() <= _SAME else None


def vector(values: Sequence[float] | Points) -> Vector:
    """Three numbers as plain ones."""
    x, y, z = (float(value) for value in values)
    return x, y, z
