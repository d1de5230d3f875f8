"""Contact sheets of the embedded domains: `python -m datamodules.embedded.contact_sheet OUT_DIR [NAME ...]`.

Writes OUT_DIR/NAME.png for each domain, by default natural, texture and dld: one row per class with its
name and samples of the training side, for people to judge what the networks are trained on.
"""

import argparse
import importlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.domain import Domain
from datamodules.pixels.contact_sheet import contact_sheet
from datamodules.pixels.window import window_to_uint8
from stages.errors import RelayError

CLASSES = {"natural": 10, "texture": 20, "dld": 7}
"""Classes of each embedded domain by default."""

_SIZES = {"natural": 96, "texture": 96, "dld": 32}
_DRAWN = {"natural": 8, "texture": 8, "dld": 80}  # training images per class; rare patterns of dld need more
_PIXELS = 500_000  # of all samples on a sheet; keeps the file small enough for a repository
_LIMIT = 290_000  # bytes of a file; colours are given up until it is kept


def sheet_of_domain(domain: Domain, columns: int = 8) -> Image.Image:
    """Lay out samples of the training side.

    Args:
        domain: Fresh from its generator.
        columns: Samples per class; fewer are shown of a class that has fewer.

    Returns:
        An RGB image, one row per class, the class's name at its left.
    """
    images, labels = domain.train.images, domain.train.labels
    assert isinstance(images, np.ndarray)
    tile = min(96, int((_PIXELS / columns / len(domain.classes)) ** 0.5))
    rows = {
        name: [window_to_uint8(image, None) for image in images[labels == label][:columns]]
        for label, name in enumerate(domain.classes)
    }
    return contact_sheet(rows, columns, tile)


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a PNG with a palette of 256 colours, or of fewer where the file would be too large."""
    for colours in (256, 128, 64, 32, 16):
        buffer = io.BytesIO()
        reduced = sheet.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(buffer, "png", optimize=True)
        if buffer.tell() <= _LIMIT:
            break
    path.write_bytes(buffer.getvalue())


def generate_domain(name: str, seed: int = 0) -> Domain:
    """A small draw of an embedded domain, enough for a sheet.

    Raises:
        RelayError: There is no such domain.
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
        RelayError: A domain is unknown.
    """
    parser = argparse.ArgumentParser(description="Write contact sheets of the embedded domains.")
    parser.add_argument("out_dir", type=Path, help="folder of the sheets, made if it does not exist")
    parser.add_argument("names", nargs="*", help=f"domains, by default {' '.join(CLASSES)}")
    options = parser.parse_args(arguments)
    options.out_dir.mkdir(parents=True, exist_ok=True)
    for name in options.names or CLASSES:
        save_sheet(sheet_of_domain(generate_domain(name)), options.out_dir / f"{name}.png")


if __name__ == "__main__":
    main()
