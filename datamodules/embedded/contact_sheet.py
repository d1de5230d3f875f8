"""Contact sheets of the embedded domains: `python -m datamodules.embedded.contact_sheet OUT_DIR [NAME ...]`.

Writes OUT_DIR/NAME.png for each domain, by default natural, texture and dld: a row a class with its
name and samples of the training side, for people to judge what the networks are trained on.
"""

import argparse
import importlib
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
_TILE = 96  # samples are shown at least this large
_GAP = 4
_LABEL_WIDTH = 120


def contact_sheet(domain: Domain, columns: int = 10) -> Image.Image:
    """Lay out samples of the training side.

    Args:
        domain: uint8 or uint16 images, or int16 in Hounsfield units, grey or RGB.
        columns: samples a class; fewer are shown of a class that has fewer.

    Returns:
        An image of 256 colours, a row a class, the class's name at its left.
    """
    height, width = domain.train.images.shape[1:3]
    factor = max(1, round(_TILE / max(height, width)))
    step_x, step_y = factor * width + _GAP, factor * height + _GAP
    sheet = Image.new(
        "RGB", (_LABEL_WIDTH + columns * step_x, len(domain.classes) * step_y + _GAP), (255, 255, 255)
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for label, name in enumerate(domain.classes):
        top = _GAP + label * step_y
        draw.text((_GAP, top + (step_y - _GAP) // 2), name, fill=(0, 0, 0), font=font, anchor="lm")
        for column, index in enumerate(np.flatnonzero(domain.train.labels == label)[:columns]):
            tile = Image.fromarray(_visible(domain.train.images[index])).convert("RGB")
            tile = tile.resize((factor * width, factor * height), Image.Resampling.BICUBIC)
            sheet.paste(tile, (_LABEL_WIDTH + column * step_x, top))
    return sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _visible(image: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """An image as bytes, shape kept."""
    if image.dtype == np.uint8:
        return image.astype(np.uint8)
    low, high = HU_WINDOW if image.dtype == np.int16 else (0.0, 65535.0)
    grey = (image.astype(np.float64) - low) / (high - low)
    return (np.clip(grey, 0, 1) * 255 + 0.5).astype(np.uint8)


def generate_domain(name: str, columns: int = 10, seed: int = 0) -> Domain:
    """A small draw of an embedded domain: `columns` training samples a class, one for evaluation.

    Raises:
        RelayError: if there is no such domain.
    """
    if name not in CLASSES:
        raise RelayError(f"There is no embedded domain {name!r}; choose from {', '.join(CLASSES)}.")
    # Imported by name, so that a sheet of one domain needs none of the others.
    module = importlib.import_module(f"datamodules.embedded.{name}")
    classes = CLASSES[name]
    domain: Domain = module.generate(
        classes=classes, train_images=columns * classes, val_images=classes, size=_SIZES[name], seed=seed
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
        contact_sheet(generate_domain(name)).save(options.out_dir / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
