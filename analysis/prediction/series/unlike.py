"""Where a series does not look like what its networks learned from, and what weakens these, with numbers.

The rules stand in docs/prediction.md. A rule of which a number is not known says so in one note.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.prediction.finished import unfinished
from analysis.prediction.series.overview import AIR, DENSE, Overview
from analysis.prediction.series.volume import CTVolume
from analysis.report.caveats import FEW_GROUPS
from analysis.report.page import Caveat
from stages.console.words import counted
from stages.record import AcquisitionRecord, InputRecord, Record

_SPREAD = 2.0  # times the training images' standard deviation, or less than half of it
_AIR_APART = 0.25  # share of the pixels
_DENSE_MORE = 0.01
_CLIPPED_MORE = 0.1
_SPACING = 1.1  # times beyond the training set's least and greatest
_SPACING_SERIOUS = 1.5
_THICKNESS = 1.25
_UNCERTAIN = 0.25  # share of the lungs


@dataclass(frozen=True)
class _Range:
    """Numbers in mm of a training set: the least, the median and the greatest."""

    least: float
    median: float
    greatest: float

    def beyond(self, value: float) -> float:
        """How many times a number is beyond the range; 1 within it."""
        return max(value / self.greatest, self.least / value, 1.0)

    def __str__(self) -> str:
        if self.least == self.greatest:
            return f"{self.least:.3g} mm"
        return f"{self.least:.3g} to {self.greatest:.3g} mm (median {self.median:.3g})"


def find_unlike(overview: Overview, volume: CTVolume, records: Sequence[Record]) -> list[Caveat]:
    """All warnings and notes about a map, the serious ones first.

    Args:
        overview: Of the map.
        volume: The series.
        records: Of the networks' runs, at least one; of the first is taken what all share.
    """
    inputs = [record.input for record in records if record.input is not None]
    found = [
        *_on_grey(overview, inputs),
        *_on_values(overview, records[0]),
        *_on_acquisition(volume, inputs[0].acquisition if inputs else None),
        *_on_uncertain(overview),
        *_on_networks(records),
    ]
    return sorted(found, key=lambda caveat: not caveat.serious)


def _on_grey(overview: Overview, inputs: Sequence[InputRecord]) -> Iterator[Caveat]:
    """Mean and deviation of the lungs' grey levels against what the networks' inputs are scaled by."""
    if not inputs or not overview.histogram.any():
        return
    means, stds = ([sum(each) / len(each) for each in values] for values in _scalings(inputs))
    mean, std = sum(means) / len(means), sum(stds) / len(stds)
    here, spread = overview.grey
    told = (
        f"Their mean is {here:.2f} and their standard deviation {spread:.2f} (0 is black, 1 white, in the "
        f"networks' window); of the training images {mean:.2f} and {std:.2f}."
    )
    if abs(here - mean) > std:
        yield Caveat(
            f"The lungs are much {'brighter' if here > mean else 'darker'} than the training images",
            f"{told} See whether offset, slope and lungs are right.",
        )
    if not 1 / _SPREAD <= spread / max(std, 1e-9) <= _SPREAD:
        yield Caveat(
            f"The lungs have much {'more' if spread > std else 'less'} contrast than the training images",
            f"{told} Noise, another kernel or a lossy copy can do that.",
        )


def _scalings(inputs: Sequence[InputRecord]) -> tuple[list[list[float]], list[list[float]]]:
    return [each.mean for each in inputs], [each.std for each in inputs]


def _on_values(overview: Overview, record: Record) -> Iterator[Caveat]:
    """Shares of air, of dense pixels and of what the window clips, against the training images."""
    values = record.data.values
    if values is None:
        return
    if overview.air is not None and values.air is not None and abs(overview.air - values.air) > _AIR_APART:
        more = "more" if overview.air > values.air else "less"
        yield Caveat(
            f"The lungs have much {more} air than the training images",
            f"{overview.air:.1%} of the lungs' pixels are below {AIR} HU, {values.air:.1%} of the training "
            "images'. It may be the disease, a scan in expiration, or an offset.",
        )
    if overview.dense is not None and overview.dense > (values.dense or 0) + _DENSE_MORE:
        yield Caveat(
            "The lungs hold values as of bone or metal",
            f"{overview.dense:.1%} of the lungs' pixels are above {DENSE} HU, {values.dense or 0:.1%} of the "
            "training images': the mask of the lungs may hold ribs.",
        )
    if overview.below is not None and overview.above is not None and values.below is not None:
        here, there = overview.below + overview.above, values.below + (values.above or 0)
        if here > there + _CLIPPED_MORE:
            yield Caveat(
                "The networks' window clips more of this series than of the training images",
                f"{here:.1%} of the lungs' pixels become black or white, {there:.1%} of the training set's.",
            )


def _on_acquisition(volume: CTVolume, trained: AcquisitionRecord | None) -> Iterator[Caveat]:
    """Spacing, thickness and kernel against those of the scans that the training set was cut from."""
    unknown = []
    _, rows, columns = volume.spacing
    pixels = None if rows is None or columns is None else max(rows, columns)
    spacings = _range(trained.spacing_mm if trained else None)
    thicknesses = _range(trained.thickness_mm if trained else None)
    if pixels is None or spacings is None:
        unknown.append(f"pixel spacing {_whose(pixels is None, spacings is None)}")
    elif (times := spacings.beyond(pixels)) > _SPACING:
        yield Caveat(
            "The pixels have another size than the training set's",
            f"They are of {pixels:.3g} mm, the training set's of {spacings}. Slices were resampled to the "
            "median: structures have the right size, but texture that was not scanned does not come back.",
            serious=times > _SPACING_SERIOUS,
        )
    if volume.thickness is None or thicknesses is None:
        unknown.append(f"slice thickness {_whose(volume.thickness is None, thicknesses is None)}")
    elif thicknesses.beyond(volume.thickness) > _THICKNESS:
        yield Caveat(
            "The slices are of another thickness than the training set's",
            f"They are {volume.thickness:.3g} mm thick, the training set's {thicknesses}. Thick slices blur "
            "fine patterns and make dense ones milder.",
        )
    kernels = {_plain(kernel) for kernel in (trained.kernels if trained else ())}
    if not volume.kernels or not kernels:
        unknown.append(f"reconstruction kernel {_whose(not volume.kernels, not kernels)}")
    elif not {_plain(kernel) for kernel in volume.kernels} <= kernels and trained:
        # The series' own is free text of a header, and not repeated.
        known = ", ".join(f"{name} ({count})" for name, count in trained.kernels.items())
        yield Caveat(
            "The series has a reconstruction kernel that the training set does not have",
            f"The training set's are {known}. Texture differs between kernels as between patterns.",
        )
    if unknown:
        yield Caveat.listing(
            "Not everything could be compared with the training set",
            "What is not known on one side can differ without a warning.",
            unknown,
            serious=False,
        )


def _on_uncertain(overview: Overview) -> Iterator[Caveat]:
    total = int(overview.lungs.sum())
    share = int(overview.uncertain.sum()) / total if total else 0.0
    if share > _UNCERTAIN:
        yield Caveat(
            f"{share:.0%} of the lungs are uncertain",
            "No pattern reaches half of the probability there, or networks do not agree. The series may show "
            "what they did not learn.",
        )


def _on_networks(records: Sequence[Record]) -> Iterator[Caveat]:
    """Networks that are not finished, are alone, or learned from few patients."""
    yield from unfinished(records)
    if len(records) == 1:
        yield Caveat(
            "One network: no interval",
            "How much another training would change the answer is not known; networks of other seeds say it.",
        )
    data = records[0].data
    if not data.grouped:
        yield Caveat(
            "It is not known how many patients the networks learned from",
            f"Their {sum(data.train_counts):,} training images have no groups.",
            serious=False,
        )
    elif data.train_groups < FEW_GROUPS:
        yield Caveat(
            f"The networks learned from {counted(data.train_groups, 'patient')}",
            f"Fewer than {FEW_GROUPS} patients show little of how patients and scanners differ.",
        )


def _range(values: Sequence[float] | None) -> _Range | None:
    return None if values is None else _Range(*values)


def _whose(series: bool, trained: bool) -> str:
    """On which side something is not known."""
    if series and trained:
        return "(known neither of the series nor of the training set)"
    return "(not known of the series)" if series else "(not known of the training set)"


def _plain(kernel: str) -> str:
    return kernel.strip().casefold()
