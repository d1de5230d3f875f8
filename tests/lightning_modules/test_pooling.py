"""Adaptive average pooling by products against torch's own layer."""

import pytest
import torch
from torch import nn

from lightning_modules.pooling import AdaptiveAveragePool2d


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 6), (6, 6), (7, 13), (12, 4)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_torchs(size: tuple[int, int], memory_format: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 4, *size, dtype=torch.float64, generator=generator)
    ours = images.to(memory_format=memory_format).detach().requires_grad_()
    theirs = images.clone().requires_grad_()
    output, expected = AdaptiveAveragePool2d(6)(ours), nn.AdaptiveAvgPool2d(6)(theirs)
    torch.testing.assert_close(output, expected, rtol=0.0, atol=1e-14)
    start = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
    output.backward(start)
    expected.backward(start)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0.0, atol=1e-14)


def test_an_input_of_the_outputs_size_is_returned_as_it_is() -> None:
    images = torch.randn(2, 3, 6, 6)
    assert AdaptiveAveragePool2d(6)(images) is images


def test_under_autocast_the_result_is_bfloat16() -> None:
    """As torch's own layer on a bfloat16 input: fc6 gets what the layers before it computed in."""
    images = torch.ones(1, 2, 3, 3, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        output = AdaptiveAveragePool2d(6)(images)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output.float(), torch.ones(1, 2, 6, 6))
