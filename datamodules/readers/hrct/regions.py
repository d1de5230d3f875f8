"""The regions that were drawn on a series, checked."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from datamodules.faults import Faults, UnusableError
from datamodules.files.names import first_and_more
from datamodules.readers.hrct.carriers import MaskImage, Outlines, SliceRegions
from datamodules.readers.hrct.classes import plain_label
from datamodules.readers.hrct.layout import SliceFolder, SourceFile
from datamodules.readers.hrct.options import HrctOptions
from datamodules.readers.hrct.rois import Region, contour_regions, read_boxes, read_contours, region_fault
from datamodules.readers.hrct.series import FolderSeries, Series
from stages.errors import RelayError


@dataclass(frozen=True)
class Drawn:
    """What was drawn on a series.

    Attributes:
        slices: Index of a slice, from 0 -> its regions.
        classes: Those that its regions may have.
        files: All files that these come from.
        ignored: Label -> how many regions of it `class_map` leaves out.
    """

    slices: Mapping[int, SliceRegions] = field(default_factory=dict, repr=False)
    classes: frozenset[str] = frozenset()
    files: tuple[SourceFile, ...] = field(default=(), repr=False)
    ignored: Mapping[str, int] = field(default_factory=dict)


def find_regions(
    folder: SliceFolder, found: FolderSeries, options: HrctOptions, faults: Faults
) -> list[Drawn]:
    """Find what was drawn on the series of a folder.

    Args:
        folder: The folder.
        found: Its series.
        options: What labels and values mean.
        faults: Takes files and regions that cannot be used.

    Returns:
        One for each usable series.

    Raises:
        RelayError: There are masks, and nothing says what their values mean.
    """
    class_map = options.plain_class_map()
    series = found.usable
    if not series:  # why is said already
        return []
    own: list[list[tuple[SourceFile, tuple[Region, ...]]]] = [[] for _ in series]
    for number, file in enumerate(folder.contours, start=1):
        title = f"contour file {number} of folder {folder.number}"
        try:
            contours = read_contours(file.location)
            index = _series_of(contours.series, found)
            own[index].append((file, contour_regions(contours, series[index].spacing)))
        except UnusableError as error:
            faults.add(title, error)
    for number, file in enumerate(folder.boxes, start=1):
        try:
            index = _series_of("", found)
            own[index].append((file, read_boxes(file.location)))
        except UnusableError as error:
            faults.add(f"box file {number} of folder {folder.number}", error)
    masks = _masks(folder, series, faults)
    drawn = []
    for index, one in enumerate(series):
        if own[index] and masks[index]:
            faults.add(one.title, "its regions are given twice, as outlines and as masks; keep one of them")
            drawn.append(Drawn())
        elif len(own[index]) > 1:
            faults.add(one.title, f"{len(own[index])} files give its regions; keep one of them")
            drawn.append(Drawn())
        elif own[index]:
            file, regions = own[index][0]
            drawn.append(_checked(one, file, regions, class_map, faults))
        else:
            drawn.append(_of_masks(masks[index], options))
    return drawn


def _checked(
    series: Series,
    file: SourceFile,
    regions: Sequence[Region],
    class_map: Mapping[str, str | None],
    faults: Faults,
) -> Drawn:
    if series.holes:
        faults.add(
            series.title,
            f"{series.holes}; its regions name slices by number, and may fall on others. Masks named as "
            "their slices do not need numbers",
        )
        return Drawn()
    if series.unnumbered:
        faults.add(
            series.title,
            f"{series.unnumbered}, and it is not known which one its regions call slice 1; copy what is "
            "missing, or, if nothing is, set slice_order to ascending or descending",
        )
        return Drawn()
    good: list[tuple[Region, str]] = []
    ignored: Counter[str] = Counter()
    for region in regions:
        fault = region_fault(region, len(series.slices), series.shape, class_map)
        name = class_map.get(plain_label(region.label))
        if fault is not None:
            faults.add(f"region {region.number} of {series.title}", fault)
        elif name is None:
            ignored[plain_label(region.label)] += 1
        else:
            good.append((region, name))
    by_slice: defaultdict[int, list[tuple[Region, str]]] = defaultdict(list)
    for region, name in good:
        by_slice[region.slice_number - 1].append((region, name))
    return Drawn(
        {place: Outlines(tuple(found)) for place, found in by_slice.items()},
        frozenset(name for _, name in good),
        (file,),
        ignored,
    )


def _of_masks(masks: Mapping[int, SourceFile], options: HrctOptions) -> Drawn:
    if not masks:
        return Drawn()
    if options.labels is None:
        raise RelayError(
            "source has label masks; set labels to what their values mean, such as {1: GGO, 2: CON}."
        )
    classes = options.mask_classes()
    return Drawn(
        {place: MaskImage(file.location, classes) for place, file in masks.items()},
        frozenset(name for name in classes.values() if name is not None),
        tuple(masks.values()),
    )


def _series_of(uid: str, found: FolderSeries) -> int:
    """Index of the series that a file of regions belongs to."""
    named = [index for index, one in enumerate(found.usable) if uid and one.uid == uid]
    if named:
        return named[0]
    if uid and uid in found.refused:
        raise UnusableError("its series cannot be used")
    count = len(found.usable) + len(found.refused)
    if count == 1:  # a set whose UIDs were replaced still says by its folders what belongs together
        return 0
    raise UnusableError(
        f"it does not name one of the {count} series of its folder; give each series a folder of its own"
    )


def _masks(folder: SliceFolder, series: Sequence[Series], faults: Faults) -> list[dict[int, SourceFile]]:
    if folder.masks is None:
        if folder.independent:
            faults.add(f"folder {folder.number}", "there is no folder GT with masks beside it")
        return [{} for _ in series]
    found = [
        {index: folder.masks[file.stem] for index, file in enumerate(one.slices) if file.stem in folder.masks}
        for one in series
    ]
    slices = {file.stem for file in (*folder.dicom, *folder.images)}
    for number, stem in enumerate(folder.masks, start=1):
        if stem not in slices:
            faults.add(f"mask {number} of folder {folder.number}", "there is no slice of its name")
    if folder.independent:
        absent = [one.title for one, masks in zip(series, found, strict=True) if not masks]
        if absent:
            faults.add(first_and_more(absent), "there is no mask of its name in GT")
    return found
