"""A sheet of small pictures, one row per class, for people to judge what counts cannot show."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_GAP = 4
_LABEL_WIDTH = 150
_FONT_SIZE = 12


def contact_sheet(
    rows: Mapping[str, Iterable[npt.NDArray[np.uint8]]], columns: int = 8, tile: int = 96
) -> Image.Image:
    """Lay out pictures in rows with a label at their left.

    Args:
        rows: Label -> pictures, uint8, (H, W) or (H, W, 3), at most `columns` of them.
        columns: Places in a row.
        tile: Side in pixels to which pictures are resized.

    Returns:
        RGB, on white.
    """
    step = tile + _GAP
    size = (_LABEL_WIDTH + columns * step + _GAP, len(rows) * step + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    for row, (label, pictures) in enumerate(rows.items()):
        top = _GAP + row * step
        draw.text((_GAP, top + tile // 2), label, fill="black", font=font, anchor="lm")
        for column, pixels in enumerate(pictures):
            picture = Image.fromarray(pixels).convert("RGB").resize((tile, tile), Image.Resampling.BICUBIC)
            sheet.paste(picture, (_LABEL_WIDTH + column * step, top))
    return sheet
