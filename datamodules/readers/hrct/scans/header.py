"""What a DICOM file says of its slice before its pixels are decoded, and whether it is one of CT."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from datamodules.faults import UnusableError
from datamodules.readers.hrct.scans.dicom import is_directory, numbers, read_dicom, silent
from datamodules.readers.hrct.scans.geometry import Plane

Mark = Literal["burned in", "overlay", "projection", "unit", "capture", "lossy"]
"""What is odd about a slice that can be used; `datamodules.readers.hrct.notes` says it."""

Regions = Literal["structure set", "segmentation"]
"""What DICOM objects hold regions, as messages call them."""

_CT = "1.2.840.10008.5.1.4.1.1.2"  # CT Image Storage; enhanced CT's begin so, too
_ENHANCED = f"{_CT}."
_REGIONS: Mapping[str, Regions] = {
    "1.2.840.10008.5.1.4.1.1.481.3": "structure set",  # RT Structure Set Storage
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation",  # Segmentation Storage
    "1.2.840.10008.5.1.4.1.1.66.7": "segmentation",  # Label Map Segmentation Storage
}
_SCREENSHOT = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage; those of several frames begin so
_HOUNSFIELD = frozenset({"", "HU", "US"})  # US: unspecified (PS3.3, C.11.1.1.2)
_OTHER_UNITS = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT", "BQML", "CNTS", "SUV", "GML"})
_NO_IMAGES = frozenset(
    {"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTRECORD", "SR", "PR", "KO", "REG", "DOC", "FID"}
)
_OTHER_IMAGES = frozenset(
    {
        "MR",
        "PT",
        "NM",
        "US",
        "CR",
        "DX",
        "MG",
        "XA",
        "RF",
        "RG",
        "SC",
        "OT",
        "RTIMAGE",
        "ES",
        "XC",
        "SM",
        "IO",
        "PX",
    }
)
_PROJECTIONS = frozenset({"MIP", "MINIP", "MAX_IP", "MIN_IP", "AVERAGE", "VOLUME"})
MOST_PIXELS = 4096 * 4096
_LEAST_RANGE = 1000  # HU, between lung and tissue

# Of a plane of overlays (group 60xx), how high it is and which of the pixels' bits it takes.
OVERLAY_ROWS = tuple((group, 0x0010) for group in range(0x6000, 0x6020, 2))
OVERLAY_BITS = tuple((group, 0x0102) for group in range(0x6000, 0x6020, 2))
STORAGE_TAGS: tuple[str | tuple[int, int], ...] = (
    "SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
    "RescaleType", *OVERLAY_BITS,
)  # fmt: skip
_NEEDED = (
    "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation",
)  # fmt: skip
_TAGS: tuple[str | tuple[int, int], ...] = (
    *STORAGE_TAGS, *OVERLAY_ROWS, "SOPInstanceUID", "FrameOfReferenceUID", "ImageType", "Modality",
    "SeriesInstanceUID", "PatientID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "ConvolutionKernel", "BurnedInAnnotation", "LossyImageCompression",
)  # fmt: skip


@dataclass(frozen=True)
class SliceHeader:
    """One DICOM file before its pixels are decoded.

    What could identify the patient is not printed.

    Attributes:
        location: The file.
        series: SeriesInstanceUID.
        patient: PatientID, empty where there is none.
        number: InstanceNumber.
        position: ImagePositionPatient, mm.
        orientation: ImageOrientationPatient: direction cosines of a row and of a column.
        spacing: PixelSpacing, mm between rows and between columns.
        shape: (H, W).
        kernel: ConvolutionKernel.
        marks: What is odd about it.
        faults: Why the slice cannot be used, empty where it can.
        instance: SOPInstanceUID.
        frame_of_reference: Its UID, empty where there is none.
        thickness: SliceThickness, mm, None where it does not say.
    """

    location: str = field(repr=False)
    series: str = field(repr=False)
    patient: str = field(repr=False)
    number: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    shape: tuple[int, int]
    kernel: str = field(repr=False)
    marks: frozenset[Mark] = frozenset()
    faults: tuple[str, ...] = ()
    instance: str = field(default="", repr=False)
    frame_of_reference: str = field(default="", repr=False)
    thickness: float | None = None

    @property
    def plane(self) -> Plane | None:
        """Where its pixels lie, None where it does not say."""
        if self.position is None or self.orientation is None or self.spacing is None:
            return None
        return Plane.of_tags(self.position, self.orientation, self.spacing, self.shape)


@dataclass(frozen=True)
class NoSlice:
    """A DICOM file that is not a slice of CT.

    Attributes:
        kind: What it is, in the plural and in words that identify nobody.
        series: SeriesInstanceUID; not printed.
        image: Whether regions may have been drawn on it: an image of another modality.
        regions: What it is, if it holds regions that were drawn on a series.
    """

    kind: str
    series: str = field(default="", repr=False)
    image: bool = False
    regions: Regions | None = None


def read_slice_header(location: str) -> SliceHeader | NoSlice:
    """Read what orders a file's slice.

    Raises:
        UnusableError: It is not a DICOM file, or is damaged.
    """
    data = read_dicom(location, _TAGS, stop_before_pixels=True)
    try:
        with silent():  # values are parsed, and warned of, when they are asked for
            return _header(location, data)
    except UnusableError:
        raise
    except Exception:  # values that do not parse make pydicom raise nearly anything, quoting them
        raise UnusableError("its DICOM header cannot be read; copy the file again") from None


def _header(location: str, data: Any) -> SliceHeader | NoSlice:
    if data.get("SOPClassUID") is None:
        if is_directory(data):
            return NoSlice("directories of discs")
        raise UnusableError("its DICOM header is damaged or ends early; copy the file again")
    regions = _REGIONS.get(str(data.SOPClassUID))
    if regions is not None:
        return NoSlice(f"{regions}s", regions=regions)
    other = _other_kind(data)
    if other is not None:
        return other
    if data.get("Rows") is None or data.get("Columns") is None:
        raise UnusableError("its DICOM header ends early; copy the file again")
    spacing = numbers(data.get("PixelSpacing"), 2)
    number = data.get("InstanceNumber")
    return SliceHeader(
        location,
        str(data.get("SeriesInstanceUID") or ""),
        str(data.get("PatientID") or "").strip(),
        None if number is None else int(number),
        numbers(data.get("ImagePositionPatient"), 3),
        numbers(data.get("ImageOrientationPatient"), 6),
        None if spacing is None or min(spacing) <= 0 else (spacing[0], spacing[1]),
        (int(data.Rows), int(data.Columns)),
        str(data.get("ConvolutionKernel") or ""),
        frozenset(_marks(data)),
        tuple(storage_faults(data)),
        str(data.get("SOPInstanceUID") or ""),
        str(data.get("FrameOfReferenceUID") or ""),
        (numbers(data.get("SliceThickness"), 1) or (None,))[0],
    )


def _other_kind(data: Any) -> NoSlice | None:
    """What a file is that is not a slice of CT; None of one that is, or ends before it says so."""
    kind, modality = str(data.SOPClassUID), str(data.get("Modality") or "").strip().upper()
    types = {str(part).strip().upper() for part in data.get("ImageType") or ()}
    name = str(getattr(data.SOPClassUID, "name", ""))
    if "LOCALIZER" in types:
        return NoSlice("localizers")
    if kind.startswith(_SCREENSHOT) and not _has_geometry(data):
        return NoSlice("screenshots (secondary captures)")
    if modality in _NO_IMAGES:
        return NoSlice(f"objects of {modality}")
    of_ct = kind == _CT or kind.startswith((_ENHANCED, _SCREENSHOT)) or not name.endswith("Image Storage")
    if (data.get("Rows") is None or data.get("Columns") is None) and not name.endswith("Image Storage"):
        return NoSlice("objects without an image")
    if modality in ("", "CT") and of_ct:
        return None
    known = modality if modality in _OTHER_IMAGES else "another one" if modality != "CT" else name
    return NoSlice(
        f"images of another modality than CT ({known})", str(data.get("SeriesInstanceUID") or ""), image=True
    )


def _has_geometry(data: Any) -> bool:
    """Whether a secondary capture says all that a CT slice says: some programs save slices so."""
    return (
        str(data.get("Modality") or "") == "CT"
        and numbers(data.get("RescaleSlope"), 1) is not None
        and numbers(data.get("RescaleIntercept"), 1) is not None
        and numbers(data.get("ImagePositionPatient"), 3) is not None
    )


def _marks(data: Any) -> Iterator[Mark]:
    if str(data.get("BurnedInAnnotation") or "").strip().upper() == "YES":
        yield "burned in"
    if any(tag in data for tag in OVERLAY_ROWS):
        yield "overlay"
    if _PROJECTIONS & {str(part).strip().upper() for part in data.get("ImageType") or ()}:
        yield "projection"
    if str(data.get("RescaleType") or "").strip().upper() == "US":
        yield "unit"
    if str(data.SOPClassUID).startswith(_SCREENSHOT):
        yield "capture"
    if str(data.get("LossyImageCompression") or "").strip() == "01":
        yield "lossy"


def storage_faults(data: Any) -> list[str]:
    """Why a file's pixels cannot become Hounsfield units, from how it says that they are stored."""
    faults = []
    if int(data.Rows) * int(data.Columns) > MOST_PIXELS:
        faults.append(
            f"it says that it has {data.Rows} x {data.Columns} pixels, more than any slice; copy it again or "
            "remove it"
        )
    if int(data.get("NumberOfFrames") or 1) > 1 or str(data.get("SOPClassUID")).startswith(_ENHANCED):
        faults.append("it holds several frames; convert enhanced CT to one file per slice")
    if int(data.get("SamplesPerPixel") or 1) > 1:
        faults.append("it is a colour image, such as a screenshot, without Hounsfield units")
    if not str(data.get("PhotometricInterpretation") or "MONOCHROME2").startswith("MONOCHROME"):
        faults.append("its values are colours, such as those of a screenshot, and no Hounsfield units")
    missing = [tag for tag in _NEEDED if data.get(tag) is None]
    if missing:
        faults.append(f"its header lacks {', '.join(missing)}, without which its pixels cannot be decoded")
    return [*faults, *_bit_faults(data), *_rescale_faults(data)]


def _bit_faults(data: Any) -> Iterator[str]:
    if data.get("BitsAllocated") is None or data.get("BitsStored") is None:
        return
    allocated, stored = int(data.BitsAllocated), int(data.BitsStored)
    high = stored - 1 if data.get("HighBit") is None else int(data.HighBit)
    if not 0 < stored <= allocated or high != stored - 1:
        yield (
            f"it says that {stored} of {allocated} bits hold its values, the highest being bit {high} "
            f"(HighBit), not bit {stored - 1}; which bits hold them is not known: export the series again"
        )
    slope = numbers(data.get("RescaleSlope"), 1)
    if slope is not None and 0 < slope[0] * (2**stored - 1) < _LEAST_RANGE:
        yield (
            f"its {stored} bits and its rescale slope give a range of {slope[0] * (2**stored - 1):g} HU, "
            "less than lies between lung and tissue; it was saved for viewing: export the original series"
        )


def _rescale_faults(data: Any) -> Iterator[str]:
    slope, intercept = numbers(data.get("RescaleSlope"), 1), numbers(data.get("RescaleIntercept"), 1)
    if slope is None or intercept is None:
        yield (
            "it has no rescale slope or intercept that is a number, so that its Hounsfield units are not "
            "known; export the original series"
        )
    elif slope[0] == 0:
        yield "its rescale slope is 0, which makes all its values one; export the original series"
    elif slope[0] < 0:
        yield "its rescale slope is below 0, which makes air the brightest; export the original series"
    unit = str(data.get("RescaleType") or "").strip().upper()
    if unit not in _HOUNSFIELD:
        known = unit if unit in _OTHER_UNITS else "another one"
        yield f"its values are no Hounsfield units: their unit (RescaleType) is {known}; take the CT series"
