"""The lungs of a CT in Hounsfield units, without a network: thresholds, connected parts, closing."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import regionprops
from skimage.morphology import convex_hull_image

from analysis.prediction.series.sides import Midline, split_sides
from analysis.prediction.series.volume import CTVolume
from stages.errors import RelayError

Mask = npt.NDArray[np.bool_]

_AIR = -400  # HU; between lung and tissue, also ground glass is below
_BONE = 300  # HU
_SIDE = 256  # px, about, of the slices that the lungs are looked for in
_MOST_VOXELS = 40_000_000  # of these slices together
_WIDTH = 400.0  # mm of a slice whose spacing is not known
_STEP = 5.0  # mm between slices whose spacing is not known
_GAS = -930  # HU; airways and bowel gas are mostly below, lungs are mostly above
_AIRWAY_CM2 = (0.3, 8.0)
_FROM_MIDDLE = 40.0  # mm, of an airway's centre
_SECOND = 0.1  # of the largest part; the smallest second lung
_FURTHER = 0.01  # of the largest part; the smallest piece that disease cut off
_THIN = 6.0  # mm, half the thickness of what is too thin for a lung
_LEAST_CM2 = 5.0  # of lungs in one slice
_CLOSING = 10.0  # mm, radius
_MIRRORED = 10.0  # mm, radius of what the other lung shows to be missing: less is what two sides differ by
_HOLE_CM2 = 6.0  # vessels; larger holes of one slice may be the dome of the diaphragm


@dataclass(frozen=True)
class _Small:
    """A series with fewer and larger voxels.

    Attributes:
        numbers: Which slices of the series, (S,).
        factor: Pixels of the series along a side of one of its pixels.
        values: Hounsfield units, means, int16 (S, H, W).
        body: What is not outside of the body, (S, H, W).
        spacing: mm between slices, rows and columns.
        midline: Where the body's middle is.
        to_back: mm towards the patient's back from a row to the next one, and from a column.
    """

    numbers: npt.NDArray[np.int64]
    factor: int
    values: npt.NDArray[np.int16] = field(repr=False)
    body: Mask = field(repr=False)
    spacing: tuple[float, float, float]
    midline: Midline
    to_back: tuple[float, float]


def find_lungs(volume: CTVolume) -> Iterator[npt.NDArray[np.uint8]]:
    """Find the lungs of each slice, from the first on.

    Air inside of the body (below -400 HU, the largest part of tissue of each slice with its holes being the
    body) without airways (small and gas-like parts near the middle); of it the two largest connected parts,
    and pieces that disease may have cut off. Then, for each lung, what dense disease has taken is brought
    back: gaps of up to 20 mm (closing), what the convex hull of a slice adds towards the chest wall (not
    towards the heart or the dome of the diaphragm), slices between two others, vessels and enclosed parts;
    and behind the body's middle what the other lung, mirrored, shows to be missing.

    Slices are looked at with pixels of about twice the side, and of very long series only some.

    Yields:
        uint8, (H, W): 0 outside, 1 right, 2 left; 3 where the series does not say which side is which.

    Raises:
        RelayError: No lung was found.
    """
    small = _read(volume)
    air = small.body & (small.values <= _AIR)
    _drop_airways(air, small)
    kept = _main_parts(air, small)
    if kept.sum((1, 2)).max() * _pixel_cm2(small) < _LEAST_CM2:
        raise RelayError(
            f"source={volume.source}: no lung was found (air of the size of lungs inside of a body). If it "
            "shows lungs, give a mask of them from another program with mask=FILE: NIfTI, DICOM SEG or PNG."
        )
    sides = split_sides(kept, small.midline)
    closed = np.zeros(sides.shape, np.uint8)
    for side in (1, 2):
        closed[_completed(sides == side, small) & (closed == 0) & (sides != 3 - side)] = side
    _complete_backs(closed, small)
    for number in range(volume.shape[0]):
        nearest = closed[np.abs(small.numbers - number).argmin()]
        large = nearest.repeat(small.factor, 0).repeat(small.factor, 1)
        plane = large[: volume.shape[1], : volume.shape[2]]
        yield plane if volume.placed else np.where(plane > 0, 3, 0).astype(np.uint8)


def _read(volume: CTVolume) -> _Small:
    slices, height, width = volume.shape
    factor = max(1, round(max(height, width) / _SIDE))
    rows, columns = -(-height // factor), -(-width // factor)
    every = -(-slices * rows * columns // _MOST_VOXELS)
    numbers = np.arange(0, slices, every)
    between, down, across = volume.spacing
    usual = _WIDTH / width
    spacing = ((between or _STEP) * every, (down or usual) * factor, (across or usual) * factor)
    values = np.empty((len(numbers), rows, columns), np.int16)
    body = np.empty(values.shape, np.bool_)
    for place, number in enumerate(numbers.tolist()):
        image = np.pad(
            volume.slice(number), ((0, rows * factor - height), (0, columns * factor - width)), "edge"
        )
        values[place] = image.reshape(rows, factor, columns, factor).mean((1, 3))
        body[place] = body_of(values[place])
    midline = Midline.of(volume, body, factor, spacing)
    front = volume.affine[1, :2] * factor if volume.placed else (0.0, -spacing[1])  # of columns and rows
    return _Small(numbers, factor, values, body, spacing, midline, (-float(front[1]), -float(front[0])))


def body_of(values: npt.NDArray[np.int16]) -> Mask:
    """The largest part of tissue without thin bridges, such as to a table, and all that it encloses."""
    tissue = ndimage.binary_opening(values > _AIR, iterations=2)
    parts, count = ndimage.label(tissue)
    if not count:
        return np.zeros(values.shape, np.bool_)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    filled: Mask = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(largest, 3), iterations=2))[
        3:-3, 3:-3
    ]
    return filled


def _pixel_cm2(small: _Small) -> float:
    return small.spacing[1] * small.spacing[2] / 100


def _drop_airways(air: Mask, small: _Small) -> None:
    """Remove trachea and main bronchi from each slice: small parts of gas near the middle."""
    for plane, values in zip(air, small.values, strict=True):
        parts, _ = ndimage.label(plane & (values < _GAS))
        for part in regionprops(parts):  # type: ignore[no-untyped-call]
            row, column = part.centroid
            from_middle = abs(float(small.midline.from_middle(np.array([row]), np.array([column]))[0]))
            small_enough = _AIRWAY_CM2[0] < part.area * _pixel_cm2(small) < _AIRWAY_CM2[1]
            if small_enough and from_middle < _FROM_MIDDLE:
                plane[ndimage.binary_dilation(parts == part.label, iterations=2)] = False  # with its wall


def _main_parts(air: Mask, small: _Small) -> Mask:
    parts, count = ndimage.label(air)
    if not count:
        return air
    sizes = np.bincount(parts.ravel())
    sizes[np.setdiff1d(np.arange(count + 1), np.unique(parts[_cores(air, small)]))] = 0
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[:count]
    if not sizes[order[0]]:
        return np.zeros_like(air)
    keep = [part for part in order[:2] if sizes[part] >= _SECOND * sizes[order[0]]]
    filled = np.flatnonzero(np.isin(parts, keep).any((1, 2)))
    for part in order[2:]:
        if sizes[part] < _FURTHER * sizes[order[0]]:
            break
        inside = parts == part
        heights = np.flatnonzero(inside.any((1, 2)))
        within = filled[0] <= heights[0] and heights[-1] <= filled[-1]
        if within and np.median(small.values[inside]) > _GAS:
            keep.append(part)
    return np.isin(parts, keep)


def _cores(air: Mask, small: _Small) -> Mask:
    """What lies so deep in its part of a slice as no pixel of a crack does, such as inside of a table."""
    depth = max(1, round(_THIN / small.spacing[1]))
    found = np.empty_like(air)
    for plane, core in zip(air, found, strict=True):
        core[:] = ndimage.binary_erosion(ndimage.binary_fill_holes(plane), iterations=depth)
    return found & air


def _completed(lung: Mask, small: _Small) -> Mask:
    """A lung with what dense disease has taken of it."""
    if not lung.any():
        return lung
    allowed = small.body & (small.values < _BONE)
    full = lung.copy()
    for place in np.flatnonzero(lung.any((1, 2))).tolist():
        full[place] |= _completed_slice(lung[place], small.body[place], small) & allowed[place]
    reach = max(1, round(_CLOSING / small.spacing[0]))
    along = np.ones((2 * reach + 1, 1, 1), np.bool_)
    padded = np.pad(full, ((reach, reach), (0, 0), (0, 0)))
    full |= ndimage.binary_closing(padded, along)[reach:-reach] & allowed
    full |= ndimage.binary_fill_holes(full)
    return full


def _from_centre(body: Mask, steps: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Distance of each pixel from the middle of the body, mm."""
    row, column = (float(places.mean()) for places in np.nonzero(body))
    rows, columns = np.ogrid[: body.shape[0], : body.shape[1]]
    return np.hypot((rows - row) * steps[0], (columns - column) * steps[1])


def _complete_backs(lungs: npt.NDArray[np.uint8], small: _Small) -> None:
    """Add to each lung, in slices where it is seen, what the other one has behind the body's middle.

    Lungs are alike there, and consolidation of one is mostly there. What lies towards the middle from lung of
    the same slice is left out: it may be heart or diaphragm; what is nearer to the skin than all lung of the
    slice, too: it is chest wall, where the body's middle is not the chest's.
    """
    mirrored = _mirrored(lungs > 0, small.midline)
    side_of = np.where(small.midline.grid(lungs.shape[1:]) > 0, 1, 2)
    steps = small.spacing[1:]
    rows, columns = np.ogrid[: lungs.shape[1], : lungs.shape[2]]
    for plane, body, values, other in zip(lungs, small.body, small.values, mirrored, strict=True):
        if not plane.any():
            continue
        row, column = (float(places.mean()) for places in np.nonzero(body))
        behind = (rows - row) * small.to_back[0] + (columns - column) * small.to_back[1] > 0
        depth = ndimage.distance_transform_edt(np.pad(body, 1), steps)[1:-1, 1:-1]
        added = (
            (depth >= depth[plane > 0].min())
            & other
            & behind
            & body
            & (values < _BONE)
            & (plane == 0)
            & np.isin(side_of, plane)
        )
        added &= _outermost(plane > 0, (rows - row) * steps[0], (columns - column) * steps[1])
        deep = ndimage.distance_transform_edt(np.pad(added, 1), steps)[1:-1, 1:-1] > _MIRRORED
        if deep.any():
            added &= ndimage.distance_transform_edt(~deep, steps) <= _MIRRORED
            plane[added] = side_of[added]


def _mirrored(lungs: Mask, midline: Midline) -> Mask:
    """Right and left exchanged about the body's middle, (S, H, W)."""
    axis, step = (2, midline.across) if abs(midline.across) >= abs(midline.down) else (1, midline.down)
    places = np.rint(2 * midline.middle / step - np.arange(lungs.shape[axis])).astype(np.int64)
    there = (places >= 0) & (places < lungs.shape[axis])
    exchanged: Mask = np.take(lungs, np.where(there, places, 0), axis)
    exchanged &= np.expand_dims(there, (0, 3 - axis))
    return exchanged


def _outermost(lung: Mask, down: npt.NDArray[np.float64], across: npt.NDArray[np.float64]) -> Mask:
    """Pixels with no lung farther out in their direction (of 180) from the body's middle."""
    sector = ((np.arctan2(down, across) + np.pi) / (2 * np.pi) * 180).astype(np.int64) % 180
    distance = np.hypot(down, across)
    farthest = np.zeros(180)
    np.maximum.at(farthest, sector[lung], distance[lung])
    beyond: Mask = distance >= farthest[sector]
    return beyond


def _completed_slice(lung: Mask, body: Mask, small: _Small) -> Mask:
    """Of one slice: closed, with the convex hull's share towards the chest wall, and without small holes."""
    steps = small.spacing[1:]
    rim = [int(_CLOSING / step) + 2 for step in steps]
    rows, columns = (np.flatnonzero(lung.any(axis)) for axis in (1, 0))
    box = np.s_[
        max(rows[0] - rim[0], 0) : rows[-1] + rim[0] + 1,
        max(columns[0] - rim[1], 0) : columns[-1] + rim[1] + 1,
    ]
    part = lung[box]
    near = ndimage.distance_transform_edt(~part, steps) <= _CLOSING
    closed = part | (ndimage.distance_transform_edt(np.pad(near, 1), steps)[1:-1, 1:-1] > _CLOSING)
    hull = convex_hull_image(closed)  # type: ignore[no-untyped-call]
    added, _ = ndimage.label(hull & ~closed)
    # What the hull adds is open at one side: to the chest wall, or to the middle.
    open_side = ndimage.binary_dilation(np.pad(~hull, 1, constant_values=True))[1:-1, 1:-1] & hull
    rims = np.where(open_side, added, 0)
    if (open_parts := np.unique(rims[rims > 0])).size:
        from_centre = _from_centre(body, steps)[box]
        whole, outer = (np.asarray(ndimage.mean(from_centre, of, open_parts)) for of in (added, rims))
        closed |= np.isin(added, open_parts[outer > whole])
    holes, count = ndimage.label(ndimage.binary_fill_holes(closed) & ~closed)
    if count:
        areas = np.bincount(holes.ravel()) * _pixel_cm2(small)
        closed |= (holes > 0) & (areas < _HOLE_CM2)[holes]
    full = np.zeros_like(lung)
    full[box] = closed
    return full
