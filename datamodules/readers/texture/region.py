"""Finds the material in a picture of the full CUReT release.

The sample lies before a dark background, as a square that shrinks and leans with the viewing angle.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_SMOOTH = 4.0  # pixels: bridges the texture's own dark places
_STRAIGHT = 6.0  # pixels: straightens the edge, where dark places of the texture bite into it
_MARGIN = 3  # pixels left out along the region's edge, which smoothing moves
_FLAT = 4.0  # grey levels between sample and background below which no sample is visible
_LEVELS = 256


@dataclass(frozen=True)
class Square:
    """A square of pixels.

    Attributes:
        top: First row.
        left: First column.
        side: Rows and columns; 0 where there is no region.
    """

    top: int
    left: int
    side: int


def textured_square(grey: npt.NDArray[np.uint8]) -> Square:
    """The largest upright square inside the textured region.

    The region is the largest connected part above a threshold half way from the background to Otsu's, after
    smoothing, with its holes filled: dark places of the texture stay inside. Of equally large squares, the
    one nearest to the region's centre is taken.

    Args:
        grey: uint8, (H, W).

    Returns:
        The square, without a margin of 3 pixels along the region's edge.
    """
    smooth = ndimage.gaussian_filter(grey.astype(np.float32), _SMOOTH)
    middle = _otsu(smooth)
    dark, bright = smooth[smooth <= middle], smooth[smooth > middle]
    if not dark.size or not bright.size or bright.mean() - dark.mean() < _FLAT:
        return Square(0, 0, 0)
    background = float(np.percentile(dark, 25))
    labelled, _ = ndimage.label(smooth > background + (middle - background) / 2)
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    filled = ndimage.binary_fill_holes(labelled == int(sizes.argmax()))
    region = ndimage.gaussian_filter(filled.astype(np.float32), _STRAIGHT, mode="nearest") > 0.5
    return _largest_square(np.asarray(region, dtype=np.bool_))


def _otsu(values: npt.NDArray[np.float32]) -> float:
    """The level that divides values into two classes of least variance (Otsu 1979)."""
    counts, edges = np.histogram(values, _LEVELS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][np.nanargmax(np.where(above > 0, between, -1.0))])


def _largest_square(region: npt.NDArray[np.bool_]) -> Square:
    # The chessboard distance to the nearest pixel outside is half the side of the square around a pixel; a
    # frame of outside pixels keeps squares within the picture.
    framed: npt.NDArray[Any] = np.pad(region, 1)
    reach = np.asarray(ndimage.distance_transform_cdt(framed, metric="chessboard"))[1:-1, 1:-1]
    rows, columns = np.nonzero(region)
    centre = (rows.mean(), columns.mean())
    ys, xs = np.nonzero(reach == reach.max())
    nearest = int(np.argmin((ys - centre[0]) ** 2 + (xs - centre[1]) ** 2))
    half = int(reach.max()) - 1 - _MARGIN
    if half < 0:
        return Square(0, 0, 0)
    return Square(int(ys[nearest]) - half, int(xs[nearest]) - half, 2 * half + 1)
