"""A raw patch through the exported network's own operations, against what training does with images."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from analysis.export.network import RawInput, RawPatchNetwork, Resize, Scale
from datamodules.batches.preprocess import Preprocess
from datamodules.pixels.window import window_to_uint8

SIZE = 24
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SHAPES = [(16, 20), (24, 24), (40, 30)]  # enlarged, as it is, reduced


def classifier(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 4)).requires_grad_(False)


@pytest.mark.parametrize(
    ("shape", "color", "window"),
    list(product(SHAPES, [False, True], [None, (-1000.0, 400.0), (0.0, 510.0)])),
)
def test_as_training_makes_it(
    shape: tuple[int, int], color: bool, window: tuple[float, float] | None
) -> None:
    """Whole grey values on both sides of a window; (0, 510) puts every second one on a half."""
    raw = RawInput(*shape, color, window)
    generator = np.random.default_rng(0)
    low, high = (0, 256) if window is None else (-1100, 600)
    values = generator.integers(low, high, (5, *raw.shape)).astype(np.uint8 if window is None else np.int16)
    pixels = torch.from_numpy(window_to_uint8(values, window))
    images = Preprocess(SIZE, MEAN, STD)(pixels)
    networks = [classifier(seed) for seed in range(3)]
    expected = torch.stack([(network(images) / 1.5).softmax(dim=1) for network in networks], dim=1)

    resize = [] if shape == (SIZE, SIZE) else [Resize(*shape, SIZE)]
    parts = [nn.Sequential(*resize, Scale(MEAN, STD), network) for network in networks]
    mean, each = RawPatchNetwork(parts, raw, temperature=1.5)(torch.from_numpy(values).to(raw.dtype))
    assert (mean.dtype, mean.shape, each.shape) == (torch.float32, (5, 4), (5, 3, 4))
    torch.testing.assert_close(each, expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(mean, expected.mean(dim=1), rtol=0, atol=2e-6)


@pytest.mark.parametrize("window", [None, (-1000.0, 400.0), (-1350.0, 150.0), (0.0, 65535.0), (-0.3, 1.7)])
def test_raw_patches_of_pixels(window: tuple[float, float] | None) -> None:
    """What an evaluation set's pixels are compared as: the window makes the same pixels of it again."""
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    raw = RawInput(16, 16, False, window).raw(pixels)
    assert np.array_equal(window_to_uint8(raw.numpy(), window), pixels.numpy())
