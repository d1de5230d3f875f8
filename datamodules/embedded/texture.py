"""Embedded domain *texture*: materials under many lights and views; a stand-in for CUReT (paper section 4).

As in CUReT (Dana et al. 1999) each material is one physical specimen, here a periodic height field
with an albedo, and its images differ in the direction of the light, the viewing angle and the scale;
each is another crop. Shading is Lambert's law with a highlight, from the height field's normals, with
cast shadows from a few steps towards the light. Materials share a few colours, and a camera with
automatic exposure draws brightness and contrast for each image, so that structure tells the materials apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datamodules.domain import Domain
from datamodules.embedded.fields import SIDE
from datamodules.embedded.materials import MATERIALS
from datamodules.embedded.sampling import (
    Draws,
    Float,
    balanced_counts,
    check_request,
    hsv_to_rgb,
    sample_generators,
    side_by_class,
)

VERSION = 2

_SPECIMEN = 2  # the stream of the specimens, beside the two splits
_FIELD_OF_VIEW = 96.0  # texels across an image at scale 1, independent of its size in pixels
_SHADOW_STEPS = (1.5, 3.5, 7.0, 12.0)  # texels
_COLOURS = 5  # pairs of dark and light colours that the materials share


@dataclass(frozen=True)
class _Specimen:
    """A material's relief at one resolution, periodic; its side is a power of two."""

    texel: int  # texels of the full resolution that one of these is wide
    side: int
    height: Float  # (side * side,) in texels of the full resolution
    relief: Float  # (side * side, 4) slope along x, slope along y, albedo, height


def class_names(classes: int) -> tuple[str, ...]:
    """Names of the first `classes` materials, 2 to 61.

    Raises:
        RelayError: `classes` is out of bounds.
    """
    check_request("texture", len(MATERIALS), classes, (classes, classes), 96)
    return tuple(MATERIALS)[:classes]


def generate(*, classes: int, train_images: int, val_images: int, size: int, seed: int) -> Domain:
    """Photograph the specimens.

    Args:
        classes: Number of materials, 2 to 61.
        train_images: Training images over all classes; counts of classes differ by one at most.
        val_images: Evaluation images over all classes.
        size: Side of the images in pixels; the field of view does not depend on it.
        seed: Seed of everything drawn; an image depends on it, its side, class and index only.

    Returns:
        Images of uint8, shape (N, size, size, 3), RGB. As in CUReT a material has one specimen, on
        both sides of the split; a group is a condition of light and view, and is used once.

    Raises:
        RelayError: A number is out of bounds.
    """
    totals = (train_images, val_images)
    check_request("texture", len(MATERIALS), classes, totals, size)
    names = class_names(classes)
    counts = [balanced_counts(total, classes) for total in totals]
    images: tuple[list[npt.NDArray[np.uint8]], ...] = ([], [])
    for label, name in enumerate(names):
        levels = _levels(_specimen(name, label, seed), size)
        for split in range(2):
            generators = sample_generators(seed, split, label, range(counts[split][label]))
            conditions = _conditions(Draws(generators, 24), label, len(generators), size)
            images[split].append(_photographs(levels, MATERIALS[name].gloss, conditions, generators, size))
    train, val = (
        side_by_class(split, np.concatenate(images[split]), names, counts[split], "condition")
        for split in range(2)
    )
    return Domain(names, train, val)


def _specimen(name: str, label: int, seed: int) -> _Specimen:
    rng = np.random.default_rng(np.random.SeedSequence([seed, _SPECIMEN, label]))
    height, albedo = MATERIALS[name].draw(rng)
    slope_y, slope_x = ((np.roll(height, -1, axis) - np.roll(height, 1, axis)) / 2 for axis in (0, 1))
    relief = np.stack([slope_x, slope_y, np.clip(albedo, 0, 1), height], -1).reshape(-1, 4)
    return _Specimen(1, SIDE, height.reshape(-1), relief.astype(np.float32))


def _levels(specimen: _Specimen, size: int) -> list[_Specimen]:
    """The specimen at full resolution, then at half of it, and so on as far as `size` needs."""
    levels = [specimen]
    while levels[-1].texel * size < 2 * _FIELD_OF_VIEW and len(levels) < 4:
        last, side = levels[-1], levels[-1].side // 2
        relief = last.relief.reshape(side, 2, side, 2, 4).mean((1, 3)).reshape(-1, 4)
        levels.append(_Specimen(2 * last.texel, side, relief[:, 3].copy(), relief))
    return levels


@dataclass(frozen=True)
class _Conditions:
    """Light, view and camera of n images."""

    to_texels: Float  # (n, 2, 2) from pixels (y, x) to texels (y, x)
    centre: Float  # (n, 2) texel (y, x) at the image's centre
    light: Float  # (n, 3) unit direction towards the light, x, y, z over the surface
    half_way: Float  # (n, 3) unit direction between light and camera
    ambient: Float  # (n,)
    tint: Float  # (n, 3) colour of the light
    dark: Float  # (n, 3) colour of albedo 0
    bright: Float  # (n, 3) colour of albedo 1
    gamma: Float  # (n,)
    mean: Float  # (n,) grey level that the camera's exposure aims at
    contrast: Float  # (n,) standard deviation that it aims at
    noise: Float  # (n,)


def _conditions(draws: Draws, label: int, count: int, size: int) -> _Conditions:
    # Tilted by 35 degrees at most and at nearly one scale, so that a narrow network learns them in minutes.
    turn, lean, tilt = draws.between(0, 2 * np.pi), draws.between(0, 2 * np.pi), draws.between(0, 0.6)
    scale = np.float32(_FIELD_OF_VIEW / size) * np.exp(draws.between(np.log(0.8), np.log(1.2)))
    squeeze = np.stack([np.ones_like(tilt), 1 / np.cos(tilt)], 1)[:, :, None]
    to_texels = np.asarray(_rotation(turn) @ (squeeze * _rotation(lean)) * scale[:, None, None], np.float32)
    # The tilt is along the second axis after `lean`; `turn` brings it to the specimen.
    view_yx = (_rotation(turn) @ np.array([0, 1], np.float32)) * np.sin(tilt)[:, None]
    view = np.stack([view_yx[:, 1], view_yx[:, 0], np.cos(tilt)], 1)
    azimuth, elevation = draws.between(0, 2 * np.pi), draws.between(0.6, 1.3)
    light = np.stack(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], 1
    )
    half_way = light + view
    half_way /= np.sqrt((half_way * half_way).sum(1, keepdims=True))
    hue = np.float32((0.12, 0.6, 0.09, 0.07, 0.04)[label % _COLOURS]) + draws.between(-0.05, 0.05)
    saturation, value = draws.between(0.05, 0.45), draws.between(0.5, 1)
    white = np.ones(count, np.float32)
    return _Conditions(
        to_texels=to_texels,
        centre=np.stack([draws.between(0, SIDE), draws.between(0, SIDE)], 1),
        light=light,
        half_way=half_way,
        ambient=draws.between(0.12, 0.35),
        tint=hsv_to_rgb(draws.between(0, 1), draws.between(0, 0.2), white),
        dark=hsv_to_rgb(hue % 1, saturation, value * draws.between(0.2, 0.5)),
        bright=hsv_to_rgb((hue + draws.between(-0.04, 0.04)) % 1, saturation * draws.between(0.4, 1), value),
        gamma=draws.between(0.4, 1),
        mean=draws.between(0.3, 0.65),
        contrast=draws.between(0.07, 0.2),
        noise=draws.between(0.004, 0.025),
    )


def _rotation(angle: Float) -> Float:
    return np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(-1, 2, 2)


def _photographs(
    levels: list[_Specimen],
    gloss: float,
    conditions: _Conditions,
    generators: list[np.random.Generator],
    size: int,
) -> npt.NDArray[np.uint8]:
    """One image for each generator, shape (n, size, size, 3)."""
    images = np.empty((len(generators), size, size, 3), np.uint8)
    for index, generator in enumerate(generators):
        grain = generator.standard_normal((size, size, 1), dtype=np.float32)
        images[index] = _expose(_shade(levels, gloss, conditions, index, size), grain, conditions, index)
    return images


def _shade(levels: list[_Specimen], gloss: float, conditions: _Conditions, index: int, size: int) -> Float:
    """Linear RGB of one image, shape (size, size, 3)."""
    matrix, light = conditions.to_texels[index], conditions.light[index]
    texels_a_pixel = np.sqrt(abs(np.linalg.det(matrix)))
    level = levels[min(max(round(float(np.log2(texels_a_pixel))), 0), len(levels) - 1)]
    grid = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    y, x = (
        (matrix[axis, 0] * grid[:, None] + matrix[axis, 1] * grid + conditions.centre[index, axis]).ravel()
        / level.texel
        for axis in (0, 1)
    )
    slope_x, slope_y, albedo, height = _sample(level, y, x)
    flat = np.hypot(light[0], light[1])
    near_y, near_x = (np.rint(part).astype(np.int64) for part in (y, x))
    block = np.zeros_like(height)
    for step in _SHADOW_STEPS:
        down, right = (round(float(step * part / flat / level.texel)) for part in (light[1], light[0]))
        beside = level.height.take(_index(level.side, near_y + down, near_x + right))
        np.maximum(block, beside - height - np.float32(step * light[2] / flat), out=block)
    length = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    facing = np.maximum((light[2] - slope_x * light[0] - slope_y * light[1]) * length, 0)
    direct = facing * np.maximum(1 - block, np.float32(0.1))
    ambient = conditions.ambient[index]
    shade = (1 - ambient) * direct + ambient * length
    dark, bright = conditions.dark[index], conditions.bright[index]
    colour = (dark + albedo[:, None] * (bright - dark)) * shade[:, None]
    if gloss:
        half_way = conditions.half_way[index]
        shine = np.maximum((half_way[2] - slope_x * half_way[0] - slope_y * half_way[1]) * length, 0)
        for _ in range(4):
            shine = shine * shine
        colour += (np.float32(gloss) * shine * np.minimum(4 * direct, 1))[:, None]
    return np.asarray((colour * conditions.tint[index]).reshape(size, size, 3), np.float32)


def _index(side: int, y: npt.NDArray[np.int64], x: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return (y & (side - 1)) * side + (x & (side - 1))


def _sample(level: _Specimen, y: Float, x: Float) -> Float:
    """Bilinear values of the relief at n points in the level's texels, shape (4, n)."""
    top, left = np.floor(y), np.floor(x)
    down, right = (y - top)[:, None], (x - left)[:, None]
    row, column = top.astype(np.int64), left.astype(np.int64)
    lines = []
    for below in (0, 1):
        first, second = (
            level.relief.take(_index(level.side, row + below, column + beside), 0) for beside in (0, 1)
        )
        lines.append(first + right * (second - first))
    return np.ascontiguousarray((lines[0] + down * (lines[1] - lines[0])).T)


def _expose(linear: Float, grain: Float, conditions: _Conditions, index: int) -> npt.NDArray[np.uint8]:
    """A tone curve, automatic exposure to a drawn mean and contrast, noise of the sensor."""
    tone = linear ** conditions.gamma[index]
    grey = tone.mean(2, keepdims=True)
    gain = conditions.contrast[index] / (grey.std() + np.float32(1e-3))
    exposed = conditions.mean[index] + gain * (grey - grey.mean())
    # Hue and saturation stay as they are, only the grey level is stretched.
    tone = exposed * tone / (grey + np.float32(1e-3)) + conditions.noise[index] * grain
    return np.asarray(np.clip(tone, 0, 1) * 255 + np.float32(0.5), np.uint8)
