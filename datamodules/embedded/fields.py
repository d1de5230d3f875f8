"""Periodic fields that materials are made of: noise of given spectra, Worley's cells, profiles."""

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from datamodules.embedded.sampling import Float

SIDE = 256
"""Side of a field in texels; a power of two."""

Y, X = np.meshgrid(np.arange(SIDE) / SIDE, np.arange(SIDE) / SIDE, indexing="ij")
"""Coordinates of the texels in [0, 1), float64, shape (SIDE, SIDE)."""

_FREQUENCY_Y, _FREQUENCY_X = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")


def _spectral(rng: np.random.Generator, weight: npt.NDArray[np.float64]) -> Float:
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * weight, s=(SIDE, SIDE))
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def _radius(stretch: float, angle: float) -> npt.NDArray[np.float64]:
    """Frequency in cycles per texel; features are `stretch` times longer along `angle`, radians from x."""
    cosine, sine = np.cos(angle), np.sin(angle)
    along = (_FREQUENCY_X * cosine + _FREQUENCY_Y * sine) * stretch
    radius = np.hypot(along, _FREQUENCY_Y * cosine - _FREQUENCY_X * sine)
    radius[0, 0] = np.inf
    return np.asarray(radius)


def band(
    rng: np.random.Generator, period: float, width: float = 0.4, *, stretch: float = 1, angle: float = 0
) -> Float:
    """Noise of one scale, mean 0 and standard deviation 1; `width` in natural logarithms of frequency."""
    radius = _radius(stretch, angle)
    return _spectral(rng, np.exp(-((np.log(radius * period) / width) ** 2)))


def fractal(rng: np.random.Generator, slope: float, *, stretch: float = 1, angle: float = 0) -> Float:
    """Noise of all scales with amplitudes falling as frequency ** -slope; mean 0, standard deviation 1."""
    return _spectral(rng, _radius(stretch, angle) ** -slope)


def cells(
    rng: np.random.Generator, spacing: float, warp: float = 0, stretch: float = 1
) -> tuple[Float, Float, npt.NDArray[np.int64]]:
    """Worley's cells: distances to the nearest and the next seed in spacings, and the nearest's index.

    Cells are `stretch` times longer along x; `warp` bends their borders, in spacings. Each (SIDE, SIDE).
    """
    # Space is squeezed along x, so that round cells there are long cells here.
    extent = np.array([SIDE / stretch, SIDE])
    shape = np.maximum(np.rint(extent / spacing), 2).astype(int)
    lattice = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 2)
    seeds = (lattice + rng.uniform(0, 1, lattice.shape)) / shape * extent
    points = np.stack([X, Y], -1) * extent
    if warp:
        shift = np.stack([band(rng, 3 * spacing), band(rng, 3 * spacing)], -1)
        points = points + warp * spacing * shift
    tree = cKDTree(seeds % extent, boxsize=extent)
    distance, index = tree.query(points.reshape(-1, 2) % extent, k=2)
    near, next_near = np.asarray(distance / spacing, np.float32).T.reshape(2, SIDE, SIDE)
    return near, next_near, np.asarray(index, np.int64)[:, 0].reshape(SIDE, SIDE)


def arch(fraction: npt.NDArray[np.floating]) -> Float:
    """The round profile of a thread over its width, 0 at fractions 0 and 1, and 1 between."""
    return np.asarray(np.sqrt(np.clip(1 - (2 * fraction - 1) ** 2, 0, 1)), np.float32)


def step(value: npt.NDArray[np.floating], low: float, high: float) -> Float:
    """A smooth rise from 0 at `low` to 1 at `high`, shape of `value`."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def look_up(noise: Float, u: Float, v: Float) -> Float:
    """Bilinear values of periodic `noise` (side, side; a power of two) at u, v in texels, shape of u."""
    side = noise.shape[0]
    left, top = np.floor(u), np.floor(v)
    right, down = u - left, v - top
    x, y = left.astype(np.int64) & (side - 1), (top.astype(np.int64) & (side - 1)) * side
    x_next, y_next = (x + 1) & (side - 1), (y + side) & (side * side - 1)
    table = noise.reshape(-1)
    upper, lower = table.take(y + x), table.take(y_next + x)
    upper += right * (table.take(y + x_next) - upper)
    lower += right * (table.take(y_next + x_next) - lower)
    return np.asarray(upper + down * (lower - upper), np.float32)
