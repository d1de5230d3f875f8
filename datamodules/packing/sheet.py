"""A contact sheet of a packed set: some images of each class, for the eye to find what counts cannot."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from datamodules.packing.layout import part_name
from datamodules.pixels.window import HOUNSFIELD_WINDOW, window_to_uint8

_COLUMNS = 8
_MOST_CLASSES = 61
_SIDE = 96
_MARGIN = 4
_LABEL = 150


def contact_sheet(folder: Path, manifest: pd.DataFrame, window: tuple[float, float] | None) -> Image.Image:
    """Up to eight training images of each class, evenly spread over the manifest.

    Args:
        folder: the set's.
        manifest: with the columns class, split, part and place.
        window: of Hounsfield units; the default lung window for int16 images if None.

    Returns:
        Of sets with more than 61 classes, the first 61 by name.
    """
    train = manifest[manifest["split"] == "train"]
    classes = sorted(train["class"].unique())[:_MOST_CLASSES]
    step = _SIDE + _MARGIN
    sheet = Image.new("RGB", (_LABEL + _COLUMNS * step + _MARGIN, len(classes) * step + _MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for line, name in enumerate(classes):
        rows = train[train["class"] == name]
        top = _MARGIN + line * step
        draw.text((_MARGIN, top + _SIDE // 2 - 6), f"{name[:18]} ({len(rows)})", fill="black", font=font)
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(_COLUMNS, len(rows))).round().astype(int))
        for column, place in enumerate(chosen):
            row = rows.iloc[place]
            pixels = np.load(folder / part_name(int(row["part"])), mmap_mode="r")[row["place"]]
            shown = window_to_uint8(pixels, window or HOUNSFIELD_WINDOW)
            image = Image.fromarray(shown).convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
            sheet.paste(image, (_LABEL + column * step, top))
    return sheet
