"""Kernel alignment against the feature-space formula, and its unbiased estimator against the definition."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from analysis.explain import cka
from analysis.explain.cka import gram, layer_grams, linear_cka
from analysis.explain.layers import activations
from lightning_modules.alexnet import AlexNet
from stages.errors import RelayError

SEEDS = st.integers(0, 2**32 - 1)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain_cka(first: Tensor, second: Tensor) -> float:
    """||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) of centred features (Kornblith et al. 2019, section 3)."""
    x, y = first - first.mean(0), second - second.mean(0)
    return float((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()))


def plain_unbiased_hsic(k: Tensor, left: Tensor) -> float:
    """Its U-statistic: the mean over ordered tuples of distinct images, by loops (Song et al. 2012)."""

    def mean(terms: list[float]) -> float:
        return sum(terms) / len(terms)

    images = range(len(k))
    pairs = [float(k[i, j] * left[i, j]) for i, j in permutations(images, 2)]
    triples = [float(k[i, j] * left[i, q]) for i, j, q in permutations(images, 3)]
    quadruples = [float(k[i, j] * left[q, r]) for i, j, q, r in permutations(images, 4)]
    return mean(pairs) + mean(quadruples) - 2 * mean(triples)


def rotation(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(draw(size, size, seed=seed)).Q


@pytest.mark.parametrize("block", [1, 10, 48, 2**22])
def test_gram_is_the_product_wherever_a_block_ends(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cka, "_BLOCK", block)
    features = draw(6, 2, 3, 4).float()
    rows = features.double().reshape(6, 24)
    torch.testing.assert_close(gram(features), rows @ rows.T, rtol=1e-14, atol=1e-14)


def test_gram_sums_in_float64() -> None:
    """1 + 2^-30 is 1 in float32."""
    features = torch.tensor([[1.0, 2.0**-15]])
    assert gram(features).dtype == torch.float64
    assert float(gram(features)) == 1.0 + 2.0**-30


def test_gram_takes_bounded_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cka, "_BLOCK", 8)
    widths = []
    to = Tensor.to

    def spy(tensor: Tensor, *arguments: object) -> Tensor:
        widths.append(tensor.numel())
        return to(tensor, *arguments)

    monkeypatch.setattr(Tensor, "to", spy)
    gram(torch.ones(4, 11))
    assert widths == [8] * 5 + [4]


@pytest.mark.parametrize("features", [torch.tensor([[1.0, math.nan]]), torch.tensor([[math.inf]])])
def test_gram_refuses_what_is_not_finite(features: Tensor) -> None:
    with pytest.raises(RelayError, match="NaN or infinite"):
        gram(features)


def test_gram_refuses_no_images() -> None:
    with pytest.raises(RelayError, match="have no images"):
        gram(torch.empty(0, 3))


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.integers(2, 12), st.integers(1, 20))
def test_biased_is_the_feature_space_formula(seed: int, images: int, width: int) -> None:
    first, second = draw(images, width, seed=seed) + 3, draw(images, 5, seed=seed + 1)
    expected = plain_cka(first, second)
    assert linear_cka(gram(first), gram(second), debiased=False) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("images", [4, 5, 7])
def test_debiased_is_the_u_statistic(images: int) -> None:
    first, second = gram(draw(images, 3) + 1), gram(draw(images, 2, seed=1) - 2)
    within = plain_unbiased_hsic(first, first) * plain_unbiased_hsic(second, second)
    expected = plain_unbiased_hsic(first, second) / math.sqrt(within)
    assert abs(expected) > 0.01
    assert linear_cka(first, second) == pytest.approx(expected, abs=1e-10)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.floats(0.01, 100), st.booleans())
def test_rotation_scale_and_shift_change_nothing(seed: int, scale: float, debiased: bool) -> None:
    features, other = draw(9, 6, seed=seed), draw(9, 4, seed=seed + 1)
    turned = scale * features @ rotation(6, seed + 2) + draw(6, seed=seed + 3)
    assert linear_cka(gram(features), gram(turned), debiased) == pytest.approx(1.0, abs=1e-9)
    expected = linear_cka(gram(features), gram(other), debiased)
    assert linear_cka(gram(turned), gram(other), debiased) == pytest.approx(expected, abs=1e-9)
    assert linear_cka(gram(other), gram(turned), debiased) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("debiased", [True, False])
def test_scaling_one_direction_changes_it(debiased: bool) -> None:
    features = draw(9, 6)
    stretched = features * torch.tensor([10.0, 1, 1, 1, 1, 1])
    assert linear_cka(gram(features), gram(stretched), debiased) < 0.95


def test_unrelated_features_wider_than_there_are_images() -> None:
    first, second = gram(draw(20, 5000)), gram(draw(20, 5000, seed=1))
    assert linear_cka(first, second, debiased=False) > 0.95
    assert abs(linear_cka(first, second)) < 0.2
    means = [
        linear_cka(gram(draw(20, 500, seed=2 * s)), gram(draw(20, 500, seed=2 * s + 1))) for s in range(60)
    ]
    assert abs(sum(means) / 60) < 0.03  # its standard deviation is 0.07, that of the mean 0.01


def test_debiased_can_be_negative() -> None:
    values = [linear_cka(gram(draw(6, 2, seed=seed)), gram(draw(6, 2, seed=seed + 50))) for seed in range(20)]
    assert min(values) < 0


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_constant_features_give_nan(value: float, debiased: bool) -> None:
    constant = gram((torch.rand(1000, generator=torch.Generator().manual_seed(0)) * value).expand(7, -1))
    assert math.isnan(linear_cka(constant, gram(draw(7, 3)), debiased))
    assert math.isnan(linear_cka(gram(draw(7, 3)), constant, debiased))
    assert math.isnan(linear_cka(constant, constant, debiased))


def test_a_small_variation_is_no_constant() -> None:
    varied = 1.0 + 1e-4 * draw(7, 30)
    assert linear_cka(gram(varied), gram(varied)) == pytest.approx(1.0)


def test_features_that_differ_in_one_image_are_constant_to_the_debiased() -> None:
    """Left out this image's product with itself, nothing is left of it."""
    features = torch.zeros(6, 3)
    features[2] = torch.tensor([1.0, 2.0, 3.0])
    assert math.isnan(linear_cka(gram(features), gram(draw(6, 3))))
    assert linear_cka(gram(features), gram(features), debiased=False) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("first", "second", "debiased", "message"),
    [
        (torch.eye(5), torch.eye(4), True, "5 and of 4 images"),
        (torch.eye(3), torch.eye(3), True, "at least 4"),
        (torch.eye(1), torch.eye(1), False, "at least 2"),
        (torch.ones(4, 5), torch.ones(4, 5), True, r"\(4, 5\)"),
        (torch.eye(4), torch.ones(4), True, r"\(4,\)"),
    ],
)
def test_what_cannot_be_compared(first: Tensor, second: Tensor, debiased: bool, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        linear_cka(first, second, debiased)


def test_the_least_numbers_of_images() -> None:
    assert linear_cka(gram(draw(4, 9)), gram(draw(4, 9)), True) == pytest.approx(1.0)
    assert linear_cka(gram(draw(2, 9)), gram(draw(2, 9)), False) == pytest.approx(1.0)


def test_arguments_stay_as_they_were() -> None:
    matrix = gram(draw(5, 3))
    before = matrix.clone()
    linear_cka(matrix, matrix)
    assert torch.equal(matrix, before)


def test_layer_grams_of_a_network() -> None:
    network, images = AlexNet(2, width=0.0625, seed=0), draw(5, 3, 63, 63).float()
    grams = layer_grams(network, images, ["fc7", "conv2"], batch_size=2)
    assert list(grams) == ["fc7", "conv2"]
    (whole,) = activations(network, images, ["fc7", "conv2"], batch_size=5)
    for name, features in whole.items():
        rows = features.double().flatten(1)
        torch.testing.assert_close(grams[name], rows @ rows.T, rtol=1e-5, atol=1e-5)
    assert network.training


def test_layer_grams_names_the_layer() -> None:
    network, images = AlexNet(2, width=0.0625, seed=0), draw(2, 3, 63, 63).float()
    with pytest.raises(RelayError, match="no layer 'conv9'"):
        layer_grams(network, images[:0], ["conv1", "conv9"])  # before conv1 is run on anything
    with torch.no_grad():
        network.conv3.weight.fill_(math.nan)
    with pytest.raises(RelayError, match=r"layer conv3: .*NaN"):
        layer_grams(network, images, ["conv2", "conv3"])
