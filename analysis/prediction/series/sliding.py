"""Patches of a series through the networks, and what they say of each pixel of the lungs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from analysis.prediction.ensemble import Ensemble
from analysis.prediction.series.patches import Grid, fill_outside, grid_of
from analysis.prediction.series.pattern_map import ONE, SIDES, PatternMap
from analysis.prediction.series.rescale import Rescale
from analysis.prediction.series.volume import CTVolume
from stages.console.output import bar
from stages.errors import RelayError

UNCERTAIN = 0.5
"""A pattern is uncertain below this probability, or where less than this share of the networks name it."""


@dataclass(frozen=True)
class Sliding:
    """How patches are taken.

    Attributes:
        stride: Step between patches, px of the training images.
        batch_size: Patches that go through a network at once.
        rescale: Between the series' pixels and those of the training images.
    """

    stride: int
    batch_size: int
    rescale: Rescale


@dataclass(frozen=True)
class _Part:
    """Slices whose patches go through the networks together."""

    numbers: tuple[int, ...]
    grids: tuple[Grid, ...]

    @property
    def patches(self) -> int:
        """How many patches they have."""
        return sum(grid.count for grid in self.grids)


def usual_stride(patch: tuple[int, int]) -> int:
    """A quarter of a patch's shorter side."""
    return max(1, min(patch) // 4)


def check_patches(volume: CTVolume, ensemble: Ensemble, sliding: Sliding) -> None:
    """Whether patches can be cut at all.

    Raises:
        RelayError: Slices are smaller than a patch, the stride is not 1 to a patch's side, or the values
            of the series are of another kind than those that the networks were trained on.
    """
    height, width = ensemble.shape
    shape = sliding.rescale.shape
    if shape[0] < height or shape[1] < width:
        raise RelayError(
            f"source={volume.source}: its slices have {shape[0]} x {shape[1]} pixels"
            f"{' at the spacing of the training images' if sliding.rescale.needed else ''}, fewer than a "
            f"patch of {height} x {width}; take whole slices."
        )
    if not 1 <= sliding.stride <= min(height, width):
        raise RelayError(
            f"stride={sliding.stride}: give 1 to {min(height, width)} px, the side of a patch, so that every "
            "pixel of the lungs is in a patch."
        )
    if volume.hounsfield and ensemble.input.window is None:
        raise RelayError(
            f"source={volume.source} has Hounsfield units, and the networks were trained on 8-bit grey "
            "levels of a window that nobody wrote down; save the slices as 8-bit PNG through that window."
        )
    if not volume.hounsfield and ensemble.input.window is not None:
        low, high = ensemble.input.window
        raise RelayError(
            f"source={volume.source} has 8-bit grey levels, and the networks were trained on values of "
            f"{low:g} to {high:g} (Hounsfield units): what these grey levels were is not known. Take the "
            "DICOM series, NIfTI or 16-bit slices."
        )


def map_patterns(made: PatternMap, ensemble: Ensemble, sliding: Sliding) -> None:
    """Write the map of a series whose lungs are known; slices that are done already are left as they are.

    Patches are cut from slices as CT is shown (`CTVolume.upright`), so that a series has one map,
    whatever file it is in and however the patient lay.

    Which patches are taken stands in `patches.Grid`; pixels outside the lungs have the value of the nearest
    one inside (`patches.fill_outside`). The probability of a pixel is the mean over the networks and over the
    patches that it is in. Its pattern is *uncertain* where that of the most probable class is below 0.5, or
    where fewer than half of the networks' own maps name that class.

    Args:
        made: Its files are there.
        ensemble: The networks.
        sliding: How patches are taken.

    Raises:
        RelayError: A slice cannot be decoded, or the disk is full.
    """
    parts = list(_parts(made, ensemble.shape, sliding))
    with bar() as progress:
        task = progress.add_task("patches", total=sum(part.patches for part in parts))
        for part in parts:
            if not made.done[list(part.numbers)].all():
                _map_part(made, part, ensemble, sliding)
            progress.advance(task, part.patches)


def _parts(made: PatternMap, patch: tuple[int, int], sliding: Sliding) -> Iterator[_Part]:
    """Slices in order, so many together that they fill a batch; the same ones after an interruption."""
    first = 0
    grids: list[Grid] = []
    turn = made.volume.upright
    for number, lungs in enumerate(made.lungs):
        grids.append(grid_of(sliding.rescale.mask(turn.apply(lungs) > 0), patch, sliding.stride))
        if sum(grid.count for grid in grids) >= sliding.batch_size or number == len(made.lungs) - 1:
            yield _Part(tuple(range(first, number + 1)), tuple(grids))
            first, grids = number + 1, []


def _map_part(made: PatternMap, part: _Part, ensemble: Ensemble, sliding: Sliding) -> None:
    turn = made.volume.upright
    lungs = [turn.apply(np.array(made.lungs[number])) for number in part.numbers]
    cut = [
        grid.cut(_pixels(made.volume, number, plane, ensemble, sliding))
        for grid, plane, number in zip(part.grids, lungs, part.numbers, strict=True)
        if grid.count
    ]
    if cut:
        pixels = torch.from_numpy(np.concatenate(cut))
        if ensemble.input.color:
            pixels = pixels.unsqueeze(-1).expand(*pixels.shape, 3).contiguous()
        outputs = ensemble.probabilities(pixels, sliding.batch_size).numpy()
    first = 0
    for number, plane, grid in zip(part.numbers, lungs, part.grids, strict=True):
        if grid.count:
            own = outputs[:, first : first + grid.count]
            planes, uncertain, counts = _of_slice(own, plane, grid, sliding.rescale)
            made.write(number, np.stack([turn.undo(one) for one in planes]), turn.undo(uncertain), counts)
            first += grid.count
    made.finish(list(part.numbers))


def _pixels(
    volume: CTVolume, number: int, lungs: npt.NDArray[np.uint8], ensemble: Ensemble, sliding: Sliding
) -> npt.NDArray[np.uint8]:
    window = ensemble.input.window
    image = sliding.rescale.image(volume.upright.apply(volume.slice(number)))
    levels = volume.levels(image, None if window is None else (window[0], window[1]))
    return fill_outside(levels, sliding.rescale.mask(lungs > 0), ensemble.shape)


def _of_slice(
    outputs: npt.NDArray[np.float32], lungs: npt.NDArray[np.uint8], grid: Grid, rescale: Rescale
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_], npt.NDArray[np.uint32]]:
    """What the networks say of a slice.

    Args:
        outputs: Probabilities of its patches, (M, N, C).
        lungs: (H, W), upright.
        grid: Where the patches lie.
        rescale: Between its pixels and the patches'.

    Returns:
        As `PatternMap.write` takes it, upright.
    """
    networks, _, classes = outputs.shape
    inside = lungs > 0
    sides = lungs[inside].astype(np.int64) - 1
    brought, place = _points(inside, grid, rescale)
    probabilities = np.stack([brought(own) for own in outputs])
    names = probabilities.argmax(1)
    counts = np.array(
        [
            np.bincount(sides * classes + own[place], minlength=len(SIDES) * classes).reshape(-1, classes)
            for own in names
        ],
        np.uint32,
    )
    stored = np.rint(probabilities.mean(0) * ONE).astype(np.uint16)
    votes = (names == stored.argmax(0)).sum(0)
    doubtful = (stored.max(0) < UNCERTAIN * ONE) | (votes < UNCERTAIN * networks)
    planes = np.zeros((classes, *lungs.shape), np.uint16)
    planes[:, inside] = stored[:, place]
    uncertain = np.zeros(lungs.shape, np.bool_)
    uncertain[inside] = doubtful[place]
    return planes, uncertain, counts


def _points(
    inside: npt.NDArray[np.bool_], grid: Grid, rescale: Rescale
) -> tuple[Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]], npt.NDArray[np.int64]]:
    """Where probabilities are worked out: at each pixel, or, without resampling, once for equal pixels.

    Returns:
        A function from a network's probabilities of patches, (N, C), to those of points, (C, P); and the
        point of each pixel of `inside`.
    """
    if rescale.needed:
        back = rescale.taking_back(inside)
        return lambda own: back(grid.spread(own)), np.arange(int(inside.sum()))
    rows, columns = grid.blocks
    point = rows[:, None] * (columns[-1] + 1) + columns
    return lambda own: grid.spread_on_blocks(own).reshape(own.shape[1], -1), point[inside]
