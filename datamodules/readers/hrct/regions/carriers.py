"""What was drawn on one slice, as its file has it: each carrier draws labels on the pixels of the slice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from datamodules.faults import UnusableError
from datamodules.readers.hrct.regions.drawing import Drawing, draw_areas, fill_outline, label_mask
from datamodules.readers.hrct.regions.rois import Region
from datamodules.readers.hrct.scans.images import read_mask

Shape = tuple[int, int]

_APART = 1 << 16  # numbers of segments have 16 bits (PS3.3, C.8.20.2)


class SliceRegions(Protocol):
    """The regions of a slice; small enough to be pickled and sent to a worker."""

    def draw(self, shape: Shape, labels: Mapping[str, int]) -> Drawing:
        """Draw them.

        Args:
            shape: (H, W) of the slice.
            labels: Class -> its label, 1 or more.

        Raises:
            UnusableError: Their file cannot be read, or does not fit the slice.
        """
        ...


@dataclass(frozen=True)
class Outlines:
    """Contours or boxes, each with its class."""

    regions: tuple[tuple[Region, str], ...] = field(repr=False)

    def draw(self, shape: Shape, labels: Mapping[str, int]) -> Drawing:
        """Fill them; `SliceRegions.draw`."""
        areas = (
            (fill_outline(region.outline, shape), labels[name], region.number)
            for region, name in self.regions
        )
        return draw_areas(areas, shape)


@dataclass(frozen=True)
class MaskImage:
    """An image file with one value per pixel.

    Attributes:
        location: The file; not printed.
        classes: Value -> class, None: left out.
    """

    location: str = field(repr=False)
    classes: Mapping[int, str | None]

    def draw(self, shape: Shape, labels: Mapping[str, int]) -> Drawing:
        """Read it; `SliceRegions.draw`."""
        return label_mask(read_mask(self.location, shape), by_value(self.classes, labels))


@dataclass(frozen=True)
class Several:
    """Regions of several files on one slice, which must not contradict each other.

    Attributes:
        parts: Place of the file among those of its series, and what it has.
    """

    parts: tuple[tuple[int, SliceRegions], ...]

    def draw(self, shape: Shape, labels: Mapping[str, int]) -> Drawing:
        """Draw them all; `SliceRegions.draw`.

        Raises:
            UnusableError: As of each, or two give a pixel two classes.
        """
        drawn, numbers, disputed = np.zeros(shape, np.uint8), np.zeros(shape, np.int32), 0
        for place, regions in self.parts:
            one = regions.draw(shape, labels)
            inside = one.labels > 0
            wrong = int((inside & (drawn > 0) & (drawn != one.labels)).sum())
            if wrong:
                raise UnusableError(
                    f"{len(self.parts)} segmentations are drawn on it, and give {wrong} pixels different "
                    "classes; keep one of these files, or merge them"
                )
            drawn[inside] = one.labels[inside]
            numbers[inside] = one.numbers[inside] + place * _APART
            disputed += one.disputed
        return Drawing(drawn, numbers, disputed)


def by_value(classes: Mapping[int, str | None], labels: Mapping[str, int]) -> dict[int, int]:
    """Value of a mask -> label, 0: left out."""
    return {value: 0 if name is None else labels[name] for value, name in classes.items()}
