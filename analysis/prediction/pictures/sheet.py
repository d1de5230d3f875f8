"""The contact sheet: the pictures that networks are most and least sure of, with class and probability."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_COLUMNS, _TILE, _GAP, _CAPTION, _HEADING = 8, 112, 8, 32, 30  # px but for the first
_FONT_SIZE = 13

Shown = tuple[npt.NDArray[np.uint8], str, float]
"""Pixels, (H, W) or (H, W, 3); class; its probability."""


def certainty_sheet(blocks: Sequence[tuple[str, Sequence[Shown]]]) -> Image.Image:
    """Rows of pictures under headings; no picture's name is on it.

    Args:
        blocks: heading and pictures of each.

    Returns:
        RGB, on white.
    """
    row = _TILE + _CAPTION + _GAP
    heights = [_HEADING + row * -(-len(shown) // _COLUMNS) for _, shown in blocks]
    sheet = Image.new("RGB", (_GAP + _COLUMNS * (_TILE + _GAP), _GAP + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(_FONT_SIZE + 3), ImageFont.load_default(_FONT_SIZE)
    top = _GAP
    for (heading, shown), height in zip(blocks, heights, strict=True):
        draw.text((_GAP, top), heading, fill="black", font=font)
        for place, (pixels, name, probability) in enumerate(shown):
            left = _GAP + place % _COLUMNS * (_TILE + _GAP)
            above = top + _HEADING + place // _COLUMNS * row
            sheet.paste(_fitted(pixels), (left, above))
            draw.text((left, above + _TILE + 1), _shortened(name, small), fill="black", font=small)
            draw.text((left, above + _TILE + 16), f"{probability:.1%}", fill="#555555", font=small)
        top += height
    return sheet


def _fitted(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """The picture in a square, not stretched; small ones are enlarged without smoothing."""
    picture = Image.fromarray(pixels).convert("RGB")
    scale = _TILE / max(picture.size)
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    tile = Image.new("RGB", (_TILE, _TILE), "#dddddd")
    tile.paste(picture.resize(size, how), ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return tile


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    name = " ".join(name.split())
    if font.getlength(name) <= _TILE:
        return name
    while name and font.getlength(name + "...") > _TILE:
        name = name[:-1]
    return name + "..."
