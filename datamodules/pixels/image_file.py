"""Opens image files with Pillow, with one set of checks for everything that reads them."""

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from datamodules.faults import UnusableError
from datamodules.pixels.formats import FORMATS, HEAD, described
from datamodules.pixels.jpeg_header import jpeg_frame
from datamodules.pixels.tiff import corrected, unread

GREY_8_BIT = frozenset({"1", "L", "LA", "La"})
GREY_16_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
COLOR = frozenset({"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})

MOST_PIXELS = 89_478_485
"""Pillow's own limit: a quarter of a GiB in colour; ILSVRC2012's largest image has 20 million."""

MOST_BYTES = 1 << 29
"""Largest image file, half a GiB: `MOST_PIXELS` in colour, not compressed, are half of it."""

_JPEG_HEAD = 1 << 20  # bytes that hold a JPEG's frame header, behind its metadata

COPIES = "relay_copies"
"""Key of an opened image's `info`: set where smaller copies of it, or masks, follow in the file."""


def read_bytes(location: str, most_bytes: int | None = None) -> bytes:
    """The content of an image file.

    Raises:
        UnusableError: As `open_file`.
    """
    try:
        with _opened_file(location, most_bytes) as stream:
            return stream.read()
    except OSError as error:
        raise UnusableError(_said(error)) from None


@contextmanager
def open_file(location: str, most_bytes: int | None = None) -> Iterator[BinaryIO]:
    """Open an ordinary file; its size is checked before it is read, and a pipe is not waited for.

    Args:
        location: Where it lies.
        most_bytes: Its largest size; `MOST_BYTES` if None.

    Raises:
        UnusableError: It is not an ordinary file of that size, or cannot be read, also in the block. The text
            names no file.
    """
    try:
        with _opened_file(location, most_bytes) as stream:
            yield stream
    except OSError as error:
        raise UnusableError(_said(error)) from None


def _opened_file(location: str, most_bytes: int | None) -> BinaryIO:
    most = MOST_BYTES if most_bytes is None else most_bytes
    status = os.stat(location)
    if not stat.S_ISREG(status.st_mode):
        raise UnusableError("it is not an ordinary file, but a folder, pipe, socket or device; remove it")
    if status.st_size == 0:
        raise UnusableError("it has zero bytes; copy it again or remove it")
    if status.st_size > most:
        raise UnusableError(f"it has {status.st_size:,} bytes; {most:,} are the most")
    return open(location, "rb")


def _said(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is a link that leads nowhere, or was removed since it was listed"
    if isinstance(error, PermissionError):
        return "it may not be read; change its permissions"
    return f"it cannot be read: {error.strerror or type(error).__name__}"


@contextmanager
def open_image(file: str | bytes, most_pixels: int | None = None) -> Iterator[Image.Image]:
    """Open an image file, and decode it in the block; use it inside of `quiet_pillow`.

    Args:
        file: Where it lies, or its content: JPEG, PNG, TIFF or BMP, whatever its name says.
        most_pixels: Largest number of pixels; `MOST_PIXELS` if None.

    Raises:
        UnusableError: It is not such an image, is damaged, has several pages or frames, is too large, or is
            a TIFF that Pillow does not read rightly. The text names no file: what Pillow says, which may, is
            not passed on.
    """
    if isinstance(file, str):
        with open_file(file) as stream, _opened(stream, most_pixels) as image:
            yield image
    else:
        with _opened(io.BytesIO(file), most_pixels) as image:
            yield image


def check_size(width: int, height: int, most_pixels: int | None = None) -> None:
    """Refuse an image by the size that it says it has.

    Raises:
        UnusableError: It has no pixels, or more than `most_pixels` (`MOST_PIXELS` if None).
    """
    most = MOST_PIXELS if most_pixels is None else most_pixels
    if width * height > most:
        raise UnusableError(f"it says that it has {width} x {height} pixels; {most} are the most")
    if not width * height:
        raise UnusableError(f"it says that it has {width} x {height} pixels")


@contextmanager
def _opened(stream: BinaryIO, most_pixels: int | None) -> Iterator[Image.Image]:
    most = MOST_PIXELS if most_pixels is None else most_pixels
    try:
        with Image.open(stream, formats=FORMATS) as image:
            check_size(image.width, image.height, most)
            if isinstance(image, TiffImageFile):
                image.info[COPIES] = corrected(image, most)
            elif image.format == "PNG" and (frames := getattr(image, "n_frames", 1)) > 1:
                raise UnusableError(f"it holds {frames} pages or frames; write one file per image")
            yield image
    except (UnusableError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnusableError(_unidentified(stream)) from None
    except Image.DecompressionBombError:
        raise UnusableError(f"it says that it has more than {most} pixels") from None
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise UnusableError(f"its pixels cannot be decoded ({_reason(error)})") from None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings, which are about metadata and about sizes that `open_image` checks.

    Filters are global to the process: set them once around threads, not in each.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        yield


def _unidentified(stream: BinaryIO) -> str:
    stream.seek(0)
    head = stream.read(_JPEG_HEAD)
    frame = jpeg_frame(head)
    if frame is not None and frame.precision != 8:
        return f"it is a JPEG of {frame.precision} bits; write it as PNG or TIFF of 16 bits"
    return unread(stream) or described(head[:HEAD])


def _reason(error: Exception) -> str:
    # Pillow's decoders raise bare OSErrors with fixed texts; those of the system name the file.
    if type(error) is OSError and error.errno is None and error.filename is None:
        return str(error)
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
