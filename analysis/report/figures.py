"""The look of every figure (colours, hatches, markers), and how it is saved (SVG and PNG).

Processes differ by colour, hatch, marker and line style, so that a black-and-white print can also be read.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import matplotlib as mpl
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter, MaxNLocator

from stages.console.printable import printable
from stages.metrics import Metric

PAGE_WIDTH = 7.2
"""Width of the text on an A4 page, in inches."""

NARROW_WIDTH = 4.5
"""Width of a figure that stays readable on a telephone, in inches."""

PNG_DPI = 200

# Of a line in a figure; a longer one is cut.
_MOST_LETTERS, _MOST_LETTERS_AT_TICKS = 120, 32

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#999999")
"""Colours of areas over images (Okabe and Ito); on white some are too pale for a line."""

# Chosen by search: at least 3 to 1 against white (WCAG 1.4.11), and the two nearest of them are 17 apart in
# CIELAB for normal sight, protanopia, deuteranopia and tritanopia (Machado and others 2009); Okabe-Ito: 7.
_COLOURS = ("#0072B2", "#7B3F00", "#009E73", "#D55E00", "#332288", "#CC79A7", "#555555", "#1B4F72")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "---", "+++")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 3)))

BASELINE_METRIC = "accuracy"
"""The metric that the baseline, a linear classifier on grey-level histograms, has."""

ON_COLOUR = [withStroke(linewidth=2.6, foreground="white")]
"""Path effects of what is drawn in black over colours."""

BASELINE_LABEL = "grey-level histograms"
BASELINE_LINE: dict[str, Any] = {
    "color": "black",
    "lw": 1.1,
    "ls": (0, (4, 2)),
    "path_effects": ON_COLOUR,
}

LineStyle = str | tuple[int, tuple[int, ...]]

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # matplotlib's own: the same everywhere
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # names are the user's: a $ in one is a $
    "text.usetex": False,  # whatever the user's own matplotlib is set to
    "svg.fonttype": "path",  # so that the reader's machine does not need the font
    "svg.hashsalt": "relay",  # equal figures are equal files
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class ProcessStyle:
    """How a learning process is drawn.

    Attributes:
        label: as in `(4) two_stage`.
        colour: fill and line.
        hatch: of bars.
        marker: of points.
        line: of curves.
    """

    label: str
    colour: str
    hatch: str
    marker: str
    line: LineStyle

    @property
    def marker_size(self) -> float:
        """In points: thin markers are larger, so that their colour is seen."""
        return 7.0 if self.marker in "PX*" else 4.5


@dataclass(frozen=True)
class Picture:
    """A finished figure.

    Attributes:
        name: of its files.
        title: a short heading.
        caption: what is drawn, and what a reader should know before believing it.
        description: the same for readers who cannot see it.
        svg: content of the SVG file.
        png: content of the PNG file.
        width: of the SVG in CSS pixels.
        height: of the SVG in CSS pixels.
    """

    name: str
    title: str
    caption: str
    description: str
    svg: bytes
    png: bytes
    width: int
    height: int

    @property
    def least_width(self) -> int:
        """The width in CSS pixels below which its words are too small to read: the page scrolls it then."""
        return self.width if self.width > 96 * NARROW_WIDTH else round(0.78 * self.width)


def process_styles(labels: Sequence[tuple[str, str]]) -> dict[str, ProcessStyle]:
    """A style for each process.

    Args:
        labels: name and label of each, in the page's order.
    """
    return {name: style_at(place, label) for place, (name, label) in enumerate(labels)}


def style_at(place: int, label: str) -> ProcessStyle:
    """The style of a place, from 0. From the ninth on, a colour has another hatch, marker and line."""
    turn, colour = divmod(place, len(_COLOURS))
    other = (colour + 3 * turn) % len(_COLOURS)
    return ProcessStyle(label, _COLOURS[colour], _HATCHES[other], _MARKERS[other], _LINES[other])


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the project's matplotlib settings while a figure is made and saved."""
    with mpl.rc_context(_STYLE):
        yield


def save(figure: Figure, name: str, title: str, caption: str, description: str) -> Picture:
    """Draw a figure as SVG and PNG, the same bytes each time. Call it within `house_style`."""
    svg, png = io.BytesIO(), io.BytesIO()
    _shorten_names(figure)
    title, description = printable(title), printable(description)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as a box
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
        figure.set_layout_engine(None)  # done; a second layout would take as long as the drawing
        figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None, "Title": title})
    width, height = figure.get_size_inches() * 96
    drawn = _lighter(svg.getvalue())
    return Picture(name, title, caption, description, drawn, png.getvalue(), round(width), round(height))


def _lighter(svg: bytes) -> bytes:
    """An SVG with the places of its lines in hundredths of a point, a fifth smaller."""

    def rounded(found: re.Match[bytes]) -> bytes:
        return re.sub(rb"\.(\d\d)\d+", rb".\1", found[0])

    return re.sub(rb' d="[^"]*"', rounded, svg)


def _shorten_names(figure: Figure) -> None:
    """Cut lines of labels that would leave no room for what is drawn; tables have them whole."""
    for text in figure.findobj(Text):
        text.set_text(_short(text.get_text(), _MOST_LETTERS))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            named = axis.get_major_formatter()  # it makes the labels of ticks when the figure is drawn
            if isinstance(named, FixedFormatter | FuncFormatter):
                axis.set_major_formatter(FuncFormatter(partial(_short_label, named)))


def _short_label(named: Formatter, value: float, place: int | None) -> str:
    return _short(named(value, place), _MOST_LETTERS_AT_TICKS)


def _short(label: str, most: int) -> str:
    lines = printable(label).split("\n")
    return "\n".join(line if len(line) <= most else f"{line[: most - 1]}…" for line in lines)


def new_figure(width: float, height: float, *, constrained: bool = True) -> Figure:
    """A figure of a size in inches, outside of pyplot's global state.

    Args:
        width: in inches.
        height: in inches.
        constrained: whether matplotlib finds the layout; if not, the caller sets it.
    """
    return Figure(figsize=(width, height), layout="constrained" if constrained else None)


def within_bounds(axes: Axes, axis: Literal["x", "y"], metric: Metric) -> None:
    """Let an axis end where the metric's values end: no tick stands beyond 0 or 100%."""
    low, high = (metric.scale * end for end in metric.bounds)
    ends = axes.get_xlim() if axis == "x" else axes.get_ylim()
    pad = 0.01 * (ends[1] - ends[0])  # half of a marker at the very end
    limits = max(ends[0], low - pad), min(ends[1], high + pad)
    axes.set_xlim(limits) if axis == "x" else axes.set_ylim(limits)


def show_image(axes: Axes, image: npt.NDArray[Any]) -> None:
    """An image in [0, 1], (H, W) or (H, W, 3), without ticks or a frame."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def ratio_label(ratio: float) -> str:
    """A data ratio in percent."""
    return f"{100 * ratio:g}%"


def baseline_caption(drawn: bool) -> str:
    """What a caption says of the baseline's line, with a space before it; nothing where none is drawn."""
    said = " The black dashed line is a linear classifier on the grey-level histograms of the same images."
    return said if drawn else ""


def legend_above(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend above all panels."""
    handles, labels = axes.get_legend_handles_labels()
    bars_first = sorted(zip(handles, labels, strict=True), key=lambda item: isinstance(item[0], Line2D))
    handles, labels = [handle for handle, _ in bars_first], [label for _, label in bars_first]
    figure.legend(handles, labels, loc="outside upper center", ncols=min(columns, max(len(labels), 1)))


def whole_epochs(axes: Axes) -> None:
    """An axis of epochs, ticks at whole numbers."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def wrapped(label: str, width: int = 14) -> str:
    """A label broken at spaces and underscores into lines of at most `width` characters."""
    lines = textwrap.wrap(label.replace("_", "_ "), width, break_long_words=False)
    return "\n".join(line.replace("_ ", "_") for line in lines)
