"""Slices beside their patterns, as PNG files: the grey image, the map over it, sides, height and a legend."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis.prediction.series.inks import Inks, Numbers, short, text_width
from analysis.prediction.series.overview import Overview
from analysis.prediction.series.pattern_map import PatternMap
from datamodules.pixels.window import Window
from datamodules.readers.hrct.scans.geometry import Turn

OVERLAYS = "overlays"
"""The folder of the files, in the folder of the results."""

LUNG_WINDOW: Window = (-1350.0, 150.0)
"""Hounsfield units from black to white in pictures: the usual window of the lungs, 1500 wide at -600."""

USUAL_MOST = 60
"""Slices with an overlay, evenly spread, where not all are asked for; those with the most of a pattern."""

_NARROW, _WIDE = 320, 512  # pixels of a panel
_SIZE, _LINE, _MARGIN, _GAP = 14, 20, 8, 4
_STRIP_WIDTH, _STRIP_PIXELS = 1440, 1_300_000  # of the strip: small enough for a page


@dataclass(frozen=True)
class Overlay:
    """A picture of a slice.

    Attributes:
        number: Of the slice, from 0.
        png: The file's content.
        size: Width and height in pixels.
        shares: Of the slice's lungs, by pattern, 0..1.
        uncertain: Share that is uncertain.
        place: Number and height of the slice in words.
    """

    number: int
    png: bytes = field(repr=False)
    size: tuple[int, int]
    shares: tuple[float, ...]
    uncertain: float
    place: str

    @property
    def name(self) -> str:
        """Of its file."""
        return f"slice-{self.number + 1:04d}.png"


def most_of_each(overview: Overview) -> dict[int, int]:
    """Pattern, from 0 -> the slice with the most pixels of it; none of patterns that are nowhere."""
    found = {}
    for pattern, counts in enumerate(overview.counts.T):
        if counts.any():
            found[pattern] = int(counts.argmax())
    return found


def chosen_slices(overview: Overview, every: bool) -> list[int]:
    """Slices that have an overlay: all with lungs, or `USUAL_MOST` of them and those of `most_of_each`."""
    held = np.flatnonzero(overview.lungs)
    if every or len(held) <= USUAL_MOST:
        return [int(number) for number in held]
    spread = held[np.rint(np.linspace(0, len(held) - 1, USUAL_MOST)).astype(np.int64)]
    return sorted({*map(int, spread), *most_of_each(overview).values()})


def draw_overlays(found: PatternMap, overview: Overview, numbers: Sequence[int]) -> Iterator[Overlay]:
    """Draw slices, one after the other.

    Args:
        found: The map.
        overview: Of it.
        numbers: Of the slices, from 0.

    Raises:
        RelayError: A slice cannot be decoded.
    """
    inks, turn = Inks(len(found.classes)), radiological(found)
    for number in numbers:
        image = found.volume.slice(number)[overview.box]
        levels = found.volume.levels(image, LUNG_WINDOW)
        parts = (
            levels,
            found.pattern(number)[overview.box],
            np.asarray(found.uncertain[number][overview.box]),
        )
        grey, pattern, uncertain = (_sized(turn.apply(part), _scale(found, overview, turn)) for part in parts)
        total = max(int(overview.lungs[number]), 1)
        shares = tuple((overview.counts[number] / total).tolist())
        place = place_of(found, number)
        doubtful = float(overview.uncertain[number] / total)
        canvas = _laid_out(
            inks, [inks.grey(grey), inks.mapped(grey, pattern, uncertain > 0)], place, found, shares, doubtful
        )
        png = _png(inks.picture(canvas))
        yield Overlay(number, png, (canvas.shape[1], canvas.shape[0]), shares, doubtful, place)


def draw_strip(found: PatternMap, overview: Overview) -> tuple[bytes, tuple[int, int]]:
    """All slices with lungs as small maps with their numbers: the file, and its width and height."""
    inks, turn = Inks(len(found.classes)), radiological(found)
    count = max(len(overview.small), 1)
    tiles = []
    for small in overview.small:
        parts = (small.levels, small.pattern, small.uncertain)
        levels, pattern, uncertain = (turn.apply(part) for part in parts)
        tiles.append((small.number, levels, pattern, uncertain))
    height, width = tiles[0][1].shape if tiles else (_SIZE, _SIZE)
    rows_mm, columns_mm = _pixel(found, turn)
    ratio = height * rows_mm / (width * columns_mm)
    wanted = int((_STRIP_PIXELS / count / ratio) ** 0.5)
    columns = min(count, max(6, -(-_STRIP_WIDTH // min(wanted, 240))))
    side = _STRIP_WIDTH // columns
    size = (max(1, round(side * ratio)), side)
    lines = -(-count // columns)
    canvas = np.zeros((lines * (size[0] + _GAP), columns * side), np.uint8)
    for place, (number, levels, pattern, uncertain) in enumerate(tiles):
        line, column = divmod(place, columns)
        sized = [_resized(part, size) for part in (levels, pattern, uncertain)]
        tile = inks.mapped(sized[0], sized[1], sized[2] > 0)
        top, left = line * (size[0] + _GAP), column * side
        canvas[top : top + size[0], left : left + side] = tile
        inks.write(canvas, str(number + 1), top + 1, left + 2, 11)
    return _png(inks.picture(canvas)), (canvas.shape[1], canvas.shape[0])


def radiological(found: PatternMap) -> Turn:
    """How slices are turned to be seen from the feet: the patient's right at the left, the front above."""
    if not found.volume.placed:
        return Turn()
    across, down = found.volume.affine[:3, 0], found.volume.affine[:3, 1]
    transposed = bool(abs(across[0]) < abs(down[0]))
    if transposed:
        across, down = down, across
    return Turn(transposed, rows=bool(down[1] > 0), columns=bool(across[0] > 0))


def place_of(found: PatternMap, number: int) -> str:
    """Number and height of a slice in words, such as `slice 12 of 60, -134.5 mm`."""
    text = f"slice {number + 1} of {found.volume.shape[0]}"
    heights = found.volume.heights
    return text if heights is None else f"{text}, {heights[number]:+.1f} mm"


def _laid_out(
    inks: Inks,
    panels: Sequence[Numbers],
    place: str,
    found: PatternMap,
    shares: Sequence[float],
    doubtful: float,
) -> Numbers:
    """Both panels side by side, a line above, sides at the edges, and the legend below."""
    height, width = panels[0].shape
    whole = 2 * width + 3 * _MARGIN
    entries = [
        (pattern, f"{short(name)} {share:.0%}")
        for pattern, (name, share) in enumerate(zip(found.classes, shares, strict=True), start=1)
    ]
    entries.append((0, f"uncertain (striped) {doubtful:.0%}"))
    lines = _flowed(entries, whole)
    top = _LINE + _MARGIN
    canvas = np.zeros((top + height + _MARGIN + len(lines) * _LINE + _MARGIN, whole), np.uint8)
    sides = "" if found.volume.placed else " (sides not known)"
    inks.write(canvas, f"{place[0].upper()}{place[1:]}{sides}", _MARGIN // 2, _MARGIN, _SIZE)
    for index, panel in enumerate(panels):
        left = _MARGIN + index * (width + _MARGIN)
        canvas[top : top + height, left : left + width] = panel
        if found.volume.placed:
            _mark(inks, canvas, "R", top + height // 2, left)
            _mark(inks, canvas, "L", top + height // 2, left + width - _LINE)
    for line, placed in enumerate(lines):
        row = top + height + _MARGIN + line * _LINE
        for column, (pattern, text) in placed:
            if pattern:
                canvas[row + 3 : row + 3 + _SIZE, column : column + _SIZE] = inks.swatch(
                    pattern, _SIZE, _SIZE
                )
            else:
                doubt = np.ones((_SIZE, _SIZE), bool)
                grey = np.full((_SIZE, _SIZE), 128, np.uint8)
                canvas[row + 3 : row + 3 + _SIZE, column : column + _SIZE] = inks.mapped(
                    grey, np.ones_like(grey), doubt
                )
            inks.write(canvas, text, row + 2, column + _SIZE + 5, _SIZE)
    return canvas


def _flowed(entries: Sequence[tuple[int, str]], width: int) -> list[list[tuple[int, tuple[int, str]]]]:
    """Entries of a legend in lines: column and entry."""
    lines: list[list[tuple[int, tuple[int, str]]]] = [[]]
    column = _MARGIN
    for entry in entries:
        needed = _SIZE + 5 + text_width(entry[1], _SIZE)
        if lines[-1] and column + needed > width - _MARGIN:
            lines.append([])
            column = _MARGIN
        lines[-1].append((column, entry))
        column += needed + 2 * _MARGIN
    return lines


def _mark(inks: Inks, canvas: Numbers, letter: str, row: int, column: int) -> None:
    """A letter on a black square, so that it is read on any grey."""
    canvas[row : row + _LINE, column : column + _LINE] = 0
    inks.write(canvas, letter, row + 1, column + 4, _SIZE)


def _pixel(found: PatternMap, turn: Turn) -> tuple[float, float]:
    """Mm of a turned pixel's sides; squares where they are not known."""
    _, rows, columns = found.volume.spacing
    sides = (1.0, 1.0) if rows is None or columns is None else (rows, columns)
    return (sides[1], sides[0]) if turn.transposed else sides


def _scale(found: PatternMap, overview: Overview, turn: Turn) -> tuple[float, float]:
    """Pixels of the panel for each of the slice's, so that a panel is neither too small nor too large."""
    sides = [part.stop - part.start for part in overview.box]
    if turn.transposed:
        sides.reverse()
    rows, columns = _pixel(found, turn)
    least = min(rows, columns)
    factors = (rows / least, columns / least)
    longest = max(sides[0] * factors[0], sides[1] * factors[1])
    scale = min(max(1.0, _NARROW / (sides[1] * factors[1])), _WIDE / longest)
    return factors[0] * scale, factors[1] * scale


def _sized(part: npt.NDArray[np.generic], scale: tuple[float, float]) -> Numbers:
    height, width = part.shape
    return _resized(part, (max(1, round(height * scale[0])), max(1, round(width * scale[1]))))


def _resized(part: npt.NDArray[np.generic], size: tuple[int, int]) -> Numbers:
    """Grey levels smoothly, numbers of patterns by the nearest pixel."""
    rows = (np.arange(size[0]) * part.shape[0]) // size[0]
    columns = (np.arange(size[1]) * part.shape[1]) // size[1]
    return np.asarray(part[np.ix_(rows, columns)], np.uint8)


def _png(image: Image.Image) -> bytes:
    """A file without any metadata."""
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()
