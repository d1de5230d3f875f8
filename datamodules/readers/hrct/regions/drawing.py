"""Regions of interest drawn onto the pixels of a slice."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Drawing:
    """What was drawn on a slice.

    Attributes:
        labels: uint8 (H, W), 0 outside.
        numbers: The number of each pixel's region in this slice, int32 (H, W), 0 outside.
        disputed: How many pixels lie in regions of different labels: these are 0 in both, since nothing says
            which label is theirs.
        unknown: Values of a mask that have no label, and became 0.
    """

    labels: Labels
    numbers: Numbers
    disputed: int = 0
    unknown: tuple[int, ...] = ()


def draw_areas(areas: Iterable[tuple[npt.NDArray[np.bool_], int, int]], shape: tuple[int, int]) -> Drawing:
    """Draw the regions of one slice.

    Args:
        areas: Of each region its pixels (H, W), its label, 1 or more, and its number. The last one's number
            stands where several of a label overlap.
        shape: (H, W).
    """
    labels = np.zeros(shape, np.uint8)
    numbers = np.zeros(shape, np.int32)
    disputed = np.zeros(shape, bool)
    for inside, label, number in areas:
        disputed |= inside & (labels != 0) & (labels != label)
        labels[inside] = label
        numbers[inside] = number
    labels[disputed] = 0
    numbers[disputed] = 0
    return Drawing(labels, numbers, int(disputed.sum()))


def fill_outline(outline: Sequence[tuple[float, float]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Pixels whose centre lies inside a closed outline (even-odd rule).

    Centres on an upper or left edge are inside, those on a lower or right edge are not, so that a pixel never
    belongs to two outlines that share an edge, and a box holds height times width pixels.

    Args:
        outline: Corners (row, column) in pixels, the last joined to the first; three or more.
        shape: (H, W).

    Returns:
        bool, (H, W).
    """
    starts = np.array(outline, dtype=np.float64)
    ends = np.roll(starts, -1, axis=0)
    filled = np.zeros(shape, bool)
    first = max(math.ceil(starts[:, 0].min()), 0)
    last = min(math.floor(starts[:, 0].max()), shape[0] - 1)
    for row in range(first, last + 1):
        crossing = (starts[:, 0] <= row) != (ends[:, 0] <= row)
        above, below = starts[crossing], ends[crossing]
        along = (row - above[:, 0]) / (below[:, 0] - above[:, 0])
        columns = np.sort(above[:, 1] + along * (below[:, 1] - above[:, 1]))
        edges = np.clip(np.ceil(np.round(columns, 9)), 0, shape[1]).astype(int).tolist()
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            filled[row, left:right] = True
    return filled


def label_mask(values: npt.NDArray[np.int32], labels: Mapping[int, int]) -> Drawing:
    """Turn a mask's values into labels, and its connected areas of one label into regions, numbered from 1.

    Args:
        values: (H, W), 0 outside.
        labels: Value -> label, 1 or more; label 0 leaves an area out.
    """
    from scipy import ndimage

    found = np.unique(values[values != 0]).tolist()
    drawn = np.zeros(values.shape, np.uint8)
    for value in found:
        drawn[values == value] = labels.get(value, 0)
    numbers = np.zeros(values.shape, np.int32)
    count = 0
    for label in np.unique(drawn[drawn > 0]).tolist():
        areas, more = ndimage.label(drawn == label, structure=np.ones((3, 3)))
        numbers[areas > 0] = areas[areas > 0] + count
        count += more
    return Drawing(drawn, numbers, unknown=tuple(value for value in found if value not in labels))
