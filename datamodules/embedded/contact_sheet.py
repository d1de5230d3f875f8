"""Contact sheets of the embedded domains: `python -m datamodules.embedded.contact_sheet OUT_DIR [NAME ...]`.

Writes OUT_DIR/NAME.png for each domain, by default natural, texture and dld: a row a class with its
name and samples of the training side, for people to judge what the networks are trained on.
"""

import argparse
import importlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from datamodules.domain import Domain
from stages.errors import RelayError

CLASSES = {"natural": 10, "texture": 20, "dld": 7}
"""Classes of each embedded domain by default."""

HU_WINDOW = (-1000.0, 400.0)
"""Hounsfield units shown as black and as white."""

_SIZES = {"natural": 96, "texture": 96, "dld": 32}
_DRAWN = {"natural": 8, "texture": 8, "dld": 80}  # training images a class; rare patterns of dld need more
_PIXELS = 500_000  # of all samples on a sheet; keeps the file small enough for a repository
_LIMIT = 290_000  # bytes of a file; colours are given up until it is kept
_GAP = 4
_LABEL_WIDTH = 120


def contact_sheet(domain: Domain, columns: int = 8) -> Image.Image:
    """Lay out samples of the training side.

    Args:
        domain: uint8 or uint16 images, or int16 in Hounsfield units, grey or RGB.
        columns: samples a class; fewer are shown of a class that has fewer.

    Returns:
        An RGB image, a row a class, the class's name at its left.
    """
    tile = min(96, int((_PIXELS / columns / len(domain.classes)) ** 0.5))
    step = tile + _GAP
    size = (_LABEL_WIDTH + columns * step, len(domain.classes) * step + _GAP)
    sheet = Image.new("RGB", size, (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    images = domain.train.images
    assert isinstance(images, np.ndarray)
    for label, name in enumerate(domain.classes):
        top = _GAP + label * step
        draw.text((_GAP, top + tile // 2), name, fill=(0, 0, 0), font=font, anchor="lm")
        for column, index in enumerate(np.flatnonzero(domain.train.labels == label)[:columns]):
            sample = Image.fromarray(_visible(images[index])).convert("RGB")
            sample = sample.resize((tile, tile), Image.Resampling.BICUBIC)
            sheet.paste(sample, (_LABEL_WIDTH + column * step, top))
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a PNG with a palette of 256 colours, or of fewer where the file would be too large."""
    for colours in (256, 128, 64, 32, 16):
        buffer = io.BytesIO()
        reduced = sheet.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(buffer, "png", optimize=True)
        if buffer.tell() <= _LIMIT:
            break
    path.write_bytes(buffer.getvalue())


def _visible(image: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """An image as bytes, shape kept."""
    if image.dtype == np.uint8:
        return image.astype(np.uint8)
    low, high = HU_WINDOW if image.dtype == np.int16 else (0.0, 65535.0)
    grey = (image.astype(np.float64) - low) / (high - low)
    return (np.clip(grey, 0, 1) * 255 + 0.5).astype(np.uint8)


def generate_domain(name: str, seed: int = 0) -> Domain:
    """A small draw of an embedded domain, enough for a sheet.

    Raises:
        RelayError: if there is no such domain.
    """
    if name not in CLASSES:
        raise RelayError(f"There is no embedded domain {name!r}; choose from {', '.join(CLASSES)}.")
    # Imported by name, so that a sheet of one domain needs none of the others.
    module = importlib.import_module(f"datamodules.embedded.{name}")
    classes = CLASSES[name]
    domain: Domain = module.generate(
        classes=classes,
        train_images=_DRAWN[name] * classes,
        val_images=2 * classes,
        size=_SIZES[name],
        seed=seed,
    )
    return domain


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sheets that the command line asks for.

    Raises:
        RelayError: if a domain is unknown.
    """
    parser = argparse.ArgumentParser(description="Write contact sheets of the embedded domains.")
    parser.add_argument("out_dir", type=Path, help="folder of the sheets, made if it does not exist")
    parser.add_argument("names", nargs="*", help=f"domains, by default {' '.join(CLASSES)}")
    options = parser.parse_args(arguments)
    options.out_dir.mkdir(parents=True, exist_ok=True)
    for name in options.names or CLASSES:
        save_sheet(contact_sheet(generate_domain(name)), options.out_dir / f"{name}.png")


if __name__ == "__main__":
    main()
