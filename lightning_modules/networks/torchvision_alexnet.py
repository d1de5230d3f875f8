"""torchvision's AlexNet as a second network, with the layer names of a transfer rule."""

from typing import ClassVar

import torch
from torch import Tensor
from torchvision.models import AlexNet as _AlexNet  # type: ignore[import-untyped]

from lightning_modules.initialisation import initialise_layers
from lightning_modules.pooling import AdaptiveAveragePool2d
from lightning_modules.specification import Layer, Specification
from stages.errors import RelayError
from stages.recipe import Initialisation

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


class TorchvisionAlexNet(_AlexNet):  # type: ignore[misc]
    """torchvision's AlexNet (Krizhevsky 2014, "One weird trick", ungrouped and without normalisation).

    Modules and state dict keep torchvision's keys, so that a state dict from torchvision, such as the file
    alexnet-owt-7be5be79.pth, loads as it is. `specification` says which of its modules is conv1 to fc8.
    Nothing is ever downloaded. Dropout stands before fc6 and fc7, and ReLUs work in place, as in torchvision.

    Shapes: Images (N, 3, H, W) with H and W at least 63 px -> logits (N, num_classes). 61,100,840 parameters
    at 1000 classes.

    Args:
        num_classes: Number of outputs.
        dropout: Probability of dropping an input of fc6 and fc7, in [0, 1].
        initialisation: See `lightning_modules.initialisation.initialise`.
        seed: Of the initial weights, each layer's its own stream; drawn from torch's generator if None.

    Raises:
        RelayError: An argument is out of range or unknown; in the forward pass, the images have another
            number of channels than 3 or are smaller than 63 px.
    """

    specification: ClassVar[Specification] = SPECIFICATION

    def __init__(
        self,
        num_classes: int = 1000,
        dropout: float = 0.5,
        initialisation: Initialisation = "lecun_normal",
        seed: int | None = None,
    ) -> None:
        if num_classes < 1:
            raise RelayError(f"AlexNet: {num_classes} classes; there is at least 1.")
        if not 0.0 <= dropout <= 1.0:
            raise RelayError(f"AlexNet: dropout is {dropout}; give a probability from 0 to 1.")
        device = torch.empty(0).device  # get_default_device does not see `with torch.device` in torch 2.7
        with torch.device("meta"):  # torchvision's own initialisation is never used
            super().__init__(num_classes=num_classes, dropout=dropout)
        self.avgpool = AdaptiveAveragePool2d(6)  # the same function, with a gradient that is reproducible
        self.to_empty(device=device)
        if seed is None:
            seed = int(torch.randint(2**62, (), device="cpu"))
        initialise_layers(self, SPECIFICATION.layer_names, initialisation, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, 3, H, W)."""
        SPECIFICATION.check_images(x, 3)
        logits: Tensor = super().forward(x)
        return logits


build = TorchvisionAlexNet
