"""How a share of a count is rounded, so that it is the same everywhere."""

import math
from fractions import Fraction


def share(ratio: float, count: int) -> int:
    """`ratio * count` rounded half up, with `ratio` taken as the decimal number it is written as.

    In binary 0.29 * 50 is 14.499999999999998 and would round to 14.

    Examples:
        >>> share(0.29, 50)
        15
    """
    return math.floor(Fraction(repr(float(ratio))) * count + Fraction(1, 2))
