"""Image files decoded to uint8 pixels: the one way from a file to the pixels of an image of a domain."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.faults import UnusableError
from datamodules.pixels.image_file import MOST_PIXELS, check_size, open_image, read_bytes
from datamodules.pixels.jpeg import by_turbo, ordinary_frame
from datamodules.pixels.stored import Kind, Remark, Stored, kind_of, stored, to_uint8
from datamodules.pixels.window import Window
from datamodules.values.measure import Known, shows_color, stored_values

DECODE_VERSION = 2  # part of the data identity; raise it when the pixels change

_STEP = 8  # of the pixels that are looked at for colours


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
    kind: Kind

    @property
    def color(self) -> bool:
        """Whether it has three channels."""
        return self.kind.color

    @property
    def needs_window(self) -> bool:
        """Whether only a window says which of its values are black and white."""
        return self.kind.white is None


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: uint8, (H, W) or (H, W, 3).
        known: What is known of its file's values.
        remarks: What was passed over.
    """

    pixels: npt.NDArray[np.uint8]
    known: Known
    remarks: tuple[Remark, ...]


def read_header(location: str) -> Header:
    """Read an image file's size and the kind of its values.

    Raises:
        UnusableError: It is not an image that can be used.
    """
    with open_image(location) as image:
        return Header(image.width, image.height, kind_of(image))


def read_stored(data: bytes, most_pixels: int | None = None) -> Stored:
    """Decode an image file to the values that it stores; use it inside of `quiet_pillow`.

    An ordinary JPEG is decoded by libjpeg-turbo itself, to Pillow's bits in half the time. What that calls
    damaged, and all other files, are Pillow's, whose word is final.

    Args:
        data: The whole file.
        most_pixels: Largest number of pixels; `MOST_PIXELS` if None.

    Raises:
        UnusableError: It is not an image that can be used, or is damaged.
    """
    if not data:
        raise UnusableError("it has zero bytes; copy it again or remove it")
    frame = ordinary_frame(data)
    if frame is not None:
        check_size(frame.width, frame.height, most_pixels)
        quick = by_turbo(data, frame)
        if quick is not None:
            return quick
    with open_image(data, most_pixels) as image:
        slow = stored(image)
    return slow if frame is None else replace(slow, remarks=(Remark.BRIDGED, *slow.remarks))


def decode_file(location: str, reading: Reading) -> npt.NDArray[np.uint8]:
    """The pixels of `decode`."""
    return decode(location, reading).pixels


def decode(file: str | bytes, reading: Reading) -> Decoded:
    """Decode an image file.

    Grey from colour is ITU-R 601-2 luma; colour from grey is three copies. What becomes of palettes,
    transparency and orientation stands in `pixels.stored`. Resizing is Pillow's bicubic, antialiased, and the
    crop sits where torchvision's CenterCrop puts it.

    Args:
        file: Where it lies, or its content.
        reading: How to read it.

    Returns:
        uint8, (H, W), or (H, W, 3) if `reading.color`.

    Raises:
        UnusableError: It is not an image that can be used, or is damaged.
    """
    image = read_stored(read_bytes(file) if isinstance(file, str) else file)
    if reading.decode_size is not None:
        check_resized(image.values.shape[1], image.values.shape[0], reading.decode_size)
    pixels = in_channels(to_uint8(image, reading.window), color=reading.color)
    if reading.decode_size is not None:
        pixels = np.array(_resized_and_cropped(Image.fromarray(pixels), reading.decode_size))
    return decoded(image, pixels, reading.window)


def decoded(image: Stored, pixels: npt.NDArray[np.uint8], window: Window | None) -> Decoded:
    """What was made of an image's stored values, with what is to be known of them.

    Values below 0 that a window is for are taken as Hounsfield units.
    """
    values, white = image.values[None], image.kind.white
    if image.kind.dtype == np.uint8:
        colored = image.kind.color and bool(shows_color(values[:, ::_STEP, ::_STEP])[0])
        return Decoded(pixels, (None, colored), image.remarks)
    ends = window or (0.0, float(white or 0))
    (known,) = stored_values(values, ends, hounsfield=white is None and ends[0] < 0)
    return Decoded(pixels, (known, False), image.remarks)


def in_channels(pixels: npt.NDArray[np.uint8], *, color: bool) -> npt.NDArray[np.uint8]:
    """Pixels as grey, (H, W), by ITU-R 601-2 luma; or in colour, (H, W, 3), by three copies."""
    if (pixels.ndim == 3) == color:
        return pixels
    return np.asarray(Image.fromarray(pixels).convert("RGB" if color else "L"))


def check_resized(width: int, height: int, size: int) -> None:
    """Refuse a narrow strip that would grow with its shorter side.

    Raises:
        UnusableError: It would have more than `MOST_PIXELS` pixels.
    """
    pixels = width * height * size * size // min(width, height) ** 2
    if pixels > MOST_PIXELS:
        raise UnusableError(
            f"it has {pixels} pixels after resizing ({width} x {height}); {MOST_PIXELS} are the most"
        )


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
