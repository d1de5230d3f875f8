"""The regions of DICOM's own objects, which may lie in other folders than their series."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from datamodules.faults import Faults, UnusableError
from datamodules.readers.hrct.classes import ClassMap, plain_label
from datamodules.readers.hrct.regions.drawn import SEGMENTATION, Drawn, outlined
from datamodules.readers.hrct.regions.references import referenced_series
from datamodules.readers.hrct.regions.segments import SegmentFile, read_segments, segment_regions
from datamodules.readers.hrct.regions.structures import StructureSet, read_structures, structure_regions
from datamodules.readers.hrct.sources.folders import SliceFolder
from datamodules.readers.hrct.sources.options import HrctOptions
from datamodules.readers.hrct.sources.series import FolderSeries, Series
from datamodules.readers.hrct.sources.source_file import SourceFile


def object_regions(
    listed: Sequence[tuple[SliceFolder, FolderSeries]],
    series: Sequence[Series],
    options: HrctOptions,
    faults: Faults,
) -> Iterator[tuple[int, Drawn]]:
    """Find the regions of structure sets and segmentations.

    Args:
        listed: Folders of the source, with what was found in them.
        series: All that can be used.
        options: What names mean.
        faults: Takes files and regions that cannot be used.

    Yields:
        Index of a series, and what one file gives it.
    """
    refused = frozenset[str]().union(*(found.refused for _, found in listed))
    class_map = options.plain_class_map()
    for folder, found in listed:
        numbers: Counter[str] = Counter()
        for file, kind in found.objects:
            numbers[kind] += 1
            title = f"{kind} {numbers[kind]} of folder {folder.number}"
            try:
                found_regions = (
                    read_structures(file.location)
                    if kind == "structure set"
                    else read_segments(file.location, file.modified)
                )
                index = referenced_series(found_regions.references, series, refused, folder.number)
                if isinstance(found_regions, StructureSet):
                    yield index, _outlines(found_regions, series[index], file, class_map, faults)
                else:
                    yield index, _frames(found_regions, series[index], file, class_map)
            except UnusableError as error:
                faults.add(title, error)


def _outlines(
    found: StructureSet, series: Series, file: SourceFile, class_map: ClassMap, faults: Faults
) -> Drawn:
    regions, notes = structure_regions(found, series)
    drawn = {region.number for region in regions}
    known, unknown = _known({number: found.names.get(number, "") for number in drawn}, class_map)
    notes.update(unknown)
    kept = [region for region in regions if region.number in known]
    return outlined("structure set", series, file, kept, class_map, faults, notes)


def _frames(found: SegmentFile, series: Series, file: SourceFile, class_map: ClassMap) -> Drawn:
    known, notes = _known(found.names, class_map)
    classes = {number: name for number, name in known.items() if name is not None}
    slices, more = segment_regions(found, series.scan.planes, file.location, file.modified, classes)
    ignored = Counter(plain_label(found.names[number]) for number, name in known.items() if name is None)
    return Drawn(SEGMENTATION, slices, frozenset(classes.values()), (file,), ignored, notes + more)


def _known(names: Mapping[int, str], class_map: ClassMap) -> tuple[dict[int, str | None], Counter[str]]:
    """Number -> class of the regions whose names are known, and how many others there are.

    Raises:
        UnusableError: None is known: hospitals outline many organs beside what is looked for, but never only
            these.
    """
    known = {
        number: class_map[plain_label(name)]
        for number, name in names.items()
        if plain_label(name) in class_map
    }
    if names and not known:
        raise UnusableError(
            f"none of the names of its {len(names)} regions is in labels or class_map; give at least one its "
            "class, such as labels={NAME: GGO}, or null to leave it out"
        )
    left = len(names) - len(known)
    return known, Counter(
        {"DICOM regions have a name that is in neither labels nor class_map": left} if left else {}
    )
