"""Mean and standard deviation of a domain's training images."""

import math

import numpy as np
import numpy.typing as npt

from datamodules.domain import Domain
from stages.errors import RelayError

_CHUNK = 1 << 26  # pixels counted at a time


def channel_statistics(domain: Domain) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each of three channels over all training images, in units of 0..1.

    Counted exactly, from histograms of the 8-bit values. All training images count, whatever the data ratio,
    so that every ratio sees the same inputs. For grey images the three channels are equal.

    Raises:
        RelayError: The domain streams from disk, or all its pixels are equal.
    """
    images = domain.train.images
    if not isinstance(images, np.ndarray):
        raise RelayError(
            "data.mean and data.std are null, which takes them from the training images, but these do not "
            "fit into data.memory_limit_gb; set both, for natural images to [0.485, 0.456, 0.406] and "
            "[0.229, 0.224, 0.225]."
        )
    channels = [images] if images.ndim == 3 else [images[..., channel] for channel in range(3)]
    moments = [_moments(channel) for channel in channels]
    if len(moments) == 1:
        moments *= 3
    if any(deviation == 0.0 for _, deviation in moments):
        raise RelayError(
            "all training images have one and the same value; there is nothing to learn from them."
        )
    return tuple(mean for mean, _ in moments), tuple(deviation for _, deviation in moments)


def _moments(values: npt.NDArray[np.uint8]) -> tuple[float, float]:
    counts = np.zeros(256, dtype=np.int64)
    step = max(1, _CHUNK // max(1, values[0].size))
    for start in range(0, len(values), step):
        counts += np.bincount(values[start : start + step].ravel(), minlength=256)
    # In integers, so that images of one value have a deviation of exactly 0.
    levels = list(enumerate(counts.tolist()))
    total = sum(count for _, count in levels)
    first = sum(level * count for level, count in levels)
    second = sum(level**2 * count for level, count in levels)
    return first / (255 * total), math.sqrt(total * second - first**2) / (255 * total)
