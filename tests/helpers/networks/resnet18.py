"""A network of another kind, as `lightning_modules/networks/resnet18.py` would describe it.

Its convolutions have no bias, its blocks have normalisations with buffers, paths have dots, the head is `fc`.
"""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet  # type: ignore[import-untyped]

from lightning_modules.initialisation import initialise_layers
from lightning_modules.specification import Layer, Specification

_BLOCKS = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]

SPECIFICATION = Specification(
    name="resnet18",
    layers=(
        Layer("conv1", "conv1", "convolution", tap="relu"),
        Layer("bn1", "bn1", "normalisation"),
        *(Layer(path, path, "block", tap=path) for path in _BLOCKS),
        Layer("fc", "fc", "linear"),
    ),
    head="fc",
    taps={"relu": "relu", "maxpool": "maxpool", **{path: path for path in _BLOCKS}},
    default_tap="layer4.1",
    least_size=32,
)


class _ResNet18(ResNet):  # type: ignore[misc]
    def forward(self, images: Tensor) -> Tensor:
        SPECIFICATION.check_images(images, 3)
        logits: Tensor = super().forward(images)
        return logits


def build(num_classes: int, *, dropout: float, initialisation: str, seed: int) -> nn.Module:
    network: nn.Module = _ResNet18(BasicBlock, [2, 2, 2, 2], num_classes=num_classes)
    network.specification = SPECIFICATION  # type: ignore[assignment]
    initialise_layers(network, SPECIFICATION.layer_names, initialisation, seed)
    return network
