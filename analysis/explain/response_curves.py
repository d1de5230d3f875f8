"""Curves of networks: scaled, smoothed, their peaks and areas. Loads no torch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.integrate import trapezoid
from scipy.signal import find_peaks, savgol_filter

from stages.errors import RelayError

Curve = npt.NDArray[np.float64]


def normalised(gain: npt.ArrayLike) -> Curve:
    """A curve scaled to [0, 1] by its minimum and maximum (section 7.2); zeros if it is constant.

    Raises:
        RelayError: If a value is NaN or infinite.
    """
    values = np.asarray(gain, dtype=np.float64)
    if not np.isfinite(values).all():
        raise RelayError("the curve holds NaN or infinite values")
    lowest, highest = values.min(), values.max()
    if highest == lowest:
        return np.zeros_like(values)
    return np.asarray((values - lowest) / (highest - lowest))


def smoothed(curve: npt.ArrayLike, window: int = 11) -> Curve:
    """A curve after a second-order Savitzky-Golay filter (section 7.2).

    Args:
        curve: (N,), N at least `window`.
        window: Frequencies in the filter, odd and at least 3; the paper does not give it.

    Raises:
        RelayError: If the window does not fit.
    """
    values = np.asarray(curve, dtype=np.float64)
    if window < 3 or window % 2 == 0 or window > len(values):
        raise RelayError(f"window is {window}; give an odd number from 3 to {len(values)}, the frequencies")
    return np.asarray(savgol_filter(values, window, polyorder=2))


@dataclass(frozen=True)
class Peak:
    """A local maximum of a response.

    Attributes:
        omega: Cycles per image.
        height: In the curve's unit.
        prominence: How far the curve falls on its lower side before it rises higher than the peak.
    """

    omega: float
    height: float
    prominence: float


def peaks(omega: npt.ArrayLike, curve: npt.ArrayLike, least_prominence: float = 0.05) -> list[Peak]:
    """A response's peaks, the most prominent first (scipy.signal.find_peaks; both ends may be peaks).

    Args:
        omega: Cycles per image, (N,), rising.
        curve: (N,).
        least_prominence: Of a peak, in the curve's unit.
    """
    places, values = np.asarray(omega, dtype=np.float64), np.asarray(curve, dtype=np.float64)
    floor = values.min() - 1.0  # below the curve on both sides, so that an end can be a maximum
    found, properties = find_peaks(np.concatenate([[floor], values, [floor]]), prominence=least_prominence)
    listed = []
    for at, prominence in zip(found - 1, properties["prominences"], strict=True):
        fall = min(float(prominence), float(values[at] - values.min()))
        if fall >= least_prominence:
            listed.append(Peak(float(places[at]), float(values[at]), fall))
    return sorted(listed, key=lambda peak: -peak.prominence)


def area(curves: npt.ArrayLike) -> Curve:
    """Area under each curve over shares 0 to 1, by the trapezoidal rule; small is good for deletion only.

    Args:
        curves: (N, steps + 1), at equal distances, steps at least 1.

    Returns:
        (N,), the mean probability on the way, 0 to 1.

    Raises:
        RelayError: If the curves have another shape.
    """
    values = np.asarray(curves, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise RelayError(f"curves have shape {values.shape}; give (N, steps + 1), at least two points")
    return np.asarray(trapezoid(values, dx=1.0 / (values.shape[1] - 1), axis=1))
