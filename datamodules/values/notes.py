"""What a person should know of the values of a domain's images, and which values cannot be."""

from collections.abc import Iterator, Sequence

from stages.console.words import counted
from stages.errors import RelayError
from stages.values import Values

_LITTLE = 0.25  # share of the range: 14-bit values in 16 bits, and 12-bit ones
_CLIPPED = 0.5  # share of the pixels; outside of a body half of them are air, which some windows clip
_DENSE = 0.1  # share of the pixels above 1000 HU: all the bone of a slice is less
_COLORLESS = 0.1  # share of the images; photographs have some in a hundred
_CLASSES_APART = 0.1  # share of the histogram; of the embedded and of public sets the least is 0.24
SIDES_APART = 0.5  # share of the histogram; of the embedded and of public sets the least is 0.78
_FEW_LEVELS = 8


def check_values(values: Values, where: str) -> None:
    """Refuse images that nothing can be learned from.

    Args:
        values: Of all images of a domain.
        where: What the message begins with.

    Raises:
        RelayError: A window clips every pixel, each image is of one grey, or all are the same.
    """
    images = counted(values.images, "image")
    if values.below is not None and values.above is not None and values.below + values.above > 1 - 1e-9:
        raise RelayError(
            f"{where}: every pixel is outside of the window{_window(values)}, so that only black and white "
            f"are left{_cure(values)}."
        )
    if values.constant == 1 or values.identical:
        what = (
            f"all of {images} are the same picture"
            if values.identical
            else f"each of {images} is of a single grey or colour"
        )
        window = "" if values.eight_bit else f" with black and white at{_window(values)}{_cure(values)}"
        raise RelayError(
            f"{where}: {what}{window}. There is nothing to learn from them; see whether these files are the "
            "images that were meant."
        )


def value_notes(
    values: Values, classes: Sequence[str], window: tuple[float, float] | None = None
) -> list[str]:
    """What is odd about the values of images, a line each.

    Args:
        values: Of all images of a domain.
        classes: Its classes.
        window: The one that the source's settings name.
    """
    looked = "" if values.images == values.of else f"of {counted(values.images, 'image')} looked at, "
    notes = [
        *_on_range(values, window),
        *_on_hounsfield(values),
        *_on_images(values),
        *_on_color(values),
        *_on_parts(values, classes),
    ]
    return [looked + note for note in notes]


def _on_range(values: Values, window: tuple[float, float] | None) -> Iterator[str]:
    if values.used <= _LITTLE:
        if values.low is None:
            yield f"the images use {values.used:.2%} of the range from black to white"
        else:
            cure = "" if values.eight_bit else f"; set the source's window, such as {_ends(values)}"
            yield (
                f"the images have values {values.low:g} to {values.high:g}, {values.used:.2%} of the range "
                f"from black, {values.black:g}, to white, {values.white:g}{cure}"
            )
    elif _FEW_LEVELS < values.levels <= _LITTLE * 256 and not values.eight_bit:
        yield (
            f"the images use {values.levels} of 256 greys: some values lie far from all others, such as a "
            "mark or padding; set the source's window to what shall be seen"
        )
    if 0 < values.eight_bit < 1:
        yield (
            f"{values.eight_bit:.1%} of the images are of 8 bits, which are taken as they are"
            + (", and the others through the window" if window else " beside others of more bits")
            + ": the same grey may mean two things"
        )
    elif window and values.eight_bit:
        yield f"the window {list(window)} is not used: the images are of 8 bits"
    if (values.below or 0) + (values.above or 0) >= _CLIPPED:
        yield (
            f"the window{_window(values)} clips {values.below:.0%} of the pixels to black and "
            f"{values.above:.0%} to white{_cure(values)}"
        )


def _on_hounsfield(values: Values) -> Iterator[str]:
    if _of_another_unit(values):
        yield (
            f"the window begins at {values.black:g}, as in Hounsfield units, and no value is below 0: these "
            f"seem to be stored values, which lack an offset; subtract it, or set window to {_ends(values)}"
        )
    elif values.air == 0:
        yield "no air was seen (no value is below -900 HU): see whether the offset is right"
    if (values.dense or 0) >= _DENSE:
        yield (
            f"{values.dense:.0%} of the pixels are above 1000 HU, where bone is: see whether offset and "
            "slope are right, and air is dark"
        )


def _on_images(values: Values) -> Iterator[str]:
    if values.constant:
        count = round(values.constant * values.images)
        yield f"{counted(count, 'image')} of a single grey or colour among {values.images}"
    if values.levels <= _FEW_LEVELS and values.used > _LITTLE:
        yield f"the images hold {counted(values.levels, 'value')} only: are they masks, or drawings?"


def _on_color(values: Values) -> Iterator[str]:
    if values.grey == 1:
        yield "the images are read in colour and have none (red, green and blue are equal)"
    elif values.grey_by_class == 1:
        yield (
            "the images of some classes are grey and those of others in colour: that alone tells these "
            "classes, and networks will learn it"
        )
    elif (values.grey or 0) >= _COLORLESS:
        yield f"{values.grey:.0%} of the images are grey among others in colour"
    if values.reduced:
        yield f"{values.reduced:.1%} of the images are in colour and are read as grey"


def _on_parts(values: Values, classes: Sequence[str]) -> Iterator[str]:
    if values.sides_overlap is not None and values.sides_overlap < SIDES_APART:
        yield (
            f"the grey levels of training and evaluation have {values.sides_overlap:.0%} in common: see "
            "whether both were scanned, windowed and saved in the same way"
        )
    if values.class_overlap is not None and values.class_overlap < _CLASSES_APART:
        assert values.class_apart is not None
        yield (
            f"the grey levels of class {classes[values.class_apart]} have {values.class_overlap:.1%} in "
            "common with those of the class most like it: grey alone tells it, and networks will learn that. "
            "See whether all classes were scanned, windowed and saved in the same way"
        )


def _of_another_unit(values: Values) -> bool:
    """Whether a window of Hounsfield units meets values that are none."""
    return values.low is not None and values.black is not None and values.black <= -100 and values.low >= 0


def _window(values: Values) -> str:
    return "" if values.black is None else f" [{values.black:g}, {values.white:g}]"


def _ends(values: Values) -> str:
    return f"[{values.low:g}, {values.high:g}]"


def _cure(values: Values) -> str:
    if values.low is None or values.low == values.high:
        return ""
    return f"; the values are {values.low:g} to {values.high:g}: set window to what shall be seen of them"
