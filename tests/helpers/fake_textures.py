"""Tiny texture databases as their providers ship them."""

import io
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from datamodules.readers.texture.names import KTH_TIPS_MATERIALS

Form = Literal["bmp", "bmp.Z", "zip", "zip of .Z"]
CONDITIONS = ("01-01", "01-02", "12-45", "55-04")


def curet_picture(
    seed: int, side: int = 240, lean: float = 0.0, shape: tuple[int, int] = (480, 640)
) -> npt.NDArray[np.uint8]:
    """A sheet of texture before a dark background, (480, 640, 3); `lean` shears it, as a tilt does."""
    rng = np.random.default_rng(seed)
    height, width = shape
    texture = 120 + 60 * gaussian_filter(rng.normal(size=shape), 2) / 0.14
    texture[rng.random(shape) < 0.01] = 5  # pits as dark as the background
    rows, columns = np.mgrid[:height, :width]
    y, x = rows - height / 2, columns - width / 2
    inside = (np.abs(y) < side / 2) & (np.abs(x - lean * y) < side / 2)
    grey = np.where(inside, texture, 8 + 3 * rng.normal(size=shape))
    return np.clip(grey[..., None] * (1.0, 0.9, 0.8), 0, 255).astype(np.uint8)


def curet(
    root: Path,
    form: Form = "bmp",
    materials: Sequence[int] = (1, 2, 3),
    conditions: Sequence[str] = CONDITIONS,
    side: int = 240,
) -> Path:
    """The full Columbia release: `sampleNN/NN-VV-MM.bmp`, or `sampleNN.zip`; each image another."""
    for material in materials:
        files = {}
        for place, condition in enumerate(conditions):
            name = f"{material:02d}-{condition}.bmp"
            packed = form.endswith("Z")
            files[f"{name}.Z" if packed else name] = _curet_file(100 * material + place, side, packed)
        if form.startswith("zip"):
            root.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(
                root / f"sample{material:02d}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1
            ) as archive:
                for name, content in files.items():
                    archive.writestr(f"sample{material:02d}/{name}", content)
        else:
            folder = root / f"sample{material:02d}"
            folder.mkdir(parents=True)
            for name, content in files.items():
                (folder / name).write_bytes(content)
    return root


@cache
def _curet_file(seed: int, side: int, packed: bool) -> bytes:
    content = as_bmp(curet_picture(seed, side))
    return compress(content) if packed else content


def oxford(
    root: Path, materials: Sequence[int] = (1, 2, 3), images: Sequence[int] = (2, 7, 120), color: bool = False
) -> Path:
    """The Oxford crops: `sampleNN/NN-III.png`, 40x40 instead of 200x200."""
    for material in materials:
        for place, image in enumerate(images):
            pixels = _noise(1000 * material + place, (40, 40, 3) if color else (40, 40))
            save(root / f"sample{material:02d}" / f"{material:02d}-{image:03d}.png", pixels)
    return root


def kth_tips(root: Path, scales: int = 2, images: int = 3, color: bool = False) -> Path:
    """KTH-TIPS: `CLASS/NN-scale_S_im_I_grey.png` (`_col` in colour), all ten classes, wider than high."""
    for name, number in KTH_TIPS_MATERIALS.items():
        for scale in range(1, scales + 1):
            for image in range(1, images + 1):
                pixels = _noise(10_000 * number + 100 * scale + image, (30, 44, 3) if color else (30, 44))
                suffix = "col" if color else "grey"
                save(root / name / f"{number:02d}-scale_{scale}_im_{image}_{suffix}.png", pixels)
    return root


def save(path: Path, pixels: npt.NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def as_bmp(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()


def compress(data: bytes, most_bits: int = 16) -> bytes:
    """Unix compress in block mode, written from the format's description; never clears its table."""
    table: dict[int, int] = {}  # a string's code and one more byte, to the code of both
    following = 257  # 256 clears the table
    width, group = 9, []
    bits, filled = 0, 0
    packed = bytearray(b"\x1f\x9d" + bytes([0x80 | most_bits]))

    def flush(codes: list[int]) -> None:
        # Codes of one width come in groups of 8; the last group of a width is filled up.
        nonlocal bits, filled
        for code in codes:
            bits |= code << filled
            filled += width
        while filled >= 8:
            packed.append(bits & 255)
            bits, filled = bits >> 8, filled - 8

    prefix: int | None = data[0] if data else None
    for value in data[1:]:
        longer = prefix << 8 | value
        if longer in table:
            prefix = table[longer]
            continue
        group.append(prefix)
        if len(group) == 8:
            flush(group)
            group = []
        if following < 1 << most_bits:
            table[longer] = following
            following += 1
            if following > 1 << width and width < most_bits:
                if group:
                    flush(group + [0] * (8 - len(group)))
                    group = []
                width += 1
        prefix = value
    if prefix is not None:
        group.append(prefix)
    flush(group)
    if filled:
        packed.append(bits & 255)
    return bytes(packed)


def _noise(seed: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
