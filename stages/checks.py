"""Type checks for numeric arguments: numpy's scalars count as numbers, truth values do not."""

import numbers


def is_whole(value: object) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether it is a real number."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
