"""Sphere tracing of solids on a floor before a wall, many images at once, in linear RGB.

Hart 1996, "Sphere tracing: a geometric method for the antialiased ray tracing of implicit surfaces":
a ray advances by the distance to the nearest surface until it touches it. The smallest clearance on
its way, in widths of the ray, gives antialiased outlines to the camera and soft shadows to the sun.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datamodules.embedded.fields import look_up
from datamodules.embedded.sampling import Float, limit
from datamodules.embedded.shapes import Solid

Rows = npt.NDArray[np.int64]

_STEPS = 24
_LEAVING = (3, 5, 8, 11, 15, 19)
_TOUCH = np.float32(0.25)  # a ray this near, in its widths, has hit
_PENUMBRA = np.float32(0.05)  # width of the sun's rays at distance 1
_FAR = np.float32(1e6)
_AROUND = np.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x])
_TETRAHEDRON = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], np.float32)


@dataclass(frozen=True)
class Plane:
    """Floor or wall of n images: two colours mixed by a tile pattern and by noise."""

    colours: Float  # (n, 2, 3)
    grain: Float  # (n,) strength of the noise
    tile: Float  # (n,) strength of the tiles
    frequency: Float  # (n, 2) tiles in radians per unit of length, on both axes; one 0 gives stripes


@dataclass(frozen=True)
class Scene:
    """What n images show, from where and in which light; arrays have one row per image."""

    eye: Float  # (n, 3) camera position; the floor is y = 0
    axes: Float  # (n, 3, 3) the camera's right, up and forward directions
    middle: Float  # (n, 2) pixel in the middle of the view, x and y
    size: int  # side of the images in pixels
    rays: Float  # (n, 3, size * size) unit directions
    pixel: Float  # (n,) width of a pixel at distance 1
    light: Float  # (n, 3) unit direction towards the sun
    sun: Float  # (n, 3) colour of the direct light
    sky: Float  # (n, 3) colour of the ambient light
    noise: Float  # (n, side, side) periodic, mean 0 and standard deviation 1
    floor: Plane
    wall: Plane
    wall_normal: Float  # (n, 3) horizontal unit vector, away from the camera
    wall_distance: Float  # (n,) from the origin along the normal


@dataclass(frozen=True)
class Bodies:
    """One solid that stands in each of m images of a scene."""

    solid: Solid
    rows: Rows  # (m,) which images
    inward: Float  # (m, 3, 3) turns directions of the world into the solid's own frame
    centre: Float  # (m, 3)
    reach: Float  # (m, 2) least length in the world of a unit of its frame; radius of a ball around it
    albedo: Float  # (m, 3)
    pattern: Float  # (m,) strength of the noise on the surface
    gloss: Float  # (m,) strength of the highlight


class _Frame:
    """The nearest surface at each pixel of n images."""

    def __init__(self, count: int, pixels: int) -> None:
        self.depth = np.empty((count, pixels), np.float32)
        self.world = np.empty((count, 3, pixels), np.float32)
        self.normal = np.empty((count, 3, pixels), np.float32)
        self.albedo = np.empty((count, 3, pixels), np.float32)
        self.gloss = np.zeros((count, pixels), np.float32)
        # Share of the pixel that is covered by the outline of a nearer body.
        self.cover = np.zeros((count, pixels), np.float32)


def render(scene: Scene, groups: list[Bodies]) -> Float:
    """Linear RGB of all images, shape (n, size, size, 3); the first group has the main objects.

    Geometry is computed image by image, so that its arrays stay in the processor's cache. Tracing, which has
    many steps, is computed for all images at once. No image depends on which others are rendered with it.
    """
    count, _, pixels = scene.rays.shape
    frame = _Frame(count, pixels)
    for row in range(count):
        _backdrop(scene, row, frame)
    for bodies in groups:
        _draw(scene, bodies, frame)
    facing = (frame.normal * scene.light[:, :, None]).sum(1)
    sunlit = _sunlit(scene, groups, frame, facing > 0)
    images = np.empty((count, pixels, 3), np.float32)
    for row in range(count):
        shade = np.maximum(facing[row], 0) * sunlit[row]
        images[row] = _light(scene, groups[0], frame, row, shade=shade)
        _smooth_outlines(frame.cover[row], frame.depth[row], scene.size, images[row])
    return images.reshape(count, scene.size, scene.size, 3)


def _backdrop(scene: Scene, row: int, frame: _Frame) -> None:
    """Draw the floor and the wall of one image into the frame."""
    rays, eye, normal = scene.rays[row], scene.eye[row], scene.wall_normal[row]
    facing = rays[0] * normal[0] + rays[2] * normal[2]
    gap = scene.wall_distance[row] - eye[0] * normal[0] - eye[2] * normal[2]
    to_wall = gap / np.maximum(facing, np.float32(1e-3))
    to_floor = np.where(rays[1] < -1e-3, eye[1] / np.maximum(-rays[1], np.float32(1e-3)), _FAR)
    frame.depth[row] = np.minimum(to_wall, to_floor)
    world = frame.world[row]
    np.multiply(rays, frame.depth[row], out=world)
    world += eye[:, None]
    on_wall = to_wall < to_floor
    upward = np.array([0, 1, 0], np.float32)
    for plane, own, towards in ((scene.floor, ~on_wall, upward), (scene.wall, on_wall, -normal)):
        place = own.nonzero()[0]
        x, y, z = world.take(place, 1)
        u, v = (x * normal[2] - z * normal[0], y) if plane is scene.wall else (x, z)
        mix = np.float32(0.5) + plane.grain[row] * look_up(scene.noise[row], 10 * u, 10 * v)
        if plane.tile[row]:
            tile = np.cos(u * plane.frequency[row, 0]) * np.cos(v * plane.frequency[row, 1])
            mix += plane.tile[row] * limit(6 * tile, -1, 1)
        mix = limit(mix, 0, 1)
        first, second = plane.colours[row]
        for axis in range(3):
            frame.albedo[row, axis][place] = first[axis] + mix * (second[axis] - first[axis])
            frame.normal[row, axis][place] = towards[axis]


def _draw(scene: Scene, bodies: Bodies, frame: _Frame) -> None:
    """Draw the bodies into the frame where they are nearest."""
    blocks, places, ways = [], [], []
    for member, (row, place) in enumerate(zip(bodies.rows, _candidates(scene, bodies), strict=True)):
        rays = scene.rays[row].take(place, 1)
        eye = scene.eye[row] - bodies.centre[member]
        along = -(eye @ rays)
        square = along * along - (eye @ eye - bodies.reach[member, 1] ** 2)
        met = (square > 0).nonzero()[0]
        along, half, rays = along[met], np.sqrt(square[met]), rays.take(met, 1)
        blocks.append(
            _block(bodies, member, scene.pixel[row], start=eye[:, None], ahead=rays, along=along, half=half)
        )
        places.append(place[met])
        ways.append((rays, along))
    for member, (reached, clearance) in enumerate(_trace(bodies.solid, blocks)):
        row, place, (rays, along) = bodies.rows[member], places[member], ways[member]
        depth, cover = frame.depth[row], frame.cover[row]
        behind = depth[place]
        grazed = ((clearance > _TOUCH) & (clearance < 1) & (along < behind)).nonzero()[0]
        cover[place[grazed]] = (1 - clearance[grazed]) / (1 - _TOUCH)
        hit = ((clearance <= _TOUCH) & (reached < behind)).nonzero()[0]
        place, stop = place[hit], reached[hit]
        own = blocks[member][:3].take(hit, 1) + stop * blocks[member][3:6].take(hit, 1)
        cover[place], depth[place], frame.gloss[row][place] = 0, stop, bodies.gloss[member]
        world, normal = stop * rays.take(hit, 1), _normals(bodies, member, own)
        u, v = 9 * (own[0] + np.float32(0.6) * own[2]), 9 * (own[1] - np.float32(0.5) * own[2])
        marks = np.maximum(1 + bodies.pattern[member] * look_up(scene.noise[row], u, v), np.float32(0.15))
        for axis in range(3):
            frame.world[row, axis][place] = scene.eye[row, axis] + world[axis]
            frame.normal[row, axis][place] = normal[axis]
            frame.albedo[row, axis][place] = bodies.albedo[member, axis] * marks


def _candidates(scene: Scene, bodies: Bodies) -> list[Rows]:
    """For each body the pixels of a rectangle outside of which it cannot be seen."""
    size = scene.size
    apart = (bodies.centre - scene.eye[bodies.rows])[:, :, None]
    x, y, z = (scene.axes[bodies.rows] @ apart)[:, :, 0].T
    scale = 1 / (scene.pixel[bodies.rows] * np.maximum(z, np.float32(0.3)))
    middle = scene.middle[bodies.rows].T
    # A ball seen from the side is an ellipse, longer than its radius over its depth.
    reach = np.float32(1.1) * scale * bodies.reach[:, 1] + 1
    centres = np.stack([middle[0] + scale * x, middle[1] - scale * y], 1)
    low, high = (
        np.clip(np.floor(centres + sign * reach[:, None]), 0, size).astype(np.int64) for sign in (-1, 1)
    )
    pixels = np.arange(size * size).reshape(size, size)
    return [
        pixels[top:bottom, left:right].ravel() for (left, top), (right, bottom) in zip(low, high, strict=True)
    ]


def _block(
    bodies: Bodies, member: int, width: np.float32, *, start: Float, ahead: Float, along: Float, half: Float
) -> Float:
    """Rays in a body's own frame, (10, k): origin, direction (3 rows each), reach, width, far and near."""
    block = np.empty((10, len(along)), np.float32)
    block[:3] = bodies.inward[member] @ start
    block[3:6] = bodies.inward[member] @ ahead
    block[6], block[7], block[8] = bodies.reach[member, 0], width, along + half
    np.maximum(along - half, np.float32(0.05), out=block[9])
    return block


def _trace(solid: Solid, blocks: list[Float]) -> list[tuple[Float, Float]]:
    """For each block of k rays: where they stop, and their least clearance in their widths; each (k,)."""
    fixed = np.concatenate([block[:9] for block in blocks], 1)
    distance = np.concatenate([block[9] for block in blocks])
    stop, clearance = distance.copy(), np.full_like(distance, _FAR)
    live, best = np.arange(len(distance)), clearance
    for step in range(1, _STEPS + 1):
        points = distance * fixed[3:6]
        points += fixed[:3]
        gap = solid(points)
        gap *= fixed[6]
        relative = gap / (distance * fixed[7])
        best = np.minimum(best, relative)
        # A ray stays where it touched: if it went on past a sharp edge, it would stop at the far side.
        moving = relative > _TOUCH
        gap *= moving
        distance = distance + gap
        # Finished rays are taken out at fixed steps, so that no ray depends on the others.
        if step in _LEAVING:
            stop[live], clearance[live] = distance, best
            going = (moving & (distance < fixed[8])).nonzero()[0]
            live, fixed, distance, best = live[going], fixed.take(going, 1), distance[going], best[going]
    stop[live], clearance[live] = distance, best
    bounds = np.cumsum([block.shape[1] for block in blocks])[:-1]
    return list(zip(np.split(stop, bounds), np.split(clearance, bounds), strict=True))


def _normals(bodies: Bodies, member: int, own: Float) -> Float:
    """Unit normals in the world at points of a body's own frame, both (3, k): gradients by differences."""
    gradient = np.zeros_like(own)
    for corner in _TETRAHEDRON[:, :, None]:
        gradient += corner * bodies.solid(own + np.float32(0.01) * corner)
    normal = bodies.inward[member].T @ gradient
    return np.asarray(normal / (np.sqrt((normal * normal).sum(0)) + np.float32(1e-12)), np.float32)


def _sunlit(scene: Scene, groups: list[Bodies], frame: _Frame, facing: npt.NDArray[np.bool_]) -> Float:
    """Share of the sun's light that reaches each pixel's surface past the bodies, shape (n, pixels)."""
    lit = np.ones_like(frame.depth)
    # Coordinates across the sun's rays: a body throws its shadow only along them.
    first = np.stack([scene.light[:, 2], np.zeros_like(scene.sun[:, 0]), -scene.light[:, 0]], 1)
    first /= np.sqrt((first * first).sum(1, keepdims=True)) + np.float32(1e-6)
    axes = np.stack([first, np.cross(scene.light, first)], 1).astype(np.float32)
    across = axes @ frame.world
    for bodies in groups:
        blocks, places = [], []
        for member, (row, centre) in enumerate(zip(bodies.rows, bodies.centre, strict=True)):
            offset = across[row] - (axes[row] @ centre)[:, None]
            offset *= offset
            square = bodies.reach[member, 1] ** 2 - offset[0] - offset[1]
            place = ((square > 0) & facing[row]).nonzero()[0]
            start = frame.world[row].take(place, 1) + np.float32(0.03) * frame.normal[row].take(place, 1)
            start -= centre[:, None]
            along, half = -(scene.light[row] @ start), np.sqrt(square[place])
            ahead = (along + half > 0.05).nonzero()[0]
            start, along, half = start.take(ahead, 1), along[ahead], half[ahead]
            beam = scene.light[row][:, None]
            blocks.append(_block(bodies, member, _PENUMBRA, start=start, ahead=beam, along=along, half=half))
            places.append(place[ahead])
        for row, place, (_, clearance) in zip(bodies.rows, places, _trace(bodies.solid, blocks), strict=True):
            lit[row][place] *= limit((clearance - _TOUCH) / (1 - _TOUCH), 0, 1)
    return lit


def _light(scene: Scene, main: Bodies, frame: _Frame, row: int, *, shade: Float) -> Float:
    """Lambert's law with a highlight (Blinn) and ambient light, of one image, shape (pixels, 3)."""
    # Near the main object less of the sky is seen: the dark where it stands on the floor.
    apart = frame.world[row] - main.centre[row][:, None]
    apart *= apart
    near = limit(np.float32(1.6) - apart.sum(0) / main.reach[row, 1] ** 2, 0, 1)
    ambient = (1 - np.float32(0.45) * near) * (np.float32(0.65) + np.float32(0.35) * frame.normal[row, 1])
    image = np.empty((scene.rays.shape[2], 3), np.float32)
    for axis in range(3):
        light = scene.sun[row, axis] * shade + scene.sky[row, axis] * ambient
        np.multiply(light, frame.albedo[row, axis], out=image[:, axis])
    shiny = ((frame.gloss[row] > 0) & (shade > 0)).nonzero()[0]
    half_way = scene.light[row][:, None] - scene.rays[row].take(shiny, 1)
    shine = (frame.normal[row].take(shiny, 1) * half_way).sum(0) / np.sqrt((half_way * half_way).sum(0))
    for _ in range(5):
        shine = shine * shine
    shine *= frame.gloss[row][shiny] * np.minimum(5 * shade[shiny], 1)
    for axis in range(3):
        image[:, axis][shiny] += shine * scene.sun[row, axis]
    return image


def _smooth_outlines(cover: Float, depth: Float, size: int, image: Float) -> None:
    """Mix the colour of nearer pixels beside it into each pixel that an outline covers in part."""
    edge = (cover > 0).nonzero()[0]
    y, x = np.divmod(edge, size)
    around = np.minimum(np.maximum(np.stack([y, x], 1) + _AROUND[:, None], 0), size - 1)
    beside = around[:, :, 0] * size + around[:, :, 1]
    nearer = (depth[beside] < depth[edge] - np.float32(0.02)) & (cover[beside] == 0)
    total = (nearer[:, :, None] * image[beside]).sum(0)
    number = nearer.sum(0, dtype=np.float32)[:, None]
    share = cover[edge, None] * (number > 0)
    own = image.take(edge, 0)
    image[edge] = own + share * (total / np.maximum(number, 1) - own)
