"""Maps as figures show them: scaled, and no larger than a page shows."""

import torch
from torch import Tensor
from torch.nn import functional

from analysis.explain.arrays import Floats
from analysis.explain.sanity_checks import heat

SHOWN_SIDE = 128
"""Largest height and width of a map in a figure, in pixels."""


def normalised_maps(maps: Tensor, *, grey: bool) -> Tensor:
    """Each map scaled to [0, 1] by its minimum and maximum (section 7.1); constant ones to 0.

    Args:
        maps: Images mapped back, (N, C, H, W).
        grey: Whether the channels are copies of one, whose map is then the sum over them.

    Returns:
        (N, H, W) for grey images, else (N, H, W, C).
    """
    summed = maps.sum(1, keepdim=True) if grey else maps
    lowest, highest = summed.amin((1, 2, 3), keepdim=True), summed.amax((1, 2, 3), keepdim=True)
    scaled = torch.where(highest > lowest, (summed - lowest) / (highest - lowest), 0.0)
    return scaled.squeeze(1) if grey else scaled.permute(0, 2, 3, 1)


def relative_heat(maps: Tensor) -> Tensor:
    """The magnitude of maps (N, C, H, W) in multiples of its mean over the image; 1 where there is none.

    So maps of networks whose weights have other scales can share one colour scale, and a map that points
    nowhere is flat.
    """
    magnitude = heat(maps)
    mean = magnitude.mean((1, 2), keepdim=True)
    return torch.where(mean > 0, magnitude / mean, 1.0)


def small(images: Tensor) -> Floats:
    """Images (N, H, W) or (N, H, W, 3) as they are put into a figure, float32."""
    if max(images.shape[1:3]) <= SHOWN_SIDE:
        return images.float().numpy()
    planes = images.permute(0, 3, 1, 2) if images.dim() == 4 else images.unsqueeze(1)
    reduced = functional.interpolate(planes.float(), size=(SHOWN_SIDE, SHOWN_SIDE), mode="area")
    return (reduced.permute(0, 2, 3, 1) if images.dim() == 4 else reduced.squeeze(1)).numpy()
