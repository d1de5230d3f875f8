"""A running mean of a network's weights over the steps of a training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def running_mean(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential mean, as torch's `AveragedModel`; call `update_parameters` after each step.

    After step n the mean is decay * mean + (1 - decay) * weights, with (1 + n) / (10 + n) in place of decay
    while that is less, as in TensorFlow's and timm's: the first, random weights are soon forgotten. Buffers
    of floating-point numbers, the running statistics of batch normalisation, are averaged alike; others are
    copied. A weight that does not change, such as a frozen one, is its own mean to the bit.

    Args:
        network: What is averaged.
        decay: In (0, 1).
    """

    def average(means: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
        kept = min(decay, (1 + float(steps)) / (10 + float(steps)))
        with torch.no_grad():
            if means[0].is_floating_point():
                torch._foreach_lerp_(list(means), list(current), 1 - kept)
            else:
                torch._foreach_copy_(list(means), list(current))

    mean = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    return mean.requires_grad_(False)
