"""A convolution's reverse is its adjoint, in the ordinary way and in the dense way of a strided one."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from analysis.explain.desalinet import backward, path_back
from tests.helpers.backward_references import convolution_backward, draw

PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))


def convolution(inputs: int, outputs: int, size: Any, **settings: Any) -> nn.Conv2d:
    """With a bias, which the adjoint must not see."""
    layer = nn.Conv2d(inputs, outputs, size, dtype=torch.float64, **settings)
    with torch.no_grad():
        layer.weight.copy_(draw(*layer.weight.shape, seed=1))
        nn.init.constant_(layer.bias, 5.0)
    return layer


def without_bias(layer: nn.Conv2d) -> nn.Conv2d:
    copied = copy.deepcopy(layer)
    copied.bias = None
    return copied


def assert_adjoint(layer: nn.Conv2d, back: Tensor, images: Tensor, signal: Tensor) -> None:
    """<conv(x), y> = <x, back(y)>."""
    with torch.no_grad():
        there = (without_bias(layer)(images) * signal).sum()
    torch.testing.assert_close((images * back).sum(), there, rtol=1e-9, atol=1e-9)


def output_shape(layer: nn.Conv2d, images: Tensor) -> torch.Size:
    with torch.no_grad():
        return layer(images).shape


@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    size=PAIRS,
    stride=PAIRS,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    groups=st.sampled_from([1, 2, 4]),
)
def test_a_convolutions_reverse_is_its_adjoint(
    height: int,
    width: int,
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> None:
    for length, axis in ((height, 0), (width, 1)):
        assume(length + 2 * padding[axis] > dilation[axis] * (size[axis] - 1))
    layer = convolution(4, 8, size, stride=stride, padding=padding, dilation=dilation, groups=groups)
    images = draw(2, 4, height, width)
    signal = draw(*output_shape(layer, images), seed=2)
    back = backward(nn.Sequential(layer), images, "0", "desalinet", signal)
    assert_adjoint(layer, back, draw(2, 4, height, width, seed=3), signal)
    torch.testing.assert_close(back, convolution_backward(layer, images, signal), rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    height=st.integers(4, 9),
    width=st.integers(4, 9),
    size=PAIRS,
    mode=st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    padding=st.sampled_from(["same", "valid", 2]),
)
def test_the_reverse_is_the_adjoint_whatever_the_edge(
    height: int, width: int, size: tuple[int, int], mode: str, padding: str | int
) -> None:
    layer = convolution(3, 2, size, padding=padding, padding_mode=mode)
    images = draw(2, 3, height, width)
    signal = draw(*output_shape(layer, images), seed=2)
    back = backward(nn.Sequential(layer), images, "0", "deconvnet", signal)
    assert_adjoint(layer, back, draw(2, 3, height, width, seed=3), signal)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    stride=st.integers(1, 5),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
@example(height=63, width=67, size=(11, 11), stride=4, padding=(2, 2))  # AlexNet's first
@example(height=64, width=70, size=(11, 11), stride=4, padding=(2, 2))  # pixels behind the last window
@example(height=11, width=14, size=(2, 3), stride=5, padding=(0, 1))  # and between windows
@example(height=1, width=2, size=(7, 7), stride=2, padding=(4, 4))  # more padding than image
@example(height=9, width=9, size=(3, 3), stride=2, padding=(4, 3))  # windows that see padding only
def test_the_dense_way_is_the_adjoint_too(
    height: int, width: int, size: tuple[int, int], stride: int, padding: tuple[int, int]
) -> None:
    for length, axis in ((height, 0), (width, 1)):
        assume(length + 2 * padding[axis] >= size[axis])
    layer = convolution(2, 3, size, stride=stride, padding=padding)
    network, images = nn.Sequential(layer).eval(), draw(2, 2, height, width)
    signal = draw(*output_shape(layer, images), seed=2)
    with torch.no_grad():
        dense = path_back(network, images, "0", "desalinet", signal, strided_as_dense=True)
        ordinary = path_back(network, images, "0", "desalinet", signal)
    assert dense.shape == images.shape
    assert_adjoint(layer, dense, draw(2, 2, height, width, seed=3), signal)
    torch.testing.assert_close(dense, ordinary, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(dense, convolution_backward(layer, images, signal), rtol=1e-10, atol=1e-10)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(stride=PAIRS, groups=st.sampled_from([1, 2]), dilation=st.integers(1, 2), size=PAIRS)
@example(stride=(2, 2), groups=1, dilation=2, size=(3, 3))
@example(stride=(3, 3), groups=2, dilation=1, size=(3, 3))
@example(stride=(2, 3), groups=1, dilation=1, size=(3, 3))
def test_what_the_dense_way_does_not_take_goes_the_ordinary_way(
    stride: tuple[int, int], groups: int, dilation: int, size: tuple[int, int]
) -> None:
    layer = convolution(2, 4, size, stride=stride, groups=groups, dilation=dilation, padding=1)
    network, images = nn.Sequential(layer).eval(), draw(2, 2, 11, 13)
    signal = draw(*output_shape(layer, images), seed=2)
    with torch.no_grad():
        found = path_back(network, images, "0", "desalinet", signal, strided_as_dense=True)
    torch.testing.assert_close(found, convolution_backward(layer, images, signal), rtol=1e-10, atol=1e-10)


def test_pixels_that_no_window_covers_get_nothing() -> None:
    """Windows of 2 every 3 pixels of 7: the third, the sixth and the last are left out."""
    layer = convolution(1, 1, 2, stride=3)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        covered = torch.tensor([1.0, 1, 0, 1, 1, 0, 0], dtype=torch.float64)
        for dense in (False, True):
            images, signal = draw(1, 1, 7, 7), torch.ones(1, 1, 2, 2, dtype=torch.float64)
            back = path_back(
                nn.Sequential(layer).eval(), images, "0", "desalinet", signal, strided_as_dense=dense
            )
            assert torch.equal(back[0, 0], covered[:, None] * covered)
