"""Image files (TIFF, PNG, JPEG, BMP) as slices and label masks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.faults import UnusableError
from datamodules.pixels.image_file import GREY_16_BIT, open_image, quiet_pillow
from datamodules.pixels.stored import kind_of, stored

Depth = Literal["8-bit", "16-bit signed", "16-bit unsigned", "32-bit", "fractions"]
Spacing = tuple[float, float]
Slice = npt.NDArray[np.int16] | npt.NDArray[np.uint8]

_DEPTHS: dict[str, Depth] = {
    "int16": "16-bit signed", "uint16": "16-bit unsigned", "int32": "32-bit", "float32": "fractions",
}  # fmt: skip
_ROUNDING = 8  # grey levels between the channels of a grey picture that was saved as a JPEG in colour


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says before its pixels are decoded: (H, W), and how they are stored."""

    shape: tuple[int, int]
    depth: Depth


def read_image_header(location: str) -> ImageHeader:
    """Read the size and depth of a slice.

    Raises:
        UnusableError: It is not an image that can be a slice.
    """
    with _opened(location) as image:
        return ImageHeader((image.height, image.width), _depth(image))


def read_slice_image(location: str, unsigned_offset: int | None) -> Slice:
    """Decode a slice.

    Args:
        location: The file.
        unsigned_offset: What is added to unsigned 16-bit values to make them Hounsfield units, such as -1024
            or -32768; PNG has no signed values, and the file does not say what was added when it was written.

    Returns:
        (H, W): int16, Hounsfield units, or uint8 from an 8-bit file, which holds none: grey, or with three
        equal channels.

    Raises:
        UnusableError: It is not an image that can be a slice, is damaged, has unsigned 16-bit values while
            `unsigned_offset` is None, or has values beyond 16 bits.
    """
    with _opened(location) as image:
        depth = _depth(image)
        if depth == "8-bit":
            return _grey(image)
        values: npt.NDArray[np.int64] = np.rint(stored(image).values).astype(np.int64)
    if depth == "16-bit unsigned":
        if unsigned_offset is None:
            raise UnusableError(
                "its values are 16-bit without a sign; set unsigned_offset to what is added to make them "
                "Hounsfield units, such as -1024 or -32768"
            )
        values += unsigned_offset
    limits = np.iinfo(np.int16)
    if values.min() < limits.min or values.max() > limits.max:
        raise UnusableError(
            f"its Hounsfield units reach from {values.min()} to {values.max()}, beyond 16 bits; check "
            "unsigned_offset"
        )
    return values.astype(np.int16)


def read_mask(location: str, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Read a label mask: whole numbers, 0 outside; of a palette image, the numbers of the colours.

    Args:
        location: The file.
        shape: (H, W) of its slice.

    Raises:
        UnusableError: It is not an image, is damaged, is in colour (not grey saved as RGB), or has another
            size than its slice.
    """
    with _opened(location) as image:
        if image.format == "JPEG":
            raise UnusableError("its mask is a JPEG file, which blurs labels; save it as PNG or TIFF")
        plain = _one_channel(image)
        if plain.mode not in GREY_16_BIT | {"1", "L", "P", "I"}:
            raise UnusableError(
                f"its mask has pixels of mode {image.mode}; save one whole number per pixel (grey or palette)"
            )
        if (image.height, image.width) != shape:
            raise UnusableError(
                f"its mask has {image.height} x {image.width} pixels, the slice {shape[0]} x {shape[1]}"
            )
        values: npt.NDArray[np.int32] = np.array(plain).astype(np.int32)
        return values


def _one_channel(image: Image.Image) -> Image.Image:
    """A channel of an image in colour whose channels are equal; any other image as it is."""
    if image.mode != "RGB" or kind_of(image).deep:
        return image
    channels = np.asarray(image)
    return image.getchannel(0) if (channels == channels[..., :1]).all() else image


def mask_colours(location: str) -> dict[int, tuple[int, ...]] | None:
    """The colour (red, green, blue) of each value of a palette mask; None of one without a palette.

    Raises:
        UnusableError: It is not an image, or is damaged.
    """
    with _opened(location) as image:
        palette = image.getpalette("RGB") if image.mode == "P" else None
        if palette is None:
            return None
        return {value: tuple(palette[3 * value : 3 * value + 3]) for value in range(len(palette) // 3)}


def resample(image: Slice, spacing: Spacing, mm_per_pixel: float) -> Slice:
    """Resize a slice to square pixels of a given size.

    Bicubic, antialiased where it becomes smaller (Pillow's), rounded. What does not fill a last pixel is left
    out, so that the scale is exact.

    Args:
        image: (H, W).
        spacing: mm between rows and between columns.
        mm_per_pixel: The new spacing.

    Returns:
        floor(H * spacing[0] / mm_per_pixel) rows and as many columns likewise, of the image's type.
    """
    size, box = _new_size(image.shape, spacing, mm_per_pixel)
    plane = Image.fromarray(image.astype(np.float32))
    values = np.asarray(plane.resize(size, Image.Resampling.BICUBIC, box=box))
    limits = np.iinfo(image.dtype)
    resized: Slice = np.clip(np.rint(values), limits.min, limits.max).astype(image.dtype)
    return resized


def resample_labels(
    labels: npt.NDArray[np.int32], spacing: Spacing, mm_per_pixel: float
) -> npt.NDArray[np.int32]:
    """Resize labels (H, W) to the grid of `resample`: each pixel has the label that lies at its centre."""
    size, box = _new_size(labels.shape, spacing, mm_per_pixel)
    rows = ((np.arange(size[1]) + 0.5) * (box[3] / size[1])).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * (box[2] / size[0])).astype(int)
    resized: npt.NDArray[np.int32] = labels[np.ix_(rows, columns)]
    return resized


def _new_size(
    shape: tuple[int, ...], spacing: Spacing, mm_per_pixel: float
) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    scales = [step / mm_per_pixel for step in spacing]
    height, width = (int(length * scale + 1e-6) for length, scale in zip(shape, scales, strict=True))
    if min(height, width) < 1:
        raise UnusableError(f"at {mm_per_pixel:g} mm a pixel nothing is left of it; check mm_per_pixel")
    box = (0.0, 0.0, min(width / scales[1], shape[1]), min(height / scales[0], shape[0]))
    return (width, height), box


def _depth(image: Image.Image) -> Depth:
    kind = kind_of(image)
    if kind.deep:
        raise UnusableError("its channels have 16 bits each, of which 8 can be read; save it as 16-bit grey")
    if kind.dtype.name in _DEPTHS:
        return _DEPTHS[kind.dtype.name]
    if kind.dtype != np.uint8:
        raise UnusableError(
            f"its values are {kind.dtype}; a slice has 8 bits, 16 with or without a sign, or Hounsfield "
            "units as int32 or float32"
        )
    if image.mode in ("1", "L", "LA", "RGB", "RGBA") or (
        image.mode == "P" and _is_grey(image.convert("RGB"))
    ):
        return "8-bit"
    raise UnusableError(
        f"its pixels are of mode {image.mode}; a slice is grey, 8-bit or 16-bit, without palette or "
        "transparency"
    )


def _grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    """An 8-bit image as grey levels, (H, W).

    Raises:
        UnusableError: It is in colour, or transparent.
    """
    if "A" in image.getbands() and image.getchannel("A").getextrema() != (255, 255):
        raise UnusableError("it is transparent in places; save it as plain grey")
    if image.mode != "P" and "R" in image.getbands() and not _is_grey(image.convert("RGB")):
        raise UnusableError(
            "it is in colour, and a slice is grey: export it without colour maps, marks and annotations"
        )
    return np.array(image.convert("L"))


def _is_grey(image: Image.Image) -> bool:
    """Whether red, green and blue are equal, but for what JPEG's rounding makes of them."""
    channels = np.asarray(image).astype(np.int16)
    return int((channels.max(-1) - channels.min(-1)).max()) <= _ROUNDING


@contextmanager
def _opened(location: str) -> Iterator[Image.Image]:
    with quiet_pillow(), open_image(location) as image:
        if kind_of(image).inverted:
            raise UnusableError("its 16-bit values have white at zero; save it with black at zero")
        yield image
