"""A series with regions, cut into patches."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np

from datamodules.domain import SideName
from datamodules.faults import Faults, OnError, Problem, UnusableError
from datamodules.packing.units import Sample
from datamodules.readers.hrct.patches import cut_patches, find_patches
from datamodules.readers.hrct.regions.carriers import MaskImage, SliceRegions
from datamodules.readers.hrct.regions.drawing import Drawing, Labels, Numbers
from datamodules.readers.hrct.regions.fit import fits_better_turned
from datamodules.readers.hrct.scans.hounsfield import has_bright_corners, jumps, shows_air
from datamodules.readers.hrct.scans.images import Slice, resample, resample_labels
from datamodules.readers.hrct.scans.scan import StoredSlice, read_checked
from datamodules.readers.hrct.sources.options import HrctOptions

_NO_AIR = "of slices without air (no value is below -900 HU): see whether the offset is right"
_JUMPS = (
    "of slices whose neighbouring pixels differ by more than 3000 HU: metal, or values with the wrong sign "
    "(PixelRepresentation)"
)
_TURNED = (
    "of slices whose masks follow the picture's edges better turned or mirrored: see whether they lie on the "
    "slices as they were drawn"
)
_BRIGHT_CORNERS = (
    "of 8-bit slices with bright corners, where air is dark: see whether black and white are swapped"
)


def _remarks(image: Slice, one: "DrawnSlice", labels: Labels) -> tuple[str, ...]:
    """What is odd about a whole slice, of which its patches show too little."""
    turned = isinstance(one.regions, MaskImage) and fits_better_turned(image, labels > 0)
    if image.dtype == np.uint8:
        odd = {_BRIGHT_CORNERS: has_bright_corners(image.astype(np.uint8))}
    else:
        values = image.astype(np.int16)
        odd = {_NO_AIR: not shows_air(values), _JUMPS: jumps(values)}
    return tuple(what for what, seen in {**odd, _TURNED: turned}.items() if seen)


@dataclass(frozen=True)
class DrawnSlice:
    """A slice on which something was drawn.

    Attributes:
        number: In its series, from 1.
        title: What messages call it.
        stored: Where its pixels are stored.
        regions: What was drawn.
    """

    number: int
    title: str
    stored: StoredSlice = field(repr=False)
    regions: SliceRegions = field(repr=False)


@dataclass(frozen=True)
class SeriesUnit:
    """One series, as `packing.units.Unit` asks.

    Attributes:
        key: Its number in the survey.
        fingerprint: Of its files' sizes and times of change.
        title: What messages call it.
        group: Its patient, as the source names them; not printed.
        side: The provider's split.
        shape: (H, W) of its slices.
        spacing: mm between rows and between columns, None where it is not known.
        classes: Names of the set's classes.
        slices: Those with regions.
        options: How patches are cut.
    """

    key: str
    fingerprint: str
    title: str
    group: str = field(repr=False)
    side: SideName | None
    shape: tuple[int, int]
    spacing: tuple[float, float] | None
    classes: tuple[str, ...]
    slices: tuple[DrawnSlice, ...]
    options: HrctOptions = field(repr=False)

    def read(self, on_error: OnError) -> tuple[list[Sample], list[Problem]]:
        """Cut the patches of the series.

        Slices without regions are not decoded. Regions that hold no patch, and pixels in regions of two
        classes, are reported for any `on_error`: drawing them was not a mistake.

        Returns:
            Samples in the order of slice, row and column, with the columns slice (from 1), roi, row, column
            (upper left pixel, from 0, after resampling) and share.

        Raises:
            RelayError: A slice or mask cannot be used and `on_error` is `raise`.
        """
        faults = Faults(on_error)
        samples: list[Sample] = []
        drawn: set[tuple[int, int]] = set()
        used: set[tuple[int, int]] = set()
        disputed = 0
        for one in self.slices:
            try:
                drawing = self._drawing(one, faults)
                labels, numbers = drawing.labels, drawing.numbers
                drawn |= {(one.number, number) for number in np.unique(numbers[numbers > 0]).tolist()}
                image = self.image(one) if labels.any() else None
            except UnusableError as error:
                faults.add(one.title, error)
                continue
            disputed += drawing.disputed
            if image is not None:
                remarks = _remarks(image, one, labels)
                labels, numbers, image = self._resampled(labels, numbers, image)
                cut, touched = self._patches(one, labels, numbers, image, remarks)
                samples += cut
                used |= {(one.number, number) for number in touched}
        faults.settle()
        size, share = self.options.size, self.options.coverage
        if not drawn:
            faults.left_out(self.title, "its regions or masks hold no pixel")
        elif drawn - used:
            faults.left_out(
                self.title,
                f"{len(drawn - used)} of its {len(drawn)} regions hold no window of {size} x {size} pixels "
                f"on the grid with {share:.0%} of it inside",
            )
        if disputed:
            why = f"{disputed} pixels lie in regions of different classes and are used for none"
            faults.left_out(self.title, why)
        return samples, faults.problems

    def _drawing(self, one: DrawnSlice, faults: Faults) -> Drawing:
        labels = {name: place for place, name in enumerate(self.classes, start=1)}
        drawing = one.regions.draw(self.shape, labels)
        if drawing.unknown:
            first = ", ".join(str(value) for value in drawing.unknown[:3])
            faults.add(
                one.title,
                f"its mask has {len(drawing.unknown)} values that labels does not have ({first}); add them "
                "there",
            )
        return drawing

    def slice_name(self, one: DrawnSlice) -> str:
        """What names of a slice's samples begin with, behind the group."""
        return f"{self.key}/{one.number:04d}"

    def image(self, one: DrawnSlice) -> Slice:
        """Decode a slice.

        Raises:
            UnusableError: It cannot be decoded.
        """
        return read_checked(one.stored, self.shape)

    def _resampled(self, labels: Labels, numbers: Numbers, image: Slice) -> tuple[Labels, Numbers, Slice]:
        target = self.options.mm_per_pixel
        if target is None:
            return labels, numbers, image
        assert self.spacing is not None  # the survey refuses what has none
        return (
            resample_labels(labels.astype(np.int32), self.spacing, target).astype(np.uint8),
            resample_labels(numbers, self.spacing, target),
            resample(image, self.spacing, target),
        )

    def _patches(
        self, one: DrawnSlice, labels: Labels, numbers: Numbers, image: Slice, remarks: tuple[str, ...]
    ) -> tuple[list[Sample], set[int]]:
        size = self.options.size
        positions, winners, shares = find_patches(labels, size, self.options.stride, self.options.coverage)
        patches = cut_patches(image, positions, size)
        samples: list[Sample] = []
        touched: set[int] = set()
        places = positions[:, 1:].tolist()
        for (row, column), winner, share, patch in zip(
            places, winners.tolist(), shares.tolist(), patches, strict=True
        ):
            window = np.s_[row : row + size, column : column + size]
            inside = np.bincount(numbers[window][labels[window] == winner])
            touched |= set(np.flatnonzero(inside).tolist())
            samples.append(
                Sample(
                    image=cast(Slice, patch),
                    label=self.classes[winner - 1],
                    group=self.group,
                    name=f"{{group}}/{self.slice_name(one)}-{row:04d}-{column:04d}",
                    split=self.side,
                    remarks=remarks,
                    columns={
                        "slice": one.number,
                        "roi": int(inside.argmax()),
                        "row": row,
                        "column": column,
                        "share": round(share, 4),
                    },
                )
            )
        return samples, touched


@dataclass(frozen=True)
class WholeSlice:
    """A slice that patches are cut from, as `packing.units.Whole` asks.

    Attributes:
        unit: Its series.
        place: Its place among the unit's slices.
    """

    unit: SeriesUnit
    place: int

    @property
    def name(self) -> str:
        """What names of its samples begin with."""
        return self.unit.slice_name(self._slice)

    @property
    def title(self) -> str:
        """What messages call it."""
        return self._slice.title

    @property
    def _slice(self) -> DrawnSlice:
        return self.unit.slices[self.place]

    def read(self) -> Slice:
        """Decode it.

        Raises:
            UnusableError: It cannot be decoded.
        """
        return self.unit.image(self._slice)
