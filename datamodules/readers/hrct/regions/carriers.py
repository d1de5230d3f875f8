"""What was drawn on one slice, as its file has it: each carrier draws labels on the pixels of the slice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from datamodules.readers.hrct.regions.drawing import Drawing, draw_areas, fill_outline, label_mask
from datamodules.readers.hrct.regions.rois import Region
from datamodules.readers.hrct.scans.images import read_mask

Shape = tuple[int, int]


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


def by_value(classes: Mapping[int, str | None], labels: Mapping[str, int]) -> dict[int, int]:
    """Value of a mask -> label, 0: left out."""
    return {value: 0 if name is None else labels[name] for value, name in classes.items()}
