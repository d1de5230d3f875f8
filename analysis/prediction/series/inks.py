"""The 256 colours of an overlay: greys, and shades of each pattern's colour over greys.

A picture of numbers into this palette is a third of the size of one of red, green and blue, and needs no
choice of colours that could differ between slices.
"""

from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from analysis.prediction.series.colours import pattern_colours
from stages.console.printable import printable

Numbers = npt.NDArray[np.uint8]

_MOST_SHADES = 24  # of a pattern: with seven of them 88 greys are left, more than a screen shows apart
_OPACITY, _DARK, _BRIGHT = 0.7, 50, 205  # of a pattern's colour over greys, which never make it another one
_STRIPES, _BARE = 8, 4  # pixels from stripe to stripe of what is uncertain, and without colour
_MOST_LETTERS = 28


class Inks:
    """A palette for some patterns.

    Args:
        patterns: How many there are.
    """

    def __init__(self, patterns: int) -> None:
        self._shades = max(1, min(_MOST_SHADES, 128 // max(patterns, 1)))
        self._tints = min(patterns, 192 // self._shades)
        self._greys = 256 - self._tints * self._shades
        colours = np.array(pattern_colours(self._tints)).reshape(-1, 1, 3)
        shades = np.linspace(_DARK, _BRIGHT, self._shades).reshape(1, -1, 1)
        tinted = _OPACITY * colours + (1 - _OPACITY) * shades
        greys = np.repeat(np.linspace(0, 255, self._greys)[:, None], 3, axis=1)
        self._colours = np.rint(np.concatenate([greys, tinted.reshape(-1, 3)])).astype(np.uint8)

    def grey(self, levels: Numbers) -> Numbers:
        """Grey levels in this palette."""
        return np.asarray(levels.astype(np.uint16) * self._greys // 256, np.uint8)

    def mapped(self, levels: Numbers, pattern: Numbers, uncertain: npt.NDArray[np.bool_]) -> Numbers:
        """Grey levels under the colours of patterns (0: none), in stripes where they are uncertain."""
        height, width = levels.shape
        across = (np.arange(height)[:, None] + np.arange(width)) % _STRIPES
        coloured = (pattern > 0) & ~(uncertain & (across < _BARE))
        tint = (pattern.astype(np.int64) - 1) % max(self._tints, 1)
        shade = levels.astype(np.int64) * self._shades // 256
        return np.where(coloured, self._greys + tint * self._shades + shade, self.grey(levels)).astype(
            np.uint8
        )

    def swatch(self, pattern: int, height: int, width: int) -> Numbers:
        """A pattern's colour, over a middle grey, for a legend."""
        return self.mapped(
            np.full((height, width), 128, np.uint8),
            np.full((height, width), pattern, np.uint8),
            np.zeros((height, width), bool),
        )

    def write(self, canvas: Numbers, text: str, row: int, column: int, size: int) -> None:
        """Write white text on a black part of a picture; nothing that reaches beyond its edges."""
        _, _, right, bottom = _font(size).getbbox(text)
        picture = Image.new("L", (max(1, int(right)), max(1, int(bottom))))
        ImageDraw.Draw(picture).text((0, 0), text, 255, font=_font(size))
        drawn = self.grey(np.asarray(picture))
        part = canvas[row : row + drawn.shape[0], column : column + drawn.shape[1]]
        drawn = drawn[: part.shape[0], : part.shape[1]]
        part[:] = np.where(drawn > 0, drawn, part)

    def picture(self, canvas: Numbers) -> Image.Image:
        """The numbers as a picture."""
        image = Image.fromarray(canvas, "P")
        image.putpalette(self._colours.tobytes())
        return image


def text_width(text: str, size: int) -> int:
    """Pixels that a text takes."""
    return int(_font(size).getlength(text))


def short(name: str, most: int = _MOST_LETTERS) -> str:
    """A name on one line of at most `most` letters."""
    plain = " ".join(printable(name).split())
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)
