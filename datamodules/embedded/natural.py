"""Embedded domain *natural*: pictures of solid objects; a stand-in for ImageNet (paper section 4).

Each image shows one object of its class on a floor before a wall, among shapes of no class that may
stand before or behind it. Pose, stretch, size, position, colours, surface pattern, light, shadows
and exposure are drawn again for each image from the same distributions for all classes, so that only
form tells the classes apart. Rendering is sphere tracing (Hart 1996) of signed distance functions.
"""

import numpy as np
import numpy.typing as npt

from datamodules.domain import Domain
from datamodules.embedded.rendering import Bodies, Plane, Rows, Scene, render
from datamodules.embedded.sampling import (
    Draws,
    Float,
    balanced_counts,
    check_request,
    hsv_to_rgb,
    limit,
    sample_generators,
    side_by_class,
)
from datamodules.embedded.shapes import CLUTTER, SOLIDS, Solid

VERSION = 2

_CHUNK = 32
_NOISE = 64  # side of the periodic noise that gives surfaces their pattern
_CLUTTER_PIECES = 2


def class_names(classes: int) -> tuple[str, ...]:
    """Names of the first `classes` objects, 2 to 15.

    Raises:
        RelayError: `classes` is out of bounds.
    """
    check_request("natural", len(SOLIDS), classes, (classes, classes), 96)
    return tuple(SOLIDS)[:classes]


def generate(*, classes: int, train_images: int, val_images: int, size: int, seed: int) -> Domain:
    """Render the domain.

    Args:
        classes: Number of objects, 2 to 15.
        train_images: Training images over all classes; counts of classes differ by one at most.
        val_images: Evaluation images over all classes.
        size: Side of the images in pixels.
        seed: Seed of everything drawn; an image depends on it, its side, class and index only.

    Returns:
        Images of uint8, shape (N, size, size, 3), RGB; each image is its own group, since no object
        instance is drawn twice.

    Raises:
        RelayError: A number is out of bounds.
    """
    check_request("natural", len(SOLIDS), classes, (train_images, val_images), size)
    names = class_names(classes)
    counts = [balanced_counts(total, classes) for total in (train_images, val_images)]
    train, val = (
        side_by_class(split, _images(names, split, counts[split], size, seed), names, counts[split], "object")
        for split in range(2)
    )
    return Domain(names, train, val)


def _images(
    names: tuple[str, ...], split: int, counts: tuple[int, ...], size: int, seed: int
) -> npt.NDArray[np.uint8]:
    images = np.empty((sum(counts), size, size, 3), np.uint8)
    place = 0
    for label, (name, count) in enumerate(zip(names, counts, strict=True)):
        for start in range(0, count, _CHUNK):
            indices = range(start, min(start + _CHUNK, count))
            generators = sample_generators(seed, split, label, indices)
            images[place : place + len(indices)] = _render(SOLIDS[name], generators, size)
            place += len(indices)
    return images


def _render(solid: Solid, generators: list[np.random.Generator], size: int) -> npt.NDArray[np.uint8]:
    """One image for each generator, shape (n, size, size, 3)."""
    draws = Draws(generators, 120)
    bodies = [_main_body(solid, draws, len(generators))]
    bodies += _clutter(draws, len(generators))
    scene = _scene(draws, generators, bodies[0].centre, size)
    return _expose(render(scene, bodies), generators, draws)


def _unit(vectors: Float, axis: int) -> Float:
    return np.asarray(
        vectors / np.sqrt((vectors * vectors).sum(axis, keepdims=True, dtype=np.float32)), np.float32
    )


def _about(axis: Float, angle: Float) -> Float:
    """Rotations by `angle` radians about unit `axis` (Rodrigues), shape (n, 3, 3)."""
    zero = np.zeros_like(angle)
    x, y, z = axis.T
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.asarray(np.eye(3, dtype=np.float32) + sine * cross + (1 - cosine) * (cross @ cross), np.float32)


def _pose(draws: Draws, count: int, largest_tilt: float) -> Float:
    """Any turn about the vertical, then a tilt towards any side, then any turn again; (n, 3, 3)."""
    upright = np.tile(np.array([0, 1, 0], np.float32), (count, 1))
    turn, side, again = (draws.between(0, 2 * np.pi) for _ in range(3))
    tilt = largest_tilt * draws.between(0, 1) ** np.float32(1.5)
    horizontal = np.stack([np.cos(side), np.zeros_like(side), np.sin(side)], 1)
    return np.asarray(_about(upright, again) @ _about(horizontal, tilt) @ _about(upright, turn), np.float32)


def _lattice() -> Float:
    axis = np.linspace(-1, 1, 25, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)


def _bodies(
    solid: Solid, rows: Rows, *, rotation: Float, lengths: Float, place: Float, paint: Float
) -> Bodies:
    """Solids set down on the floor at `place` (x, z); `paint` holds red, green, blue, pattern, gloss."""
    points = _lattice()
    points = points[:, solid(points) < 0.02]
    outward = rotation * lengths[:, None, :]
    spread = outward @ points
    centre = np.stack([place[:, 0], -spread[:, 1].min(1), place[:, 1]], 1)
    inward = np.swapaxes(rotation, 1, 2) / lengths[:, :, None]
    reach = np.stack([lengths.min(1), np.sqrt((spread * spread).sum(1).max(1)) + np.float32(0.06)], 1)
    return Bodies(solid, rows, inward, centre, reach, paint[:, :3], paint[:, 3], paint[:, 4])


def _paint(draws: Draws) -> Float:
    colour = hsv_to_rgb(draws.between(0, 1), draws.between(0, 0.9), draws.between(0.25, 1))
    return np.column_stack([colour, draws.between(0, 0.3), draws.between(0, 0.8)]).astype(np.float32)


def _main_body(solid: Solid, draws: Draws, count: int) -> Bodies:
    # Objects stand, as most do in photographs. Tilted by up to 0.9 radians, a narrow network had learned half
    # as much after six epochs.
    rotation = _pose(draws, count, 0.2)
    lengths = np.stack([draws.between(0.8, 1.2) for _ in range(3)], 1)
    place = np.zeros((count, 2), np.float32)
    rows = np.arange(count)
    return _bodies(solid, rows, rotation=rotation, lengths=lengths, place=place, paint=_paint(draws))


def _clutter(draws: Draws, count: int) -> list[Bodies]:
    """A few shapes of no class in most images, around the object but not in it; one group per shape."""
    size = count * _CLUTTER_PIECES
    columns = [_clutter_piece(draws, count) for _ in range(_CLUTTER_PIECES)]
    rotation, lengths, place, paint, kind = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    image = np.arange(size) % count
    pieces = []
    for index, solid in enumerate(CLUTTER):
        chosen = np.flatnonzero(kind == index)
        if len(chosen):
            body = _bodies(
                solid,
                image[chosen],
                rotation=rotation[chosen],
                lengths=lengths[chosen],
                place=place[chosen],
                paint=paint[chosen],
            )
            pieces.append(body)
    return pieces


def _clutter_piece(draws: Draws, count: int) -> tuple[Float, Float, Float, Float, Rows]:
    """Rotation, lengths, place, paint and kind (-1: none) of one piece for each image."""
    rotation = _pose(draws, count, 1.5)
    lengths = draws.between(0.3, 0.75)[:, None] * np.stack([draws.between(0.7, 1.2) for _ in range(3)], 1)
    angle, distance = draws.between(0, 2 * np.pi), draws.between(0.95, 2.1)
    place = np.stack([np.cos(angle), np.sin(angle)], 1) * distance[:, None]
    kind = draws.choice(len(CLUTTER))
    return rotation, lengths, place, _paint(draws), np.where(draws.chance(0.5), kind, -1)


def _scene(draws: Draws, generators: list[np.random.Generator], target: Float, size: int) -> Scene:
    count = len(generators)
    raised, distance, roll = draws.between(0.12, 0.75), draws.between(3.6, 7), draws.between(-0.15, 0.15)
    zero, one = np.zeros_like(raised), np.ones_like(raised)
    forward = np.stack([zero, -np.sin(raised), np.cos(raised)], 1)
    level = np.stack([np.stack([one, zero, zero], 1), np.stack([zero, np.cos(raised), np.sin(raised)], 1)], 1)
    turn = np.stack([np.cos(roll), np.sin(roll), -np.sin(roll), np.cos(roll)], 1).reshape(-1, 2, 2)
    axes = np.concatenate([turn @ level, forward[:, None]], 1)
    eye = target - distance[:, None] * forward
    focal = size * draws.between(0.36, 0.54) * distance
    middle = size * np.stack([draws.between(0.36, 0.64), draws.between(0.36, 0.64)], 1)
    grid = np.arange(size, dtype=np.float32) + np.float32(0.5)
    across = ((grid - middle[:, :1]) / focal[:, None])[:, None, None, :]
    up = ((middle[:, 1:] - grid) / focal[:, None])[:, None, :, None]
    rays = axes[:, 2, :, None, None] + across * axes[:, 0, :, None, None] + up * axes[:, 1, :, None, None]
    azimuth, height = draws.between(0, 2 * np.pi), draws.between(0.5, 1.25)
    light = np.stack([np.cos(azimuth) * np.cos(height), np.sin(height), np.sin(azimuth) * np.cos(height)], 1)
    # Light from behind the scene would leave only silhouettes.
    light[:, 2] = np.where(light[:, 2] > 0.3, -light[:, 2], light[:, 2])
    white = np.ones(count, np.float32)
    sun = hsv_to_rgb(draws.between(0.04, 0.16), draws.between(0, 0.3), white)
    sky = hsv_to_rgb(draws.between(0.5, 0.7), draws.between(0, 0.3), draws.between(0.15, 0.5))
    slant = draws.between(-0.5, 0.5)
    wall_normal = np.stack([np.sin(slant), np.zeros_like(slant), np.cos(slant)], 1)
    return Scene(
        eye=eye,
        axes=axes,
        middle=middle,
        size=size,
        rays=_unit(rays.reshape(count, 3, -1), 1),
        pixel=np.asarray(1 / focal, np.float32),
        light=light,
        sun=sun,
        sky=sky,
        noise=_noise(draws, generators),
        floor=_plane(draws),
        wall=_plane(draws),
        wall_normal=wall_normal,
        wall_distance=draws.between(1.8, 7),
    )


def _plane(draws: Draws) -> Plane:
    hue, saturation, value = draws.between(0, 1), draws.between(0, 0.7), draws.between(0.15, 0.9)
    first = hsv_to_rgb(hue, saturation, value)
    near_hue, near_value = hue + draws.between(-0.1, 0.1), value + draws.between(-0.4, 0.4)
    second = hsv_to_rgb(near_hue % 1, draws.between(0, 0.7), np.clip(near_value, 0.1, 1))
    both = np.stack([draws.between(1.5, 9), draws.between(1.5, 9)], 1)
    kept = np.stack([draws.chance(0.7), draws.chance(0.7)], 1)
    tiled = draws.between(0.1, 0.5) * draws.chance(0.5)
    return Plane(np.stack([first, second], 1), draws.between(0.05, 0.35), tiled, both * kept)


def _noise(draws: Draws, generators: list[np.random.Generator]) -> Float:
    """Periodic noise whose spectrum falls as 1 / frequency to a power of the image's own."""
    white = np.stack([g.standard_normal((_NOISE, _NOISE), dtype=np.float32) for g in generators])
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_NOISE), np.fft.rfftfreq(_NOISE), indexing="ij"))
    frequency[0, 0] = np.inf
    weight = frequency[None] ** -draws.between(0.7, 2.0)[:, None, None]
    field = np.fft.irfft2(np.fft.rfft2(white) * weight, s=(_NOISE, _NOISE))
    return np.asarray(field / field.std((1, 2), keepdims=True), np.float32)


def _expose(linear: Float, generators: list[np.random.Generator], draws: Draws) -> npt.NDArray[np.uint8]:
    """The camera: exposure to a drawn mean, a drawn tone curve, black level, and noise of the sensor."""
    exposure, gamma = draws.between(0.1, 0.35), draws.between(0.38, 0.6)
    black, noise = draws.between(0, 0.12), draws.between(0.003, 0.025)
    images = np.empty(linear.shape, np.uint8)
    for row, generator in enumerate(generators):
        grain = generator.standard_normal((*linear.shape[1:3], 1), dtype=np.float32)
        tone = np.minimum(linear[row] * (exposure[row] / linear[row].mean()), 1) ** gamma[row]
        tone = black[row] + (1 - black[row]) * tone + noise[row] * grain
        images[row] = limit(tone, 0, 1) * 255 + np.float32(0.5)
    return images
