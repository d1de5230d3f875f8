"""Networks for prediction alone: the same logits as the whole network, from less work."""

import pytest
import torch
from torch import nn

from datamodules.batches.preprocess import Preprocess
from lightning_modules.build import build_network
from lightning_modules.lean import GreyConv2d, NarrowLocalResponseNorm, lean_network
from lightning_modules.pooling import AdaptiveAveragePool2d


def linear_weights(network: nn.Module) -> int:
    return sum(part.weight.numel() for part in network.modules() if isinstance(part, nn.Linear))


@pytest.mark.parametrize(("name", "sizes"), [("alexnet", (64, 96)), ("torchvision_alexnet", (64,))])
def test_a_lean_network_says_the_same(name: str, sizes: tuple[int, ...]) -> None:
    network = build_network(name, 5, width=0.125 if name == "alexnet" else 1.0, seed=3).eval()
    before = {key: (values.clone(), values.stride()) for key, values in network.state_dict().items()}
    images = torch.randint(0, 256, (4, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for size in sizes:
            lean = lean_network(network, size)
            plain, shared = (
                Preprocess(size, [0.3] * 3, [0.2] * 3, shared=each)(images) for each in (False, True)
            )
            assert shared.stride(1) == 0
            assert (shared == plain).all()
            torch.testing.assert_close(lean(shared), network(plain), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(lean(plain), network(plain), rtol=1e-5, atol=1e-5)
            assert linear_weights(lean) < linear_weights(network)
            colour = torch.randn((4, 3, size, size), generator=torch.Generator().manual_seed(1))
            torch.testing.assert_close(lean(colour), network(colour), rtol=1e-5, atol=1e-5)
    for key, values in network.state_dict().items():
        assert (values == before[key][0]).all()
        assert values.stride() == before[key][1], "the network keeps its layouts, which rounding depends on"


def test_channels_with_other_means_are_not_shared() -> None:
    images = torch.zeros((1, 8, 8), dtype=torch.uint8)
    assert Preprocess(8, [0.3, 0.3, 0.2], [0.2] * 3, shared=True)(images).is_contiguous()
    assert Preprocess(8, [0.3] * 3, [0.2] * 3, shared=True)(torch.zeros((1, 8, 8, 3))).stride(1) != 0


@pytest.mark.parametrize(("channels", "size", "beta"), [(18, 5, 0.75), (3, 4, 0.6), (70, 5, 0.75)])
def test_windows_of_channels_are_torchs(channels: int, size: int, beta: float) -> None:
    images = torch.randn((3, channels, 5, 4), generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    expected = nn.LocalResponseNorm(size, 5e-2, beta, 2.0)(images)
    found = NarrowLocalResponseNorm(size, 5e-2, beta, 2.0)(images)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert found.stride() == images.stride()


class Scaled(nn.Module):
    """Not a chain: between the pool and the linear layer is something that a product of both would lose."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.pool = AdaptiveAveragePool2d(6)
        self.last = nn.Linear(4 * 36, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(self.first(images))
        scaled: torch.Tensor = self.last(torch.flatten(pooled**2 + 1, 1))
        return scaled


def test_a_network_of_another_make_is_left_as_it_is() -> None:
    network = Scaled().eval()
    images = torch.randn((2, 1, 6, 6)).expand(-1, 3, -1, -1)
    lean = lean_network(network, 6)
    assert linear_weights(lean) == linear_weights(network)
    with torch.inference_mode():
        torch.testing.assert_close(lean(images), network(images), rtol=1e-5, atol=1e-5)
    assert isinstance(lean.get_submodule("first"), GreyConv2d)
