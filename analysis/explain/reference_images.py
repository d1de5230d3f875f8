"""Images that hold one spatial frequency (paper, Eqs. 6 and 7). Loads no torch."""

import math
from typing import get_args

import numpy as np
import numpy.typing as npt

from analysis.explain.choices import Directions, Norm
from stages.checks import is_real, is_whole
from stages.errors import RelayError, unknown_name

Waves = npt.NDArray[np.float64]


def wave(size: int, omega: float, theta: float, norm: Norm, directions: Directions) -> Waves:
    """A single image, (size, size); see `analysis.explain.frequency.reference_image`.

    Raises:
        RelayError: If a value is out of range or unknown.
    """
    check_waves(size, norm, directions)
    if not is_real(omega) or not 0 <= omega <= size / 2:
        raise RelayError(f"omega is {omega!r}; give 0 to {size / 2:g} cycles per image of {size} px")
    if not is_real(theta) or not math.isfinite(theta):
        raise RelayError(f"theta is {theta!r}; give radians")
    frequency = np.asarray([[omega * math.cos(theta), omega * math.sin(theta)]])
    if directions == "grid":
        frequency = frequency.round()
    return np.asarray(waves(size, frequency, norm)[0])


def circle(size: int, omega: int, directions: Directions, count: int) -> Waves:
    """Frequencies (x, y) in cycles per image on a circle, (M, 2), each once; opposite ones are equal."""
    if omega == 0:
        return np.zeros((1, 2))
    theta = np.arange(count) * (math.pi / count)
    points = omega * np.stack([np.cos(theta), np.sin(theta)], axis=1)
    if directions == "cosine":
        return points
    points = points.round()
    # The two points of a pair, and half the size up and down, are the same image: one name for each.
    first, second = (np.remainder(way, size) @ [size, 1.0] for way in (points, -points))
    names = np.unique(np.minimum(first, second))
    return np.stack(np.divmod(names, size), axis=1)


def waves(size: int, frequencies: Waves, norm: Norm) -> Waves:
    """Cosines of frequencies (M, 2), in cycles per image along x and y: (M, size, size)."""
    turns = frequencies[:, :, None] * np.arange(size)
    if (frequencies == frequencies.round()).all():
        turns %= size  # exact angles: whole turns are subtracted before any rounding
    angles = 2 * math.pi / size * turns
    (cos_x, cos_y), (sin_x, sin_y) = (part(angles).swapaxes(0, 1) for part in (np.cos, np.sin))
    # cos(y + x): one product per pixel instead of one cosine.
    images = cos_y[:, :, None] * cos_x[:, None, :]
    images -= sin_y[:, :, None] * sin_x[:, None, :]
    if norm == "unit":
        images /= np.sqrt(np.square(images).sum(axis=(1, 2), keepdims=True))
    return np.asarray(images)


def check_waves(size: int, norm: str, directions: str) -> None:
    """Refuse values with which no wave can be made.

    Raises:
        RelayError: If a value is out of range or unknown.
    """
    if not is_whole(size) or size < 2:
        raise RelayError(f"size is {size!r}; give a whole number of pixels, at least 2")
    if norm not in get_args(Norm):
        raise unknown_name("norm", norm, get_args(Norm))
    if directions not in get_args(Directions):
        raise unknown_name("directions", directions, get_args(Directions))
