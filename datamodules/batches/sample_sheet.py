"""A small picture of some training images of each class, for people to see what a network was shown."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from datamodules.domain import Side

IMAGES = 6  # of each class, where it has as many
CELL, GAP = 48, 2  # pixels: of an image on the sheet, and between two
MOST_CLASSES = 20
_QUALITY = 85  # of JPEG

Augmented = Callable[[npt.NDArray[np.uint8], list[int]], npt.NDArray[np.uint8]]


def sample_sheet(
    side: Side, rows: npt.NDArray[np.int64], classes: int, augmented: Augmented | None = None
) -> bytes:
    """One row of images for each of the first `MOST_CLASSES` classes, white where there is none.

    With `augmented` each row goes on with the same images as a network got them.

    The images of a class are taken at equal distances from its list, which is in the order of names, so that
    they are of several patients where names begin with the patient.

    Args:
        side: The training side.
        rows: Which of its images may be shown, int64, ascending.
        classes: Number of classes.
        augmented: Makes of images, uint8 (N, H, W) or (N, H, W, 3), and of their rows what a network got,
            uint8 (N, S, S, 3).

    Returns:
        A JPEG file without any text.

    Raises:
        RelayError: An image cannot be read.
    """
    labels = side.labels[rows]
    places = [_spread(rows[labels == label]) for label in range(min(classes, MOST_CLASSES))]
    chosen = [row for of_class in places for row in of_class]
    pixels = side.images[chosen] if isinstance(side.images, np.ndarray) else side.images.gather(chosen)
    shown = [pixels] if augmented is None else [pixels, augmented(pixels, chosen)]
    step = CELL + GAP
    sheet = Image.new("RGB", (len(shown) * IMAGES * step - GAP, len(places) * step - GAP), "white")
    for part, of_part in enumerate(shown):
        images = iter(of_part)
        for line, of_class in enumerate(places):
            for column in range(part * IMAGES, part * IMAGES + len(of_class)):
                image = Image.fromarray(next(images)).convert("RGB")
                fitted = ImageOps.pad(image, (CELL, CELL), Image.Resampling.LANCZOS)
                sheet.paste(fitted, (column * step, line * step))
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()


def _spread(rows: npt.NDArray[np.int64]) -> list[int]:
    """At most `IMAGES` of the rows, at equal distances."""
    number = min(IMAGES, len(rows))
    chosen: list[int] = rows[(np.arange(number) * len(rows)) // max(number, 1)].tolist()
    return chosen
