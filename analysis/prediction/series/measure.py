"""How much of the lungs each pattern takes: percent and millilitres of regions, with intervals."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.prediction.series.pattern_map import PatternMap
from analysis.prediction.series.volume import CTVolume
from analysis.statistics.intervals import mean_over_seeds
from stages.machine.atomic import write_text
from stages.machine.cells import to_csv

MEASUREMENTS = "measurements.csv"
UNCERTAIN = "uncertain"
"""The row of a region beside its patterns: the share of it whose pattern is uncertain."""

Numbers = npt.NDArray[np.float64]

_THIRDS = ("lower third", "middle third", "upper third")


@dataclass(frozen=True)
class Measurement:
    """One row of `measurements.csv`.

    Attributes:
        region: `lungs`, `right lung`, `left lung`, `upper third`, `middle third` or `lower third`.
        pattern: A class, or `uncertain`.
        percent: Of the region's volume; None where the region holds no pixel.
        ml: None where the spacing is not known, too.
        low: Lower end of the 95% interval of `percent`; None with one network, or where all agree.
        high: Upper end.
    """

    region: str
    pattern: str
    percent: float | None
    ml: float | None
    low: float | None = None
    high: float | None = None


def measure(made: PatternMap) -> list[Measurement]:
    """Measure a finished map.

    A slice stands for half the way to each of its neighbours (`CTVolume.extents`), which weighs the pixels of
    unequal steps. Thirds are of the height from the lowest to the highest slice with lungs, equal in mm; a
    slice is in the third that its centre is in. The interval is Student's, over the percentages of the
    networks' own maps: `percent`, of the map of their mean probability, can lie outside of it.

    Returns:
        Region by region; sides and thirds only where they are known.
    """
    slices = made.volume.shape[0]
    named = np.zeros((slices, 3, len(made.classes)))
    doubtful = np.zeros((slices, 3))
    for number in range(slices):
        lungs = made.lungs[number]
        inside = lungs > 0
        sides, patterns = (
            lungs[inside].astype(np.int64) - 1,
            made.pattern(number)[inside].astype(np.int64) - 1,
        )
        places = np.bincount(sides * len(made.classes) + patterns, minlength=3 * len(made.classes))
        named[number] = places.reshape(3, -1)
        doubtful[number] = np.bincount(sides[made.uncertain[number][inside]], minlength=3)
    own = np.moveaxis(made.own_counts, 1, 0).astype(np.float64)  # (M, S, 3, C)
    rows: list[Measurement] = []
    for region, weights in _regions(made.volume, named.sum((1, 2)) > 0, named.sum((0, 2)) > 0):
        rows += _of_region(region, weights, named, doubtful, own, made)
    return rows


def write_measurements(path: Path, rows: list[Measurement]) -> None:
    """Write them as a CSV file; what is not known is left empty."""
    write_text(path, to_csv(pd.DataFrame([asdict(row) for row in rows])))


def thirds(volume: CTVolume, with_lungs: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64] | None:
    """Which third each slice is in: 0 lower, 1 middle, 2 upper; None where it is not known.

    Args:
        volume: The series.
        with_lungs: The slices that hold some, (S,).
    """
    heights, extents = volume.heights, volume.extents
    if heights is None or extents is None or not with_lungs.any():
        return None
    low = (heights - extents / 2)[with_lungs].min()
    high = (heights + extents / 2)[with_lungs].max()
    place: npt.NDArray[np.int64] = (3 * (heights - low) / (high - low)).astype(np.int64).clip(0, 2)
    return place


def _regions(
    volume: CTVolume, with_lungs: npt.NDArray[np.bool_], sides: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, Numbers]]:
    """Each region with how much a pixel of a slice and side counts in it, (S, 3)."""
    each = np.ones(volume.shape[0]) if volume.extents is None else volume.extents
    whole = np.repeat(each[:, None], 3, axis=1)
    yield "lungs", whole
    if sides[:2].any():
        for place, name in enumerate(("right lung", "left lung")):
            yield name, whole * (np.arange(3) == place)
    where = thirds(volume, with_lungs)
    if where is not None:
        for place, name in reversed(list(enumerate(_THIRDS))):
            yield name, whole * (where == place)[:, None]


def _of_region(
    region: str, weights: Numbers, named: Numbers, doubtful: Numbers, own: Numbers, made: PatternMap
) -> Iterator[Measurement]:
    amounts = np.einsum("sk,skc->c", weights, named)
    size = float(amounts.sum())
    pixel = made.volume.pixel_mm2
    unit = None if pixel is None or made.volume.extents is None else pixel / 1000
    own_amounts = np.einsum("sk,mskc->mc", weights, own)

    def row(pattern: str, amount: float, low: float | None = None, high: float | None = None) -> Measurement:
        percent = 100 * amount / size if size else None
        return Measurement(region, pattern, percent, None if unit is None else amount * unit, low, high)

    for place, name in enumerate(made.classes):
        interval = mean_over_seeds(100 * own_amounts[:, place] / size).within(0, 100) if size else None
        ends = (interval.low, interval.high) if interval is not None and interval.exists else ()
        yield row(name, float(amounts[place]), *ends)
    yield row(UNCERTAIN, float(np.einsum("sk,sk->", weights, doubtful)))
