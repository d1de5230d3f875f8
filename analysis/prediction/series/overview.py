"""One look through a map: what each slice holds, how grey its lungs are, and a small picture of each."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analysis.prediction.series.pattern_map import PatternMap
from datamodules.pixels.window import Window

AIR, DENSE = -900, 1000
"""HU: as the values of training images are summed up (`datamodules.values`)."""

_SIDE = 96  # pixels of the longer side of a small picture


@dataclass(frozen=True)
class Small:
    """A slice, some pixels of it, evenly spread: grey levels, pattern and whether it is uncertain, (h, w)."""

    number: int
    levels: npt.NDArray[np.uint8]
    pattern: npt.NDArray[np.uint8]
    uncertain: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Overview:
    """What a map holds.

    Attributes:
        counts: (S, C): pixels of each pattern.
        uncertain: (S,): pixels that are uncertain.
        histogram: (256,): pixels of the lungs by grey level, as the networks saw them.
        air, dense: Share of the lungs' pixels below `AIR` and above `DENSE`; None without Hounsfield units.
        below, above: Share that the window clips to black and to white; likewise.
        box: Rows and columns that hold lungs, with a margin; all where there are none.
        small: A picture of each slice with lungs, cut to `box`.
    """

    counts: npt.NDArray[np.int64]
    uncertain: npt.NDArray[np.int64]
    histogram: npt.NDArray[np.int64]
    air: float | None
    dense: float | None
    below: float | None
    above: float | None
    box: tuple[slice, slice]
    small: tuple[Small, ...] = field(repr=False)

    @property
    def lungs(self) -> npt.NDArray[np.int64]:
        """(S,): pixels of the lungs."""
        return np.asarray(self.counts.sum(1))

    @property
    def grey(self) -> tuple[float, float]:
        """Mean and standard deviation of the grey levels in the lungs, in units of 0..1."""
        levels, total = np.arange(256) / 255, max(int(self.histogram.sum()), 1)
        mean = float((self.histogram * levels).sum() / total)
        return mean, float(np.sqrt((self.histogram * (levels - mean) ** 2).sum() / total))


def look_through(found: PatternMap, window: Window | None, shown: Window | None) -> Overview:
    """Read each slice with lungs once.

    Args:
        found: The map, done.
        window: The networks' own.
        shown: That of the small pictures.
    """
    slices, classes = found.volume.shape[0], len(found.classes)
    box = _box(found)
    step = max(1, max(part.stop - part.start for part in box) // _SIDE)
    counts, uncertain = np.zeros((slices, classes), np.int64), np.zeros(slices, np.int64)
    histogram, beyond = np.zeros(256, np.int64), np.zeros(4, np.int64)
    small = []
    for number in range(slices):
        pattern = found.pattern(number)
        inside = pattern > 0
        if not inside.any():
            continue
        counts[number] = np.bincount(pattern.ravel(), minlength=classes + 1)[1:]
        doubtful = np.asarray(found.uncertain[number])
        uncertain[number] = int((doubtful & inside).sum())
        image = found.volume.slice(number)
        values = image[inside]
        histogram += np.bincount(found.volume.levels(values, window), minlength=256)
        if found.volume.hounsfield and window is not None:
            ends = (values < AIR, values > DENSE, values < window[0], values > window[1])
            beyond += [int(end.sum()) for end in ends]
        cut = (slice(box[0].start, box[0].stop, step), slice(box[1].start, box[1].stop, step))
        small.append(Small(number, found.volume.levels(image[cut], shown), pattern[cut], doubtful[cut]))
    total = max(int(histogram.sum()), 1)
    measured = found.volume.hounsfield and window is not None
    air, dense, below, above = (float(end / total) if measured else None for end in beyond)
    return Overview(counts, uncertain, histogram, air, dense, below, above, box, tuple(small))


def _box(found: PatternMap) -> tuple[slice, slice]:
    """The least box that holds the lungs of all slices, with a twentieth of its side around it."""
    _, height, width = found.volume.shape
    rows, columns = np.zeros(height, bool), np.zeros(width, bool)
    for number in range(found.volume.shape[0]):
        inside = found.lungs[number] > 0
        rows |= inside.any(1)
        columns |= inside.any(0)
    return _range(rows), _range(columns)


def _range(held: npt.NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(held)
    if not len(places):
        return slice(0, len(held))
    margin = max(2, (int(places[-1]) - int(places[0])) // 20)
    return slice(max(0, int(places[0]) - margin), min(len(held), int(places[-1]) + 1 + margin))
