"""Initial weights of AlexNet's layers, one random stream a layer.

Every layer draws from its own generator, derived from a seed and the layer's name alone. Initialising fc8
by itself therefore gives the same fc8 as initialising the whole network, in whatever order, which is what a
transfer rule needs when it re-initialises some layers and keeps others.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from stages.errors import RelayError

Initialisation = Literal["lecun_normal", "krizhevsky", "caffe"]

_RAISED_BIAS = frozenset({"conv2", "conv4", "conv5", "fc6", "fc7"})  # the same layers in both schemes
_CAFFE_NARROW = frozenset({"fc6", "fc7"})


def layer_generator(name: str, seed: int) -> torch.Generator:
    """Random generator on the CPU for the layer `name`, independent of every other layer's.

    Args:
        name: name of the layer, such as "conv1".
        seed: seed of the initialisation, 0 or more.
    """
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=tuple(name.encode()))
    state = int(sequence.generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)  # torch's seeds are signed


def initialise(
    layer: nn.Module, name: str, scheme: Initialisation, generator: torch.Generator | None
) -> None:
    """Draw a layer's weight anew, in place, and set its bias.

    Args:
        layer: a convolution or a linear layer. On the meta device nothing is drawn.
        name: "conv1" to "conv5" or "fc6" to "fc8"; `krizhevsky` and `caffe` differ from layer to layer.
        scheme: one of

            - `lecun_normal`: normal with standard deviation sqrt(1 / fan_in), not truncated, and zero
              biases; fan_in counts the inputs of one output, so one group's channels in a grouped
              convolution. It is what the first author's public code uses.
            - `krizhevsky`: Krizhevsky et al. 2012, section 5: standard deviation 0.01, biases 1 in conv2,
              conv4, conv5, fc6 and fc7, else 0. A 2012-style bias of 1 is known to give a flat loss at
              learning rates such as this paper's.
            - `caffe`: Caffe's bvlc_alexnet: standard deviation 0.01, in fc6 and fc7 0.005; biases 0.1 in
              conv2, conv4, conv5, fc6 and fc7, else 0.
        generator: source of the random numbers, on the CPU; torch's own if None. Numbers are drawn on the
            CPU in the weight's logical order, so that device and memory format do not change them.

    Raises:
        RelayError: the scheme is unknown, or the layer is neither a convolution nor linear.
    """
    if scheme not in get_args(Initialisation):
        raise RelayError(
            f"initialisation: unknown scheme {scheme!r}; choose one of {', '.join(get_args(Initialisation))}."
        )
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise RelayError(
            f"initialisation: layer {name} is a {type(layer).__name__}; only Conv2d and Linear have a scheme."
        )
    bias = 0.0
    if scheme == "lecun_normal":
        deviation = layer.weight[0].numel() ** -0.5
    elif scheme == "krizhevsky":
        deviation = 0.01
        bias = 1.0 if name in _RAISED_BIAS else 0.0
    else:
        deviation = 0.005 if name in _CAFFE_NARROW else 0.01
        bias = 0.1 if name in _RAISED_BIAS else 0.0
    with torch.no_grad():
        if not layer.weight.is_meta:
            drawn = torch.empty(layer.weight.shape, dtype=torch.float32, device="cpu")
            layer.weight.copy_(drawn.normal_(0.0, deviation, generator=generator))
        if layer.bias is not None:
            layer.bias.fill_(bias)


def initialise_each(layers: Mapping[str, nn.Module], scheme: Initialisation, seed: int) -> None:
    """Initialise layers in place, each from `layer_generator(name, seed)`; see `initialise`.

    Raises:
        RelayError: as `initialise`, or the seed is negative.
    """
    if seed < 0:
        raise RelayError(f"initialisation: the seed is {seed}; give 0 or more.")
    for name, layer in layers.items():
        initialise(layer, name, scheme, layer_generator(name, seed))
