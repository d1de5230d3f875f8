"""Student's intervals on a plain and a logit scale, and intervals over seeds.

What each covers, by simulation: benchmarks/coverage.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from stages.errors import RelayError

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95

_NEAR_1 = 0.95
"""Student's interval of fractions above it, or below 1 less it, is on the logit scale."""

_NOISE = 1e-12  # a standard error below this is the rounding of equal numbers


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval.

    Attributes:
        estimate: the estimate, in the unit of the values.
        low: lower end, NaN where there is no interval.
        high: upper end, NaN where there is no interval.
        dof: degrees of freedom of Student's distribution whose quantile the interval uses.
    """

    estimate: float
    low: float
    high: float
    dof: float

    @property
    def exists(self) -> bool:
        """Whether there is an interval."""
        return self.low == self.low

    def within(self, low: float, high: float) -> "Interval":
        """The same, cut at what the quantity can be."""
        if not self.exists:
            return self
        return Interval(self.estimate, max(self.low, low), min(self.high, high), self.dof)

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval, and 0 lies outside of it."""
        return self.low > 0 or self.high < 0


def no_interval(estimate: float) -> Interval:
    """An estimate whose uncertainty is not known."""
    return Interval(float(estimate), np.nan, np.nan, np.nan)


def t_quantile(dof: Any, confidence: float = CONFIDENCE) -> Array:
    """Quantile of Student's distribution for a two-sided interval; infinite below 0.01 degrees of freedom.

    Raises:
        RelayError: for a confidence that is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise RelayError(f"confidence is {confidence}; give a number between 0 and 1, such as 0.95.")
    dof = np.asarray(dof, dtype=np.float64)
    quantile = stats.t.ppf((1 + confidence) / 2, np.maximum(dof, 0.01))
    return np.asarray(np.where(dof < 0.01, np.inf, quantile), dtype=np.float64)


def dof_of_quantile(quantile: float, confidence: float = CONFIDENCE) -> float:
    """Degrees of freedom at which `t_quantile` is the given number; infinite at the normal's quantile."""
    low, high = -2.0, 8.0  # log10
    if quantile <= float(t_quantile(10.0**high, confidence)):
        return np.inf
    for _ in range(60):
        middle = (low + high) / 2
        above = float(t_quantile(10.0**middle, confidence)) > quantile
        low, high = (middle, high) if above else (low, middle)
    return float(10.0**low)


def plain_ends(
    estimate: Array, variance: Array, quantile: Array, bound: float = np.inf
) -> tuple[Array, Array]:
    """Ends estimate -/+ quantile * sqrt(variance), cut at -/+ bound, elementwise; NaN without variance.

    Args:
        estimate: any shape.
        variance: squared standard error of the estimate, of a shape that broadcasts; 0 and NaN: no interval.
        quantile: Student's, as `t_quantile` gives it.
        bound: largest absolute value that the quantity can have (1 for a difference of fractions).
    """
    half = quantile * _error(variance)
    return np.maximum(estimate - half, -bound), np.minimum(estimate + half, bound)


def logit_ends(estimate: Array, variance: Array, quantile: Array) -> tuple[Array, Array]:
    """Ends of a fraction's interval on the logit scale, elementwise, always within [0, 1].

    expit(logit(p) -/+ quantile * sqrt(variance) / (p (1 - p))), by the delta method. NaN without variance,
    and where the fraction is 0 or 1.

    Args:
        estimate: fractions in [0, 1], any shape.
        variance: squared standard error of the fraction; 0 and NaN: no interval.
        quantile: Student's, as `t_quantile` gives it.
    """
    inside = (estimate > 0) & (estimate < 1)
    fraction = np.where(inside, estimate, np.nan)
    half = quantile * _error(variance) / (fraction * (1 - fraction))
    middle = special.logit(fraction)
    return special.expit(middle - half), special.expit(middle + half)


def mean_over_seeds(values: Sequence[float] | npt.NDArray[Any]) -> Interval:
    """Mean over seeds of a quantity without bounds (a loss, a difference), with Student's interval.

    m -/+ t(0.975, n - 1) s / sqrt(n), n - 1 degrees of freedom. Seeds without a value (NaN) are left out.
    With one value, or values that are all equal, there is no interval: accuracies are multiples of 1 / N, and
    three seeds that agree to the last of them do not show that there is no spread.

    Args:
        values: one of each seed, shape (seeds,).

    Raises:
        RelayError: for another shape, no value at all, or an infinite one.
    """
    return _over_seeds(_seed_values(values), logit=False)


def level_over_seeds(values: Sequence[float] | npt.NDArray[Any]) -> Interval:
    """Mean over seeds of a fraction in [0, 1], with Student's interval on the logit scale.

    As `mean_over_seeds`, but logit(m) -/+ t(0.975, n - 1) s / (sqrt(n) m (1 - m)), taken back: the ends stay
    within 0 and 1, and near 1 the interval reaches further down than up, as the values do.

    Args:
        values: one of each seed, shape (seeds,), fractions, not percent.

    Raises:
        RelayError: as `mean_over_seeds`, and for values outside of [0, 1].
    """
    return _over_seeds(as_fractions(_seed_values(values), "values"), logit=True)


def interval_over_seeds(values: Sequence[float] | npt.NDArray[Any], *, fraction: bool) -> Interval:
    """Mean over seeds with Student's interval, which is on the logit scale where it has to be.

    `mean_over_seeds`; of fractions whose mean is above 0.95 or below 0.05, or whose interval would leave
    [0, 1], `level_over_seeds`. What both cover at 0.8 to 0.99: benchmarks/coverage.md.

    Args:
        values: one of each seed, shape (seeds,).
        fraction: whether they are fractions in [0, 1]; if not, or if one lies outside, the scale is plain.

    Raises:
        RelayError: as `mean_over_seeds`.
    """
    plain = mean_over_seeds(values)
    if not fraction or not ((at := _seed_values(values)) >= 0).all() or not (at <= 1).all():
        return plain
    near = not 1 - _NEAR_1 <= plain.estimate <= _NEAR_1
    return level_over_seeds(values) if near or plain.low < 0 or plain.high > 1 else plain


def slope_over_seeds(values: Any, ratios: Sequence[float] | npt.NDArray[Any]) -> Interval:
    """Slope of a process over data ratios: Student's interval of its seeds' slopes.

    Each seed's slope is that of its least-squares line through the ratios at which it has a value, two or
    more; n seeds with a slope, n - 1 degrees of freedom. Points of one seed share sources and nested subsets;
    slopes of different seeds are independent. Learning curves bend, so seeds with other ratios have slopes of
    another part of the curve: give all seeds the same ratios.

    Args:
        values: shape (seeds, ratios), in any unit; NaN where a run is missing.
        ratios: data ratios, shape (ratios,).

    Returns:
        The mean slope, in the values' unit from no data to all of it. Without a seed with two ratios: NaN.

    Raises:
        RelayError: if the shapes do not fit, ratios are not different finite numbers, or a value is infinite.
    """
    slopes = seed_slopes(values, ratios)
    return _over_seeds(slopes[~np.isnan(slopes)], logit=False)


def slope_difference(a: Any, b: Any, ratios: Sequence[float] | npt.NDArray[Any]) -> Interval:
    """Slope of process a minus that of process b, paired by seed: Student's interval of the differences.

    Each seed's slopes are over the ratios at which both processes have a value, two or more.

    Args:
        a: shape (seeds, ratios); NaN where a run is missing.
        b: same shape, same seeds.
        ratios: data ratios, shape (ratios,).

    Returns:
        As `slope_over_seeds`.

    Raises:
        RelayError: as `slope_over_seeds`, and if the shapes of a and b differ.
    """
    first, second = (_values_at_ratios(each, ratios)[0] for each in (a, b))
    if first.shape != second.shape:
        raise RelayError(f"a has shape {first.shape}, b {second.shape}; give both the same seeds and ratios.")
    return slope_over_seeds(first - second, ratios)


def seed_slopes(values: Any, ratios: Sequence[float] | npt.NDArray[Any]) -> Array:
    """Slope of each seed's least-squares line, shape (seeds,); NaN with fewer than two ratios.

    Args:
        values: shape (seeds, ratios); NaN where a run is missing.
        ratios: data ratios, shape (ratios,).

    Raises:
        RelayError: as `slope_over_seeds`.
    """
    array, at = _values_at_ratios(values, ratios)
    there = ~np.isnan(array)
    weight = there.astype(np.float64)
    several = weight.sum(axis=1) >= 2
    middle = (weight @ at) / np.where(several, weight.sum(axis=1), np.nan)
    off = weight * (at - middle[:, None])
    squares = np.where(several, (off**2).sum(axis=1), np.nan)
    return np.asarray((off * np.where(there, array, 0.0)).sum(axis=1) / squares, dtype=np.float64)


def as_numbers(values: Any, name: str) -> Array:
    """An argument as an array of numbers.

    Raises:
        RelayError: if it holds something else, rows of different lengths, or infinite numbers.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RelayError(f"{name} is not an array of numbers ({error}).") from None
    if np.isinf(array).any():
        raise RelayError(f"{name} holds infinite numbers; leave such runs out.")
    return array


def as_fractions(values: Any, name: str) -> Array:
    """An argument as an array of fractions, which may be NaN.

    Raises:
        RelayError: as `as_numbers`, and for values outside of [0, 1].
    """
    array = as_numbers(values, name)
    outside = (array < 0) | (array > 1)
    if outside.any():
        found = float(array[outside].flat[0])
        raise RelayError(f"{name} holds {found:g}; give fractions in [0, 1], not percent.")
    return array


def _error(variance: Array) -> Array:
    """Standard error; NaN where it is zero, to rounding, or not known."""
    error = np.sqrt(np.asarray(variance, dtype=np.float64))
    return np.asarray(np.where(error > _NOISE, error, np.nan), dtype=np.float64)


def _over_seeds(values: Array, *, logit: bool) -> Interval:
    count = len(values)
    mean = float(values.mean()) if count else np.nan
    if count < 2:
        return no_interval(mean)
    variance = np.var(values, ddof=1) / count
    if np.sqrt(variance) <= _NOISE * max(1.0, float(np.abs(values).max())):  # equal, to rounding
        return no_interval(mean)
    ends = logit_ends if logit else plain_ends
    low, high = ends(np.asarray(mean), np.asarray(variance), t_quantile(count - 1))
    return Interval(mean, float(low), float(high), float(count - 1))


def _seed_values(values: Any) -> Array:
    array = as_numbers(values, "values")
    if array.ndim != 1:
        raise RelayError(f"values have shape {array.shape}; give one number of each seed, shape (seeds,).")
    array = array[~np.isnan(array)]
    if not len(array):
        raise RelayError("no seed has a value; leave this process out.")
    return array


def _values_at_ratios(values: Any, ratios: Any) -> tuple[Array, Array]:
    array, at = as_numbers(values, "values"), as_numbers(ratios, "ratios")
    if array.ndim != 2 or at.shape != array.shape[1:]:
        raise RelayError(
            f"values have shape {array.shape} and ratios {at.shape}; give (seeds, ratios) and (ratios,)."
        )
    if np.isnan(at).any() or len(np.unique(at)) != len(at):
        raise RelayError(f"the ratios {at.tolist()} are not different numbers; give each once.")
    return array, at
