"""How is an order drawn, or a share rounded, so that it is the same everywhere?"""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt


def seeded_order(count: int, *entropy: int) -> npt.NDArray[np.int64]:
    """A permutation of 0..count-1 that depends on `entropy` alone.

    Random 64-bit words are sorted, instead of `Generator.permutation`: numpy keeps the words of a bit
    generator the same between versions, but not the streams of a Generator (NEP 19).

    Args:
        count: Length of the permutation.
        entropy: Non-negative integers for numpy's SeedSequence, such as (seed, epoch).

    Returns:
        int64, shape (count,).
    """
    words = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.int64)


def share(ratio: float, count: int) -> int:
    """`ratio * count` rounded half up, with `ratio` taken as the decimal number it is written as.

    In binary 0.29 * 50 is 14.499999999999998 and would round to 14.

    Example:
        >>> share(0.29, 50)
        15
    """
    return math.floor(Fraction(repr(float(ratio))) * count + Fraction(1, 2))


def seeded_word(*entropy: int) -> int:
    """A 64-bit word that depends on `entropy` alone, such as the seed of an epoch from (seed, epoch)."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
