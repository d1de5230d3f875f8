"""Between the pixels of a series and pixels of the size that the training images had."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from datamodules.readers.hrct.scans.images import Spacing, resample, resample_labels

Values = npt.NDArray[np.float64]

SAME_SPACING = 0.05
"""Slices whose spacing differs from the training set's by no more than this share are not resampled."""


@dataclass(frozen=True)
class Rescale:
    """What is done to slices before patches are cut, and undone after it.

    Attributes:
        original: (H, W) of a slice.
        spacing: Its mm between rows and between columns; None where it is not known.
        target: mm between pixels of the training images; None where slices keep their pixels.
    """

    original: tuple[int, int]
    spacing: Spacing | None
    target: float | None

    @classmethod
    def to_training(
        cls, original: tuple[int, int], spacing: Spacing | None, trained: float | None
    ) -> "Rescale":
        """Resample where the spacings are known and differ by more than `SAME_SPACING`.

        Args:
            original: (H, W) of a slice.
            spacing: Its mm between rows and between columns; None where it is not known.
            trained: mm between pixels of the training images; None where it is not known.
        """
        if spacing is None or trained is None:
            return cls(original, spacing, None)
        differs = max(abs(step / trained - 1) for step in spacing) > SAME_SPACING
        return cls(original, spacing, trained if differs else None)

    @property
    def needed(self) -> bool:
        """Whether slices are resampled."""
        return self.target is not None

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(H, W) of a slice after resampling."""
        height, width = self.image(np.zeros(self.original, np.int16)).shape
        return height, width

    def image(self, image: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """A slice at the spacing of the training images, as `datamodules.prepare` resamples."""
        if self.target is None or self.spacing is None:
            return image
        return resample(image, self.spacing, self.target).astype(np.int16)

    def mask(self, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """A mask (H, W) after resampling: what lies under a pixel's centre, and no pixel of it is lost."""
        if self.target is None or self.spacing is None:
            return inside
        resized = resample_labels(inside.astype(np.int32), self.spacing, self.target) > 0
        rows, columns = np.nonzero(inside)
        resized[self._nearest(rows, 0), self._nearest(columns, 1)] = True
        return resized

    def taking_back(self, inside: npt.NDArray[np.bool_]) -> Callable[[Values], Values]:
        """How to bring probabilities back to pixels of the original slice.

        Linear between the centres of pixels, of those that are in a patch.

        Args:
            inside: The pixels that are asked for, (H, W).

        Returns:
            A function from (C, H', W'), 0 in all classes where no patch is, to (C, N), in the order of
            `inside`'s pixels.
        """
        if not self.needed:
            return lambda values: values[:, inside]
        rows, columns = np.nonzero(inside)
        corners = [
            (row, column, row_weight * column_weight)
            for row, row_weight in self._around(rows, 0)
            for column, column_weight in self._around(columns, 1)
        ]

        def back(values: Values) -> Values:
            covered: npt.NDArray[np.bool_] = np.any(values, axis=0)
            total, weights = np.zeros((len(values), len(rows))), np.zeros(len(rows))
            for row, column, weight in corners:
                total += values[:, row, column] * weight
                weights += covered[row, column] * weight
            return total / weights

        return back

    def _place(self, pixels: npt.NDArray[np.int64], axis: int) -> Values:
        """Where centres of pixels lie on the resampled grid, in its pixels."""
        assert self.spacing is not None and self.target is not None
        return np.asarray((pixels + 0.5) * (self.spacing[axis] / self.target) - 0.5)

    def _nearest(self, pixels: npt.NDArray[np.int64], axis: int) -> npt.NDArray[np.int64]:
        return np.clip(np.rint(self._place(pixels, axis)), 0, self.shape[axis] - 1).astype(np.int64)

    def _around(self, pixels: npt.NDArray[np.int64], axis: int) -> list[tuple[npt.NDArray[np.int64], Values]]:
        """The pixels at both sides, and their weights."""
        place = np.clip(self._place(pixels, axis), 0, self.shape[axis] - 1)
        low = np.minimum(place.astype(np.int64), max(self.shape[axis] - 2, 0))
        share = place - low
        return [(low, 1 - share), (np.minimum(low + 1, self.shape[axis] - 1), share)]
