"""Bicubic resizing of a batch, equal to torch's and faster where that is slow."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def resize_bicubic(planes: Tensor, size: int) -> Tensor:
    """As `interpolate(planes, (size, size), mode="bicubic", antialias=False, align_corners=False)`.

    Resizing is linear and separable: enlarging is two matrix products with the weights that torch's own
    function gives for unit impulses. On one CPU core that takes a sixth of the time for 32x32 -> 96x96, at
    the same precision (they differ by less than either differs from float64). Torch's function is used where
    it is faster, for reducing and on accelerators, and where matrix products may round to less than
    float32.

    Args:
        planes: float32, (N, C, H, W).
        size: Side of the result in pixels.

    Returns:
        float32, (N, C, size, size).
    """
    height, width = planes.shape[2:]
    enlarges = max(height, width) <= size
    exact = torch.get_float32_matmul_precision() == "highest"
    # Torch's function takes twice as long on channels-last input, the matrix products need rows.
    planes = planes.contiguous()
    if planes.device.type == "cpu" and enlarges and exact:
        with torch.autocast("cpu", enabled=False):
            return _weights(height, size) @ (planes @ _weights(width, size).t())
    return interpolate(planes, size=(size, size), mode="bicubic", antialias=False, align_corners=False)


@lru_cache(maxsize=16)
def _weights(length: int, size: int) -> Tensor:
    """Weights of the original pixels (columns) in the resized ones (rows): float32, (size, length)."""
    impulses = torch.eye(length).view(1, length, length, 1)
    rows = interpolate(impulses, size=(size, 1), mode="bicubic", antialias=False, align_corners=False)
    return rows[0, :, :, 0].t().contiguous()
