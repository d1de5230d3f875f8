"""Fresh weights of modules that the schemes do not know: blocks, normalisations, other modules."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.initialisation import initialise
from lightning_modules.specification import Layer
from stages.errors import RelayError

BLOCK = Layer("layer1.0", "layer1.0", "block")


def tensors(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def trained_block() -> nn.Sequential:
    """Convolutions without bias and a trained normalisation, in nested modules."""
    block = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Sequential(nn.Conv2d(8, 8, 3, bias=False))
    )
    with torch.no_grad():
        for value in block.state_dict().values():
            value.fill_(3)
    return block


def test_a_block_is_drawn_module_by_module() -> None:
    block = trained_block()
    initialise(block, BLOCK, "lecun_normal", seed=5)
    found = tensors(block)
    assert found["0.weight"].std().item() == pytest.approx((3 * 9) ** -0.5, rel=0.2)
    assert found["2.0.weight"].std().item() == pytest.approx((8 * 9) ** -0.5, rel=0.2)
    fresh = nn.BatchNorm2d(8).state_dict()
    for key, value in fresh.items():
        assert torch.equal(found[f"1.{key}"], value), key
    twin = nn.ModuleList([nn.Conv2d(8, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)])
    initialise(twin, BLOCK, "lecun_normal", seed=5)
    assert not torch.equal(twin[0].weight, twin[1].weight)


def test_other_modules_draw_by_their_own_reset_from_the_layers_stream() -> None:
    def drawn(name: str, seed: int) -> Tensor:
        layer = nn.Conv1d(4, 4, 3).to(memory_format=torch.contiguous_format)
        torch.manual_seed(seed * 17)
        initialise(layer, replace(BLOCK, name=name), "lecun_normal", seed)
        return layer.weight.detach()

    assert torch.equal(drawn("a", 1), drawn("a", 1))
    assert not torch.equal(drawn("a", 1), drawn("b", 1))
    assert not torch.equal(drawn("a", 1), drawn("a", 2))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.full((2,), 3.0))


def test_weights_that_nothing_says_how_to_draw_are_refused_before_anything_changes() -> None:
    module = Scaled()
    before = tensors(module)
    with pytest.raises(
        RelayError, match=r"layer1\.0 is a Scaled, which has weights and no `reset_parameters`"
    ):
        initialise(module, BLOCK, "caffe", seed=0)
    nested = nn.Sequential(nn.Linear(2, 2), module)
    with pytest.raises(RelayError, match=r"layer1\.0\.1 is a Scaled"):
        initialise(nested, BLOCK, "caffe", seed=0)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
