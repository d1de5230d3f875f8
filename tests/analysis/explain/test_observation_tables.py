"""Means over a study and scaled maps, each worked by hand or with scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from analysis.explain.observation_tables import (
    SHOWN_SIDE,
    agreement_table,
    between_processes,
    evenly_spread,
    layer_likeness,
    mean_curves,
    mean_table,
    normalised_maps,
    randomisation_table,
    relative_heat,
    small,
)
from analysis.explain.observer import Arrays

NAN = float("nan")


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [
        (7, 4, [0, 2, 4, 6]),
        (10, 3, [0, 4, 9]),
        (3, 8, [0, 1, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
        (9, 1, [0]),
        (1, 1, [0]),
    ],
)
def test_places_are_spread_from_the_first_to_the_last(length: int, count: int, expected: list[int]) -> None:
    places = evenly_spread(length, count)
    assert places.tolist() == expected
    assert places.dtype == np.int64


def test_as_many_places_as_asked_for_and_each_once() -> None:
    for length in (20, 57, 560):
        for count in range(2, length):
            places = evenly_spread(length, count)
            assert len(set(places.tolist())) == count
            assert (places[0], places[-1]) == (0, length - 1)


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


def _random(rank: list[list[float]], structure: list[list[float]]) -> Arrays:
    return {
        "layers": np.asarray(["fc", "conv"]),
        "rank": np.asarray(rank),
        "structure": np.asarray(structure),
    }


def test_randomisation_is_a_mean_over_images_then_seeds() -> None:
    """Constant maps (NaN) are left out of a seed's mean, which then counts as much as the other's."""
    first = _random([[0.2, 0.4], [0.0, NAN]], [[0.5, 0.7], [0.1, 0.3]])
    second = _random([[0.6, 0.8], [0.2, 0.4]], [[0.1, 0.3], [NAN, 0.5]])
    alone = _random([[NAN, NAN], [0.5, 0.5]], [[1.0, 1.0], [NAN, NAN]])
    table = randomisation_table({"two": [first, second], "one": [alone]})
    expected = pd.DataFrame(
        [
            ("two", "fc", 0.5, 0.3, 0.7, 0.4),
            ("two", "conv", 0.15, 0.0, 0.3, 0.35),
            ("one", "fc", NAN, NAN, NAN, 1.0),
            ("one", "conv", 0.5, 0.5, 0.5, NAN),
        ],
        columns=["process", "layer", "rank", "rank_low", "rank_high", "structure"],
    )
    pd.testing.assert_frame_equal(table, expected)


def test_the_band_leaves_out_a_seed_whose_maps_are_all_constant() -> None:
    """As its mean does: else one seed without maps takes the whole process's band away."""
    seeds = [_random([[value], [value]], [[0.5], [0.5]]) for value in (NAN, 0.25, 0.75)]
    (row, _) = randomisation_table({"p": seeds}).to_dict("records")
    assert (row["rank"], row["rank_low"], row["rank_high"]) == (0.5, 0.25, 0.75)


def test_curves_are_means_over_seeds_image_by_image() -> None:
    first = {"deletion": np.asarray([[1.0, 0.0], [0.5, 0.5]]), "insertion": np.asarray([[0.0, 1.0]])}
    second = {"deletion": np.asarray([[0.0, 0.5], [0.5, 1.0]]), "insertion": np.asarray([[1.0, 1.0]])}
    curves = mean_curves([first, second])
    assert set(curves) == {"deletion", "insertion"}
    assert curves["deletion"].tolist() == [[0.5, 0.25], [0.5, 0.75]]
    assert curves["insertion"].tolist() == [[0.5, 1.0]]


def _rank(first: Tensor, second: Tensor) -> float:
    """The mean of scipy's own rank correlation over images."""
    pairs = zip(first.flatten(1).numpy(), second.flatten(1).numpy(), strict=True)
    return float(np.mean([spearmanr(one, other).statistic for one, other in pairs]))


def _agreement(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    keys = zip(table["process_a"], table["process_b"], strict=True)
    found = dict(zip(keys, table["rank"], strict=True))
    assert len(found) == len(table)
    return found


def test_agreement_compares_seeds_within_a_process_and_equal_seeds_between_two() -> None:
    generator = torch.Generator().manual_seed(3)
    heats = {
        (process, seed): torch.rand(3, 4, 4, generator=generator)
        for process, seeds in {"a": (0, 1, 2), "b": (1, 2, 5)}.items()
        for seed in seeds
    }
    found = _agreement(agreement_table(heats))
    assert set(found) == {("a", "a"), ("a", ""), ("b", "b"), ("b", ""), ("a", "b")}
    within = [_rank(heats["a", one], heats["a", other]) for one, other in ((0, 1), (0, 2), (1, 2))]
    assert found["a", "a"] == pytest.approx(np.mean(within))
    between = [_rank(heats["a", seed], heats["b", seed]) for seed in (1, 2)]
    assert found["a", "b"] == pytest.approx(np.mean(between))
    others = [_rank(heats["b", seed], heats["b", seed][[2, 0, 1]]) for seed in (1, 2, 5)]
    assert found["b", ""] == pytest.approx(np.mean(others))


def test_agreement_without_a_pair_is_no_number() -> None:
    heats = {("a", 0): torch.rand(1, 3, 3), ("b", 1): torch.rand(1, 3, 3)}
    found = _agreement(agreement_table(heats))
    assert set(found) == {("a", "a"), ("a", ""), ("b", "b"), ("b", ""), ("a", "b")}
    assert all(np.isnan(value) for value in found.values())


def test_constant_maps_are_left_out_of_the_agreement() -> None:
    first = torch.stack([torch.ones(3, 3), torch.arange(9.0).reshape(3, 3)])
    second = torch.stack([torch.rand(3, 3), -torch.arange(9.0).reshape(3, 3)])
    assert _agreement(agreement_table({("a", 0): first, ("b", 0): second}))["a", "b"] == pytest.approx(-1.0)


def _gram(seed: int) -> Any:
    features = np.random.default_rng(seed).normal(size=(8, 5))
    return features @ features.T


def _unbiased_cka(first: Any, second: Any) -> float:
    """Nguyen et al. 2021, Eq. 3, written out."""
    n = len(first)
    one = np.ones(n)

    def hsic(left: Any, right: Any) -> float:
        left, right = left - np.diag(np.diag(left)), right - np.diag(np.diag(right))
        total = np.trace(left @ right) + one @ left @ one * (one @ right @ one) / ((n - 1) * (n - 2))
        return float(total - 2 / (n - 2) * (one @ left @ right @ one)) / (n * (n - 3))

    return hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))


def test_layers_are_compared_with_those_of_the_same_name() -> None:
    first, second = {"x": _gram(0), "y": _gram(1)}, {"y": _gram(2), "x": _gram(3)}
    found = {row["layer"]: row["cka"] for row in layer_likeness(first, second)}
    assert found == pytest.approx(
        {"x": _unbiased_cka(_gram(0), _gram(3)), "y": _unbiased_cka(_gram(1), _gram(2))}
    )
    same = layer_likeness(first, {name: 4.0 * gram for name, gram in first.items()})
    assert [row["cka"] for row in same] == pytest.approx([1.0, 1.0])


def test_processes_are_compared_at_equal_seeds_only() -> None:
    grams: dict[tuple[str, int], Arrays] = {
        ("a", 0): {"x": _gram(0)},
        ("a", 1): {"x": _gram(1)},
        ("b", 1): {"x": _gram(2)},
        ("b", 0): {"x": _gram(3)},
        ("c", 7): {"x": _gram(4)},
    }
    table = between_processes(grams)
    (row,) = table.to_dict("records")
    assert (row["process_a"], row["process_b"], row["layer"]) == ("a", "b", "x")
    expected = (_unbiased_cka(_gram(0), _gram(3)) + _unbiased_cka(_gram(1), _gram(2))) / 2
    assert row["cka"] == pytest.approx(expected)


def test_processes_without_a_common_seed_give_an_empty_table() -> None:
    table = between_processes({("a", 0): {"x": _gram(0)}, ("b", 1): {"x": _gram(1)}})
    assert table.empty
    assert list(table.columns) == ["process_a", "process_b", "layer", "cka"]


def test_rows_that_agree_are_averaged_in_the_order_they_come() -> None:
    rows = [
        {"who": "z", "where": "b", "much": 1.0},
        {"who": "a", "where": "b", "much": 5.0},
        {"who": "z", "where": "b", "much": 2.0},
        {"who": "z", "where": "a", "much": 7.0},
    ]
    table = mean_table(rows, ["who", "where"], "much")
    assert table.to_dict("split", index=False)["data"] == [["z", "b", 1.5], ["a", "b", 5.0], ["z", "a", 7.0]]
