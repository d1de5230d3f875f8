"""Solid objects as signed distance functions, inside a ball of radius 1 with y pointing up.

A function takes points of shape (3, n) and returns a lower bound of the distance to the surface,
negative inside, shape (n,). Bounds instead of exact distances keep the shapes with flat faces
cheap: the largest distance to any face plane never overshoots.
"""

from collections.abc import Callable

import numpy as np

from datamodules.embedded.sampling import Float, limit

Solid = Callable[[Float], Float]


def _length(*parts: Float) -> Float:
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total += part * part
    return np.asarray(np.sqrt(total), np.float32)


def _largest(first: Float, *others: Float) -> Float:
    for other in others:
        first = np.maximum(first, other)
    return first


def _taper(radius: Float, y: Float, base: float, bottom: float, top: float) -> Float:
    """A cone over the cross-section `radius` (a norm of x and z): `base` wide at `bottom`, a tip at `top`."""
    height = top - bottom
    slant = float(np.hypot(height, base))
    return np.asarray(np.maximum((radius * height + (y - top) * base) / slant, bottom - y), np.float32)


def _sphere(p: Float) -> Float:
    return _length(*p) - 0.78


def _cube(p: Float) -> Float:
    return _largest(*np.abs(p)) - 0.57


def _cylinder(p: Float) -> Float:
    return np.asarray(np.maximum(_length(p[0], p[2]) - 0.48, np.abs(p[1]) - 0.72), np.float32)


def _cone(p: Float) -> Float:
    return _taper(_length(p[0], p[2]), p[1], 0.68, -0.55, 0.95)


def _torus(p: Float) -> Float:
    return _length(_length(p[0], p[2]) - 0.66, p[1]) - 0.26


def _pyramid(p: Float) -> Float:
    return _taper(np.maximum(np.abs(p[0]), np.abs(p[2])), p[1], 0.62, -0.45, 0.8)


def _mug(p: Float) -> Float:
    x = p[0] + 0.18
    radius, height = _length(x, p[2]), np.abs(p[1]) - 0.6
    body = np.maximum(np.maximum(radius - 0.52, height), -np.maximum(radius - 0.42, -0.48 - p[1]))
    handle = _length(_length(x - 0.55, p[1]) - 0.34, p[2]) - 0.1
    return np.asarray(np.minimum(body, np.maximum(handle, 0.47 - radius)), np.float32)


def _star(p: Float) -> Float:
    # Reflections fold the plane onto half a point of the star; a line then bounds it.
    x, y = np.abs(p[0]), p[1].copy()
    for side in (1.0, -1.0):
        normal_x, normal_y = 0.809017 * side, -0.587785
        excess = 2 * np.maximum(normal_x * x + normal_y * y, 0)
        x, y = x - excess * normal_x, y - excess * normal_y
    x = np.abs(x)
    outline = (y - 0.95) * 0.3695 + x * 0.9292  # the edge from the tip (0, 0.95) to the notch, about 0.42 out
    return np.asarray(np.maximum(outline, np.abs(p[2]) - 0.24), np.float32)


def _cross(p: Float) -> Float:
    x, y, z = np.abs(p)
    bars = np.minimum(np.maximum(x - 0.85, y - 0.27), np.maximum(y - 0.85, x - 0.27))
    return np.asarray(np.maximum(bars, z - 0.27), np.float32)


def _stairs(p: Float) -> Float:
    x, y = p[0], p[1]
    steps = np.minimum(np.maximum(x + 0.22, y - 0.6), np.maximum(x - 0.22, y - 0.2))
    steps = np.minimum(steps, y + 0.2)
    return _largest(steps, np.abs(x) - 0.66, -0.6 - y, np.abs(p[2]) - 0.45)


def _capsule(p: Float) -> Float:
    return _length(p[0], p[1] - limit(p[1], -0.52, 0.52), p[2]) - 0.4


def _arch(p: Float) -> Float:
    block = _largest(np.abs(p[0]) - 0.75, np.abs(p[1]) - 0.58, np.abs(p[2]) - 0.3)
    return np.asarray(np.maximum(block, 0.45 - _length(p[0], np.maximum(p[1] + 0.25, 0))), np.float32)


def _nut(p: Float) -> Float:
    x, z = np.abs(p[0]), np.abs(p[2])
    hexagon = np.maximum(x, 0.5 * x + 0.866025 * z) - 0.75
    return _largest(hexagon, np.abs(p[1]) - 0.3, 0.4 - _length(x, z))


def _bowl(p: Float) -> Float:
    y = p[1] - 0.3
    return np.asarray(np.maximum(np.abs(_length(p[0], y, p[2]) - 0.78) - 0.07, y), np.float32)


def _tetrahedron(p: Float) -> Float:
    # The largest of three directions 120 degrees apart is a norm whose unit ball is a triangle.
    x, z = p[0], 0.866025 * p[2]
    return _taper(_largest(x, z - 0.5 * x, -z - 0.5 * x), p[1], 0.42, -0.4, 0.85)


def blob(p: Float) -> Float:
    """A smooth lump of three balls; clutter, of no class."""
    first = _length(p[0] + 0.3, p[1] + 0.2, p[2]) - 0.5
    for x, y, z, radius in ((0.42, -0.1, 0.15, 0.42), (0.0, 0.42, -0.3, 0.38)):
        other = _length(p[0] - x, p[1] - y, p[2] - z) - radius
        overlap = np.maximum(0.3 - np.abs(first - other), 0)
        first = np.minimum(first, other) - overlap * overlap * np.float32(1 / 1.2)
    return first


def bean(p: Float) -> Float:
    """A bent pod; clutter, of no class."""
    x = limit(p[0], -0.68, 0.68)
    # Bending stretches space by up to 1.6, which the factor takes back.
    return np.float32(0.65) * (_length(p[0] - x, p[1] - 0.9 * x * x + 0.3, p[2]) - 0.24)


def rod(p: Float) -> Float:
    """A thin stick; clutter, of no class."""
    return _length(p[0], p[1] - limit(p[1], -0.9, 0.9), p[2]) - 0.09


SOLIDS: dict[str, Solid] = {
    "sphere": _sphere,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "pyramid": _pyramid,
    "mug": _mug,
    "star": _star,
    "cross": _cross,
    "stairs": _stairs,
    "capsule": _capsule,
    "arch": _arch,
    "nut": _nut,
    "bowl": _bowl,
    "tetrahedron": _tetrahedron,
}
CLUTTER: tuple[Solid, ...] = (blob, bean, rod)
