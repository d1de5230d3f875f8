"""What was seen of a set's images while they were decoded, as notes for a person."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from datamodules.pixels.stored import Remark
from datamodules.pixels.window import Window

Known = tuple[tuple[float, float] | None, float | None, tuple[Remark, ...]]
"""Of a decoded image: `ends`, `white` and `remarks` of `pixels.decode.Decoded`."""

_LITTLE = 0.25  # share of the range at which a note says so: 14-bit values in 16 bits, and 12-bit ones
_REST = 0.01  # share of the images that may reach further, such as those with a mark burnt in


@dataclass
class Seen:
    """Collects what is to be known of decoded images.

    Attributes:
        remarks: How many images each holds for.
        ends: Of each image, its least and greatest value, and the value that is white without a window; as
            the file stores them, or of the pixels where the file is of 8 bits.
    """

    remarks: Counter[str] = field(default_factory=Counter)
    ends: list[tuple[float, float, float | None]] = field(default_factory=list)

    def add(self, images: npt.NDArray[np.uint8], known: Sequence[Known]) -> None:
        """Take images into account.

        Args:
            images: (N, H, W) or (N, H, W, 3).
            known: What else is known of each.
        """
        axes = tuple(range(1, images.ndim))
        for (ends, white, remarks), low, high in zip(
            known, images.min(axes).tolist(), images.max(axes).tolist(), strict=True
        ):
            self.remarks.update(remarks)
            self.ends.append((*(ends or (low, high)), white))

    def notes(self, window: Window | None) -> list[str]:
        """A line each: what was passed over, and whether only a small part of the range is used.

        Args:
            window: What was black and white in files of more than 8 bits.
        """
        return remark_notes(self.remarks) + self._range_notes(window)

    def _range_notes(self, window: Window | None) -> list[str]:
        ranges = {white if white == 255 else (window or white) for *_, white in self.ends}
        if len(ranges) != 1 or (of := ranges.pop()) is None:
            return []  # of several kinds; each has its own range
        black, white = of if isinstance(of, tuple) else (0.0, of)
        low = float(np.quantile([ends[0] for ends in self.ends], _REST, method="lower"))
        high = float(np.quantile([ends[1] for ends in self.ends], 1 - _REST, method="higher"))
        used = max(min(high, white) - max(low, black), 0.0) / (white - black)
        if used > _LITTLE:
            return []
        cure = "" if white == 255 else f"; set the source's window, such as [{low:g}, {high:g}]"
        return [
            f"the images have values {low:g} to {high:g}, {used:.2%} of the range from black, {black:g}, to "
            f"white, {white:g}{cure}"
        ]


def level_notes(of: Iterable[npt.NDArray[np.uint8]]) -> list[str]:
    """The note on the range of finished pixels.

    Args:
        of: Arrays of images, (N, H, W) or (N, H, W, 3).
    """
    seen = Seen()
    for images in of:
        seen.add(images, [(None, 255.0, ())] * len(images))
    return seen.notes(None)


def remark_notes(remarks: Mapping[str, int]) -> list[str]:
    """A line for each remark, with how many images it holds for."""
    return [f"{count} image{'s' * (count > 1)}: {remark}" for remark, count in sorted(remarks.items())]
