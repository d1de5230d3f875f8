"""A simple thorax on axial slices: body, ribs, spine, heart, airways, the table, and the room of two lungs.

Lengths are shares of half the field of view, so that any number of pixels shows the whole thorax: u from -1
at the patient's right to 1 at the left, v from -1 at the front to 1 at the back, and the height t from 0 at
the lungs' apex to 1 at their base. It is a drawing for tests and benchmarks, not an atlas.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datamodules.embedded.dld_structures import Array, mix, smooth_noise

RIGHT, LEFT = 1, 2
"""Numbers of the lungs; the patient's right one is at the left of the picture."""

LUNG_CENTRE = (0.42, 0.0)
"""(u, v) of the left lung."""
LUNG_HALF_AXES = (0.33, 0.5)
"""Largest half-axes of a lung along u and v."""

_AIR, _FAT, _MUSCLE, _BLOOD, _LIVER, _SPONGY, _CORTEX = -1000.0, -105.0, 45.0, 40.0, 60.0, 180.0, 480.0
_BODY, _CAVITY = (0.92, 0.68), (0.79, 0.56)  # half-axes
_RIBS = 14


@dataclass(frozen=True)
class Anatomy:
    """A slice without the lungs' tissue.

    Attributes:
        tissue: Attenuation in HU of all that is not lung, shape (side, side); soft tissue where lungs lie.
        lungs: Share of each pixel that the right and the left lung fill, shape (2, side, side).
    """

    tissue: Array
    lungs: Array


def draw_anatomy(rng: np.random.Generator, side: int, height: float) -> Anatomy:
    """Draw a slice of the thorax.

    Args:
        rng: Source of all randomness: the outlines' small waves and the soft tissue's structure.
        side: Rows and columns.
        height: t, see the module; lungs are seen above 0 and below 1.
    """
    half = side / 2
    axis = (np.arange(side) + 0.5) / half - 1.0
    u, v = np.meshgrid(axis, axis)
    u = u + 0.012 * smooth_noise(rng, side, 0.2 * half)
    v = v + 0.012 * smooth_noise(rng, side, 0.2 * half)

    def coverage(depth: Array) -> Array:
        """Share of a pixel inside of an outline, from the depth behind it."""
        return np.clip(depth * half + 0.5, 0.0, 1.0)

    body = _depth(u, v, (0.0, 0.0), _BODY)
    wall = body - 0.07  # below skin and fat
    tissue = mix(np.full((side, side), _AIR), coverage(body), _FAT)
    tissue = mix(tissue, coverage(wall), _MUSCLE)
    # Between the lungs: fat with vessels and, lower, the heart; below the base the dome of the liver.
    cavity = coverage(_depth(u, v, (0.0, 0.0), _CAVITY))
    tissue = mix(tissue, cavity, _BLOOD + 12.0 * smooth_noise(rng, side, 0.05 * half))
    heart = _depth(u, v, (0.1, -0.13), (0.34 * _rise(height, 0.35, 0.7), 0.3))
    dome = np.maximum(
        _depth(u, v, (-0.4, -0.12), (0.36 * _rise(height, 0.7, 1.05), 0.46)),
        _depth(u, v, (0.42, -0.14), (0.33 * _rise(height, 0.78, 1.08), 0.42)),
    )
    tissue = mix(tissue, cavity * coverage(dome), _LIVER)
    spine = _depth(u, v, (0.0, 0.42), (0.13, 0.12))
    tissue = mix(mix(tissue, coverage(spine), _CORTEX), coverage(spine - 0.015), _SPONGY)
    tissue = mix(tissue, _ribs(u, v, height, coverage), _CORTEX)
    tissue = mix(tissue, coverage(_airways(u, v, height)), _AIR + 10.0)
    tissue = mix(tissue, coverage(0.008 - np.abs(v - 0.8 - 0.08 * u**2)), 120.0)  # the table

    size = np.sqrt(np.sin(np.pi / 2 * np.clip(height / 0.4, 0.0, 1.0)))
    lungs = np.zeros((2, side, side))
    if 0.0 < height < 1.0:
        free = 1.0 - coverage(np.maximum(np.maximum(heart, dome), spine) + 0.025)
        for index, sign in enumerate((-1.0, 1.0)):
            half_axes = (LUNG_HALF_AXES[0] * size, LUNG_HALF_AXES[1] * size)
            centre = (sign * LUNG_CENTRE[0], LUNG_CENTRE[1])
            outline = _depth(u, v, centre, half_axes, 2.4)
            inside = np.minimum(outline, _depth(u, v, (0.0, 0.0), _CAVITY) - 0.015)
            lungs[index] = coverage(inside) * free
    return Anatomy(tissue, lungs)


def _depth(
    u: Array, v: Array, centre: tuple[float, float], half_axes: tuple[float, float], power: float = 2.0
) -> Array:
    """About how far each pixel lies inside an ellipse; without width all lies outside."""
    if min(half_axes) <= 0.01:
        return np.full_like(u, -1.0)
    across = np.abs((u - centre[0]) / half_axes[0]) ** power + np.abs((v - centre[1]) / half_axes[1]) ** power
    depth: Array = (1.0 - across ** (1.0 / power)) * min(half_axes)
    return depth


def _rise(height: float, low: float, high: float) -> float:
    """A circle's profile: 0 at `low`, 1 at `high` and below."""
    return float(np.sqrt(1.0 - (1.0 - np.clip((height - low) / (high - low), 0.0, 1.0)) ** 2))


def _ribs(u: Array, v: Array, height: float, coverage: Callable[[Array], Array]) -> Array:
    """Coverage of the ribs, cut slantwise: spots in the wall that move round it with the height."""
    angle = np.arctan2(v / _BODY[1], u / _BODY[0])
    ring = 0.03 - np.abs(_depth(u, v, (0.0, 0.0), (0.5 * (0.84 + _CAVITY[0]), 0.5 * (0.61 + _CAVITY[1]))))
    step = 2.0 * np.pi / _RIBS
    # Both sides alike: angles are counted from the front on each side.
    from_front = np.abs(np.arctan2(np.cos(angle), -np.sin(angle)))
    nearest = np.abs((from_front + 3.0 * height) % step - step / 2)
    return coverage(np.minimum(ring, (0.09 - nearest) * 0.5))


def _airways(u: Array, v: Array, height: float) -> Array:
    """Depth in the trachea, and below its fork in the main bronchi as long as they lie between the lungs."""
    if height < 0.4:
        return _depth(u, v, (0.0, 0.06), (0.055, 0.055))
    apart = 0.035 + 0.3 * (height - 0.4)
    if apart > 0.07:
        return np.full_like(u, -1.0)
    sides = [_depth(u, v, (sign * apart, 0.06), (0.035, 0.045)) for sign in (-1.0, 1.0)]
    return np.maximum(*sides)
