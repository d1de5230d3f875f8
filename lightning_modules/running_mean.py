"""A running mean of a network's weights over the steps of a training."""

import copy
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn


def first_mean(network: nn.Module) -> nn.Module:
    """The network in which a running mean of another's weights is kept; see `take_step`."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def take_step(mean: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Take the weights after a step into their exponential mean, in place.

    The mean after step n, from 0, is kept * mean + (1 - kept) * weights, where kept is decay, or
    (1 + n) / (10 + n) while that is less, as in TensorFlow's and timm's: the first, random weights are soon
    forgotten. The first step's weights are the first mean. Buffers of floating-point numbers, the running
    statistics of batch normalisation, are averaged alike; others are copied. A weight that does not change,
    such as a frozen one, is its own mean to the bit.

    It is what torch's `AveragedModel` does, which keeps the number of the step on the device, and asks for it
    three times a step: an accelerator would be waited for each time.

    Args:
        mean: `first_mean` of the network.
        network: After the step.
        step: Its number, from 0.
        decay: In (0, 1).
    """
    kept = 0.0 if step == 0 else min(decay, (1 + step) / (10 + step))
    averaged, copied = (list[Tensor](), list[Tensor]()), (list[Tensor](), list[Tensor]())
    for of_mean, of_network in zip(_tensors(mean), _tensors(network), strict=True):
        pair = averaged if kept and of_mean.is_floating_point() else copied
        pair[0].append(of_mean)
        pair[1].append(of_network)
    if averaged[0]:
        torch._foreach_lerp_(*averaged, 1 - kept)
    if copied[0]:
        torch._foreach_copy_(*copied)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())
