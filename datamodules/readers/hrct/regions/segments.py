"""DICOM segmentations (SEG): named segments as frames of pixels (PS3.3, A.51 and C.8.20)."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.faults import UnusableError
from datamodules.readers.hrct.regions.carriers import Shape
from datamodules.readers.hrct.regions.drawing import Drawing, draw_areas
from datamodules.readers.hrct.regions.references import References
from datamodules.readers.hrct.scans.dicom import check_inflated, silent
from datamodules.readers.hrct.scans.geometry import Plane, Planes, Turn
from datamodules.readers.hrct.scans.header import MOST_PIXELS

_INSIDE = 0.5  # of a fraction


@dataclass(frozen=True)
class Frame:
    """One frame of a segmentation.

    Attributes:
        number: In its file, from 1.
        segments: The numbers of those that it can hold.
        plane: Where its pixels lie.
    """

    number: int
    segments: tuple[int, ...]
    plane: Plane


@dataclass(frozen=True)
class SegmentFile:
    """What a segmentation says before its pixels are decoded.

    Attributes:
        references: What it was drawn on.
        names: Number of a segment -> its label, free text; not printed.
        frames: In the order of the file.
        fractional: Whether its pixels are fractions.
    """

    references: References
    names: Mapping[int, str] = field(repr=False)
    frames: tuple[Frame, ...]
    fractional: bool


@dataclass(frozen=True)
class SegmentFrames:
    """The frames of a segmentation that lie on one slice.

    Attributes:
        location: The file; not printed.
        modified: Time of its last change, nanoseconds.
        parts: Number of a frame, how it is turned, number of the segment and its class.
    """

    location: str = field(repr=False)
    modified: int
    parts: tuple[tuple[int, Turn, int, str], ...]

    def draw(self, shape: Shape, labels: Mapping[str, int]) -> Drawing:
        """Decode them; `carriers.SliceRegions.draw`."""
        return draw_areas(((inside, labels[name], segment) for inside, segment, name in self.areas()), shape)

    def areas(self) -> Iterator[tuple[npt.NDArray[np.bool_], int, str]]:
        """What each frame holds inside, its segment's number and class.

        Raises:
            UnusableError: A frame cannot be decoded.
        """
        data = _opened(self.location, self.modified)
        for number, turn, segment, name in self.parts:
            try:
                with silent():
                    stored = data.get_stored_frame(number)
                    kind = str(data.SegmentationType)
                    whole = float(data.get("MaximumFractionalValue") or 255)
            except Exception:  # decoders raise nearly anything, quoting the file
                raise UnusableError(
                    f"frame {number} of its segmentation cannot be decoded: it ends early, or no plugin of "
                    "pydicom for its compression is installed"
                ) from None
            if kind == "LABELMAP":
                inside = stored == segment
            else:
                inside = stored >= (_INSIDE * whole if kind == "FRACTIONAL" else 1)
            yield turn.apply(inside), segment, name


def read_segments(location: str, modified: int) -> SegmentFile:
    """Read a segmentation's header.

    Raises:
        UnusableError: It cannot be read, or does not say where its frames lie.
    """
    data = _opened(location, modified)
    try:
        with silent():
            return _segments(data)
    except UnusableError:
        raise
    except Exception:  # values that do not parse make pydicom raise nearly anything, quoting them
        raise UnusableError(
            "it does not say where its frames lie or what they hold; export the segmentation again"
        ) from None


def segment_regions(
    found: SegmentFile, planes: Planes | None, location: str, modified: int, classes: Mapping[int, str]
) -> tuple[dict[int, SegmentFrames], Counter[str]]:
    """Find the slices that frames lie on.

    Args:
        found: The segmentation.
        planes: The slices that it was drawn on, None where they do not say where they lie.
        location: Its file.
        modified: Time of the file's last change, nanoseconds.
        classes: Number of a segment -> class, for those that are used.

    Returns:
        Index of a slice -> its frames; and what was left out -> how often.

    Raises:
        UnusableError: No frame lies on a slice, or one's pixels do not lie on those of the slice.
    """
    if planes is None:
        raise UnusableError("its series has no position, orientation or pixel spacing to place frames by")
    parts: defaultdict[int, list[tuple[int, Turn, int, str]]] = defaultdict(list)
    notes: Counter[str] = Counter()
    used = [frame for frame in found.frames if not classes.keys().isdisjoint(frame.segments)]
    for frame in used:
        place = planes.below(frame.plane)
        if place is None:
            notes["frames of segmentations lie on no slice of their series and are left out"] += 1
            continue
        index, turn = place
        parts[index] += [
            (frame.number, turn, segment, classes[segment])
            for segment in frame.segments
            if segment in classes
        ]
    if used and not parts:
        raise UnusableError(
            f"none of its {len(used)} frames lies on a slice of the series: the first has {used[0].plane}, "
            f"the series {planes}; it was drawn on another series"
        )
    if found.fractional:
        notes["segmentations hold fractions: 0.5 and more is inside"] += 1
    return {index: SegmentFrames(location, modified, tuple(some)) for index, some in parts.items()}, notes


@lru_cache(maxsize=1)
def _opened(location: str, modified: int) -> Any:
    """The file; the time of its last change keeps an older one from being taken for it."""
    from highdicom.seg import segread

    check_inflated(location)
    try:
        with silent():
            return segread(location)
    except OSError as error:
        raise UnusableError(
            f"it cannot be read: {error.strerror or 'it ends early'}; copy it again"
        ) from None
    except Exception:  # messages quote the file's content
        raise UnusableError(
            "it is not a segmentation that can be read: damaged, or without parts that the standard asks "
            "for; export it again"
        ) from None


def _segments(data: Any) -> SegmentFile:
    if "PerFrameFunctionalGroupsSequence" not in data:
        raise UnusableError(
            "its frames have no positions, as those of slide microscopy; it is no series of CT"
        )
    shape = (int(data.Rows), int(data.Columns))
    if shape[0] * shape[1] > MOST_PIXELS:
        raise UnusableError(f"it says that it has {shape[0]} x {shape[1]} pixels, more than any slice")
    names = {
        int(segment.SegmentNumber): str(segment.get("SegmentLabel") or "")
        for segment in data.SegmentSequence
        if int(segment.SegmentNumber) > 0  # 0 is the background of a label map
    }
    shared = data.SharedFunctionalGroupsSequence[0]
    frames = []
    for number, own in enumerate(data.PerFrameFunctionalGroupsSequence, start=1):
        if str(data.SegmentationType) == "LABELMAP":
            segments = tuple(names)
        else:
            segments = (int(_group("SegmentIdentification", own, shared).ReferencedSegmentNumber),)
        plane = Plane.of_tags(
            _group("PlanePosition", own, shared).ImagePositionPatient,
            _group("PlaneOrientation", own, shared).ImageOrientationPatient,
            _group("PixelMeasures", own, shared).PixelSpacing,
            shape,
        )
        frames.append(Frame(number, segments, plane))
    return SegmentFile(_references(data), names, tuple(frames), str(data.SegmentationType) == "FRACTIONAL")


def _group(name: str, own: Any, shared: Any) -> Any:
    """A functional group, of one frame or of all."""
    return (own if f"{name}Sequence" in own else shared)[f"{name}Sequence"][0]


def _references(data: Any) -> References:
    series = [one for one in data.get("ReferencedSeriesSequence") or () if one.get("SeriesInstanceUID")]
    instances = {
        str(image.ReferencedSOPInstanceUID)
        for one in series
        for image in one.get("ReferencedInstanceSequence") or ()
    }
    frame = str(data.get("FrameOfReferenceUID") or "")
    return References(
        frozenset(str(one.SeriesInstanceUID) for one in series),
        frozenset({frame} - {""}),
        frozenset(instances),
    )
