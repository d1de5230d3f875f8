"""torchvision's AlexNet as a second network, with the layer names of a transfer rule."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torchvision.models import AlexNet as _AlexNet  # type: ignore[import-untyped]

from lightning_modules.alexnet import check_images
from lightning_modules.initialisation import Initialisation, initialise_each
from lightning_modules.pooling import AdaptiveAveragePool2d
from stages.errors import RelayError


class TorchvisionAlexNet(_AlexNet):  # type: ignore[misc]
    """torchvision's AlexNet (Krizhevsky 2014, "One weird trick", ungrouped and without normalisation).

    Modules and state dict keep torchvision's keys, so that a state dict from torchvision, such as the file
    alexnet-owt-7be5be79.pth, loads as it is. `layer_paths` says which of its modules is conv1 to fc8.
    Nothing is ever downloaded. Dropout stands before fc6 and fc7, and ReLUs work in place, as in torchvision.

    Shapes: images (N, 3, H, W) with H and W at least 63 px -> logits (N, num_classes). 61,100,840 parameters
    at 1000 classes.

    Args:
        num_classes: number of outputs.
        dropout: probability of dropping an input of fc6 and fc7, in [0, 1].
        initialisation: see `lightning_modules.initialisation.initialise`.
        seed: of the initial weights, each layer's its own stream; drawn from torch's generator if None.

    Raises:
        RelayError: an argument is out of range or unknown; in the forward pass, the images have another
            number of channels than 3 or are smaller than 63 px.
    """

    layer_paths: ClassVar[Mapping[str, str]] = {
        "conv1": "features.0",
        "conv2": "features.3",
        "conv3": "features.6",
        "conv4": "features.8",
        "conv5": "features.10",
        "fc6": "classifier.1",
        "fc7": "classifier.4",
        "fc8": "classifier.6",
    }

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
        device = torch.get_default_device()
        with torch.device("meta"):  # torchvision's own initialisation is never used
            super().__init__(num_classes=num_classes, dropout=dropout)
        self.avgpool = AdaptiveAveragePool2d(6)  # the same function, with a gradient that is reproducible
        self.to_empty(device=device)
        if seed is None:
            seed = int(torch.randint(2**62, (), device="cpu"))
        layers = {name: self.get_submodule(path) for name, path in self.layer_paths.items()}
        initialise_each(layers, initialisation, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, 3, H, W)."""
        check_images(x, 3)
        logits: Tensor = super().forward(x)
        return logits
