"""Which lung is the right one: by the patient's geometry, not by the place in a picture."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from analysis.prediction.series.volume import CTVolume

RIGHT, LEFT = 1, 2

_ONE_SIDE = 0.8  # of a part: all of it is of that side
_WAIST = 0.25  # of the widest; where two lungs touch, the part is narrower between them
_SEARCHED = 45.0  # mm around the middle, where two lungs touch


@dataclass(frozen=True)
class Midline:
    """Where pixels lie between the patient's right and left.

    Attributes:
        across: mm to the patient's right from a column to the next one; of image files, which do not say,
            as CT is shown, with the right at the left of the picture.
        down: mm to the patient's right from a row to the next one.
        middle: mm to the right, from the first pixel, of the body's middle.
    """

    across: float
    down: float
    middle: float = field(default=0.0)

    @classmethod
    def of(
        cls, volume: CTVolume, body: npt.NDArray[np.bool_], factor: int, spacing: tuple[float, float, float]
    ) -> "Midline":
        """Of a series.

        Args:
            volume: The series.
            body: (S, H, W), with pixels of `factor` times the series' side.
            factor: 1 or more.
            spacing: mm between the slices, rows and columns of `body`.
        """
        across, down = -spacing[2], 0.0
        if volume.placed:
            across, down = (float(step) * factor for step in volume.affine[0, :2])
        found = cls(across, down)
        place = found.grid(body.shape[1:])
        sums = body.sum(0)
        return cls(across, down, float((place * sums).sum() / max(sums.sum(), 1)))

    def from_middle(
        self, rows: npt.NDArray[np.floating], columns: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        """How far places are to the right of the body's middle, mm."""
        return np.asarray(columns * self.across + rows * self.down - self.middle, np.float64)

    def grid(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """`from_middle` of all pixels, (H, W)."""
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        return self.from_middle(rows, columns)


def split_sides(lungs: npt.NDArray[np.bool_], midline: Midline) -> npt.NDArray[np.uint8]:
    """Tell the right lung from the left one.

    A connected part of which four fifths lie on one side of the body's middle is of that side. A part on both
    sides is two lungs that touch where it is narrow between them, and is cut in each slice where it has
    the fewest pixels near the middle; otherwise it is one lung, of the side that most of it is on.

    Args:
        lungs: (S, H, W).
        midline: Of these pixels.

    Returns:
        uint8, (S, H, W): 0 outside, 1 right, 2 left.
    """
    place = midline.grid(lungs.shape[1:])
    parts, _ = ndimage.label(lungs)
    sides = np.zeros(lungs.shape, np.uint8)
    for part, box in enumerate(ndimage.find_objects(parts), start=1):
        inside, here = parts[box] == part, place[box[1:]]
        share = float((inside & (here > 0)).sum() / inside.sum())
        if min(share, 1 - share) <= 1 - _ONE_SIDE or not (
            cuts := _cuts(inside, here, abs(midline.across) or abs(midline.down))
        ):
            sides[box][inside] = RIGHT if share > 0.5 else LEFT
        else:
            for plane, marked, cut in zip(inside, sides[box], cuts, strict=True):
                marked[plane] = np.where(here[plane] > cut, RIGHT, LEFT)
    return sides


def _cuts(part: npt.NDArray[np.bool_], place: npt.NDArray[np.float64], step: float) -> list[float]:
    """Where a part is the narrowest near the middle, mm to the right of it; none where it has no waist."""
    bins = np.rint(place / step).astype(np.int64)
    reach = int(_SEARCHED / step)
    first = bins.min()
    cuts, waists, widths = [], 0, 0
    for plane in part:
        counts = np.bincount(bins[plane] - first, minlength=int(bins.max() - first) + 1)
        near = np.arange(max(-reach, first), min(reach, int(bins.max())) + 1)
        ordered = near[np.argsort(np.abs(near), kind="stable")]  # the nearest to the middle of equal ones
        narrowest = ordered[counts[ordered - first].argmin()]
        cuts.append(float(narrowest * step))
        waists += int(counts[narrowest - first])
        widths += int(counts.max())
    return cuts if waists <= _WAIST * widths else []
