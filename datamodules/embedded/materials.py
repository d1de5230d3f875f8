"""Sixty-one materials, each a height and an albedo at every point of a square, in families with parameters.

A family takes a random generator and parameters. It returns the height in texels (points of the square) and
the albedo in [0, 1] (0 is the dark colour, 1 the light one), each float32 of shape (SIDE, SIDE). Both repeat
at the borders, so that a specimen has none. Lengths are in texels; some parameters are numbers of repeats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from datamodules.embedded.fields import SIDE, X, Y, arch, band, cells, fractal, step
from datamodules.embedded.sampling import Float

Relief = tuple[Float, Float]
Family = Callable[[np.random.Generator], Relief]


@dataclass(frozen=True)
class Material:
    """A family with its parameters, and how strongly the surface shines."""

    draw: Family
    gloss: float = 0.0


def _relief(height: npt.NDArray[np.floating], albedo: npt.NDArray[np.floating]) -> Relief:
    return np.asarray(height, np.float32), np.asarray(albedo, np.float32)


def _weave(
    rng: np.random.Generator, *, threads: int, repeat: int = 2, over: int = 1, depth: float = 2.5
) -> Relief:
    wobble = 0.12 / threads
    x, y = X + wobble * band(rng, 40), Y + wobble * band(rng, 40)
    column, row = np.floor(x * threads), np.floor(y * threads)
    u, v = x * threads - column, y * threads - row
    on_top = (column + row) % repeat < over
    warp, weft = arch(u) * (0.6 + 0.4 * arch(v)), arch(v) * (0.6 + 0.4 * arch(u))
    fibre = band(rng, 4, 0.6, stretch=4, angle=np.pi / 2) * on_top + band(rng, 4, 0.6, stretch=4) * ~on_top
    height = depth * np.where(on_top, warp, weft) + 0.12 * fibre
    return _relief(height, 0.55 + 0.25 * np.where(on_top, 1, -0.6) + 0.12 * fibre)


def _ridges(
    rng: np.random.Generator, *, count: int, depth: float, sharp: float, wander: float, fuzz: float
) -> Relief:
    phase = np.pi * (count * X + wander * band(rng, 90))
    profile = np.abs(np.sin(phase)) ** sharp
    pile = band(rng, 4, 0.5, stretch=2)
    return _relief(depth * profile + fuzz * pile, 0.35 + 0.4 * profile + 0.1 * pile)


def _knit(rng: np.random.Generator, *, columns: int, rows: int, slant: float, depth: float = 3) -> Relief:
    x = X + 0.15 / columns * band(rng, 50)
    across = np.abs(2 * ((x * columns) % 1) - 1)
    loop = np.abs(np.sin(np.pi * (rows * Y + slant * across + 0.1 * band(rng, 30))))
    height = depth * loop * arch(0.5 * across + 0.25) * np.sqrt(arch(across))
    yarn = band(rng, 4)
    return _relief(height + 0.15 * yarn, 0.3 + 0.5 * loop + 0.08 * yarn)


def _mesh(
    rng: np.random.Generator, *, count: int, opening: float, diagonal: bool, depth: float = 4
) -> Relief:
    a, b = (X + Y, X - Y) if diagonal else (X, Y)
    a, b = a + 0.06 / count * band(rng, 50), b + 0.06 / count * band(rng, 50)
    first, second = (arch(np.clip((((part * count) % 1) - opening) / (1 - opening), 0, 1)) for part in (a, b))
    wire = np.maximum(first, second)
    return _relief(depth * wire, 0.1 + 0.75 * (wire > 0.2) + 0.05 * band(rng, 6))


def _bricks(
    rng: np.random.Generator, *, rows: int, columns: int, joint: float, rough: float, shift: float = 0.5
) -> Relief:
    x, y = X + 0.0015 * band(rng, 20), Y + 0.0015 * band(rng, 20)
    row = np.floor(y * rows)
    along = x * columns + shift * (row % 2)
    tone = rng.uniform(0, 1, (rows + 1, columns + 1))[
        row.astype(int) % rows, np.floor(along).astype(int) % columns
    ]
    u, v = along % 1, (y * rows) % 1
    border = np.minimum(np.minimum(u, 1 - u) * SIDE / columns, np.minimum(v, 1 - v) * SIDE / rows)
    face = step(border, joint, joint + 2.5)
    grit = fractal(rng, 0.9)
    height = 4 * face + rough * grit
    return _relief(height, face * (0.35 + 0.4 * tone) + 0.1 * (1 - face) + 0.06 * grit)


def _scales(rng: np.random.Generator, *, columns: int, rows: int, depth: float) -> Relief:
    x, y = X + 0.003 * band(rng, 60), Y + 0.003 * band(rng, 60)
    height, tone = np.zeros_like(x), np.zeros_like(x)
    row = np.floor(y * rows)
    for back in (1, 0):  # the round lower edge of each row lies over the next row
        u = (x * columns + 0.5 * ((row - back) % 2)) % 1 - 0.5
        v = y * rows - row + back
        inside = np.hypot(2 * u, v / 1.35) < 1
        rise = depth * (0.25 + 0.75 * v / 2)
        height = np.where(inside & (rise > height), rise * (1 - 0.5 * u * u), height)
        tone = np.where(inside, 0.25 + 0.3 * v, tone)
    return _relief(height + 0.1 * band(rng, 5), tone + 0.05 * band(rng, 5))


def _stones(
    rng: np.random.Generator, *, spacing: float, depth: float, gap: float, rough: float, warp: float = 0.1
) -> Relief:
    near, next_near, index = cells(rng, spacing, warp)
    dome = np.sqrt(np.clip((next_near - near - gap) / 0.8, 0, 1))
    tone = rng.uniform(0, 1, index.max() + 1)[index]
    grit = fractal(rng, 1.0)
    albedo = (0.25 + 0.6 * tone) * (0.3 + 0.7 * (dome > 0)) + 0.05 * grit
    return _relief(depth * dome + rough * grit, albedo)


def _cracks(
    rng: np.random.Generator, *, spacing: float, width: float, depth: float, rough: float, stretch: float = 1
) -> Relief:
    near, next_near, _ = cells(rng, spacing, 0.3, stretch)
    plate = step(next_near - near, 0, width)
    coat = fractal(rng, 1.4, stretch=stretch)
    return _relief(depth * plate + rough * coat, 0.15 + 0.55 * plate + 0.1 * coat)


def _cork(rng: np.random.Generator, *, spacing: float, speckle: float) -> Relief:
    near, _, index = cells(rng, spacing, 0.5)
    tone = rng.uniform(0, 1, index.max() + 1)[index]
    specks = step(band(rng, 9, 0.7), 1.2, 1.7)
    height = 0.8 * tone - 3 * specks * speckle + 0.25 * band(rng, 5) - 0.4 * near
    return _relief(height, 0.3 + 0.5 * tone - 0.45 * speckle * specks)


def _pores(
    rng: np.random.Generator, *, spacings: tuple[float, ...], radius: float, depth: float, rough: float
) -> Relief:
    height = rough * fractal(rng, 1.3)
    open_share = np.zeros((SIDE, SIDE), np.float32)
    for spacing in spacings:
        near, _, index = cells(rng, spacing, 0.2)
        size = radius * rng.uniform(0.4, 1.2, index.max() + 1)[index]
        pit = np.sqrt(np.clip(1 - (near / size) ** 2, 0, 1))
        height = height - depth * spacing / max(spacings) * pit
        open_share = np.maximum(open_share, pit)
    return _relief(height, 0.75 - 0.55 * open_share + 0.05 * band(rng, 6))


def _grit(rng: np.random.Generator, *, period: float, depth: float, width: float) -> Relief:
    grain = band(rng, period, width)
    return _relief(depth * np.abs(grain), 0.45 + 0.13 * band(rng, period, width))


def _plaster(rng: np.random.Generator, *, slope: float, depth: float) -> Relief:
    relief = fractal(rng, slope)
    return _relief(depth * relief, 0.6 + 0.05 * fractal(rng, 1))


def _peel(rng: np.random.Generator, *, period: float, depth: float) -> Relief:
    skin = np.tanh(1.2 * band(rng, period, 0.25))
    return _relief(depth * skin, 0.55 + 0.1 * skin + 0.05 * band(rng, 70))


def _crumple(rng: np.random.Generator, *, period: float, depth: float) -> Relief:
    folds = np.zeros((SIDE, SIDE), np.float32)
    for octave in range(3):
        folds -= 0.55**octave * np.abs(band(rng, period / 1.9**octave, 0.5))
    return depth * folds, np.full((SIDE, SIDE), 0.7, np.float32)


def _patches(
    rng: np.random.Generator, *, period: float, level: float, depth: float, width: float = 0.15
) -> Relief:
    """Turing's patterns: noise of one scale above a level. At level 0 it is a labyrinth, higher up spots."""
    patch = step(band(rng, period, width) + 0.15 * band(rng, 7), level - 0.25, level + 0.25)
    crust = fractal(rng, 0.8)
    return _relief(depth * patch + 0.3 * patch * crust, 0.15 + 0.6 * patch + 0.06 * crust)


def _wood(rng: np.random.Generator, *, rings: int, wander: float, pores: float) -> Relief:
    phase = (rings * X + wander * band(rng, 110, 0.4, stretch=3, angle=np.pi / 2)) % 1
    ring = (phase**2 * (1 - step(phase, 0.85, 1))).astype(np.float32)
    pore = step(band(rng, 5, 0.5, stretch=10, angle=np.pi / 2), 1.0, 2.0)
    fibre = band(rng, 6, 0.6, stretch=14, angle=np.pi / 2)
    albedo = 0.75 - 0.5 * ring - 0.35 * pores * pore + 0.06 * fibre
    return _relief(-0.5 * ring - 1.5 * pores * pore + 0.2 * fibre, albedo)


def _fibres(
    rng: np.random.Generator, *, period: float, stretch: float, depth: float, angles: tuple[float, ...]
) -> Relief:
    """Fibres of one or several directions that lie over one another: fur, straw, felt."""
    layers = [band(rng, period, 0.4, stretch=stretch, angle=angle) for angle in angles for _ in range(2)]
    top = np.max(layers, 0)
    tone = np.choose(np.argmax(layers, 0), np.linspace(0, 1, len(layers)).tolist())
    return depth * top, (0.3 + 0.12 * top + 0.2 * tone).astype(np.float32)


def _ripples(rng: np.random.Generator, *, count: int, wander: float, depth: float, lean: float) -> Relief:
    phase = count * Y + wander * band(rng, 120) + 0.05 * band(rng, 30)
    wave = np.cos(2 * np.pi * phase + lean * np.sin(2 * np.pi * phase))
    return _relief(depth * wave + 0.2 * band(rng, 4), 0.55 + 0.15 * wave + 0.07 * band(rng, 4))


def _chevrons(rng: np.random.Generator, *, bands: int, count: int, depth: float) -> Relief:
    fold = np.abs(2 * ((X * bands) % 1) - 1)
    wave = np.abs(np.sin(np.pi * (count * Y + count / bands * 0.5 * fold + 0.08 * band(rng, 30))))
    thread = band(rng, 4)
    return _relief(depth * wave + 0.15 * thread, 0.2 + 0.6 * wave + 0.06 * thread)


def _studs(rng: np.random.Generator, *, columns: int, rows: int, radius: float, depth: float) -> Relief:
    y = Y * rows
    u = (X * columns + 0.5 * (np.floor(y) % 2)) % 1 - 0.5
    distance = np.hypot(u, (y % 1 - 0.5) * columns / rows)
    bump = np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1))
    grain = fractal(rng, 0.8)
    return _relief(depth * bump + 0.12 * grain, 0.45 + 0.15 * (bump > 0) + 0.06 * grain)


def _chips(rng: np.random.Generator, *, spacings: tuple[float, ...], rough: float) -> Relief:
    """Flat stone of grains that are light and dark: granite, terrazzo."""
    tone = np.full((SIDE, SIDE), 0.5)
    for spacing in spacings:
        near, next_near, index = cells(rng, spacing, 0.15)
        shade = rng.choice([0.05, 0.35, 0.65, 0.95], index.max() + 1)[index]
        tone = np.where(next_near - near > 0.25, shade, tone)
    return rough * fractal(rng, 1.0), tone.astype(np.float32)


def _veins(rng: np.random.Generator, *, period: float, sharp: float) -> Relief:
    vein = np.exp(-sharp * np.abs(fractal(rng, 1.9) + 0.3 * band(rng, period)))
    return _relief(-0.3 * vein, 0.8 - 0.6 * vein + 0.06 * fractal(rng, 1.5))


_TANGLE = tuple(np.linspace(0, np.pi, 5, endpoint=False).tolist())

MATERIALS: dict[str, Material] = {
    "linen": Material(partial(_weave, threads=32)),
    "corduroy": Material(partial(_ridges, count=16, depth=6, sharp=0.7, wander=0.15, fuzz=0.5)),
    "knit": Material(partial(_knit, columns=12, rows=16, slant=0.6)),
    "wire mesh": Material(partial(_mesh, count=16, opening=0.55, diagonal=False), 0.5),
    "brick": Material(partial(_bricks, rows=12, columns=5, joint=1.5, rough=0.5)),
    "fish scales": Material(partial(_scales, columns=10, rows=16, depth=6), 0.4),
    "gravel": Material(partial(_stones, spacing=14, depth=6, gap=0.05, rough=0.4)),
    "cracked plaster": Material(partial(_cracks, spacing=36, width=0.1, depth=3, rough=0.5)),
    "cork": Material(partial(_cork, spacing=11, speckle=1)),
    "sponge": Material(partial(_pores, spacings=(26, 15, 9), radius=0.5, depth=9, rough=0.4)),
    "sandpaper": Material(partial(_grit, period=4.5, depth=1.2, width=0.35)),
    "orange peel": Material(partial(_peel, period=17, depth=1.6), 0.6),
    "crumpled foil": Material(partial(_crumple, period=75, depth=9), 0.9),
    "lichen": Material(partial(_patches, period=20, level=0, depth=2.2)),
    "wood grain": Material(partial(_wood, rings=12, wander=0.5, pores=0.3), 0.15),
    "straw": Material(partial(_fibres, period=11, stretch=14, depth=1.8, angles=(0, 0.25, -0.2)), 0.2),
    "sand ripples": Material(partial(_ripples, count=10, wander=0.3, depth=3, lean=0.7)),
    "bark": Material(partial(_cracks, spacing=24, width=0.5, depth=8, rough=1.2, stretch=0.3)),
    "leather": Material(partial(_stones, spacing=9, depth=1.6, gap=-0.1, rough=0.3, warp=0.35), 0.4),
    "rubber studs": Material(partial(_studs, columns=10, rows=12, radius=0.3, depth=5), 0.3),
    "rough plaster": Material(partial(_plaster, slope=1.5, depth=3)),
    "felt": Material(partial(_fibres, period=5, stretch=8, depth=0.7, angles=_TANGLE)),
    "herringbone": Material(partial(_chevrons, bands=6, count=24, depth=2)),
    "granite": Material(partial(_chips, spacings=(14, 6), rough=0.15), 0.2),
    "marble": Material(partial(_veins, period=20, sharp=5), 0.4),
    "denim": Material(partial(_weave, threads=42, repeat=3, over=2, depth=1.8)),
    "ribbed stockings": Material(partial(_ridges, count=28, depth=2.5, sharp=1.2, wander=0.25, fuzz=0.2)),
    "pebbles": Material(partial(_stones, spacing=30, depth=13, gap=0.12, rough=0.3, warp=0.05), 0.3),
    "dry mud": Material(partial(_cracks, spacing=22, width=0.3, depth=6, rough=0.8)),
    "bread": Material(partial(_pores, spacings=(20, 11, 7, 5), radius=0.42, depth=4, rough=0.9)),
    "sackcloth": Material(partial(_weave, threads=16, depth=5)),
    "chunky knit": Material(partial(_knit, columns=7, rows=10, slant=0.7, depth=5)),
    "chain link": Material(partial(_mesh, count=10, opening=0.75, diagonal=True, depth=5), 0.6),
    "ceramic tiles": Material(partial(_bricks, rows=8, columns=8, joint=1, rough=0.1, shift=0), 0.7),
    "roof shingles": Material(partial(_scales, columns=6, rows=8, depth=9)),
    "cobblestone": Material(partial(_stones, spacing=44, depth=14, gap=0.06, rough=0.8)),
    "elephant hide": Material(partial(_cracks, spacing=13, width=0.35, depth=2.5, rough=0.3)),
    "composition cork": Material(partial(_cork, spacing=22, speckle=0.3)),
    "pumice": Material(partial(_pores, spacings=(9, 6), radius=0.55, depth=3.5, rough=0.2)),
    "coarse sandpaper": Material(partial(_grit, period=9, depth=2, width=0.3)),
    "hammered metal": Material(partial(_peel, period=32, depth=3), 1.0),
    "crumpled paper": Material(partial(_crumple, period=140, depth=13)),
    "leopard moss": Material(partial(_patches, period=28, level=0.8, depth=3)),
    "veneer": Material(partial(_wood, rings=26, wander=0.3, pores=0.1), 0.3),
    "fur": Material(partial(_fibres, period=7, stretch=6, depth=1.5, angles=(0,))),
    "water ripples": Material(partial(_ripples, count=18, wander=0.9, depth=1.2, lean=0.1), 1.0),
    "pine bark": Material(partial(_cracks, spacing=44, width=0.4, depth=14, rough=2, stretch=0.5)),
    "snake skin": Material(partial(_studs, columns=20, rows=24, radius=0.55, depth=2.5), 0.5),
    "concrete": Material(partial(_plaster, slope=0.9, depth=0.7)),
    "excelsior": Material(partial(_fibres, period=14, stretch=12, depth=2.5, angles=_TANGLE)),
    "zigzag weave": Material(partial(_chevrons, bands=12, count=12, depth=3)),
    "terrazzo": Material(partial(_chips, spacings=(34, 18, 8), rough=0.05), 0.5),
    "veined slate": Material(partial(_veins, period=10, sharp=2.5)),
    "satin": Material(partial(_weave, threads=64, repeat=5, over=4, depth=1.2), 0.4),
    "ploughed velvet": Material(partial(_ridges, count=7, depth=10, sharp=1.5, wander=0.1, fuzz=0.9)),
    "fine gauze": Material(partial(_mesh, count=32, opening=0.35, diagonal=False, depth=1.5)),
    "long planks": Material(partial(_bricks, rows=10, columns=2, joint=0.8, rough=0.6, shift=0.35)),
    "soap foam": Material(partial(_pores, spacings=(38, 16), radius=0.62, depth=12, rough=0.05), 0.4),
    "limestone": Material(partial(_plaster, slope=2.1, depth=8)),
    "coral": Material(partial(_patches, period=11, level=-0.3, depth=2, width=0.2)),
    "basket weave": Material(partial(_weave, threads=24, repeat=4, over=2, depth=4)),
}
