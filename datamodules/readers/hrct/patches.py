"""Patches of an annotated CT volume that show one lung pattern."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from stages.checks import is_real, is_whole
from stages.errors import RelayError

Integers = npt.NDArray[np.int64]
_ROUNDING = 1e-9  # 0.07 * 100 is a little more than 7 in floating point; seven pixels are to be enough


def extract_patches(
    volume: npt.NDArray[Any], mask: npt.NDArray[Any], size: int = 32, stride: int = 16, coverage: float = 0.75
) -> tuple[npt.NDArray[Any], Integers, Integers]:
    """Cut square patches that lie in a region of one label (paper, section 5.1: 32x32 pixels).

    A window is kept for label k where at least `coverage` of its pixels have label k. Windows lie on a
    grid that starts at pixel (0, 0) of each slice, so that a patch's place does not depend on how a region
    was drawn; windows that would leave the slice are not taken. A pixel can be in
    several patches. With a coverage above one half a window can have one label only; otherwise it is kept
    once, for the label of the larger share, and for the smaller label where two shares are equal.

    Args:
        volume: (S, H, W) slices, or (H, W), one slice; any number type.
        mask: Integers or booleans of the volume's shape: 0 outside, k inside a region of label k.
        size: Side of a patch in pixels.
        stride: Step of the grid in pixels.
        coverage: Least share of a patch inside the region, above 0 and at most 1.

    Returns:
        patches (N, size, size) of the volume's type; positions, int64 (N, 3): slice, row and column of the
        patch's upper left pixel, from 0, the slice being 0 where the volume has two dimensions; labels, int64
        (N,). In the order of slice, row, column. The arrays are copies.

    Raises:
        RelayError: A shape, type or value does not fit the above.

    Examples:
        >>> volume, mask = np.zeros((1, 64, 64), np.int16), np.zeros((1, 64, 64), np.uint8)
        >>> mask[0, :32, :48] = 2
        >>> patches, positions, labels = extract_patches(volume, mask)
        >>> patches.shape, positions.tolist(), labels.tolist()
        ((2, 32, 32), [[0, 0, 0], [0, 0, 16]], [2, 2])
    """
    slices = np.asarray(volume)
    positions, labels, _ = find_patches(mask, size, stride, coverage)
    if slices.shape != np.shape(mask):
        raise RelayError(
            f"the volume has shape {slices.shape}, its mask {np.shape(mask)}; a mask has one label per pixel."
        )
    return cut_patches(slices, positions, size), positions, labels


def find_patches(
    mask: npt.NDArray[Any], size: int, stride: int, coverage: float
) -> tuple[Integers, Integers, npt.NDArray[np.float64]]:
    """Find the windows that `extract_patches` keeps.

    Args:
        mask: As in `extract_patches`.
        size: As in `extract_patches`.
        stride: As in `extract_patches`.
        coverage: As in `extract_patches`.

    Returns:
        positions and labels as `extract_patches` returns them, and the share of each patch's pixels that
        have its label, float64 (N,).

    Raises:
        RelayError: As in `extract_patches`.
    """
    slices = _checked_mask(mask)
    _check_grid(size, stride, coverage)
    least = coverage * size * size - _ROUNDING
    positions: list[Integers] = []
    labels: list[Integers] = []
    shares: list[npt.NDArray[np.float64]] = []
    for number, plane in enumerate(slices):
        largest, winner = _largest_shares(plane, size, stride)
        rows, columns = np.nonzero((winner > 0) & (largest >= least))
        where = np.column_stack([np.full_like(rows, number), rows * stride, columns * stride])
        positions.append(where.astype(np.int64))
        labels.append(winner[rows, columns])
        shares.append(largest[rows, columns] / (size * size))
    if not positions:
        return np.empty((0, 3), np.int64), np.empty(0, np.int64), np.empty(0)
    return np.concatenate(positions), np.concatenate(labels), np.concatenate(shares)


def cut_patches(volume: npt.NDArray[Any], positions: Integers, size: int) -> npt.NDArray[Any]:
    """Copy the patches at (slice, row, column), int (N, 3), out of (S, H, W) or (H, W): (N, size, size)."""
    if not len(positions):
        return np.empty((0, size, size), volume.dtype)
    slices = volume if volume.ndim == 3 else volume[None]
    windows = sliding_window_view(slices, (size, size), axis=(1, 2))
    patches: npt.NDArray[Any] = windows[positions[:, 0], positions[:, 1], positions[:, 2]]
    return patches


def _largest_shares(plane: npt.NDArray[Any], size: int, stride: int) -> tuple[Integers, Integers]:
    """For each window of the grid: pixels of its most frequent label above 0, and that label (0: none)."""
    height, width = plane.shape
    down, across = max((height - size) // stride + 1, 0), max((width - size) // stride + 1, 0)
    largest = np.zeros((down, across), np.int64)
    winner = np.zeros((down, across), np.int64)
    if not largest.size or not plane.any():
        return largest, winner
    top = np.arange(down)[:, None] * stride
    left = np.arange(across)[None, :] * stride
    table = np.zeros((height + 1, width + 1), np.int32)  # a slice has fewer than 2**31 pixels
    for label in np.unique(plane[plane > 0]).tolist():  # ascending, so that a tie stays with the smaller
        np.cumsum(plane == label, axis=0, dtype=np.int32, out=table[1:, 1:])
        np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
        bottom, right = top + size, left + size
        count = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
        more = count > largest
        largest[more] = count[more]
        winner[more] = label
    return largest, winner


def _checked_mask(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
    labels = np.asarray(mask)
    if labels.ndim not in (2, 3):
        raise RelayError(f"a mask of shape {labels.shape} is neither (S, H, W) nor (H, W).")
    if labels.dtype.kind not in "biu":
        raise RelayError(
            f"the mask has type {labels.dtype}; write whole numbers, 0 outside and k for label k."
        )
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise RelayError(f"the mask has the label {labels.min()}; labels count from 1, 0 is outside.")
    if labels.dtype == np.uint64 and labels.size and labels.max() > np.iinfo(np.int64).max:
        raise RelayError(f"the mask has the label {labels.max()}; labels are returned as int64.")
    return labels if labels.ndim == 3 else labels[None]


def _check_grid(size: int, stride: int, coverage: float) -> None:
    for name, pixels in (("size", size), ("stride", stride)):
        if not is_whole(pixels) or pixels < 1:
            raise RelayError(f"{name} is {pixels!r}; set it to a whole number of pixels, 1 or more.")
    if not is_real(coverage) or not 0.0 < coverage <= 1.0:
        raise RelayError(f"coverage is {coverage!r}; set it to a share above 0 and at most 1, such as 0.75.")
