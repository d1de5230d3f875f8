"""Opens image files with Pillow, with one set of checks for everything that reads them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from datamodules.faults import UnusableError

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
GREY_8_BIT = frozenset({"1", "L", "LA", "La"})
GREY_16_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
COLOR = frozenset({"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})

MOST_PIXELS = 89_478_485
"""Pillow's own limit: a quarter of a GiB in colour; ILSVRC2012's largest image has 20 million."""


@contextmanager
def open_image(file: str | BinaryIO, most_pixels: int | None = None) -> Iterator[Image.Image]:
    """Open an image file, and decode it in the block; use it inside of `quiet_pillow`.

    Args:
        file: JPEG, PNG, TIFF or BMP, by its content, whatever its name says.
        most_pixels: Largest number of pixels; `MOST_PIXELS` if None.

    Raises:
        UnusableError: It is not such an image, is damaged, has several pages or frames, or is too large. The
            text names no file: what Pillow says, which may, is not passed on.
    """
    most = MOST_PIXELS if most_pixels is None else most_pixels
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > most:
                raise UnusableError(
                    f"it says that it has {image.width} x {image.height} pixels; {most} are the most"
                )
            frames = getattr(image, "n_frames", 1) if image.format in ("PNG", "TIFF") else 1
            if frames > 1:
                raise UnusableError(f"it holds {frames} pages or frames; write one file per image")
            yield image
    except (UnusableError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnusableError(f"it is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from None
    except Image.DecompressionBombError:
        raise UnusableError(f"it says that it has more than {most} pixels") from None
    except FileNotFoundError:
        raise UnusableError("it is a link that leads nowhere, or was removed since it was listed") from None
    except PermissionError:
        raise UnusableError("it may not be read; change its permissions") from None
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


def _reason(error: Exception) -> str:
    # Pillow's decoders raise bare OSErrors with fixed texts; those of the system name the file.
    if type(error) is OSError and error.errno is None and error.filename is None:
        return str(error)
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
