"""DICOM files as slices in Hounsfield units.

Only the tags named here are read from a file. What is raised or returned never holds a tag's value that could
identify the patient, and pydicom's own warnings and log lines, which can, are kept from being seen.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.faults import UnusableError

_MOST_PIXELS = 4096 * 4096
_SCREENSHOT = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage
_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage, the DICOMDIR of a disc
DICOM_MARK_END = 132  # bytes: a preamble of 128, then DICM
AIR = -1000  # Hounsfield units; what padding becomes
_HEADER_TAGS = (
    "SOPClassUID", "ImageType", "SeriesInstanceUID", "PatientID", "InstanceNumber", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "RescaleSlope", "RescaleIntercept",
)  # fmt: skip
_PIXEL_TAGS = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "PixelData",
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
        faults: Why the slice cannot be used, empty where it can.
    """

    location: str = field(repr=False)
    series: str = field(repr=False)
    patient: str = field(repr=False)
    number: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    shape: tuple[int, int]
    faults: tuple[str, ...] = ()


def is_dicom(location: str) -> bool:
    """Whether the file has DICOM's mark behind its preamble (PS3.10, 7.1).

    Raises:
        UnusableError: It cannot be read.
    """
    try:
        with open(location, "rb") as file:
            return file.read(DICOM_MARK_END)[128:] == b"DICM"
    except OSError as error:
        raise UnusableError(f"it cannot be read: {error.strerror}") from None


def read_slice_header(location: str) -> SliceHeader | None:
    """Read what orders a file's slice.

    Returns:
        The header; None for a DICOM object that is not an image, such as a report.

    Raises:
        UnusableError: It is not a DICOM file, or is damaged.
    """
    data = _read(location, _HEADER_TAGS, stop_before_pixels=True)
    try:
        with _silent():  # values are parsed, and warned of, when they are asked for
            return _header(location, data)
    except UnusableError:
        raise
    except Exception:  # values that do not parse make pydicom raise nearly anything, quoting them
        raise UnusableError("its DICOM header cannot be read; copy the file again") from None


def read_hounsfield(location: str) -> npt.NDArray[np.int16]:
    """Decode a DICOM slice.

    Stored values, signed or unsigned and in any transfer syntax that an installed plugin of pydicom decodes,
    become slope * value + intercept, rounded, and clipped to 16 bits. Padding (PixelPaddingValue, a value
    that stands for "outside the reconstruction") becomes air, -1000 HU.

    Returns:
        int16, (H, W), Hounsfield units.

    Raises:
        UnusableError: The file is damaged, its compression is not known, or it does not say how its values
            become Hounsfield units.
    """
    data = _read(location, _PIXEL_TAGS)
    if "PixelData" not in data:
        raise UnusableError("its pixels are missing or end early; copy the file again")
    try:
        with _silent():
            faults = _faults(data)
            if not faults:
                stored: npt.NDArray[Any] = data.pixel_array
                slope, intercept = float(data.RescaleSlope), float(data.RescaleIntercept)
                padding = _padding(data)
    except Exception as error:
        raise UnusableError(_undecodable(data, error)) from None
    if faults:
        raise UnusableError(faults[0])
    if stored.ndim != 2 or stored.shape != (data.Rows, data.Columns):
        raise UnusableError("its pixels are not one grey image of the size its header names")
    values = np.rint(stored * slope + intercept)
    if padding is not None:
        values[(stored >= padding[0]) & (stored <= padding[1])] = AIR
    limits = np.iinfo(np.int16)
    return np.clip(values, limits.min, limits.max).astype(np.int16)


def _read(location: str, tags: Sequence[str], stop_before_pixels: bool = False) -> Any:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with _silent():
            return dcmread(location, specific_tags=list(tags), stop_before_pixels=stop_before_pixels)
    except InvalidDicomError:
        raise UnusableError(
            "it is not a DICOM file, although its name says so; copy it again or remove it"
        ) from None
    except OSError as error:
        reason = error.strerror or "it ends early"
        raise UnusableError(f"it cannot be read: {reason}; copy it again") from None
    except Exception:  # messages quote the file's content
        raise UnusableError("its DICOM header cannot be read; copy the file again") from None


def _is_directory(data: Any) -> bool:
    meta = getattr(data, "file_meta", None)
    return meta is not None and meta.get("MediaStorageSOPClassUID") == _DIRECTORY


def _header(location: str, data: Any) -> SliceHeader | None:
    kind = data.get("SOPClassUID")
    if kind is None:
        if _is_directory(data):
            return None
        raise UnusableError("its DICOM header is damaged or ends early; copy the file again")
    if kind == _SCREENSHOT or "LOCALIZER" in (data.get("ImageType") or ()):
        return None
    if data.get("Rows") is None or data.get("Columns") is None:
        if str(getattr(kind, "name", "")).endswith("Image Storage"):
            raise UnusableError("its DICOM header ends early; copy the file again")
        return None
    spacing = _numbers(data.get("PixelSpacing"), 2)
    number = data.get("InstanceNumber")
    return SliceHeader(
        location,
        str(data.get("SeriesInstanceUID") or ""),
        str(data.get("PatientID") or "").strip(),
        None if number is None else int(number),
        _numbers(data.get("ImagePositionPatient"), 3),
        _numbers(data.get("ImageOrientationPatient"), 6),
        None if spacing is None or min(spacing) <= 0 else (spacing[0], spacing[1]),
        (int(data.Rows), int(data.Columns)),
        tuple(_faults(data)),
    )


@contextmanager
def _silent() -> Iterator[None]:
    # Warnings and log lines of pydicom and its plugins quote values, which can be names and dates. Loggers
    # below these hand on to these, and no further.
    loggers = [logging.getLogger(name) for name in ("pydicom", "pylibjpeg", "libjpeg", "openjpeg")]
    before = [(logger.disabled, logger.propagate, logger.handlers) for logger in loggers]
    for logger in loggers:
        logger.disabled, logger.propagate, logger.handlers = True, False, [logging.NullHandler()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (disabled, propagate, handlers) in zip(loggers, before, strict=True):
            logger.disabled, logger.propagate, logger.handlers = disabled, propagate, handlers


def _faults(data: Any) -> list[str]:
    faults = []
    if int(data.Rows) * int(data.Columns) > _MOST_PIXELS:
        faults.append(
            f"it says that it has {data.Rows} x {data.Columns} pixels, more than any slice; copy it again or "
            "remove it"
        )
    if int(data.get("NumberOfFrames") or 1) > 1:
        faults.append("it holds several frames; convert enhanced CT to one file per slice")
    if int(data.get("SamplesPerPixel") or 1) > 1:
        faults.append("it is a colour image, such as a screenshot, without Hounsfield units")
    if _numbers(data.get("RescaleSlope"), 1) is None or _numbers(data.get("RescaleIntercept"), 1) is None:
        faults.append("it has no rescale slope or intercept, so that its Hounsfield units are not known")
    elif float(data.RescaleSlope) == 0:
        faults.append("its rescale slope is 0, which makes all its values one")
    return faults


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """The numbers of a tag, None where they are missing, fewer or not finite."""
    if value is None or value == "":
        return None
    values = tuple(float(part) for part in (value if count > 1 else [value]))
    return values if len(values) == count and bool(np.isfinite(values).all()) else None


def _padding(data: Any) -> tuple[int, int] | None:
    value = data.get("PixelPaddingValue")
    if value is None:
        return None
    limit = data.get("PixelPaddingRangeLimit")
    ends = [_as_stored(int(end), data) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_stored(value: int, data: Any) -> int:
    # Writers often store the padding with the wrong sign: -2000 as 63536.
    whole: int = 1 << int(data.BitsAllocated)
    if data.PixelRepresentation == 1 and value >= whole // 2:
        return value - whole
    return value + whole if data.PixelRepresentation == 0 and value < 0 else value


def _undecodable(data: Any, error: Exception) -> str:
    syntax = getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", None)
    # A syntax that the standard does not list has no name, and may be any text.
    name = "unknown" if syntax is None or syntax.name == str(syntax) else syntax.name
    return (
        f"its pixels (transfer syntax {name}) cannot be decoded ({type(error).__name__}): they end early, or "
        "no plugin of pydicom for this compression is installed"
    )
