"""Whether the palettes of a source's masks agree: programs give one number different colours."""

from collections.abc import Iterator, Sequence

import numpy as np

from datamodules.faults import UnusableError
from datamodules.readers.hrct.regions.carriers import MaskImage
from datamodules.readers.hrct.regions.drawn import Grouped
from datamodules.readers.hrct.scans.images import mask_colours, read_mask
from stages.errors import RelayError

_Colours = dict[int, tuple[int, ...]]


def check_palettes(usable: Sequence[Grouped]) -> list[str]:
    """Refuse masks that draw one value in different colours: it does not mean the same in both.

    Only values that have a class, and that both masks hold, count: palettes are often filled up with others.

    Returns:
        A note where some masks have a palette and others none: these say nothing of what a value means.

    Raises:
        RelayError: Two masks differ; names their slices.
    """
    found = list(_palettes(usable))
    masks = [one for one in found if one[2]]
    notes = []
    if 0 < len(masks) < len(found):
        notes.append(
            f"{len(masks)} of {len(found)} masks have a palette, the others are grey: see on the contact "
            "sheet that their values mean the same classes."
        )
    if len({tuple(sorted(colours.items())) for _, _, colours, _ in masks}) < 2:
        return notes
    seen: dict[int, tuple[tuple[int, ...], str]] = {}
    for title, mask, colours, shape in masks:
        try:
            held = np.unique(read_mask(mask.location, shape)).tolist()
        except UnusableError:
            continue  # what is wrong with it is said when it is drawn
        for value in held:
            if value in colours:
                colour, first = seen.setdefault(value, (colours[value], title))
                if colour != colours[value]:
                    raise RelayError(
                        f"the masks of {first} and of {title} draw the value {value} in two colours, "
                        f"{colour} and {colours[value]} (red, green, blue): it cannot mean the same class in "
                        "both. Save all masks with the same numbers, or as grey without a palette."
                    )
    return notes


def _palettes(usable: Sequence[Grouped]) -> Iterator[tuple[str, MaskImage, _Colours, tuple[int, int]]]:
    for one, drawn, _ in usable:
        for place, mask in drawn.slices.items():
            if isinstance(mask, MaskImage):
                try:
                    colours = mask_colours(mask.location) or {}
                except UnusableError:
                    continue
                known = {value: colour for value, colour in colours.items() if mask.classes.get(value)}
                yield one.slice_title(place + one.first), mask, known, one.scan.shape
