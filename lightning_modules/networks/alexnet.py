"""The AlexNet of 2012, described; `lightning_modules/alexnet.py` has its modules."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from lightning_modules.specification import Layer, Specification

if TYPE_CHECKING:
    from torch import nn

SPECIFICATION = Specification(
    name="alexnet",
    layers=(
        Layer("conv1", "conv1", "convolution", tap="relu1"),
        Layer("conv2", "conv2", "convolution", tap="relu2", raised_bias=True),
        Layer("conv3", "conv3", "convolution", tap="relu3"),
        Layer("conv4", "conv4", "convolution", tap="relu4", raised_bias=True),
        Layer("conv5", "conv5", "convolution", tap="relu5", raised_bias=True),
        Layer("fc6", "fc6", "linear", tap="relu6", raised_bias=True, narrow=True),
        Layer("fc7", "fc7", "linear", tap="relu7", raised_bias=True, narrow=True),
        Layer("fc8", "fc8", "linear"),
    ),
    head="fc8",
    classifier="fc7",  # paper, section 4.1: Fc7 and Fc8 are cut off
    taps={
        name: name
        for name in (
            *("relu1", "norm1", "pool1", "relu2", "norm2", "pool2", "relu3", "relu4"),
            *("relu5", "pool5", "relu6", "relu7"),
        )
    },
    default_tap="pool5",  # the input of fc6
    least_size=63,  # conv1 gives 15, pool1 7, pool2 3 and pool5 1
    scalable=True,
)


def build(num_classes: int, **arguments: Any) -> "nn.Module":
    """See `lightning_modules.registry.NetworkFile`. Its class imports this file: it is found by name."""
    network: nn.Module = resolve_name("lightning_modules.alexnet:AlexNet")(num_classes, **arguments)
    return network
