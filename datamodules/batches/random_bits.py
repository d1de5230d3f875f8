"""Random numbers of images: they depend on a seed and on each image's number, on every device alike."""

import math

import torch
from torch import Tensor

from stages.seeds import derive_seed

_GOLDEN = 0x9E3779B97F4A7C15
_UNIT = 2.0**-24  # the 24 bits that float32 has


def random_words(seed: int, index: Tensor) -> Tensor:
    """A random 64-bit word for each number: the finaliser of SplitMix64 over (seed, number), on the device.

    Args:
        seed: 0 to 2^64 - 1.
        index: int64, any shape.

    Returns:
        int64, of the same shape.
    """
    return _mixed((index + 1) * _signed(_GOLDEN) + _signed(seed))


def top_bits(words: Tensor, bits: int) -> Tensor:
    """The first of a word's 64 bits, as numbers from 0 to 2^bits - 1."""
    return _shifted(words, 64 - bits)


class Draws:
    """What is drawn for the images of a batch; the numbers of one image do not depend on the batch.

    Args:
        seed: One for each epoch.
        index: int64, (N,), the images' numbers.
    """

    def __init__(self, seed: int, index: Tensor) -> None:
        self._seed = seed
        self._index = index

    def uniform(self, name: str, low: float, high: float) -> Tensor:
        """One number for each image, from [low, high): float32, (N,)."""
        words = random_words(derive_seed(self._seed, name), self._index)
        return low + (high - low) * (top_bits(words, 24).float() * _UNIT)

    def normal(self, name: str, count: int) -> Tensor:
        """Numbers of mean 0 and deviation 1, by Box and Muller, for each image: float32, (N, count)."""
        words = random_words(derive_seed(self._seed, name), self._index)
        counter = torch.arange(1, -(-count // 2) + 1, device=words.device) * _signed(_GOLDEN)
        words = _mixed(words.unsqueeze(1) + counter)
        radius = top_bits(words, 24).float().add_(0.5).mul_(_UNIT).log_().mul_(-2).sqrt_()
        angle = (_shifted(words, 8) & 0xFFFFFF).float().mul_(2 * math.pi * _UNIT)
        return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def _mixed(words: Tensor) -> Tensor:
    words = (words ^ _shifted(words, 30)).mul_(_signed(0xBF58476D1CE4E5B9))
    words = (words ^ _shifted(words, 27)).mul_(_signed(0x94D049BB133111EB))
    return words ^ _shifted(words, 31)


def _signed(word: int) -> int:
    """The 64-bit word as torch's int64 holds it."""
    word &= 0xFFFFFFFFFFFFFFFF
    return word - (1 << 64) if word >> 63 else word


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch's own copies the sign."""
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)
