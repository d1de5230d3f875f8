"""Reference images against numpy's inverse Fourier transform, and what is refused."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.explain.choices import Norm
from analysis.explain.frequency import reference_image
from stages.errors import RelayError

NORMS: tuple[Norm, ...] = ("paper", "unit")


def nearest(omega: float, theta: float) -> tuple[int, int]:
    """Column and row of the Fourier grid, from its centre."""
    return round(omega * math.cos(theta)), round(omega * math.sin(theta))


def inverse_transform(size: int, *points: tuple[int, int]) -> npt.NDArray[np.complex128]:
    """Of 1 at points (column, row) and 0 elsewhere."""
    spectrum = np.zeros((size, size))
    for column, row in points:
        spectrum[row % size, column % size] = 1.0
    return np.fft.ifft2(spectrum)


def by_definition(size: int, omega: float, theta: float, norm: Norm) -> npt.NDArray[np.float64]:
    """Eqs. 6 and 7 with the points (omega, theta) and (omega, theta + pi)."""
    column, row = nearest(omega, theta)
    image = inverse_transform(size, (column, row), (-column, -row))
    assert np.abs(image.imag).max() < 1e-15
    frobenius = np.linalg.norm(image.real)
    return np.asarray(image.real / (frobenius**2 if norm == "paper" else frobenius))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [2, 3, 8, 9])
def test_every_frequency_of_a_small_image_is_the_inverse_transform(size: int, norm: Norm) -> None:
    for omega in range(size // 2 + 1):
        for theta in np.linspace(0, 2 * np.pi, 41):
            image = reference_image(size, omega, float(theta), norm)
            assert image.dtype == torch.float64 and image.shape == (size, size)
            np.testing.assert_allclose(
                image.numpy(), by_definition(size, omega, theta, norm), rtol=0, atol=1e-12
            )


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    size=st.integers(2, 40),
    share=st.floats(0, 1),
    theta=st.floats(-7, 7) | st.sampled_from([k * math.pi / 4 for k in range(8)]),
    norm=st.sampled_from(NORMS),
)
@example(size=224, share=1.0, theta=0.0, norm="paper")  # half the size along an axis
@example(size=2, share=1.0, theta=math.pi / 4, norm="unit")  # and along the diagonal
@example(size=225, share=0.0, theta=1.0, norm="unit")
def test_an_image_is_the_inverse_transform(size: int, share: float, theta: float, norm: Norm) -> None:
    omega = share * size / 2
    image = reference_image(size, omega, theta, norm).numpy()
    np.testing.assert_allclose(image, by_definition(size, omega, theta, norm), rtol=0, atol=1e-11)
    if nearest(omega, theta) == (0, 0):
        assert np.ptp(image) == 0 and image[0, 0] > 0
    else:
        assert abs(image.mean()) < 1e-12
    np.testing.assert_allclose(reference_image(size, omega, theta + math.pi, norm), image, atol=1e-11)


def test_direction_0_is_along_the_columns() -> None:
    wave = np.cos(2 * np.pi * 3 * np.arange(16) / 16)
    along_x, along_y = (reference_image(16, 3, theta).numpy() for theta in (0.0, math.pi / 2))
    np.testing.assert_allclose(along_x, np.tile(wave, (16, 1)), atol=1e-14)
    np.testing.assert_allclose(along_y, np.tile(wave[:, None], (1, 16)), atol=1e-14)


def test_a_direction_between_0_and_a_quarter_turn_rises_with_both_axes() -> None:
    """The phase is that of x + y, and not of x - y."""
    image = reference_image(16, 2 * math.sqrt(2), math.pi / 4).numpy()
    rows, columns = np.mgrid[:16, :16]
    np.testing.assert_allclose(image, np.cos(2 * np.pi * 2 * (rows + columns) / 16), atol=1e-14)


@pytest.mark.parametrize(("size", "omega"), [(8, 0), (8, 2), (8, 4), (9, 4), (224, 112), (224, 20)])
def test_the_papers_norm_gives_amplitude_1_and_unit_a_norm_of_1(size: int, omega: int) -> None:
    for theta in (0.0, math.pi / 2):
        assert float(reference_image(size, omega, theta).abs().max()) == 1.0
        unit = reference_image(size, omega, theta, "unit")
        assert float(unit.square().sum()) == pytest.approx(1.0, rel=1e-12)


def test_half_the_size_alternates() -> None:
    assert torch.equal(reference_image(4, 2, 0.0)[1], torch.tensor([1.0, -1, 1, -1], dtype=torch.float64))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("omega", "theta"), [(2.3, 0.4), (3.0, 2.0), (0.5, -1.0), (0.0, 1.0), (4.5, 0.0)])
def test_cosine_is_that_very_frequency(omega: float, theta: float, norm: Norm) -> None:
    expected = np.empty((9, 9))
    for row in range(9):
        for column in range(9):
            along = column * math.cos(theta) + row * math.sin(theta)
            expected[row, column] = math.cos(2 * math.pi * omega * along / 9)
    if norm == "unit":
        expected /= np.linalg.norm(expected)
    image = reference_image(9, omega, theta, norm, directions="cosine")
    np.testing.assert_allclose(image.numpy(), expected, atol=1e-13)


def test_on_a_point_of_the_grid_cosine_and_grid_are_the_same() -> None:
    for omega, theta in ((5.0, math.atan2(4, 3)), (4.0, 0.0), (0.0, 1.0)):
        grid, cosine = (reference_image(16, omega, theta, directions=d) for d in ("grid", "cosine"))
        torch.testing.assert_close(grid, cosine, rtol=0, atol=1e-13)


def test_the_points_of_figure_8s_caption_give_no_real_image() -> None:
    """(w, theta) and (w, -theta), as printed, against (w, theta + pi), as drawn."""
    column, row = nearest(5, 0.9)
    printed = inverse_transform(16, (column, row), (column, -row))
    drawn = inverse_transform(16, (column, row), (-column, -row))
    assert np.abs(printed.imag).max() > 0.5 * np.abs(printed).max()
    assert np.abs(drawn.imag).max() < 1e-15
    assert np.abs(drawn.real).max() == pytest.approx(2 / 16**2)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((1, 0, 0.0), "size is 1; give a whole number of pixels, at least 2"),
        ((8, 4.01, 0.0), "omega is 4.01; give 0 to 4 cycles per image of 8 px"),
        ((9, 5, 0.0), "omega is 5; give 0 to 4.5 cycles"),
        ((8.5, 1, 0.0), "size is 8.5; give a whole number"),
        (("8", 1, 0.0), "size is '8'; give a whole number"),
        ((8, None, 0.0), "omega is None; give 0 to 4"),
        ((8, -1, 0.0), "omega is -1"),
        ((8, math.nan, 0.0), "omega is nan"),
        ((8, 1, math.inf), "theta is inf; give radians"),
        ((8, 1, math.nan), "theta is nan"),
        ((8, 1, 0.0, "l2"), "norm is 'l2'; it must be one of paper, unit"),
    ],
)
def test_values_out_of_range_are_named(arguments: tuple[int, float, float], named: str) -> None:
    with pytest.raises(RelayError, match=named):
        reference_image(*arguments)


def test_unknown_directions_are_named() -> None:
    with pytest.raises(RelayError, match="directions is 'all'; it must be one of grid, cosine"):
        reference_image(8, 1, 0.0, directions="all")  # type: ignore[arg-type]
