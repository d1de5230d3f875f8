"""The bytes of a texture database's image files, and their 8-bit pixels."""

import io
import os
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.faults import UnusableError
from datamodules.pixels.image_file import COLOR, GREY_8_BIT, open_image, quiet_pillow

_MOST_PIXELS = 1 << 24  # 4096 x 4096; CUReT's are 640 x 480
MOST_BYTES = 1 << 26  # 64 MiB, packed or unpacked


def file_bytes(location: str, member: str | None) -> bytes:
    """The bytes of an image file, out of its zip and unpacked.

    Args:
        location: The file, or the zip that holds it.
        member: Its name in the zip, or None. Names that end in `.Z` (any case) are unpacked (Unix compress).

    Raises:
        UnusableError: It cannot be read, is damaged, empty or too large.
    """
    try:
        if member is None:
            size = os.stat(location).st_size
            if size > MOST_BYTES:
                raise UnusableError(f"it has {size:,} bytes, more than any image of the database")
            with open(location, "rb") as file:
                data = file.read(MOST_BYTES + 1)
        else:
            with zipfile.ZipFile(location) as archive, archive.open(member) as packed:
                data = packed.read(MOST_BYTES + 1)
    except OSError as error:
        raise UnusableError(f"it cannot be read ({error.strerror or type(error).__name__})") from None
    except (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UnusableError(f"it cannot be taken out of its zip ({type(error).__name__})") from None
    except Exception as error:  # the damaged streams of zlib, bz2 and lzma have errors of their own
        if type(error).__name__ not in ("error", "LZMAError"):
            raise
        raise UnusableError("it cannot be taken out of its zip (damaged)") from None
    if not data:
        raise UnusableError("it has zero bytes")
    if (member or location).upper().endswith(".Z"):
        data = _unpacked(data)
    if len(data) > MOST_BYTES:
        raise UnusableError(f"it has more than {MOST_BYTES:,} bytes")
    return data


def decoded(data: bytes) -> Image.Image:
    """Decode an image of 8 bits per channel, as grey (mode L) or colour (RGB); palettes and CMYK become RGB.

    Raises:
        UnusableError: It is not an image, is damaged or animated, has more than 8 bits, or is too large.
    """
    with quiet_pillow(), open_image(io.BytesIO(data), _MOST_PIXELS) as image:
        if image.mode not in GREY_8_BIT | COLOR or _has_deep_channels(image):
            raise UnusableError("it has more than 8 bits per channel; write 8-bit pixels")
        return image.convert("L" if image.mode in GREY_8_BIT else "RGB")


def resized(image: Image.Image, box: tuple[int, int, int, int], size: int) -> npt.NDArray[np.uint8]:
    """A part of an image as (size, size) or (size, size, 3), bicubic and antialiased.

    Args:
        image: Grey or RGB.
        box: Left, top, right, bottom in pixels.
        size: Side of the result.
    """
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box=box), dtype=np.uint8)


def _has_deep_channels(image: Image.Image) -> bool:
    """Pillow reads 16-bit colour as 8 bits without a word; the file's own header says so."""
    if image.format == "PNG":
        bits = [
            tile[3] for tile in getattr(image, "tile", []) if isinstance(tile[3], str)
        ]  # such as "RGB;16B"
        return any(";16" in mode for mode in bits)
    tags: Any = getattr(image, "tag_v2", {})
    depth = tags.get(258, ())  # BitsPerSample
    return any(bits > 8 for bits in (depth if isinstance(depth, tuple) else (depth,)))


class _Bounded(io.BytesIO):
    """Refuses to grow over the bound: LZW packs zeros 20,000 to 1."""

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > MOST_BYTES:
            raise OverflowError
        return super().write(data)


def _unpacked(data: bytes) -> bytes:
    import ncompress  # type: ignore[import-untyped]

    sink = _Bounded()
    try:
        ncompress.decompress(data, sink)
    except OverflowError:
        raise UnusableError(f"it unpacks to more than {MOST_BYTES:,} bytes") from None
    except ValueError:
        raise UnusableError("it is not a file of Unix compress, or damaged") from None
    return sink.getvalue()
