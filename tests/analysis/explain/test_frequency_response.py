"""Frequency responses against known filters, and against single images mapped back one by one."""

import copy
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from analysis.explain.choices import Norm, Rule
from analysis.explain.desalinet import backward
from analysis.explain.frequency import frequency_response, input_channels, reference_image
from stages.errors import RelayError
from tests.helpers.backward_references import autograds, draw, small_alexnet, small_chain

COUNTS = [1, 4, 25, 40, 181]  # no multiples of 3: at 60 degrees a point lies half-way between two


def distinct(size: int, omega: int, count: int) -> set[tuple[int, int]]:
    """Points (column, row) nearest to the directions; of opposite ones, which are one image, the lesser."""
    points = set()
    for direction in range(count):
        theta = direction * math.pi / count
        column, row = round(omega * math.cos(theta)), round(omega * math.sin(theta))
        points.add(min((column % size, row % size), (-column % size, -row % size)))
    return points


def cosine(size: int, column: int, row: int, norm: Norm) -> npt.NDArray[np.float64]:
    rows, columns = np.mgrid[:size, :size]
    image = np.cos(2 * np.pi * (columns * column + rows * row) / size)
    return np.asarray(image if norm == "paper" else image / np.linalg.norm(image))


def one_by_one(network: nn.Module, size: int, layer: str, rule: Rule, norm: Norm, count: int) -> list[float]:
    """Eq. 8, divided by the number of points, an image at a time."""
    means = []
    for omega in range(size // 2 + 1):
        gains = []
        for column, row in distinct(size, omega, count):
            image = torch.tensor(cosine(size, column, row, norm)).expand(1, 3, size, size)
            image = image.to(next(network.parameters())).contiguous()
            if rule == "saliency":
                mapped = autograds(network, image, layer)
            else:
                mapped = backward(network, image, layer, rule)
            gains.append(float(mapped.double().square().sum()))
        means.append(sum(gains) / len(gains))
    return means


def convolution(channels: int = 1, **settings: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False, **settings))


def identity(channels: int = 1) -> nn.Sequential:
    """A filter of one pixel, for each channel its own."""
    network = convolution(channels, groups=channels)
    nn.init.zeros_(network[0].weight)
    nn.init.ones_(network[0].weight[:, 0, 1, 1])
    return network


@pytest.mark.parametrize("size", [8, 9, 16])
@pytest.mark.parametrize("count", [1, 2, 7, 180])
def test_the_response_of_the_identity_is_flat_whatever_the_number_of_directions(
    size: int, count: int
) -> None:
    omega, gain = frequency_response(identity(), size, "0", norm="unit", count=count)
    np.testing.assert_array_equal(omega, np.arange(size // 2 + 1))
    np.testing.assert_allclose(gain, 1.0, rtol=1e-5)
    assert omega.dtype == gain.dtype == np.float64


def test_all_channels_get_the_same_image() -> None:
    _, gain = frequency_response(identity(3), 8, "0", norm="unit")
    np.testing.assert_allclose(gain, 3.0, rtol=1e-5)


def test_the_papers_norm_weighs_0_and_half_the_size_twice() -> None:
    """A cosine of amplitude 1 has half the energy of a constant 1, and so of +1, -1."""
    _, gain = frequency_response(identity(), 8, "0", count=1)
    np.testing.assert_allclose(gain, [64, 32, 32, 32, 64], rtol=1e-5)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("size", [11, 12])
def test_the_response_of_a_circular_filter_is_its_transfer_function_to_the_fourth(
    size: int, count: int
) -> None:
    """Each distinct point counts once: H^4 differs from one to the next."""
    network = convolution(padding_mode="circular")
    with torch.no_grad():
        network[0].weight.copy_(draw(1, 1, 3, 3))
    transfer = np.abs(np.fft.fft2(network[0].weight.detach().numpy()[0, 0], s=(size, size)))
    expected = [
        np.mean([transfer[row, column] ** 4 for column, row in distinct(size, omega, count)])
        for omega in range(size // 2 + 1)
    ]
    _, gain = frequency_response(network, size, "0", norm="unit", count=count)
    np.testing.assert_allclose(gain, expected, rtol=1e-4, atol=1e-6 * max(expected))
    assert np.ptp(gain) > 0.5 * np.max(gain)


def seen_by(network: nn.Module, **settings: Any) -> Tensor:
    """What the first module is given by a response, after one empty image that tells the channels."""
    images: list[Tensor] = []
    network[0].register_forward_pre_hook(lambda _module, inputs: images.append(inputs[0].clone()))
    frequency_response(network, **settings)
    assert not images[0].any()
    return torch.cat(images[1:]).detach()


@pytest.mark.parametrize(("size", "count"), [(8, 40), (9, 25), (16, 100)])
def test_each_distinct_image_is_given_once(size: int, count: int) -> None:
    images = seen_by(identity(2), size=size, layer="0", count=count)
    expected = [
        cosine(size, column, row, "paper")
        for omega in range(size // 2 + 1)
        for column, row in sorted(distinct(size, omega, count))
    ]
    assert images.shape == (len(expected), 2, size, size)
    np.testing.assert_allclose(images[:, 0], expected, atol=1e-6)
    assert torch.equal(images[:, 0], images[:, 1])


def test_cosine_directions_are_all_given() -> None:
    images = seen_by(identity(), size=8, layer="0", count=5, directions="cosine")
    expected = [reference_image(8, 0, 0.0)] + [
        reference_image(8, omega, direction * math.pi / 5, directions="cosine")
        for omega in range(1, 5)
        for direction in range(5)
    ]
    torch.testing.assert_close(images[:, 0], torch.stack(expected).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", ["desalinet", "saliency", "deconvnet"])
@pytest.mark.parametrize(("layer", "norm"), [("pool5", "paper"), ("conv3", "unit")])
def test_alexnets_response_is_that_of_single_images(layer: str, norm: Norm, rule: Rule) -> None:
    network = small_alexnet("lrn", torch.float32).train()
    omega, gain = frequency_response(network, 63, layer, rule, norm=norm, count=2)
    np.testing.assert_array_equal(omega, np.arange(32))
    expected = one_by_one(network, 63, layer, rule, norm, 2)
    np.testing.assert_allclose(gain, expected, rtol=1e-4)
    assert min(expected) > 0


def test_what_no_window_covers_comes_back_empty_in_a_response_too() -> None:
    """70 px: conv1's last windows leave pixels out, in both the dense and the ordinary way."""
    network = small_alexnet("none", torch.float32)
    _, gain = frequency_response(network, 70, "relu1", count=1)
    np.testing.assert_allclose(gain, one_by_one(network, 70, "relu1", "desalinet", "paper", 1), rtol=1e-4)


def test_bfloat16_is_near() -> None:
    network = small_alexnet("lrn", torch.float32)
    _, exact = frequency_response(network, 63, count=4)
    _, near = frequency_response(network, 63, count=4, precision="bfloat16")
    np.testing.assert_allclose(near, exact, rtol=0.15)
    assert np.abs(near / exact - 1).max() > 1e-4  # it was bfloat16


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_nothing_and_progress_reaches_the_end(batch_size: int) -> None:
    """In front of the max pool: which of a wave's equal values is the maximum, rounding decides."""
    network, calls = small_chain(), []
    expected = frequency_response(network, 11, "1", count=40)[1]
    _, gain = frequency_response(
        network, 11, "1", count=40, batch_size=batch_size, on_progress=lambda *call: calls.append(call)
    )
    total = sum(len(distinct(11, omega, 40)) for omega in range(6))
    assert calls == [(min(done, total), total) for done in range(batch_size, total + batch_size, batch_size)]
    np.testing.assert_allclose(gain, expected, rtol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_network_stays_as_it_is(precision: Any) -> None:
    network = small_alexnet("lrn")
    network.conv2.weight.requires_grad_(False)
    network.relu3.eval()
    before = copy.deepcopy(network)
    strides = [parameter.stride() for parameter in network.parameters()]
    frequency_response(network, 63, "conv2", count=1, precision=precision)
    assert [m.training for m in network.modules()] == [m.training for m in before.modules()]
    assert [parameter.stride() for parameter in network.parameters()] == strides
    for parameter, other in zip(network.parameters(), before.parameters(), strict=True):
        assert parameter.dtype == torch.float64 and torch.equal(parameter, other)
        assert parameter.requires_grad == other.requires_grad and parameter.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"size": 1}, "size is 1"),
        ({"norm": "l2"}, "norm is 'l2'"),
        ({"directions": "all"}, "directions is 'all'"),
        ({"count": 0}, "count is 0"),
        ({"batch_size": 0}, "batch_size is 0; give a whole number, at least 1"),
        ({"precision": "float16"}, "precision is 'float16'; did you mean bfloat16 or float32"),
        ({"layer": "pool9"}, "no layer 'pool9'"),
        ({"rule": "guided"}, "rule is 'guided'; it must be one of desalinet, saliency, deconvnet"),
        ({"size": 62}, "62x62"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_values_out_of_range_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(RelayError, match=named):
        frequency_response(small_alexnet(), **{"size": 63, **settings})


def test_weights_that_are_not_finite_are_named() -> None:
    network = small_alexnet()
    nn.init.constant_(network.conv2.bias, float("nan"))
    with pytest.raises(RelayError, match=r"conv2\.bias holds NaN"):
        frequency_response(network, 63)


class HeadFirst(nn.Module):
    """Its last convolution is registered first."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(8, 4, 3)
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.head(self.conv(images))
        return features


def test_in_inference_mode_the_response_is_the_same() -> None:
    expected = frequency_response(small_alexnet(), 63, count=2)[1]
    with torch.inference_mode():
        found = frequency_response(small_alexnet(), 63, count=2)[1]
    assert np.array_equal(found, expected)


def test_a_network_that_cannot_be_copied_says_why() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this form is deprecated, and still used
        nn.utils.weight_norm(network[1])
    with pytest.raises(RelayError, match=r"Sequential cannot be copied: .*weight_norm.*must be removed"):
        frequency_response(network, 8, "0")


def test_the_channels_are_the_first_convolutions() -> None:
    assert (
        input_channels(nn.Sequential(nn.Sequential(nn.ReLU(), nn.Conv2d(5, 7, 1)), nn.Conv2d(7, 2, 1)), 8)
        == 5
    )
    assert input_channels(nn.Sequential(nn.ConvTranspose2d(2, 8, 3), nn.Conv2d(8, 2, 1)), 8) == 2
    assert input_channels(HeadFirst(), 8) == 3
    with pytest.raises(RelayError, match="Linear has no convolution"):
        input_channels(nn.Linear(3, 3), 8)
    with pytest.raises(RelayError, match="Sequential has no convolution"):
        frequency_response(nn.Sequential(nn.Linear(8, 8)), 8, "0")
