"""The regions that were drawn on the series of a source: of all carriers, checked."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from datamodules.faults import Faults, UnusableError
from datamodules.files.names import first_and_more
from datamodules.readers.hrct.regions.carriers import MaskImage
from datamodules.readers.hrct.regions.drawn import SEGMENTATION, Drawn, needed_classes, outlined, together
from datamodules.readers.hrct.regions.nifti_masks import volume_masks
from datamodules.readers.hrct.regions.objects import object_regions
from datamodules.readers.hrct.regions.rois import (
    NoContoursError,
    Region,
    contour_regions,
    read_boxes,
    read_contours,
)
from datamodules.readers.hrct.sources.folders import MaskVolume, SliceFolder
from datamodules.readers.hrct.sources.options import HrctOptions
from datamodules.readers.hrct.sources.series import FolderSeries, Series
from datamodules.readers.hrct.sources.source_file import SourceFile

_Listed = Sequence[tuple[SliceFolder, FolderSeries]]


def find_regions(
    listed: _Listed, volumes: Sequence[MaskVolume], options: HrctOptions, faults: Faults
) -> list[tuple[Series, Drawn]]:
    """Find what was drawn on the series of a source.

    Args:
        listed: Its folders with their series.
        volumes: Its NIfTI masks.
        options: What labels and values mean.
        faults: Takes files and regions that cannot be used.

    Returns:
        Each usable series with its regions.

    Raises:
        RelayError: There are masks, and nothing says what their values mean.
    """
    series = [one for _, found in listed for one in found.usable]
    drawn: list[list[Drawn]] = [[] for _ in series]
    useless: set[int] = set()
    for index, some in _in_folders(listed, options, faults, useless):
        drawn[index].append(some)
    for index, some in object_regions(listed, series, options, faults):
        drawn[index].append(some)
    for index, some in volume_masks(volumes, series, options, faults):
        drawn[index].append(some)
    return [
        (one, _single(one, some, one.folder.number in useless, faults))
        for one, some in zip(series, drawn, strict=True)
    ]


def _single(series: Series, drawn: Sequence[Drawn], useless: bool, faults: Faults) -> Drawn:
    if len(drawn) < 2:
        return drawn[0] if drawn else Drawn("files that cannot be used" if useless else "")
    if all(one.kind == SEGMENTATION for one in drawn):
        return together(drawn)
    kinds = ", ".join(sorted({one.kind for one in drawn}))
    faults.add(series.title, f"its regions are given {len(drawn)} times ({kinds}); keep one, or merge them")
    return Drawn(kinds)


def _in_folders(
    listed: _Listed, options: HrctOptions, faults: Faults, useless: set[int]
) -> Iterator[tuple[int, Drawn]]:
    """What lies beside the slices, with the index of its series among all.

    Folders of which a file of regions cannot be used are added to `useless`.
    """
    before = 0
    for folder, found in listed:
        if found.usable:  # otherwise why is said already
            problems = len(faults.problems)
            for index, drawn in _in_folder(folder, found, options, faults):
                yield before + index, drawn
            if len(faults.problems) > problems:
                useless.add(folder.number)
        before += len(found.usable)


def _in_folder(
    folder: SliceFolder, found: FolderSeries, options: HrctOptions, faults: Faults
) -> Iterator[tuple[int, Drawn]]:
    series = found.usable
    for number, file in enumerate(folder.contours, start=1):
        try:
            contours = read_contours(file.location)
            index = _series_of(contours.series, found)
            regions = contour_regions(contours, series[index].scan.spacing)
        except NoContoursError:
            faults.litter["texts without contours"] += 1
        except UnusableError as error:
            faults.add(f"contour file {number} of folder {folder.number}", error)
        else:
            yield index, _numbered("contours", series[index], file, regions, options, faults)
    for number, file in enumerate(folder.boxes, start=1):
        try:
            index, regions = _series_of("", found), read_boxes(file.location)
        except UnusableError as error:
            faults.add(f"box file {number} of folder {folder.number}", error)
        else:
            yield index, _numbered("boxes", series[index], file, regions, options, faults)
    for index, masks in enumerate(_masks(folder, series, faults)):
        if masks:
            yield index, _of_masks(masks, options)


def _numbered(
    kind: str,
    series: Series,
    file: SourceFile,
    regions: Sequence[Region],
    options: HrctOptions,
    faults: Faults,
) -> Drawn:
    """Regions that name slices by number."""
    if series.scan.holes:
        faults.add(
            series.title,
            f"{series.scan.holes}; its regions name slices by number, and may fall on others. Masks named as "
            "their slices do not need numbers",
        )
        return Drawn(kind)
    if series.unnumbered:
        faults.add(
            series.title,
            f"{series.unnumbered}, and it is not known which one its regions call slice 1; copy what is "
            "missing, or, if nothing is, set slice_order to ascending or descending",
        )
        return Drawn(kind)
    return outlined(kind, series, file, regions, options.plain_class_map(), faults)


def _of_masks(masks: Mapping[int, SourceFile], options: HrctOptions) -> Drawn:
    classes = needed_classes(options)
    return Drawn(
        "masks",
        {place: MaskImage(file.location, classes) for place, file in masks.items()},
        frozenset(name for name in classes.values() if name is not None),
        tuple(masks.values()),
    )


def _series_of(uid: str, found: FolderSeries) -> int:
    """Index of the series that a file of regions belongs to."""
    named = [index for index, one in enumerate(found.usable) if uid and one.scan.uid == uid]
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
        if folder.independent and not folder.volumes:
            faults.add(
                f"folder {folder.number}",
                "there is no folder GT or masks beside it, with masks of its slices",
            )
        return [{} for _ in series]
    found = [
        {index: folder.masks[file.stem] for index, file in enumerate(one.files) if file.stem in folder.masks}
        for one in series
    ]
    slices = Counter(file.stem for file in (*folder.dicom, *folder.images))
    shared = sum(slices[stem] > 1 for stem in folder.masks)
    if shared:
        faults.add(
            f"folder {folder.number}",
            f"{shared} masks have a name that several of its slices have; rename them",
        )
    for number, stem in enumerate(folder.masks, start=1):
        if stem not in slices:
            faults.add(f"mask {number} of folder {folder.number}", "there is no slice of its name")
    if folder.independent:
        absent = [one.title for one, masks in zip(series, found, strict=True) if not masks]
        if absent:
            faults.add(first_and_more(absent), "there is no mask of its name beside it")
    return found
