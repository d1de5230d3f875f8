"""Curves scaled, smoothed and their peaks, against polynomial fits, scipy and cases worked by hand."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import peak_prominences, savgol_filter

from analysis.explain.response_curves import Peak, area, normalised, peaks, smoothed
from stages.errors import RelayError


def draw(count: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=count)


def test_a_curve_is_scaled_to_its_minimum_and_maximum() -> None:
    np.testing.assert_allclose(normalised([3, -1, 0, 7]), [0.5, 0, 0.125, 1])
    values = draw(20)
    given = values.copy()
    assert normalised(values).min() == 0 and normalised(values).max() == 1
    np.testing.assert_array_equal(values, given)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_curve_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(RelayError, match="NaN or infinite"):
        normalised([0.0, value, 1.0])


@pytest.mark.parametrize("value", [0.0, 4.0, -1e-9])
def test_a_constant_curve_becomes_zeros(value: float) -> None:
    np.testing.assert_array_equal(normalised([value] * 3), [0.0, 0.0, 0.0])


def fitted(values: npt.NDArray[np.float64], window: int) -> list[float]:
    """At each place a parabola through the window around it, at the ends through the last whole window."""
    half, found = window // 2, []
    for place in range(len(values)):
        start = min(max(place - half, 0), len(values) - window)
        parabola = np.polyfit(np.arange(window) - half, values[start : start + window], 2)
        found.append(float(np.polyval(parabola, place - start - half)))
    return found


@pytest.mark.parametrize(("count", "window"), [(113, 11), (32, 11), (11, 11), (9, 5), (3, 3)])
def test_smoothing_fits_parabolas_as_scipys_filter(count: int, window: int) -> None:
    values = draw(count)
    np.testing.assert_allclose(smoothed(values, window), fitted(values, window), atol=1e-10)
    np.testing.assert_array_equal(smoothed(values, window), savgol_filter(values, window, polyorder=2))


def test_smoothing_takes_a_window_of_11_unless_told() -> None:
    values = draw(40)
    np.testing.assert_array_equal(smoothed(list(values)), savgol_filter(values, 11, 2))


@pytest.mark.parametrize("window", [-3, 0, 1, 2, 4, 10, 13, 15])
def test_a_window_that_does_not_fit_is_refused(window: int) -> None:
    with pytest.raises(RelayError, match=f"window is {window}; give an odd number from 3 to 12"):
        smoothed(draw(12), window)


def test_peaks_by_hand_with_one_at_each_end() -> None:
    omega, curve = [0, 2, 4, 6, 8, 10], [1.0, 0.2, 0.6, 0.1, 0.3, 0.8]
    found = peaks(omega, curve)
    assert [(peak.omega, peak.height) for peak in found] == [(0, 1.0), (10, 0.8), (4, 0.6)]
    assert [peak.prominence for peak in found] == pytest.approx([0.9, 0.7, 0.4])
    assert peaks(omega, curve, 0.5) == found[:2]
    assert peaks(omega, curve, 0.95) == []


def test_the_most_prominent_peak_comes_first_and_not_the_highest() -> None:
    """0.9 on a shoulder of 1.0 falls by 0.05 only; 0.5, far lower, by 0.5."""
    found = peaks(range(7), [0.0, 1.0, 0.85, 0.9, 0.0, 0.5, 0.0])
    assert [peak.omega for peak in found] == [1, 5, 3]
    assert [peak.prominence for peak in found] == pytest.approx([1.0, 0.5, 0.05])


@pytest.mark.parametrize("curve", [[0.5] * 6, [0.0] * 3, [1e20] * 4])
def test_a_constant_curve_has_no_peak(curve: list[float]) -> None:
    assert peaks(range(len(curve)), curve) == []


@pytest.mark.parametrize(("curve", "at"), [([1.0, 2.0, 3.0], 2), ([3.0, 2.0, 1.0], 0), ([1e20, 0.0], 0)])
def test_a_curve_that_only_rises_or_falls_peaks_at_its_end(curve: list[float], at: int) -> None:
    assert peaks(range(len(curve)), curve) == [Peak(at, max(curve), max(curve) - min(curve))]


def test_the_middle_of_a_plateau_is_the_peak() -> None:
    assert [peak.omega for peak in peaks(range(7), [0, 1, 3, 3, 3, 1, 0])] == [3]


def prominence(curve: list[float], at: int) -> float:
    """The least fall on the way to higher ground; to the lowest place where there is none."""
    falls = []
    for side in (curve[at::-1], curve[at:]):
        higher = [step for step, value in enumerate(side) if value > curve[at]]
        if higher:
            falls.append(curve[at] - min(side[: higher[0]]))
    return min(falls, default=curve[at] - min(curve))


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.integers(2, 12).flatmap(lambda count: st.permutations(range(count))), st.integers(1, 6))
def test_peaks_are_the_maxima_that_fall_far_enough(curve: list[float], least: int) -> None:
    walled = [-1.0, *curve, -1.0]
    expected = {
        at: prominence(curve, at)
        for at in range(len(curve))
        if walled[at] < curve[at] > walled[at + 2] and prominence(curve, at) >= least
    }
    found = peaks(np.arange(len(curve)) * 0.5, curve, least)
    assert {round(2 * peak.omega): peak.prominence for peak in found} == expected
    assert all(peak.height == curve[round(2 * peak.omega)] for peak in found)
    falls = [peak.prominence for peak in found]
    assert falls == sorted(falls, reverse=True) and len(found) == len(expected)


def test_away_from_the_ends_prominences_are_scipys() -> None:
    """With the curve's lowest values at its ends, both agree."""
    curve = np.concatenate([[-9.0], draw(60), [-9.0]])
    found = {int(peak.omega): peak.prominence for peak in peaks(np.arange(62), curve, 0.0)}
    assert len(found) > 10
    np.testing.assert_allclose(peak_prominences(curve, list(found))[0], list(found.values()))


def test_area_by_hand() -> None:
    curves = np.asarray([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    assert area(curves).tolist() == pytest.approx([0.5, 1.0, 0.5])
    assert area(curves[:, :2]).tolist() == pytest.approx([0.75, 1.0, 0.5])
    for shape in ((3,), (3, 1)):
        with pytest.raises(RelayError, match="at least two points"):
            area(np.ones(shape))
