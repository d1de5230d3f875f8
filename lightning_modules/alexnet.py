"""AlexNet of 2012 (Krizhevsky, Sutskever, Hinton, NIPS 2012), with grouped convolutions and normalisation."""

from typing import ClassVar, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from lightning_modules.initialisation import initialise_layers
from lightning_modules.lrn import LocalResponseNorm
from lightning_modules.networks.alexnet import SPECIFICATION
from lightning_modules.pooling import AdaptiveAveragePool2d
from lightning_modules.specification import Specification
from stages.errors import RelayError, unknown_name
from stages.recipe import Initialisation

Normalisation = Literal["lrn", "torch_lrn", "none"]

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


class AlexNet(nn.Module):
    """The AlexNet of 2012: 60,965,224 parameters at 1000 classes and three channels.

    Every operation is a module with a name of its own, run in the order of registration, so that an analysis
    can reach any of them: conv1, relu1, norm1, pool1, conv2, relu2, norm2, pool2, conv3, relu3, conv4, relu4,
    conv5, relu5, pool5, adapt, flatten, fc6, relu6, drop6, fc7, relu7, drop7, fc8. No operation works in
    place; what a hook has seen stays as it was.

    Convolutions 2, 4 and 5 have two groups, as the two processors of 2012. conv1 pads by 2, which makes its
    output 55x55 at 224 px. Normalisation follows relu1 and relu2 with the constants of section 3.3, k = 2,
    n = 5, alpha = 1e-4, beta = 0.75; as printed, alpha is not divided by n, hence torch's alpha is 5e-4.
    Smaller or larger images reach fc6 through `adapt`, an average pool to 6x6, the identity at 224 px.

    Shapes: Images (N, in_channels, H, W) with H and W at least 63 px -> logits (N, num_classes).

    Args:
        num_classes: Number of outputs.
        in_channels: Channels of the images.
        dropout: Probability of dropping a unit after relu6 and relu7, in [0, 1].
        initialisation: See `lightning_modules.initialisation.initialise`.
        normalisation: `lrn`, or, to compare, `torch_lrn` (torch's own layer) or `none`.
        width: Share of the channels and units of every hidden layer, in (0, 1]; 1 is the network of 2012.
            Each layer keeps an even number of them, for its two groups.
        seed: Of the initial weights, each layer's its own stream; drawn from torch's generator if None.

    Raises:
        RelayError: An argument is out of range or unknown; in the forward pass, the images have another
            number of channels or are smaller than 63 px.

    Examples:
        >>> AlexNet(num_classes=7, width=0.0625)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 7])
    """

    specification: ClassVar[Specification] = SPECIFICATION

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        dropout: float = 0.5,
        initialisation: Initialisation = "lecun_normal",
        normalisation: Normalisation = "lrn",
        width: float = 1.0,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 1 or in_channels < 1:
            raise RelayError(f"AlexNet: {num_classes} classes, {in_channels} channels; both are at least 1.")
        if not 0.0 <= dropout <= 1.0:
            raise RelayError(f"AlexNet: dropout is {dropout}; give a probability from 0 to 1.")
        if not 0.0 < width <= 1.0:
            raise RelayError(f"AlexNet: width is {width}; give a share of the channels, in (0, 1].")
        c1, c2, c3, c4, c5, f6, f7 = (
            max(2, 2 * round(width * full / 2)) for full in (96, 256, 384, 384, 256, 4096, 4096)
        )
        self.conv1 = _empty(nn.Conv2d(in_channels, c1, 11, stride=4, padding=2, device="meta"))
        self.relu1 = nn.ReLU()
        self.norm1 = _normalisation(normalisation)
        self.pool1 = nn.MaxPool2d(3, stride=2)
        self.conv2 = _empty(nn.Conv2d(c1, c2, 5, padding=2, groups=2, device="meta"))
        self.relu2 = nn.ReLU()
        self.norm2 = _normalisation(normalisation)
        self.pool2 = nn.MaxPool2d(3, stride=2)
        self.conv3 = _empty(nn.Conv2d(c2, c3, 3, padding=1, device="meta"))
        self.relu3 = nn.ReLU()
        self.conv4 = _empty(nn.Conv2d(c3, c4, 3, padding=1, groups=2, device="meta"))
        self.relu4 = nn.ReLU()
        self.conv5 = _empty(nn.Conv2d(c4, c5, 3, padding=1, groups=2, device="meta"))
        self.relu5 = nn.ReLU()
        self.pool5 = nn.MaxPool2d(3, stride=2)
        self.adapt = AdaptiveAveragePool2d(6)
        self.flatten = nn.Flatten()
        self.fc6 = _empty(nn.Linear(c5 * 6 * 6, f6, device="meta"))
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout(dropout)
        self.fc7 = _empty(nn.Linear(f6, f7, device="meta"))
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout(dropout)
        self.fc8 = _empty(nn.Linear(f7, num_classes, device="meta"))
        if seed is None:
            seed = int(torch.randint(2**62, (), device="cpu"))
        initialise_layers(self, SPECIFICATION.layer_names, initialisation, seed)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, in_channels, H, W)."""
        SPECIFICATION.check_images(images, self.conv1.in_channels)
        features = images
        for operation in self.children():
            features = operation(features)
        return features


def _normalisation(kind: Normalisation) -> nn.Module:
    if kind == "lrn":
        return LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    if kind == "torch_lrn":
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    if kind == "none":
        return nn.Identity()
    raise unknown_name("normalisation", kind, get_args(Normalisation))


def _empty(layer: _Layer) -> _Layer:
    """The layer on the default device with memory but no values: torch's own initialisation is never used."""
    # get_default_device does not see `with torch.device` in torch 2.7
    return layer.to_empty(device=torch.empty(0).device)
