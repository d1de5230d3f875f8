"""Maps scaled for figures, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.explain.shown_maps import SHOWN_SIDE, normalised_maps, relative_heat, small


def test_grey_maps_are_the_sum_over_the_copied_channels_from_0_to_1() -> None:
    """Image 0: sums 6, 9, 12, 10; the channels alone have other minima. Image 1 has other numbers."""
    maps = torch.tensor(
        [
            [[[1.0, 2.0], [3.0, 0.0]], [[2.0, 3.0], [4.0, 0.0]], [[3.0, 4.0], [5.0, 10.0]]],
            [[[-1.0, 0.0], [0.0, 0.0]], [[-1.0, 0.0], [0.0, 2.0]], [[-2.0, 0.0], [0.0, 2.0]]],
        ]
    )
    expected = torch.tensor([[[0.0, 0.5], [1.0, 4 / 6]], [[0.0, 0.5], [0.5, 1.0]]])
    torch.testing.assert_close(normalised_maps(maps, grey=True), expected)


def test_colour_maps_keep_their_channels_and_share_one_scale() -> None:
    maps = torch.tensor([[[[0.0, 1.0]], [[2.0, 3.0]], [[4.0, -4.0]]]])  # (1, 3, 1, 2), from -4 to 4
    expected = torch.tensor([[[[0.5, 0.75, 1.0], [0.625, 0.875, 0.0]]]])  # (1, 1, 2, 3)
    torch.testing.assert_close(normalised_maps(maps, grey=False), expected)


@pytest.mark.parametrize("value", [0.0, -2.5])
@pytest.mark.parametrize("grey", [True, False])
def test_a_constant_map_is_0_and_leaves_the_others_alone(value: float, grey: bool) -> None:
    maps = torch.full((2, 3, 2, 2), value)
    maps[1, :, 0, 0] = 7.0
    scaled = normalised_maps(maps, grey=grey)
    assert bool((scaled[0] == 0.0).all())
    assert scaled[1].amin() == 0.0 and scaled[1].amax() == 1.0


def test_heat_is_in_multiples_of_its_mean() -> None:
    """Magnitudes 5, 0, 0, 15 of the two channels (3, 4) and (9, -12): the mean is 5."""
    maps = torch.zeros(1, 2, 2, 2)
    maps[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    maps[0, :, 1, 1] = torch.tensor([9.0, -12.0])
    torch.testing.assert_close(relative_heat(maps), torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]))
    torch.testing.assert_close(relative_heat(1000 * maps), relative_heat(maps))  # other weights' scale


def test_a_map_of_zeros_is_flat() -> None:
    maps = torch.zeros(2, 3, 4, 4)
    maps[1, 0, 0, 0] = 1.0
    heat = relative_heat(maps)
    assert bool((heat[0] == 1.0).all())
    assert heat[1, 0, 0] == 16.0 and heat[1].sum() == 16.0


def test_images_that_fit_are_not_touched() -> None:
    images = torch.rand(2, SHOWN_SIDE, SHOWN_SIDE, dtype=torch.float64)
    kept = small(images)
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, images.float().numpy())


@pytest.mark.parametrize("channels", [(), (3,)])
def test_larger_images_become_the_means_of_their_parts(channels: tuple[int, ...]) -> None:
    images = torch.rand(2, 2 * SHOWN_SIDE, 2 * SHOWN_SIDE, *channels)
    reduced = small(images)
    assert reduced.shape == (2, SHOWN_SIDE, SHOWN_SIDE, *channels)
    values = images.numpy()
    for row, column in ((0, 0), (5, 100), (127, 127)):
        part = values[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(reduced[:, row, column], part.mean((1, 2)), rtol=1e-5)
