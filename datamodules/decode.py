"""How does an image file become uint8 pixels?

One function, `decode_file`, does it for the cache and for streaming, so that both see the same pixels.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.errors import RelayError

DECODE_VERSION = 1  # part of the data identity; raise it when the pixels change
HOUNSFIELD_WINDOW = (-1000.0, 400.0)  # air to dense soft tissue; the paper gives no window

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
GREY_8_BIT = frozenset({"1", "L", "LA", "La"})
GREY_16_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
COLOR = frozenset({"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_BLOCK = 32  # files a task of the thread pool: enough to hide the cost of handing it out
_T = TypeVar("_T")


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        decode_size: Shorter side in pixels after resizing, then centre crop; None keeps the file's pixels.
        window: (low, high) of grey values mapped to 0..255, for files of more than 8 bits.
        color: Whether the result has three channels.
    """

    decode_size: int | None
    window: tuple[float, float] | None
    color: bool


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says before its pixels are decoded; sizes in pixels."""

    width: int
    height: int
    color: bool
    needs_window: bool


class _UnreadableImageError(Exception):
    """Why a file is not an image that can be used."""


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


def window_to_uint8(
    pixels: npt.NDArray[np.generic], window: tuple[float, float] | None
) -> npt.NDArray[np.uint8]:
    """Map grey values linearly to 0..255, low and below to 0, high and above to 255.

    Args:
        pixels: Any shape. uint8 is returned as it is.
        window: (low, high); None is 0..65535 for uint16 and -1000..400 (Hounsfield units) for int16.

    Returns:
        uint8 of the same shape, rounded to nearest.
    """
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, dtype=np.uint8)
    low, high = window or (HOUNSFIELD_WINDOW if pixels.dtype.kind == "i" else (0.0, 65535.0))
    scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    levels: npt.NDArray[np.uint8] = np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)
    return levels


@dataclass(frozen=True)
class ImageFiles:
    """Images that stay on disk and are decoded when asked for; small enough to be sent to workers.

    Attributes:
        locations: Where the files lie.
        reading: How they are read.
        shape: Of each decoded image: (H, W) or (H, W, 3).
    """

    locations: tuple[str, ...]
    reading: Reading
    shape: tuple[int, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.locations)

    def gather(self, indices: Sequence[int], threads: int = 1) -> npt.NDArray[np.uint8]:
        """Decode some images.

        Args:
            indices: Which ones.
            threads: Pillow decodes without the GIL, so that threads help; workers of a loader take one.

        Returns:
            uint8, (len(indices), *shape).

        Raises:
            RelayError: Files cannot be read; names the first, why, and how many more.
        """
        images = np.empty((len(indices), *self.shape), dtype=np.uint8)
        locations = [self.locations[index] for index in indices]

        def decode(position: int) -> None:
            pixels = decode_file(locations[position], self.reading)
            if pixels.shape != self.shape:
                raise _UnreadableImageError(f"it has shape {pixels.shape}, the first image {self.shape}")
            images[position] = pixels

        _for_each(locations, decode, threads)
        return images


def read_headers(locations: Sequence[str], threads: int) -> list[Header]:
    """Read the headers of all files.

    Raises:
        RelayError: Files cannot be read; names the first, why, and how many more.
    """
    return _for_each(locations, lambda position: read_header(locations[position]), threads)


def _for_each(locations: Sequence[str], work: Callable[[int], _T], threads: int) -> list[_T]:
    failures: list[tuple[int, str]] = []

    def block(positions: range) -> list[_T]:
        results = []
        for position in positions:
            try:
                results.append(work(position))
            except MemoryError:
                raise
            except Exception as error:  # damaged files make Pillow raise nearly anything
                failures.append((position, str(error) or type(error).__name__))
        return results

    blocks = [range(i, min(i + _BLOCK, len(locations))) for i in range(0, len(locations), _BLOCK)]
    with _pillow_warnings_handled():
        if threads == 1:
            results = [block(positions) for positions in blocks]
        else:
            with ThreadPoolExecutor(threads) as pool:
                results = list(pool.map(block, blocks))
    if failures:
        failures.sort()
        position, reason = failures[0]
        more = f" {len(failures) - 1} more cannot be read either." if len(failures) > 1 else ""
        raise RelayError(
            f"image {locations[position]} cannot be read: {reason}.{more} "
            "Replace or remove what cannot be read."
        )
    return [result for results_of_block in results for result in results_of_block]


@contextmanager
def _pillow_warnings_handled() -> Iterator[None]:
    # Filters are global to the process: set once around the pool, not by each of its threads.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
        yield


@contextmanager
def _opened(location: str) -> Iterator[Image.Image]:
    with Image.open(location, formats=FORMATS) as image:
        if image.mode not in GREY_8_BIT | GREY_16_BIT | COLOR | {"I"}:
            raise _UnreadableImageError(
                f"its pixels are of mode {image.mode}; write 8-bit or 16-bit integers"
            )
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        if pages > 1:
            raise _UnreadableImageError(f"it holds {pages} pages; write one file a page")
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
