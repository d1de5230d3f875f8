"""Gradual unfreezing: in which order the layers of a network begin to be trained.

Source: Howard and Ruder, Universal Language Model Fine-tuning for Text Classification (2018), section 3.3.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from lightning_modules.specification import Specification

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.transfer import TransferReport


def rounds(
    network: Specification, fresh: Collection[str], frozen: Collection[str]
) -> tuple[tuple[str, ...], ...]:
    """The layers that begin together, the first round first.

    Fresh layers and the head (both heads of a distilled network) are the first round: what they are given is
    learned already. Then the kept layers, one a round, from the head backwards.

    Args:
        network: The description of the network.
        fresh: Names of its layers that start with fresh weights.
        frozen: Names of those that are never trained.
    """
    trained = [name for name in network.layer_names if name not in frozen]
    first = tuple(name for name in trained if name in fresh or name in network.words["head"])
    kept = [(name,) for name in reversed(trained) if name not in first]
    return (first, *kept) if first else tuple(kept)


def waiting_parameters(
    network: "nn.Module", report: "TransferReport", epoch: int, every: int
) -> "dict[str, nn.Parameter]":
    """The parameters that are not trained yet in an epoch, by name.

    Args:
        network: The network.
        report: Which of its parameters are fresh, and which frozen.
        epoch: Of the training, from 0.
        every: Epochs from one round of layers to the next; 0 trains all from the first.
    """
    if every == 0:
        return {}
    from lightning_modules.build import specification  # torch, which a plan does not load
    from lightning_modules.layers import layer_parameters

    of_layers = layer_parameters(network)
    fresh, frozen = set(report.reinitialised), set(report.frozen)
    parameters = dict(network.named_parameters(remove_duplicate=False))
    owned = {layer: [key for key in keys if key in parameters] for layer, keys in of_layers.items()}
    order = rounds(
        specification(network),
        [layer for layer, keys in owned.items() if fresh.intersection(keys)],
        [layer for layer, keys in owned.items() if frozen.issuperset(keys)],
    )
    later = [layer for layers in order[epoch // every + 1 :] for layer in layers]
    return {key: parameters[key] for layer in later for key in owned[layer] if key not in frozen}
