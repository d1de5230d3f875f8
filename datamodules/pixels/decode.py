"""Image files decoded to uint8 pixels: `decode_file` serves the cache and streaming, with the same result."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.faults import UnusableError
from datamodules.pixels.image_file import COLOR, GREY_8_BIT, GREY_16_BIT, open_image
from datamodules.pixels.window import Window, window_to_uint8

DECODE_VERSION = 1  # part of the data identity; raise it when the pixels change


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
    """Read an image file's size and mode.

    Raises:
        UnusableError: It is not an image that can be used.
    """
    with open_image(location) as image:
        _check_mode(image)
        return Header(image.width, image.height, image.mode in COLOR, image.mode == "I")


def decode_file(file: str | BinaryIO, reading: Reading) -> npt.NDArray[np.uint8]:
    """Decode an image file.

    Grey from colour is ITU-R 601-2 luma; colour from grey is three copies. Palettes, CMYK and other spaces
    become RGB, transparency is dropped. 16-bit colour keeps its high byte. The orientation in EXIF is
    ignored: labels and crops were made on the stored pixels, and the common ImageNet readers ignore it too.
    Resizing is Pillow's bicubic, antialiased, and the crop sits where torchvision's CenterCrop puts it.

    Args:
        file: Where it lies, or its content.
        reading: How to read it.

    Returns:
        uint8, (H, W), or (H, W, 3) if `reading.color`.

    Raises:
        UnusableError: It is not an image that can be used, or is damaged.
    """
    with open_image(file) as image:
        return to_uint8(image, reading)


def to_uint8(opened: Image.Image, reading: Reading) -> npt.NDArray[np.uint8]:
    """An opened image as `decode_file` gives it.

    Raises:
        UnusableError: Its pixels are not 8-bit or 16-bit integers.
    """
    _check_mode(opened)
    image = opened
    if image.mode in GREY_16_BIT or image.mode == "I":
        image = Image.fromarray(window_to_uint8(np.asarray(image), reading.window))
    image = image.convert("RGB" if reading.color else "L")
    if reading.decode_size is not None:
        image = _resized_and_cropped(image, reading.decode_size)
    return np.array(image)


def _check_mode(image: Image.Image) -> None:
    if image.mode not in GREY_8_BIT | GREY_16_BIT | COLOR | {"I"}:
        raise UnusableError(f"its pixels are of mode {image.mode}; write 8-bit or 16-bit integers")


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
