"""torchvision's AlexNet, described by the layer names of a transfer rule."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from lightning_modules.specification import Layer, Specification

if TYPE_CHECKING:
    from torch import nn

SPECIFICATION = Specification(
    name="torchvision_alexnet",
    layers=(
        Layer("conv1", "features.0", "convolution", tap="relu1"),
        Layer("conv2", "features.3", "convolution", tap="relu2", raised_bias=True),
        Layer("conv3", "features.6", "convolution", tap="relu3"),
        Layer("conv4", "features.8", "convolution", tap="relu4", raised_bias=True),
        Layer("conv5", "features.10", "convolution", tap="relu5", raised_bias=True),
        Layer("fc6", "classifier.1", "linear", tap="relu6", raised_bias=True, narrow=True),
        Layer("fc7", "classifier.4", "linear", tap="relu7", raised_bias=True, narrow=True),
        Layer("fc8", "classifier.6", "linear"),
    ),
    head="fc8",
    classifier="fc7",  # paper, section 4.1: Fc7 and Fc8 are cut off
    taps={
        "relu1": "features.1",
        "pool1": "features.2",
        "relu2": "features.4",
        "pool2": "features.5",
        "relu3": "features.7",
        "relu4": "features.9",
        "relu5": "features.11",
        "pool5": "features.12",
        "drop6": "classifier.0",
        "relu6": "classifier.2",
        "drop7": "classifier.3",
        "relu7": "classifier.5",
    },
    default_tap="pool5",  # the features before the average pool, as in the AlexNet of 2012
    least_size=63,  # conv1 gives 15, pool1 7, pool2 3 and pool5 1
    outside_class="torchvision.models.alexnet.AlexNet",
)


def build(num_classes: int, **arguments: Any) -> "nn.Module":
    """See `lightning_modules.registry.NetworkFile`. Its class imports this file: it is found by name."""
    network: nn.Module = resolve_name("lightning_modules.torchvision_alexnet:TorchvisionAlexNet")(
        num_classes, **arguments
    )
    return network
