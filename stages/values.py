"""What the values of a domain's images are, in a few numbers: for the record, the console and the page."""

from pydantic import BaseModel, ConfigDict


class Values(BaseModel):
    """The values of a domain's images. Shares are from 0 to 1; None where something is not known or has none.

    Attributes:
        images: How many were looked at: all, or some, evenly spread, of a set that is large or streams.
        of: How many there are.
        low, high: Least and greatest value that the files store, but for the 1% of the images that reach
            furthest; Hounsfield units where `air` is known. None where files differ in black or white.
        black, white: The values that become 0 and 255: of the window, or of the files' type.
        used: Share of the range from black to white between the least and the greatest value.
        below, above: Shares of the pixels that a window clips, to black and to white.
        air: Share of the pixels below -900 HU; None where values are not Hounsfield units.
        dense: Share of the pixels above 1000 HU; likewise.
        eight_bit: Share of the images with values of 8 bits, which no window is for.
        constant: Share of the images of a single grey or colour.
        identical: Whether all images are the same.
        levels: How many of the values 0 to 255 occur.
        grey: Of images read in colour, the share of those without any (red, green and blue are equal).
        grey_by_class: The greatest difference of that share between two classes.
        reduced: Of images read as grey, the share of those whose files are in colour.
        sides_overlap: The part of their histograms that the training and another side have in common.
        class_overlap: Likewise a class and that most like it; the least of all classes.
        class_apart: That class, as a label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    images: int
    of: int
    low: float | None
    high: float | None
    black: float | None
    white: float | None
    used: float
    below: float | None
    above: float | None
    air: float | None
    dense: float | None
    eight_bit: float
    constant: float
    identical: bool
    levels: int
    grey: float | None
    grey_by_class: float | None
    reduced: float | None
    sides_overlap: float | None
    class_overlap: float | None
    class_apart: int | None

    def __str__(self) -> str:
        """A sentence's part: the range, what of it is used, what is clipped, air."""
        looked = "" if self.images == self.of else f"of {self.images} images looked at, "
        unit = "" if self.air is None else " HU"
        parts = [f"{self.used:.0%} of the range from black to white used"]
        if self.low is not None and self.black is not None:
            ends = f"{self.low:g} to {self.high:g}{unit}"
            parts = [f"{ends}, {self.used:.0%} of the range from {self.black:g} to {self.white:g} used"]
        if self.below is not None and self.above is not None:
            parts.append(f"{self.below:.1%} of the pixels clipped to black and {self.above:.1%} to white")
        if self.air is not None and self.dense is not None:
            parts.append(f"{self.air:.1%} below -900 HU (air) and {self.dense:.1%} above 1000 HU")
        return looked + "; ".join(parts)
