"""One colour for each pattern, the same in overlays, figures and the DICOM segmentation."""

from PIL import ImageColor

from analysis.report.figures import OKABE_ITO

Colour = tuple[int, int, int]
_DARKER = 0.55  # of the turn before
# The two blues differ in lightness most, as what lies under them does: sky blue comes late.
_ORDER = tuple(OKABE_ITO[place] for place in (0, 1, 2, 3, 5, 6, 4, 7))


def pattern_colours(count: int) -> list[Colour]:
    """Red, green and blue of each pattern; from the ninth on, the first ones again and darker."""
    colours: list[Colour] = []
    for place in range(count):
        turn, position = divmod(place, len(_ORDER))
        red, green, blue = ImageColor.getrgb(_ORDER[position])[:3]
        share = _DARKER**turn
        colours.append((round(red * share), round(green * share), round(blue * share)))
    return colours
