"""TIFF files, where Pillow reads them wrongly or does not say why it cannot: corrected, or refused.

Tags are those of TIFF 6.0.
"""

import re
import sys
from typing import Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from datamodules.faults import UnusableError

_SUBFILE, _BITS, _PHOTOMETRIC, _DESCRIPTION, _ORIENTATION, _CHANNELS = 254, 258, 262, 270, 274, 277
_PLANAR, _TILE_WIDTH, _TILE_LENGTH, _SAMPLE_FORMAT, _SUBSAMPLING = 284, 322, 323, 339, 530
_WHITE_IS_ZERO, _YCBCR = 0, 6
_SIGNED = 2
_COPY_OR_MASK = 0b101  # of _SUBFILE: a smaller copy of another page, or a mask of it
_NUMBERS = {1: "unsigned", _SIGNED: "signed", 3: "floating-point"}

# libtiff returns numbers in the machine's order, but Pillow (13.0) unpacks these as the file's: the bytes of
# compressed big-endian files are swapped.
_SWAPPED = {"I;16BS": "I;16S", "I;32BS": "I;32S", "F;32BF": "F;32F"}
_IMAGEJ_STACK = re.compile(r"ImageJ=.*^images=(?!1\s*$)\d+", re.S | re.M)


def corrected(image: TiffImageFile, most_pixels: int) -> bool:
    """Make an opened TIFF be decoded rightly.

    Args:
        image: Its first page is opened, and not decoded.
        most_pixels: Largest number of pixels of one of its tiles.

    Returns:
        Whether further pages are left out: smaller copies or masks of the first.

    Raises:
        UnusableError: It has several pages, or cannot be decoded rightly.
    """
    copies = _check_pages(image)
    tags = image.tag_v2
    if tags.get(_TILE_WIDTH, 1) * tags.get(_TILE_LENGTH, 1) > most_pixels:
        raise UnusableError(f"it says that one of its tiles has more than {most_pixels} pixels")
    if tags.get(_ORIENTATION, 1) != 1:
        raise UnusableError(
            f"it asks to be turned or mirrored (orientation {tags[_ORIENTATION]}), which programs follow or "
            "not; save it upright"
        )
    grey = tags.get(_CHANNELS, 1) == 1
    if grey and _PHOTOMETRIC not in tags:
        raise UnusableError("it does not say whether 0 is black or white (its photometric tag is missing)")
    if image.mode == "F" and tags[_PHOTOMETRIC] == _WHITE_IS_ZERO:
        raise UnusableError("its floating-point values have white at zero; save it with black at zero")
    if tags.get(_PLANAR, 1) == 2 and max(tags.get(_BITS, (1,))) > 8 and not grey:
        raise UnusableError("its 16-bit channels lie one behind the other; save them pixel by pixel")
    raw = image.info.get("compression", "raw") == "raw"
    if raw and tags.get(_PHOTOMETRIC) == _YCBCR and tuple(tags.get(_SUBSAMPLING, (2, 2))) != (1, 1):
        raise UnusableError("it holds YCbCr of reduced colour without compression; save it as RGB")
    if not raw and sys.byteorder == "little":
        _unswap(image)
    return copies


def is_signed(image: TiffImageFile) -> bool:
    """Whether its integers have a sign."""
    return bool(image.tag_v2.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED)


def bits(image: TiffImageFile) -> int:
    """Bits of a number."""
    return int(max(image.tag_v2.get(_BITS, (1,))))


def is_inverted(image: TiffImageFile) -> bool:
    """Whether 0 is white."""
    return bool(image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def unread(data: BinaryIO) -> str:
    """What a TIFF holds that Pillow does not open; empty where that cannot be told."""
    data.seek(0)
    head = data.read(8)
    if head[:4] == b"MM\0\x2b":
        return "it is a big-endian BigTIFF, which is not read; save it as an ordinary TIFF"
    if head[:4] not in (b"II*\0", b"MM\0*"):
        return ""
    try:
        tags = ImageFileDirectory_v2(head)
        data.seek(tags.next)
        tags.load(data)
        widths, formats = _all(tags.get(_BITS, 1)), _all(tags.get(_SAMPLE_FORMAT, 1))
        channels = int(tags.get(_CHANNELS, 1))
        number = _NUMBERS.get(formats[0], "undefined")
        turned = ", white at zero" if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else ""
    except Exception:  # damaged files make Pillow raise nearly anything
        return ""
    each = f" in each of {channels} channels" if channels > 1 else ""
    order = "big" if head[:2] == b"MM" else "little"
    return (
        f"it is a TIFF of {widths[0]}-bit {number} values{each} ({order}-endian{turned}), which is not read; "
        "save it as 8-bit or 16-bit integers or 32-bit floating point, black at zero"
    )


def _all(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (int(value),)


def _check_pages(image: TiffImageFile) -> bool:
    pages = image.n_frames
    for page in range(1, pages):
        image.seek(page)
        if not image.tag_v2.get(_SUBFILE, 0) & _COPY_OR_MASK:
            raise UnusableError(f"it holds {pages} pages or frames; write one file per image")
    if pages > 1:
        image.seek(0)
    if _IMAGEJ_STACK.match(str(image.tag_v2.get(_DESCRIPTION, ""))):
        raise UnusableError("it holds a stack of ImageJ; write one file per image")
    return pages > 1


def _unswap(image: TiffImageFile) -> None:
    image.tile = [_with_arguments(tile) for tile in image.tile]


def _with_arguments(tile: Any) -> Any:
    decoder, _, _, arguments = tile
    if decoder != "libtiff" or arguments[0] not in _SWAPPED:
        return tile
    right = (_SWAPPED[arguments[0]], *arguments[1:])
    return tile._replace(args=right) if hasattr(tile, "_replace") else (*tile[:3], right)
