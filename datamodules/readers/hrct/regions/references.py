"""Which series a DICOM object with regions was drawn on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from datamodules.faults import UnusableError
from datamodules.readers.hrct.sources.series import Series


@dataclass(frozen=True)
class References:
    """What a structure set or a segmentation names; UIDs are not printed.

    Attributes:
        series: SeriesInstanceUIDs.
        frames: UIDs of frames of reference.
        instances: SOPInstanceUIDs of slices.
    """

    series: frozenset[str] = field(repr=False)
    frames: frozenset[str] = field(repr=False)
    instances: frozenset[str] = field(repr=False)


def referenced_series(
    references: References, series: Sequence[Series], refused: frozenset[str], folder: int
) -> int:
    """Index of the series that an object was drawn on.

    Args:
        references: What it names.
        series: Those of the source that can be used.
        refused: SeriesInstanceUIDs of the others.
        folder: Number of the object's own folder, where one series in it is taken if it names none.

    Raises:
        UnusableError: It was drawn on another one, or nothing says on which.
    """
    found = [index for index, one in enumerate(series) if one.dicom and one.scan.uid in references.series]
    if not found and references.series & refused:
        raise UnusableError("its series cannot be used")
    if not found and not references.series:
        found = [index for index, one in enumerate(series) if references.instances & set(one.scan.instances)]
    if not found and (references.series or references.instances):
        raise UnusableError("it was drawn on another series than those of the source; add that, or remove it")
    if not found:
        found = [index for index, one in enumerate(series) if one.dicom and one.folder.number == folder]
    drawn = [index for index in found if references.instances & set(series[index].scan.instances)]
    found = drawn or found  # a structure set often names the series that it was copied from, too
    beside = [index for index in found if series[index].folder.number == folder]
    found = beside or found
    if not found:
        raise UnusableError(
            "it names no series, and there is none in its folder; keep it in one folder with its own"
        )
    if len(found) > 1:
        raise UnusableError(
            f"it may have been drawn on {len(found)} series of the source; keep it in one folder with its own"
        )
    frame = series[found[0]].scan.frame_of_reference
    if frame and references.frames and frame not in references.frames:
        raise UnusableError(
            "its frame of reference is not that of its series, so that its coordinates are not known there; "
            "export it again for this series"
        )
    return found[0]
