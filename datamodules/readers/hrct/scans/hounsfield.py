"""Which values cannot be the Hounsfield units of a slice of a chest."""

import numpy as np
import numpy.typing as npt

from datamodules.faults import UnusableError

AIR = -1000  # what padding becomes
LOWEST = -1100  # below it is padding, or noise in few pixels
_LUNG, _TISSUE, _HIGHEST = -500, -200, 2000  # each slice has values below, and above; metal is in few pixels
_AIR_SEEN = -900
_ENOUGH = 1024  # pixels; fewer show too little of a slice
_PADDING = 50  # HU around the value outside the reconstruction, which lossy compression spreads
_CORNER = 16  # of a slice's side
_BRIGHT = 200  # of 255; tissue is darker in a window that shows lungs, and in one of soft tissue
_JUMP = 3000  # HU; values of 12 bits that are taken with the wrong sign are 4096 away
_FEW, _MANY = 0.01, 0.1  # of a slice's pixels


def check_hounsfield(values: npt.NDArray[np.int16]) -> None:
    """Refuse values of a slice, without its padding, that cannot be Hounsfield units.

    Args:
        values: All that are not padding, of any shape.

    Raises:
        UnusableError: None is as low as air and lung, or none as high as tissue, or many are lower than air
            or higher than bone.
    """
    flat = values.ravel()
    if flat.size < _ENOUGH:
        return
    lowest = flat == flat.min()
    inside = flat[~lowest] if lowest.sum() > _FEW * flat.size else flat  # padding that no tag names
    never = "its values cannot be Hounsfield units"
    cure = (
        "the offset, slope or sign that its header names is not that of its values; export the series again"
    )
    few = inside.size < _ENOUGH
    least = int(
        (flat if few else inside).min()
    )  # of 0 and 1, such as values that were normalised, most are 0
    if least >= _LUNG:
        raise UnusableError(
            f"{never}: the lowest is {least}, where air and lung are -1000 to {_LUNG}; {cure}"
        )
    if few:
        return
    if inside.max() < _TISSUE:
        raise UnusableError(f"{never}: the highest is {inside.max()}, where tissue is about 0; {cure}")
    below = inside[inside < LOWEST].astype(np.int64)
    if below.size:
        usual = int(np.bincount(below - below.min()).argmax()) + int(below.min())
        share = float((np.abs(below - usual) > _PADDING).sum() / flat.size)
        if share > _FEW:
            raise UnusableError(f"{never}: {share:.0%} of them are below {LOWEST}, lower than air; {cure}")
    share = float((inside > _HIGHEST).mean())
    if share > _MANY:
        raise UnusableError(f"{never}: {share:.0%} of them are above {_HIGHEST}, higher than bone; {cure}")


def has_bright_corners(slice_: npt.NDArray[np.uint8]) -> bool:
    """Whether the corners of a slice, where air is, are bright: black and white may be swapped."""
    side = max(1, min(slice_.shape) // _CORNER)
    corners = (slice_[rows, columns] for rows in _ends(side) for columns in _ends(side))
    return all(bool(np.median(corner) > _BRIGHT) for corner in corners)


def _ends(side: int) -> tuple[slice, slice]:
    return slice(None, side), slice(-side, None)


def shows_air(slice_: npt.NDArray[np.int16]) -> bool:
    """Whether a slice has air that is not padding; without it, its offset and slope cannot be believed."""
    return bool(((slice_ < _AIR_SEEN) & (slice_ != AIR)).any())


def jumps(slice_: npt.NDArray[np.int16]) -> bool:
    """Whether neighbouring pixels differ as only metal and values with the wrong sign do, be they few."""
    wide = slice_.astype(np.int32)
    return any(bool((np.abs(np.diff(wide, axis=axis)) > _JUMP).any()) for axis in (0, 1))
