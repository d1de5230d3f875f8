"""The pixels of a DICOM file as a slice in Hounsfield units."""

from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.faults import UnusableError
from datamodules.readers.hrct.scans.dicom import numbers, read_dicom, silent
from datamodules.readers.hrct.scans.header import OVERLAY_BITS, STORAGE_TAGS, storage_faults
from datamodules.readers.hrct.scans.hounsfield import AIR, LOWEST, check_hounsfield

_TAGS = (
    *STORAGE_TAGS, "PlanarConfiguration", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
)  # fmt: skip
_TISSUE = (-900, 3071)  # HU; padding in between cannot be told from values by its number
_WRONG_SIGN = (
    "the sign that it says its values have (PixelRepresentation) is not the one that they are stored with; "
    "export the series again"
)


def read_hounsfield(location: str) -> npt.NDArray[np.int16]:
    """Decode a DICOM slice.

    Stored values, signed or unsigned and in any transfer syntax that an installed plugin of pydicom decodes,
    become slope * value + intercept, rounded. Padding (PixelPaddingValue, a value that stands for "outside
    the reconstruction") becomes air, -1000 HU; where it is a value that tissue has, too, only from the
    slice's edge inwards.

    Returns:
        int16, (H, W), Hounsfield units.

    Raises:
        UnusableError: The file is damaged, its compression is not known, it does not say how its values
            become Hounsfield units, or what they become cannot be Hounsfield units.
    """
    data = read_dicom(location, _TAGS)
    if "PixelData" not in data:
        if "FloatPixelData" in data or "DoubleFloatPixelData" in data:
            raise UnusableError(
                "its pixels are fractions, which CT images are not; export the original series"
            )
        raise UnusableError("its pixels are missing or end early; copy the file again")
    try:
        with silent():
            faults = storage_faults(data)
            if not faults:
                stored: npt.NDArray[Any] = data.pixel_array
                (slope,) = numbers(data.RescaleSlope, 1) or (0.0,)  # `storage_faults` refuses what is none
                (intercept,) = numbers(data.RescaleIntercept, 1) or (0.0,)
                padding = _padding(data)
    except Exception as error:
        raise UnusableError(_undecodable(data, error)) from None
    if faults:
        raise UnusableError(faults[0])
    if stored.ndim != 2 or stored.shape != (data.Rows, data.Columns):
        raise UnusableError("its pixels are not one grey image of the size its header names")
    values = np.rint(stored * slope + intercept)
    padded = np.zeros(stored.shape, bool)
    if padding is not None:
        padded = (stored >= padding[0]) & (stored <= padding[1])
        if any(_TISSUE[0] < end * slope + intercept < _TISSUE[1] for end in padding):
            padded = _from_the_edge(padded)
    _check_unused_bits(data, stored, values, padded)
    limits = np.iinfo(np.int16)
    values[padded] = AIR
    if values.min() < limits.min or values.max() > limits.max:
        raise UnusableError(
            f"its Hounsfield units reach from {values.min():.0f} to {values.max():.0f}, beyond 16 bits: "
            + _WRONG_SIGN
        )
    whole = values.astype(np.int16)
    check_hounsfield(whole[~padded])
    return whole


def _from_the_edge(padded: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Those pixels that are joined to the slice's edge by others of their kind."""
    from scipy import ndimage

    areas, _ = ndimage.label(padded)
    edges = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    joined: npt.NDArray[np.bool_] = np.isin(areas, edges[edges > 0])
    return joined


def _check_unused_bits(
    data: Any, stored: npt.NDArray[Any], values: npt.NDArray[np.float64], padded: npt.NDArray[np.bool_]
) -> None:
    """Compare the bits above those that hold values with the sign; pydicom's decoders cut them off.

    They are 0, or copies of the sign, or a plane of an overlay that says so (retired in PS3.5 2004).
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import RLELossless

    used, allocated = int(data.BitsStored), int(data.BitsAllocated)
    syntax = data.file_meta.TransferSyntaxUID
    if allocated != 16 or used == 16 or (syntax.is_compressed and syntax != RLELossless):
        return
    order = "<u2" if syntax.is_little_endian else ">u2"
    # Of the compressed ones, RLE alone keeps these bits.
    content = get_decoder(syntax).as_buffer(data, index=0)[0] if syntax.is_compressed else data.PixelData
    words = np.frombuffer(content, order, count=stored.size).reshape(stored.shape).astype(np.int64)
    for tag in OVERLAY_BITS:
        if tag in data and int(data[tag].value) >= used:
            words &= ~(1 << int(data[tag].value))
    above = words >> used
    sign = (words >> (used - 1)) & 1 == 1
    copied = np.where(sign, (1 << (allocated - used)) - 1, 0)
    if int(data.PixelRepresentation) == 0:
        wrong = above.any() and (above == copied)[~padded].all()
    else:
        beyond = sign & (above == 0) & (values < LOWEST) & (values > values.min()) & ~padded
        wrong = beyond.any()
    if wrong:
        raise UnusableError(_WRONG_SIGN)
    if (int(data.PixelRepresentation) == 0 and above.any()) or ((above != copied) & (above != 0)).any():
        raise UnusableError(
            f"it says that {used} bits hold its values (BitsStored), and has others set that no overlay "
            "explains; export the series again"
        )


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
    if syntax is None:
        return (
            "its header does not say how its pixels are encoded (TransferSyntaxUID); export the series again"
        )
    # A syntax that the standard does not list has no name, and may be any text.
    name = "unknown" if syntax.name == str(syntax) else syntax.name
    return (
        f"its pixels (transfer syntax {name}) cannot be decoded ({type(error).__name__}): they end early, or "
        "no plugin of pydicom for this compression is installed"
    )
