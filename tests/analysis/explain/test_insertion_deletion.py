"""Insertion and deletion of a linear network, whose probabilities are worked out by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from analysis.explain.insertion_deletion import curve, random_orders, tile_order
from analysis.explain.response_curves import area
from lightning_modules.alexnet import AlexNet
from stages.errors import RelayError

WEIGHTS = (1.0, 3.0, 2.0, -4.0)
FALLING = torch.tensor([[1, 2, 0, 3]])  # by weight, the largest first


def linear(weights: tuple[float, ...] = WEIGHTS) -> nn.Module:
    """Logits (0, weights . pixels): the probability of class 1 is the logistic function of the second."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(len(weights), 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[0.0] * len(weights), list(weights)]))
    return network


def logistic(*values: float) -> list[float]:
    return [1 / (1 + math.exp(-value)) for value in values]


def ones(images: int = 1, side: int = 2) -> Tensor:
    return torch.ones(images, 1, side, side)


def of_class(label: int, images: int = 1) -> Tensor:
    return torch.full((images,), label)


def test_deletion_by_hand() -> None:
    found = curve(linear(), ones(), FALLING, of_class(1), mode="deletion", tiles=2, steps=4)
    assert found.dtype == torch.float64
    assert found.tolist() == [pytest.approx(logistic(2, -1, -3, -4, 0), abs=1e-6)]


def test_insertion_by_hand() -> None:
    found = curve(linear(), ones(), FALLING, of_class(1), mode="insertion", tiles=2, steps=4)
    assert found.tolist() == [pytest.approx(logistic(0, 3, 5, 6, 2), abs=1e-6)]


def test_each_image_has_its_order_and_its_class() -> None:
    orders = torch.tensor([[1, 2, 0, 3], [3, 0, 1, 2], [1, 2, 0, 3]])
    classes = torch.tensor([1, 1, 0])
    expected = [logistic(2, -1, -3, -4, 0), logistic(2, 6, 5, 2, 0), logistic(-2, 1, 3, 4, 0)]
    for size in (1, 2, 32):
        found = curve(linear(), ones(3), orders, classes, mode="deletion", tiles=2, steps=4, batch_size=size)
        assert [row.tolist() for row in found] == [pytest.approx(row, abs=1e-6) for row in expected]


@pytest.mark.parametrize(
    "baseline",
    [-1.0, torch.tensor(-1.0), torch.full((1, 1, 1), -1.0), -ones(), torch.full((1, 2, 2), -1.0)],
    ids=["number", "scalar", "colour", "images", "image"],
)
def test_the_baseline_stands_in_place(baseline: Tensor | float) -> None:
    """Each tile that goes takes its weight away twice."""
    found = curve(
        linear(), ones(), FALLING, of_class(1), mode="deletion", tiles=2, steps=4, baseline=baseline
    )
    assert found.tolist() == [pytest.approx(logistic(2, -4, -8, -10, -2), abs=1e-6)]


def test_a_baseline_for_each_image_follows_its_batch() -> None:
    baseline = torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), -1.0)])
    found = curve(
        linear(),
        ones(2),
        FALLING.expand(2, -1),
        of_class(1, 2),
        mode="deletion",
        tiles=2,
        steps=1,
        baseline=baseline,
        batch_size=1,
    )
    assert found.flatten().tolist() == pytest.approx(logistic(2, 0, 2, -2), abs=1e-6)


def test_shares_are_rounded_to_the_nearest_tile() -> None:
    """4 tiles in 3 steps: 0, 1.33, 2.67 and 4 tiles; in 2 steps of 9 tiles 4.5, which is 5."""
    found = curve(linear(), ones(), FALLING, of_class(1), mode="deletion", tiles=2, steps=3)
    assert found.tolist() == [pytest.approx(logistic(2, -1, -4, 0), abs=1e-6)]
    nine = linear((1.0,) * 9)
    found = curve(nine, ones(side=3), torch.arange(9)[None], of_class(1), mode="deletion", tiles=3, steps=2)
    assert found.tolist() == [pytest.approx(logistic(9, 4, 0), abs=1e-6)]


def test_ends_are_the_image_and_the_baseline() -> None:
    network = AlexNet(3, width=0.0625, seed=0)
    images = torch.randn(3, 3, 63, 63, generator=torch.Generator().manual_seed(0))
    classes, orders = torch.tensor([0, 1, 2]), random_orders(3, 5, seed=0)
    parts = dict(tiles=5, steps=2, baseline=0.5)
    deleted = curve(network, images, orders, classes, mode="deletion", **parts)
    inserted = curve(network, images, orders, classes, mode="insertion", **parts)
    assert network.training and network.drop6.training
    network.eval()
    with torch.no_grad():
        shown, grey = (network(x).softmax(1) for x in (images, torch.full_like(images, 0.5)))
    own = torch.arange(3)
    for found, first, last in ((deleted, shown, grey), (inserted, grey, shown)):
        torch.testing.assert_close(found[:, 0].float(), first[own, classes], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found[:, -1].float(), last[own, classes], rtol=1e-5, atol=1e-6)


def test_insertion_is_deletion_of_the_reverse_order_backwards() -> None:
    images, orders = torch.rand(2, 1, 2, 2), random_orders(2, 2, seed=1)
    inserted = curve(linear(), images, orders, of_class(1, 2), mode="insertion", tiles=2, steps=4)
    deleted = curve(linear(), images, orders.flip(1), of_class(1, 2), mode="deletion", tiles=2, steps=4)
    assert torch.equal(inserted, deleted.flip(1))


def test_the_right_order_beats_its_reverse() -> None:
    weights = torch.linspace(-3, 3, 36)[torch.randperm(36, generator=torch.Generator().manual_seed(0))]
    network, images = linear(tuple(weights.tolist())), ones(side=6)
    right = tile_order(weights.view(1, 6, 6), 3)
    parts = dict(tiles=3, steps=9)

    def scored(order: Tensor, mode) -> float:
        return float(area(curve(network, images, order, of_class(1), mode=mode, **parts))[0])

    assert scored(right, "deletion") < scored(right.flip(1), "deletion") - 0.5
    assert scored(right, "insertion") > scored(right.flip(1), "insertion") + 0.5


def test_tiles_by_mean_heat() -> None:
    heat = torch.tensor([[0, 1, 5, 5], [0, 1, 5, 5], [9, 0, 3, 3], [0, 0, 3, 2]], dtype=torch.float32)
    assert tile_order(torch.stack([heat, -heat]), 2).tolist() == [[1, 3, 2, 0], [0, 2, 3, 1]]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-30])
def test_ties_are_in_order_of_place(value: float) -> None:
    """Also where tiles have different numbers of pixels, and so different sums."""
    assert tile_order(torch.full((2, 63, 50), value), 8).tolist() == [list(range(64))] * 2


def test_a_side_that_is_no_multiple_of_the_tiles() -> None:
    """Of 5 px in 2 tiles: pixel i is in floor(2 i / 5), so 0 0 0 1 1; upwards, 3 rows and 3 columns."""
    heat = torch.zeros(1, 5, 7)
    heat[0, 2, 4] = 1.0  # row 0; columns by floor(3 i / 7): 0 0 0 1 1 2 2
    assert tile_order(heat[:, :, :7], 2).tolist()[0][0] == 1  # floor(2 4 / 7) = 1
    assert tile_order(heat, 3).tolist()[0][0] == 3 * 1 + 1
    pixels = torch.zeros(5, 5)
    pixels[:3, 3:] = 1.0  # the tile of row 0, column 1
    found = curve(
        linear(tuple(pixels.flatten().tolist())),
        ones(side=5),
        torch.tensor([[1, 0, 2, 3]]),
        of_class(1),
        mode="deletion",
        tiles=2,
        steps=4,
    )
    assert found.tolist() == [pytest.approx(logistic(6, 0, 0, 0, 0), abs=1e-6)]


def test_heat_orders_the_tiles_that_are_replaced() -> None:
    """A single hot pixel anywhere: its tile comes first, and taking this one away takes the pixel away."""
    side, tiles = 7, 3
    for pixel in range(side * side):
        weights = [0.0] * side * side
        weights[pixel] = 5.0
        order = tile_order(torch.tensor(weights).view(1, side, side), tiles)
        found = curve(
            linear(tuple(weights)), ones(side=side), order, of_class(1), mode="deletion", tiles=tiles, steps=9
        )
        assert found[0, :2].tolist() == pytest.approx(logistic(5, 0), abs=1e-6)


def test_random_orders_are_permutations_by_seed_and_image() -> None:
    orders = random_orders(5, 4, seed=3)
    assert orders.shape == (5, 16) and orders.dtype == torch.int64
    assert torch.equal(orders.sort(1).values, torch.arange(16).expand(5, -1))
    assert torch.equal(orders, random_orders(5, 4, seed=3))
    assert torch.equal(orders[:2], random_orders(2, 4, seed=3))
    assert len({tuple(row) for row in orders.tolist()} | {tuple(random_orders(1, 4, 4)[0].tolist())}) == 6
    assert random_orders(0, 4, seed=3).shape == (0, 16)


def test_random_orders_stay_the_same() -> None:
    """numpy promises its raw numbers for ever; another order here is another result for every user."""
    assert random_orders(2, 2, seed=0).tolist() == [[3, 2, 1, 0], [1, 2, 0, 3]]


def test_no_images() -> None:
    none = torch.empty(0, 1, 2, 2)
    found = curve(linear(), none, FALLING[:0], of_class(1, 0), mode="deletion", tiles=2, steps=4)
    assert found.shape == (0, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "removal"}, "mode is 'removal'"),
        ({"steps": 0}, "0 steps"),
        ({"steps": 5}, "5 steps; give 1 to 4"),
        ({"tiles": 3}, "3 tiles per side on 2x2 px"),
        ({"tiles": 0}, "0 tiles"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"images": torch.ones(1, 2, 2)}, r"\(1, 2, 2\)"),
        ({"images": ones(side=3)}, "does not take images"),
        ({"order": FALLING[:, :3]}, r"\(1, 3\); give \(1, 4\)"),
        ({"order": torch.tensor([[0, 1, 2, 2]])}, "not a permutation"),
        ({"classes": torch.tensor([1, 1])}, r"\(2,\); give int64, \(1,\)"),
        ({"classes": torch.tensor([1.0])}, "float32"),
        ({"classes": torch.tensor([2])}, "the network has 0 to 1"),
        ({"classes": torch.tensor([-1])}, "the network has 0 to 1"),
        ({"baseline": torch.ones(3)}, r"\(3,\), which does not broadcast"),
        ({"network": nn.Identity()}, "logits"),
    ],
)
def test_what_is_refused(changes: dict[str, object], message: str) -> None:
    given = dict(network=linear(), images=ones(), order=FALLING, classes=of_class(1))
    given |= dict(mode="deletion", tiles=2, steps=4) | changes
    with pytest.raises(RelayError, match=message):
        curve(**given)


def test_orders_that_are_refused() -> None:
    with pytest.raises(RelayError, match=r"\(4, 4\)"):
        tile_order(torch.ones(4, 4), 2)
    with pytest.raises(RelayError, match="5 tiles per side on 4x6 px"):
        tile_order(torch.ones(1, 4, 6), 5)
    with pytest.raises(RelayError, match="NaN or infinite"):
        tile_order(torch.full((1, 4, 4), math.nan), 2)
    for wrong in ((-1, 2, 0), (1, 0, 0), (1, 2, -1)):
        with pytest.raises(RelayError, match="at least 0, 1 and 0"):
            random_orders(*wrong)
