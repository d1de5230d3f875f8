"""torchvision's AlexNet as a second network, with the layer names of a transfer rule."""

from typing import ClassVar

import torch
from torch import Tensor
from torchvision.models import AlexNet as _AlexNet  # type: ignore[import-untyped]

from lightning_modules.initialisation import initialise_layers
from lightning_modules.networks.torchvision_alexnet import SPECIFICATION
from lightning_modules.pooling import AdaptiveAveragePool2d
from lightning_modules.specification import Specification
from stages.errors import RelayError
from stages.recipe import Initialisation


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
