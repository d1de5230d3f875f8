"""Which patches of a slice the networks are asked about, and what they make of each pixel."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

Plane = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
_LEAST_LUNG = 0.75  # of a patch, as much as of a region in a patch to train on (docs/preparing.md)


@dataclass(frozen=True)
class Grid:
    """The places of the patches of a slice.

    Places lie `stride` apart from pixel (0, 0) on, and the last one of a row or column ends with the slice.
    Patches are taken

    - at each place where at least three quarters of the patch are lung;
    - and, for each pixel of the lungs that none of these covers (at edges and thin parts), at the place that
      covers it with the most lung in the patch, the first one of equal places.

    So each pixel of the lungs is in one patch at least.

    Attributes:
        rows: First rows of places, (R,).
        columns: First columns of places, (Q,).
        taken: Whether a patch is taken there, (R, Q).
        patch: (h, w) of a patch.
        shape: (H, W) of the slice.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    taken: npt.NDArray[np.bool_]
    patch: tuple[int, int]
    shape: tuple[int, int]

    @property
    def count(self) -> int:
        """How many patches there are."""
        return int(self.taken.sum())

    def cut(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The patches of a slice (H, W), row by row: (N, h, w)."""
        places = np.nonzero(self.taken)
        windows = sliding_window_view(image, self.patch)
        patches: npt.NDArray[np.uint8] = windows[self.rows[places[0]], self.columns[places[1]]]
        return patches

    @property
    def blocks(self) -> tuple[Places, Places]:
        """The block of each row and each column, (H,) and (W,): its pixels are in the same patches."""
        rows, columns = (
            _block_of(starts, own, side)
            for starts, own, side in zip((self.rows, self.columns), self.patch, self.shape, strict=True)
        )
        return rows, columns

    def spread(self, values: npt.NDArray[np.floating]) -> Plane:
        """The mean over the patches that a pixel is in, of values of the patches.

        Args:
            values: (N, C), in the order of `cut`.

        Returns:
            float64, (C, H, W); 0 where no patch is.
        """
        rows, columns = self.blocks
        return self.spread_on_blocks(values)[:, rows[:, None], columns]

    def spread_on_blocks(self, values: npt.NDArray[np.floating]) -> Plane:
        """As `spread`, with one value for each block: (C, rows of blocks, columns of blocks)."""
        on_grid = np.zeros((values.shape[1] + 1, *self.taken.shape))
        on_grid[:-1, self.taken] = values.T
        on_grid[-1, self.taken] = 1
        down, across = (
            _covers(starts, own, side)
            for starts, own, side in zip((self.rows, self.columns), self.patch, self.shape, strict=True)
        )
        sums = down @ (on_grid @ across.T)
        return np.asarray(sums[:-1] / np.maximum(sums[-1], 1))


def fill_outside(
    image: npt.NDArray[np.uint8], lungs: npt.NDArray[np.bool_], reach: tuple[int, int] | None = None
) -> npt.NDArray[np.uint8]:
    """A slice (H, W) whose pixels outside the lungs have the value of the nearest pixel inside.

    Patches at the lungs' edge would show the chest wall, which is as bright as the densest pattern: networks
    that learned from patches of lung call it that (docs/results.md).

    Args:
        image: (H, W).
        lungs: (H, W).
        reach: Rows and columns around the lungs outside of which pixels may stay as they are.
    """
    if not lungs.any():
        return image
    with_lungs = (np.flatnonzero(lungs.any(axis)) for axis in (1, 0))
    box = tuple(
        slice(max(int(inside[0]) - own, 0), int(inside[-1]) + own + 1)
        for inside, own in zip(with_lungs, reach or image.shape, strict=True)
    )
    nearest = ndimage.distance_transform_edt(~lungs[box], return_distances=False, return_indices=True)
    filled = image.copy()
    filled[box] = image[box][tuple(nearest)]
    return filled


def grid_of(lungs: npt.NDArray[np.bool_], patch: tuple[int, int], stride: int) -> Grid:
    """The patches of a slice.

    Args:
        lungs: (H, W), not smaller than a patch.
        patch: (h, w).
        stride: Step between places, at most the patch's shorter side.
    """
    rows, columns = (_starts(side, own, stride) for side, own in zip(lungs.shape, patch, strict=True))
    shape = (lungs.shape[0], lungs.shape[1])
    down, across = _covers(rows, patch[0], shape[0]), _covers(columns, patch[1], shape[1])
    of_blocks = np.add.reduceat(lungs, _first(rows, patch[0], shape[0]), axis=0, dtype=np.int64)
    of_blocks = np.add.reduceat(of_blocks, _first(columns, patch[1], shape[1]), axis=1)
    inside = np.rint(down.T @ of_blocks @ across).astype(np.int64)
    taken = inside >= _LEAST_LUNG * patch[0] * patch[1]
    grid = Grid(rows, columns, taken, patch, shape)
    free = down @ taken @ across.T == 0
    bare = np.argwhere(lungs & free[np.ix_(*grid.blocks)])
    if len(bare):
        taken[_fullest(bare, rows, columns, patch, inside)] = True
    return grid


def _starts(side: int, patch: int, stride: int) -> npt.NDArray[np.int64]:
    """First pixels of patches along a side; the last patch ends with it."""
    starts = np.arange(0, side - patch + 1, stride)
    return starts if starts[-1] == side - patch else np.append(starts, side - patch)


def _block_of(starts: Places, patch: int, side: int) -> Places:
    """The block of each pixel of a side: where a patch begins or ends, the next one does."""
    begins = np.zeros(side + 1, np.int64)
    begins[starts] = begins[starts + patch] = 1
    begins[0] = 0
    blocks: Places = begins[:side].cumsum()
    return blocks


def _first(starts: Places, patch: int, side: int) -> Places:
    """The first pixel of each block of a side."""
    return np.unique(_block_of(starts, patch, side), return_index=True)[1]


def _covers(starts: Places, patch: int, side: int) -> Plane:
    """1 where a patch at a start (columns) covers a block (rows)."""
    pixels = _first(starts, patch, side)[:, None]
    return ((pixels >= starts) & (pixels < starts + patch)).astype(np.float64)


def _fullest(
    pixels: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    patch: tuple[int, int],
    inside: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each pixel (N, 2), the place whose patch holds it and the most lung: indices of row and column."""
    (low_row, high_row), (low_column, high_column) = (
        (np.searchsorted(starts, at - own, "right"), np.searchsorted(starts, at, "right"))
        for starts, at, own in zip((rows, columns), pixels.T, patch, strict=True)
    )
    best = np.full(len(pixels), -1)
    found = np.zeros((2, len(pixels)), np.int64)
    for down in range(int((high_row - low_row).max())):
        for across in range(int((high_column - low_column).max())):
            row, column = low_row + down, low_column + across
            valid = (row < high_row) & (column < high_column)
            share = np.where(
                valid, inside[np.minimum(row, len(rows) - 1), np.minimum(column, len(columns) - 1)], -1
            )
            better = share > best
            best[better] = share[better]
            found[:, better] = row[better], column[better]
    return found[0], found[1]
