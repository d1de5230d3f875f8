"""Sample images of a stage, one row per class."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.report.figures import Picture, house_style, new_figure, save, show_image, wrapped
from stages.stored import open_file

_WIDTH = 3.6  # inches: at 360 px of a telephone the labels keep their size
_SIX = 300  # pixels: a sheet of six columns is not wider
_LETTER, _MARGIN = 0.075, 0.15  # inches: of a class's name beside the images
_JPEG_QUALITY = 85


def sample_images(stage: str, sheet: Path, classes: list[str]) -> Picture | None:
    """Some training images of each class; None where the run has no such sheet, or it cannot be read.

    Args:
        stage: whose images they are.
        sheet: a JPEG with one row of images per class, all rows equally high; see `datamodules.batches`.
        classes: names of the classes; the sheet has the first of them.
    """
    try:
        with open_file(sheet) as file, Image.open(file, formats=("JPEG",)) as opened:
            pixels = np.asarray(opened.convert("RGB"))
    except (OSError, Image.DecompressionBombError):
        return None
    # Rows and gaps are as high as columns are wide; a sheet is six cells wide, or twelve, with
    # each image as it was drawn for training beside it.
    height, width = pixels.shape[:2]
    columns = 12 if width > _SIX else 6
    shown = classes[: max(1, round(columns * height / width))]
    with house_style():
        names = [wrapped(name) for name in shown]
        left = _MARGIN + _LETTER * max(len(line) for name in names for line in name.split("\n"))
        drawn = (_WIDTH - left) * height / width
        figure = new_figure(_WIDTH, drawn, constrained=False)
        axes = figure.add_axes((left / _WIDTH, 0.0, 1.0 - left / _WIDTH, 1.0))
        show_image(axes, pixels)
        places = (np.arange(len(shown)) + 0.5) * height / len(shown) - 0.5
        axes.set_yticks(places, names, fontsize=8)
        axes.tick_params(length=0)
        more = f" The first {len(shown)} of {len(classes)} classes." if len(shown) < len(classes) else ""
        drawn_too = "; at the right as its network got them in the first epoch" if columns == 12 else ""
        picture = save(
            figure,
            f"samples_{stage}",
            f"Sample images of {stage}",
            f"Training images of one run, six of each class at most, made small{drawn_too}.{more}",
            f"Photographs: some training images of each of {', '.join(shown)}.",
        )
    return replace(picture, svg=_smaller(picture.svg))


def _smaller(svg: bytes) -> bytes:
    """The SVG with its pictures as JPEG instead of PNG, a fifth of the size."""

    def again(found: re.Match[bytes]) -> bytes:
        content = io.BytesIO()
        with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
            image.convert("RGB").save(content, "JPEG", quality=_JPEG_QUALITY)
        return b"data:image/jpeg;base64," + base64.b64encode(content.getvalue())

    return re.sub(rb"data:image/png;base64,([A-Za-z0-9+/=\s]+)", again, svg)
