"""Image files decoded to uint8 pixels: `decode_file` serves the cache and streaming, with the same result."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.faults import UnusableError
from datamodules.pixels.window import Window, window_to_uint8

DECODE_VERSION = 1  # part of the data identity; raise it when the pixels change

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
GREY_8_BIT = frozenset({"1", "L", "LA", "La"})
GREY_16_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
COLOR = frozenset({"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        decode_size: Shorter side in pixels after resizing, then centre crop; None keeps the file's pixels.
        window: (low, high) of grey values mapped to 0..255, for files of more than 8 bits.
        color: Whether the result has three channels.
    """

    decode_size: int | None
    window: Window | None
    color: bool


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says before its pixels are decoded; sizes in pixels."""

    width: int
    height: int
    color: bool
    needs_window: bool


def read_header(location: str) -> Header:
    """Read an image file's size and mode."""
    with _opened(location) as image:
        return Header(image.width, image.height, image.mode in COLOR, image.mode == "I")


def decode_file(location: str, reading: Reading) -> npt.NDArray[np.uint8]:
    """Decode an image file.

    Grey from colour is ITU-R 601-2 luma; colour from grey is three copies. Palettes, CMYK and other spaces
    become RGB, transparency is dropped. 16-bit colour keeps its high byte. The orientation in EXIF is
    ignored: labels and crops were made on the stored pixels, and the common ImageNet readers ignore it too.
    Resizing is Pillow's bicubic, antialiased, and the crop sits where torchvision's CenterCrop puts it.

    Args:
        location: The file.
        reading: How to read it.

    Returns:
        uint8, (H, W), or (H, W, 3) if `reading.color`.
    """
    with _opened(location) as opened:
        image: Image.Image = opened
        if image.mode in GREY_16_BIT or image.mode == "I":
            image = Image.fromarray(window_to_uint8(np.asarray(image), reading.window))
        image = image.convert("RGB" if reading.color else "L")
        if reading.decode_size is not None:
            image = _resized_and_cropped(image, reading.decode_size)
        return np.array(image)


@contextmanager
def _opened(location: str) -> Iterator[Image.Image]:
    with Image.open(location, formats=FORMATS) as image:
        if image.mode not in GREY_8_BIT | GREY_16_BIT | COLOR | {"I"}:
            raise UnusableError(f"its pixels are of mode {image.mode}; write 8-bit or 16-bit integers")
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        if pages > 1:
            raise UnusableError(f"it holds {pages} pages; write one file a page")
        yield image


def _resized_and_cropped(image: Image.Image, size: int) -> Image.Image:
    (width, height), (left, top) = crop_geometry(*image.size, size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return image.crop((left, top, left + size, top + size))


def crop_geometry(width: int, height: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where torchvision's Resize and CenterCrop put an image whose shorter side becomes `size`.

    Returns:
        (width, height) after resizing; (left, top) of the crop in it.
    """
    shorter = min(width, height)
    resized = (int(size * width / shorter), int(size * height / shorter))
    return resized, (round((resized[0] - size) / 2.0), round((resized[1] - size) / 2.0))
