"""The values that an image file stores: of any number type, grey or in colour, and what was passed over."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from datamodules.faults import UnusableError
from datamodules.pixels import tiff
from datamodules.pixels.image_file import COLOR, COPIES, GREY_8_BIT, GREY_16_BIT
from datamodules.pixels.window import Window, window_to_uint8
from stages.console.words import counted

_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112


class Remark(StrEnum):
    """What a person should know of how some images were read; stands behind "3 images:"."""

    BRIDGED = "errors in the JPEG data, which the decoder bridged; look at them, or copy them again"
    TURNED = "to be turned or mirrored by their EXIF; the pixels are taken as they are stored"
    TRANSPARENT = "transparent in places; the colours that lie below are taken"
    PROFILE = "a colour profile other than sRGB, which is not applied"
    DEEP_COLOR = "16 bits in each channel of colour, of which the upper 8 are taken"
    COPIES = "smaller copies or masks behind the first page, which is taken"


def remark_notes(remarks: Mapping[str, int]) -> list[str]:
    """A line for each remark, with how many images it holds for."""
    return [f"{counted(count, 'image')}: {remark}" for remark, count in sorted(remarks.items())]


@dataclass(frozen=True)
class Kind:
    """What the numbers of an image file are.

    Attributes:
        dtype: uint8, int8, uint16, int16, uint32, int32 or float32.
        color: Whether there are three channels.
        white: The value that is white where no window says otherwise; None where a window must say it.
        deep: Whether 16 bits in each channel of a colour image are read as 8.
        inverted: Whether the file's 0 is white, which its values are turned around for.
    """

    dtype: np.dtype[Any]
    color: bool
    white: float | None
    deep: bool = False
    inverted: bool = False


@dataclass(frozen=True)
class Stored:
    """An image's values as its file stores them.

    Attributes:
        values: (H, W), or uint8 (H, W, 3).
        kind: What they are.
        remarks: What was passed over.
    """

    values: npt.NDArray[Any]
    kind: Kind
    remarks: tuple[Remark, ...] = ()


def kind_of(image: Image.Image) -> Kind:
    """What the numbers of an opened image are, without decoding it.

    Raises:
        UnusableError: They are not of a mode that is read.
    """
    mode, is_tiff = image.mode, isinstance(image, TiffImageFile)
    signed = isinstance(image, TiffImageFile) and tiff.is_signed(image)
    if mode in COLOR:
        raw = _raw_mode(image)
        grey = raw.startswith("LA;16")  # Pillow makes colour of it
        return Kind(np.dtype(np.uint8), not grey, 255, deep=";16" in raw)
    if mode in GREY_8_BIT:
        return Kind(np.dtype(np.int8), False, None) if signed else Kind(np.dtype(np.uint8), False, 255)
    if mode in GREY_16_BIT or (mode == "I" and not is_tiff):  # older versions of Pillow open 16-bit PNG so
        bits = tiff.bits(image) if isinstance(image, TiffImageFile) else 16
        inverted = isinstance(image, TiffImageFile) and tiff.is_inverted(image)
        return Kind(np.dtype(np.uint16), False, float((1 << bits) - 1), inverted=inverted)
    if isinstance(image, TiffImageFile) and mode == "I":
        return Kind(np.dtype(f"{'i' if signed else 'u'}{tiff.bits(image) // 8}"), False, None)
    if mode == "F":
        return Kind(np.dtype(np.float32), False, None)
    raise UnusableError(f"its pixels are of mode {mode}; write 8-bit or 16-bit integers, grey or RGB")


def stored(image: Image.Image) -> Stored:
    """The values of an opened image.

    Palettes, CMYK and other spaces become RGB, transparency is dropped. 16-bit colour keeps its high byte.
    The orientation in EXIF is not followed: labels and crops were made on the stored pixels, and the common
    ImageNet readers do not follow it either.

    Raises:
        UnusableError: They are not of a mode that is read, or not finite.
    """
    kind = kind_of(image)
    remarks = tuple(_remarks(image, kind))
    if kind.dtype == np.uint8:
        whole = image.convert(image.mode[:-1] + "A") if image.mode in ("La", "RGBa") else image
        if image.mode not in ("L", "RGB"):
            whole = whole.convert("RGB" if image.mode in COLOR else "L")
        values: npt.NDArray[Any] = np.asarray(whole)
        return Stored(values if kind.color or values.ndim == 2 else values[..., 0], kind, remarks)
    values = np.asarray(image)
    values = values.astype(values.dtype.newbyteorder("="))
    # Pillow has no int8 and no uint32, and widens 16-bit integers with a sign: the bits are right.
    values = values.view(kind.dtype) if values.itemsize == kind.dtype.itemsize else values.astype(kind.dtype)
    if kind.inverted:
        values = np.asarray(kind.white - values, kind.dtype)
    if kind.dtype.kind == "f" and not np.isfinite(values).all():
        raise UnusableError("it has values that are not finite (NaN or infinite); replace them")
    return Stored(values, kind, remarks)


def to_uint8(image: Stored, window: Window | None) -> npt.NDArray[np.uint8]:
    """Stored values as grey levels or colours: uint8, (H, W) or (H, W, 3).

    Args:
        image: Its 8-bit values stay as they are.
        window: (low, high), which become 0 and 255; None: 0 to white.

    Raises:
        UnusableError: A window is needed, or cannot be followed.
    """
    check_window(image.kind, window)
    if image.kind.dtype == np.uint8:
        return image.values
    assert window is not None or image.kind.white is not None
    return window_to_uint8(image.values, window or (0.0, float(image.kind.white or 0)))


def check_window(kind: Kind, window: Window | None) -> None:
    """Refuse values that need a window, and a window that 16-bit colour cannot have.

    Raises:
        UnusableError: One of these.
    """
    if window is None and kind.white is None:
        word = "floating-point" if kind.dtype.kind == "f" else "signed or 32-bit"
        raise UnusableError(
            f"its values are {word} ({kind.dtype}), and no window says which are black and white"
        )
    if window is not None and kind.deep:
        raise UnusableError("it has 16 bits in each channel of colour, which no window is for; write 8 bits")


def _remarks(image: Image.Image, kind: Kind) -> list[Remark]:
    found = []
    # A TIFF's orientation is checked when it is opened.
    if not isinstance(image, TiffImageFile) and is_turned(image.info.get("exif") or b""):
        found.append(Remark.TURNED)
    if is_foreign(image.info.get("icc_profile") or b""):
        found.append(Remark.PROFILE)
    if _is_transparent(image):
        found.append(Remark.TRANSPARENT)
    if kind.deep:
        found.append(Remark.DEEP_COLOR)
    if image.info.get(COPIES):
        found.append(Remark.COPIES)
    return found


def is_turned(metadata: bytes) -> bool:
    """Whether EXIF's orientation says that the picture is to be turned or mirrored; not if it is damaged.

    Pillow's reader of EXIF takes a twentieth of the time of an image; this is the one entry of it.
    """
    start = len(_EXIF) if metadata.startswith(_EXIF) else 0
    order = {b"II": "<", b"MM": ">"}.get(metadata[start : start + 2])
    if order is None:
        return False
    try:
        directory = start + struct.unpack_from(order + "I", metadata, start + 4)[0]
        for entry in range(struct.unpack_from(order + "H", metadata, directory)[0]):
            tag, _, _, value = struct.unpack_from(order + "HHIH", metadata, directory + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return value not in (0, 1)
    except struct.error:
        return False
    return False


def is_foreign(profile: bytes) -> bool:
    """Whether a colour profile is of another space than sRGB, by the name that it holds."""
    return bool(profile) and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile


def _is_transparent(image: Image.Image) -> bool:
    if "transparency" in image.info:
        return True
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La"):
        return False
    return image.getchannel(len(image.getbands()) - 1).getextrema() != (255, 255)


def _raw_mode(image: Image.Image) -> str:
    """How the file's bytes are unpacked; after Pillow's names, such as RGB;16B."""
    for tile in getattr(image, "tile", []):
        arguments = tile[3]
        return str(arguments[0] if isinstance(arguments, tuple) else arguments)
    return ""
