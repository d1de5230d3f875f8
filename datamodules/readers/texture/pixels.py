"""The bytes of a texture database's image files, and their 8-bit pixels."""

import io
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.faults import UnusableError
from datamodules.pixels.decode import read_stored
from datamodules.pixels.image_file import MOST_BYTES, open_file, quiet_pillow, read_bytes
from datamodules.pixels.stored import Remark, to_uint8


def file_bytes(location: str, member: str | None) -> bytes:
    """The bytes of an image file, out of its zip and unpacked.

    Args:
        location: The file, or the zip that holds it.
        member: Its name in the zip, or None. Names that end in `.Z` (any case) are unpacked (Unix compress).

    Raises:
        UnusableError: It cannot be read, is damaged, empty or too large.
    """
    data = read_bytes(location, MOST_BYTES) if member is None else _member(location, member)
    if not data:
        raise UnusableError("it has zero bytes")
    if (member or location).upper().endswith(".Z"):
        data = _unpacked(data)
    if len(data) > MOST_BYTES:
        raise UnusableError(f"it has more than {MOST_BYTES:,} bytes")
    return data


def decoded(data: bytes) -> tuple[Image.Image, tuple[Remark, ...]]:
    """Decode an image to grey (mode L) or colour (RGB), and say what was passed over.

    Raises:
        UnusableError: It is not an image that can be used, is damaged, or needs a window.
    """
    with quiet_pillow():
        image = read_stored(data)
    return Image.fromarray(to_uint8(image, None)), image.remarks


def resized(image: Image.Image, box: tuple[int, int, int, int], size: int) -> npt.NDArray[np.uint8]:
    """A part of an image as (size, size) or (size, size, 3), bicubic and antialiased.

    Args:
        image: Grey or RGB.
        box: Left, top, right, bottom in pixels.
        size: Side of the result.
    """
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box=box), dtype=np.uint8)


def _member(location: str, member: str) -> bytes:
    try:
        with (
            open_file(location, 1 << 63) as stream,
            zipfile.ZipFile(stream) as archive,
            archive.open(member) as packed,
        ):
            return packed.read(MOST_BYTES + 1)
    except (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UnusableError(f"it cannot be taken out of its zip ({type(error).__name__})") from None
    except Exception as error:  # the damaged streams of zlib, bz2 and lzma have errors of their own
        if type(error).__name__ not in ("error", "LZMAError"):
            raise
        raise UnusableError("it cannot be taken out of its zip (damaged)") from None


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
