"""What was drawn on a series, by slice."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from datamodules.faults import Faults
from datamodules.readers.hrct.classes import ClassMap, plain_label
from datamodules.readers.hrct.regions.carriers import Outlines, Several, SliceRegions
from datamodules.readers.hrct.regions.rois import Region, region_fault
from datamodules.readers.hrct.sources.options import HrctOptions
from datamodules.readers.hrct.sources.series import Series
from datamodules.readers.hrct.sources.source_file import SourceFile
from stages.errors import RelayError

SEGMENTATION = "segmentation"
"""The kind of files of which several may be drawn on one series."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn on a series.

    Attributes:
        kind: What messages call the files that it comes from; empty where nothing was drawn. Where there is
            a kind and no slice, what is wrong is among the faults.
        slices: Index of a slice, from 0 -> its regions.
        classes: Those that its regions may have.
        files: All files that these come from.
        ignored: Label -> how many regions of it `class_map` leaves out.
        notes: What else should be known, such as `contours ... are left out` -> how many.
    """

    kind: str
    slices: Mapping[int, SliceRegions] = field(default_factory=dict, repr=False)
    classes: frozenset[str] = frozenset()
    files: tuple[SourceFile, ...] = field(default=(), repr=False)
    ignored: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)


Grouped = tuple[Series, Drawn, str]
"""A series, what was drawn on it, and its patient."""


def together(drawn: Sequence[Drawn]) -> Drawn:
    """What several segmentations of one series give it: other segments, slices or lesions each."""
    parts: defaultdict[int, list[tuple[int, SliceRegions]]] = defaultdict(list)
    ignored, notes = Counter[str](), Counter[str]()
    for number, one in enumerate(drawn):
        for place, regions in one.slices.items():
            parts[place].append((number, regions))
        ignored.update(one.ignored)
        notes.update(one.notes)
    notes["segmentations share their series with others, and are drawn together"] += len(drawn)
    return Drawn(
        SEGMENTATION,
        {place: Several(tuple(some)) for place, some in parts.items()},
        frozenset[str]().union(*(one.classes for one in drawn)),
        tuple(file for one in drawn for file in one.files),
        ignored,
        notes,
    )


def needed_classes(options: HrctOptions) -> dict[int, str | None]:
    """Value of a mask -> class, None: left out.

    Raises:
        RelayError: Nothing says what values mean.
    """
    classes = options.mask_classes()
    if not classes:
        raise RelayError(
            "source has label masks; set labels to what their values mean, such as {1: GGO, 2: CON}."
        )
    return classes


def outlined(
    kind: str,
    series: Series,
    file: SourceFile,
    regions: Sequence[Region],
    class_map: ClassMap,
    faults: Faults,
    notes: Mapping[str, int] | None = None,
) -> Drawn:
    """Outlines that can be used, with their classes.

    Args:
        kind: What messages call their file.
        series: What they were drawn on.
        file: Where they come from.
        regions: All of them.
        class_map: Class of each label, written as `plain_label` does.
        faults: Takes those that cannot be used.
        notes: As in `Drawn`.
    """
    by_slice: defaultdict[int, list[tuple[Region, str]]] = defaultdict(list)
    ignored: Counter[str] = Counter()
    for region in regions:
        fault = region_fault(region, len(series.files), series.scan.shape, class_map)
        name = class_map.get(plain_label(region.label))
        if fault is not None:
            faults.add(f"region {region.number} of {series.title}", fault)
        elif name is None:
            ignored[plain_label(region.label)] += 1
        else:
            by_slice[region.slice_number - 1].append((region, name))
    return Drawn(
        kind,
        {place: Outlines(tuple(found)) for place, found in by_slice.items()},
        frozenset(name for found in by_slice.values() for _, name in found),
        (file,),
        ignored,
        notes or {},
    )
