"""Structures of the lung that the HRCT patterns are drawn with: tubes, trees, cells, nets, soft areas.

Lengths are in millimetres and become pixels through a slice's `spacing`. A structure is a coverage map: the
share of each pixel that it fills, 0 to 1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lung:
    """The part of a slice that is drawn.

    Attributes:
        side: Side of the square, pixels.
        spacing: Size of a pixel, millimetres.
        density: Attenuation of the patient's normal parenchyma at this inspiration, HU.
        filled: Whether a pattern fills all of it; otherwise its extent is drawn, too.
    """

    side: int
    spacing: float
    density: float
    filled: bool = False

    @property
    def square_centimetres(self) -> float:
        """Area, which numbers of vessels and nodules are proportional to."""
        return (self.side * self.spacing / 10.0) ** 2

    def pixels(self, millimetres: float) -> float:
        """Length in pixels."""
        return millimetres / self.spacing


def smooth_noise(rng: np.random.Generator, side: int, scale: float) -> Array:
    """Gaussian random field of mean 0 and variance 1, shape (side, side), smooth over `scale` pixels."""
    nodes = np.arange(-3.0 * scale, side + 3.0 * scale, scale)
    weights = np.exp(-0.5 * ((np.arange(side)[:, None] - nodes[None, :]) / scale) ** 2)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    # Not `@`: these are small, and a BLAS with several threads may sum them in another order elsewhere.
    rows = np.einsum("in,nm->im", weights, rng.standard_normal((len(nodes), len(nodes))))
    field: Array = np.einsum("im,jm->ij", rows, weights)
    return field


def mix(image: Array, coverage: Array, value: float | Array) -> Array:
    """Partial-volume average of `image` and a structure of attenuation `value`."""
    mixed: Array = image + coverage * (value - image)
    return mixed


def add_tube(
    canvas: Array,
    start: tuple[float, float],
    end: tuple[float, float],
    radii: tuple[float, float],
    soft: float,
) -> None:
    """Draw a tapering tube (a disc where both ends meet) on a coverage map; the denser one wins."""
    side = canvas.shape[0]
    reach = max(radii) + soft
    left = max(int(min(start[0], end[0]) - reach), 0)
    right = min(int(max(start[0], end[0]) + reach) + 2, side)
    top = max(int(min(start[1], end[1]) - reach), 0)
    bottom = min(int(max(start[1], end[1]) + reach) + 2, side)
    if left >= right or top >= bottom:
        return
    across = np.arange(left - start[0], right - start[0] - 0.5)[None, :]
    down = np.arange(top - start[1], bottom - start[1] - 0.5)[:, None]
    dx, dy = end[0] - start[0], end[1] - start[1]
    squared_length = dx * dx + dy * dy
    radius: float | Array = radii[0]
    if squared_length > 0:
        along = np.minimum(
            np.maximum(across * (dx / squared_length) + down * (dy / squared_length), 0.0), 1.0
        )
        across, down = across - along * dx, down - along * dy
        radius = radii[0] + along * (radii[1] - radii[0])
    depth = (radius - np.sqrt(across * across + down * down)) / soft + 0.5
    # A structure thinner than a pixel fills only its share of it.
    coverage = np.minimum(depth, 1.0) * min(1.0, 2.0 * max(radii))
    box = canvas[top:bottom, left:right]  # holds 0 or more, which drops what is below 0
    np.maximum(box, coverage, out=box)


def _add_tree(
    canvas: Array, rng: np.random.Generator, root: tuple[float, float, float, float], thinnest: float
) -> None:
    """Draw a branching, tapering tree from a root (x, y, direction, radius), pixels and radians."""
    side = canvas.shape[0]
    pending = [root]
    # The root rises into the plane of the slice, so it too begins thin.
    x, y, angle, radius = root
    behind = (x - 7.0 * radius * np.cos(angle), y - 7.0 * radius * np.sin(angle))
    add_tube(canvas, behind, (x, y), (0.3 * radius, radius), 1.0)
    while pending:
        x, y, angle, radius = pending.pop()
        if radius < thinnest or not (-20 < x < side + 20 and -20 < y < side + 20):
            continue
        length, tip = radius * rng.uniform(5.0, 13.0), radius * rng.uniform(0.72, 0.92)
        for begin, finish in ((radius, (radius + tip) / 2), ((radius + tip) / 2, tip)):
            angle += rng.normal(0.0, 0.18)
            end = (x + 0.5 * length * np.cos(angle), y + 0.5 * length * np.sin(angle))
            add_tube(canvas, (x, y), end, (begin, finish), 1.0)
            x, y = end
        # A slice is thin: a branch that leaves its plane is not seen to go on.
        fork = rng.uniform(0.5, 1.1) * (1.0 if rng.random() < 0.5 else -1.0)
        if rng.random() < 0.85:
            pending.append((x, y, angle + fork * 0.35, tip * rng.uniform(0.8, 0.95)))
        if rng.random() < 0.7:
            pending.append((x, y, angle - fork, tip * rng.uniform(0.45, 0.75)))


def trees(rng: np.random.Generator, lung: Lung, per_cm2: float, largest_mm: float) -> Array:
    """Coverage of branching tubes that lie in the plane of the slice, shape (side, side)."""
    canvas = np.zeros((lung.side, lung.side))
    for _ in range(rng.poisson(per_cm2 * lung.square_centimetres)):
        x, y = rng.uniform(0.0, lung.side, 2)
        radius = lung.pixels(largest_mm * (0.35 + 0.65 * rng.random() ** 1.5))
        _add_tree(canvas, rng, (x, y, rng.uniform(0.0, 2.0 * np.pi), radius), lung.pixels(0.25))
    return canvas


def vessels(rng: np.random.Generator, lung: Lung, share: float = 1.0) -> Array:
    """Coverage of vessels, shape (side, side): trees in the plane, discs where they cross it."""
    canvas = trees(rng, lung, 0.12 * share, 1.5)
    crossings = rng.poisson(1.1 * share * lung.square_centimetres)
    for x, y, size in zip(
        rng.uniform(0, lung.side, crossings),
        rng.uniform(0, lung.side, crossings),
        rng.uniform(0, 1, crossings),
        strict=True,
    ):
        radius = lung.pixels(0.35 + 0.75 * size**2)
        slant = rng.normal(0.0, radius, 2)
        add_tube(canvas, (x, y), (x + slant[0], y + slant[1]), (radius, radius * 0.8), 1.0)
    return canvas


def parenchyma(rng: np.random.Generator, lung: Lung) -> Array:
    """Normal lung without its vessels: density rises to the dependent side; lobules differ a little."""
    slope = rng.uniform(-0.15, 0.6) * lung.spacing  # HU per pixel
    gradient = slope * (np.arange(lung.side) - lung.side / 2)[:, None]
    clouds = 9.0 * smooth_noise(rng, lung.side, lung.pixels(9.0))
    lobules = 7.0 * smooth_noise(rng, lung.side, lung.pixels(2.5))
    return lung.density + gradient + clouds + lobules


def scattered_sites(rng: np.random.Generator, lung: Lung, distance_mm: float, jitter: float) -> Array:
    """Points of a jittered hexagonal grid with a margin, shape (K, 2), (x, y) in pixels."""
    step = lung.pixels(distance_mm)
    rows = np.arange(-2.0 * step, lung.side + 2.0 * step, step * 0.87)
    columns = np.arange(-2.0 * step, lung.side + 2.0 * step, step)
    x, y = np.meshgrid(columns, rows)
    x[1::2] += step / 2
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    moved: Array = points + rng.uniform(-jitter, jitter, points.shape) * step
    return moved


def cells(
    rng: np.random.Generator, lung: Lung, sites: Array, warp_mm: float
) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Distances to the nearest site and to the border with the next, and its index, (side, side) each."""
    side = lung.side
    y, x = np.mgrid[:side, :side].astype(np.float64)
    warp = lung.pixels(warp_mm)
    x += warp * smooth_noise(rng, side, lung.pixels(3.0))
    y += warp * smooth_noise(rng, side, lung.pixels(3.0))
    nearest = KDTree(sites).query(np.stack([x.ravel(), y.ravel()], axis=1), k=2)
    distance, index = np.asarray(nearest[0]), np.asarray(nearest[1])
    apart = np.linalg.norm(sites[index[:, 0]] - sites[index[:, 1]], axis=1)
    border = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2.0 * np.maximum(apart, 1e-6))
    return (
        distance[:, 0].reshape(side, side),
        border.reshape(side, side),
        index[:, 0].reshape(side, side).astype(np.int64),
    )


def affected_area(rng: np.random.Generator, lung: Lung, share: float, scale_mm: float, edge: float) -> Array:
    """Soft mask, shape (side, side), over about `share` of the slice; a larger `edge` ends more sharply."""
    if lung.filled:
        return np.ones((lung.side, lung.side))
    field = smooth_noise(rng, lung.side, lung.pixels(scale_mm))
    field += 0.35 * smooth_noise(rng, lung.side, lung.pixels(scale_mm / 4))
    threshold = np.quantile(field, 1.0 - share)
    mask: Array = 1.0 / (1.0 + np.exp(-np.clip((field - threshold) * edge, -30.0, 30.0)))
    return mask


def net(rng: np.random.Generator, lung: Lung, distance_mm: float, width_mm: float) -> Array:
    """Coverage of an interrupted network of fine lines, shape (side, side)."""
    _, border, _ = cells(rng, lung, scattered_sites(rng, lung, distance_mm, 0.42), 0.8)
    width = lung.pixels(width_mm) * (1.0 + 0.3 * smooth_noise(rng, lung.side, lung.pixels(4.0)))
    lines = np.clip(width / 2 - border + 0.5, 0.0, 1.0) * np.clip(width, 0.0, 1.0)
    seen = np.clip(0.75 + 0.6 * smooth_noise(rng, lung.side, lung.pixels(4.0)), 0.0, 1.0)
    return lines * seen


def add_blob(canvas: Array, rng: np.random.Generator, x: float, y: float, radius: float) -> None:
    """Draw an irregular rounded area: three overlapping discs with gradual edges."""
    for angle in rng.uniform(0.0, 2.0 * np.pi, 3):
        away, part = 0.5 * radius, radius * rng.uniform(0.6, 0.9)
        centre = (x + away * np.cos(angle), y + away * np.sin(angle))
        add_tube(canvas, centre, centre, (part, part), 1.8)
