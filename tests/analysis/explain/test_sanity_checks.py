"""Similarities of maps against scipy and torchmetrics' class, and the cascade of randomised networks."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torchmetrics.image import StructuralSimilarityIndexMeasure

from analysis.explain.sanity_checks import heat, randomisations, rank_similarity, structural_similarity
from lightning_modules.alexnet import AlexNet
from lightning_modules.build import build_network
from lightning_modules.layers import layer_parameters
from stages.errors import RelayError

LAYERS = AlexNet.specification.layer_names


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def small(seed: int = 0) -> nn.Module:
    return build_network("alexnet", 3, width=0.0625, seed=seed)


def state(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())


def test_heat_by_hand() -> None:
    maps = torch.zeros(2, 3, 1, 2)
    maps[0, :, 0, 0] = torch.tensor([2.0, -3.0, 6.0])
    maps[1, 1, 0, 1] = -4.0
    assert torch.equal(heat(maps), torch.tensor([[[7.0, 0.0]], [[0.0, 4.0]]]))


def test_heat_takes_maps_with_channels() -> None:
    with pytest.raises(RelayError, match=r"\(2, 5, 5\)"):
        heat(torch.ones(2, 5, 5))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_rank_similarity_is_scipys_per_image(seed: int, levels: int) -> None:
    """Few levels, so that most values tie."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randint(levels, (4, 5, 7), generator=generator).double() for _ in range(2))
    second = second + first  # some images correlate
    similarity = rank_similarity(first, second)
    for image in range(4):
        expected = stats.spearmanr(first[image].flatten(), second[image].flatten()).statistic
        assert float(similarity[image]) == pytest.approx(expected, abs=1e-12)


def test_rank_similarity_sees_order_only() -> None:
    first = draw(3, 6, 6)
    assert rank_similarity(first, first.exp()).tolist() == pytest.approx([1.0] * 3)
    assert rank_similarity(first, -(first**3)).tolist() == pytest.approx([-1.0] * 3)


def test_rank_similarity_of_a_constant_is_nan_for_this_image() -> None:
    first, second = draw(3, 4, 4), draw(3, 4, 4, seed=1)
    first[1] = 0.3
    similarity = rank_similarity(first, second)
    assert similarity.isnan().tolist() == [False, True, False]
    assert rank_similarity(second, first).isnan().tolist() == [False, True, False]


def test_structural_similarity_of_equal_maps_whatever_their_scale() -> None:
    scales = torch.tensor([1e-6, 1.0, 300.0])[:, None, None]
    first = draw(3, 16, 20)
    assert structural_similarity(first, scales * first).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_structural_similarity_is_torchmetrics_an_image_at_a_time() -> None:
    """40 images: more than are taken at once."""
    first, second = draw(40, 12, 15), draw(40, 12, 15, seed=1) * torch.linspace(1, 5, 40)[:, None, None]
    similarity = structural_similarity(first, second)
    assert similarity.shape == (40,)
    for image in (*range(4), *range(30, 40)):
        metric = StructuralSimilarityIndexMeasure(data_range=1.0)
        left, right = ((stack[image] / stack[image].max()).double()[None, None] for stack in (first, second))
        assert float(similarity[image]) == pytest.approx(float(metric(left, right)), abs=1e-5)
    assert float(similarity.max()) < 0.9


def test_structural_similarity_of_zeros_is_nan_for_this_image() -> None:
    first, second = draw(3, 12, 12), draw(3, 12, 12, seed=1)
    first[2] = 0
    second[0] = 0
    assert structural_similarity(first, second).isnan().tolist() == [True, False, True]
    one = structural_similarity(first[1:2], second[1:2])
    assert one.shape == (1,) and not one.isnan().any()


@pytest.mark.parametrize("similarity", [rank_similarity, structural_similarity])
def test_no_images(similarity) -> None:
    assert similarity(torch.empty(0, 12, 12), torch.empty(0, 12, 12)).shape == (0,)


@pytest.mark.parametrize("similarity", [rank_similarity, structural_similarity])
def test_what_cannot_be_compared(similarity) -> None:
    maps = draw(2, 12, 12)
    with pytest.raises(RelayError, match=r"\(2, 12, 12\) and \(1, 12, 12\)"):
        similarity(maps, maps[:1])
    with pytest.raises(RelayError, match=r"\(12, 12\)"):
        similarity(maps[0], maps[0])
    for wrong in (math.nan, math.inf):
        broken = maps.clone()
        broken[1, 0, 0] = wrong
        with pytest.raises(RelayError, match="NaN or infinite"):
            similarity(maps, broken)
        with pytest.raises(RelayError, match="NaN or infinite"):
            similarity(broken, maps)


def test_structural_similarity_refuses_small_and_negative_maps() -> None:
    with pytest.raises(RelayError, match="10x12 px"):
        structural_similarity(draw(1, 10, 12), draw(1, 10, 12))
    maps = draw(1, 12, 12)
    with pytest.raises(RelayError, match="negative"):
        structural_similarity(maps, maps - 0.5)


def test_the_cascade_goes_from_the_last_layer_to_the_first() -> None:
    network = small()
    trained, parameters = state(network), layer_parameters(network)
    fresh = small(seed=7).state_dict()
    seen = []
    for name, copied in randomisations(network, LAYERS, "lecun_normal", seed=7):
        seen.append(name)
        now = copied.state_dict()
        for layer in LAYERS:
            expected = fresh if LAYERS.index(layer) >= LAYERS.index(name) else trained
            assert all(torch.equal(now[key], expected[key]) for key in parameters[layer]), (name, layer)
            if expected is fresh:
                assert not torch.equal(now[f"{layer}.weight"], trained[f"{layer}.weight"])
    assert seen == list(reversed(LAYERS))
    assert all(torch.equal(value, trained[key]) for key, value in network.state_dict().items())


def test_layers_that_are_not_named_stay_trained() -> None:
    network = small()
    trained = state(network)
    steps = randomisations(network, ["conv2", "fc7"], "caffe", seed=7)
    changed = []
    for name, copied in steps:
        now = copied.state_dict()
        changed.append(
            (name, [key for key in now if key.endswith("weight") and (now[key] != trained[key]).any()])
        )
    assert changed == [("fc7", ["fc7.weight"]), ("conv2", ["conv2.weight", "fc7.weight"])]


def test_the_cascade_is_reproducible_by_its_seed() -> None:
    def last(seed: int) -> Tensor:
        weights = [
            copied.get_parameter(f"{name}.weight").clone()
            for name, copied in randomisations(small(), LAYERS[-2:], "lecun_normal", seed)
        ]
        return torch.cat([weight.flatten() for weight in weights])

    assert torch.equal(last(3), last(3))
    assert not torch.equal(last(3), last(4))


@pytest.mark.parametrize(
    ("layers", "scheme", "seed", "message"),
    [
        (["conv1", "conv9"], "caffe", 0, "no layer conv9"),
        (["fc8", "conv1"], "caffe", 0, "order: conv1, fc8"),
        (["fc8", "fc8"], "caffe", 0, "each once"),
        (["fc8"], "he", 0, "'he'"),
        (["fc8"], "caffe", -1, "seed is -1"),
    ],
)
def test_errors_come_before_the_first_step(layers, scheme, seed, message) -> None:
    network = AlexNet(2, width=0.0625, seed=0)
    before = state(network)
    with pytest.raises(RelayError, match=message):
        randomisations(network, layers, scheme, seed)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_that_does_not_name_its_layers() -> None:
    with pytest.raises(RelayError, match="specification"):
        randomisations(nn.Linear(2, 2), ["fc8"], "caffe", 0)
