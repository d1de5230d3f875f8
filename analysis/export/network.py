"""Networks as one that takes raw patches: what `predict.py` does to an image, inside of the network."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from analysis.prediction.ensemble import Ensemble


@dataclass(frozen=True)
class RawInput:
    """What the patches are.

    Attributes:
        height: in pixels.
        width: in pixels.
        color: whether a patch has three channels.
        window: the grey values that become 0 and 255; None where a patch has 8 bits.
    """

    height: int
    width: int
    color: bool
    window: tuple[float, float] | None

    @property
    def dtype(self) -> torch.dtype:
        """float32 for a window, which holds every value of 16 bits; else uint8."""
        return torch.uint8 if self.window is None else torch.float32

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one patch."""
        return (self.height, self.width, 3) if self.color else (self.height, self.width)

    def raw(self, pixels: Tensor) -> Tensor:
        """Patches that a window makes these pixels of: uint8, (N, H, W) or (N, H, W, 3)."""
        if self.window is None:
            return pixels
        low, high = self.window
        return (low + pixels.double() * ((high - low) / 255)).float()


class RawPatchNetwork(nn.Module):
    """Trained networks with all that stands between a raw patch and their probabilities.

    A window's grey values become whole numbers from 0 to 255, as `datamodules.pixels.window` has it; then
    images are resized and scaled as `datamodules.batches` does it.

    Shapes: raw patches (N, H, W) or (N, H, W, 3), of `RawInput.dtype` -> probabilities (N, C), the mean over
    the networks, and network_probabilities (N, M, C), of each network; float32.

    Args:
        networks: of which each takes images in 0..1 as `Resize` gives them, and gives logits.
        raw: what the patches are.
        temperature: what logits are divided by.
    """

    def __init__(self, networks: Sequence[nn.Module], raw: RawInput, temperature: float = 1.0) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.raw = raw
        self.temperature = temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (N, C) and network_probabilities (N, M, C) of raw patches."""
        values = images.float()
        if self.raw.window is not None:
            low, high = self.raw.window
            values = ((values - low) * (255.0 / (high - low))).clamp(0.0, 255.0).round()
        values = values / 255.0
        planes = values.permute(0, 3, 1, 2) if self.raw.color else values.unsqueeze(1)
        logits = torch.stack([network(planes) for network in self.networks], dim=1)
        of_networks = (logits / self.temperature).softmax(dim=2)
        return of_networks.mean(dim=1), of_networks


class Resize(nn.Module):
    """Bicubic resizing as matrix products: it is linear and separable, see `datamodules.batches.resize`.

    Shapes: (N, K, height, width) -> (N, K, size, size).
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int, size: int) -> None:
        super().__init__()
        self.register_buffer("rows", _weights(height, size))
        self.register_buffer("columns", _weights(width, size).t().contiguous())

    def forward(self, planes: Tensor) -> Tensor:
        """Resized planes."""
        return self.rows @ (planes @ self.columns)


class Scale(nn.Module):
    """(x - mean) / std of three channels, as one multiplication and addition; one channel becomes three.

    Shapes: (N, 1 or 3, H, W) -> (N, 3, H, W).
    """

    factor: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # Worked out in double precision.
        shift = [-m / s for m, s in zip(mean, std, strict=True)]
        self.register_buffer("factor", torch.tensor([1 / s for s in std]).view(3, 1, 1))
        self.register_buffer("shift", torch.tensor(shift).view(3, 1, 1))

    def forward(self, planes: Tensor) -> Tensor:
        """Scaled planes."""
        return planes * self.factor + self.shift


def raw_input(ensemble: Ensemble) -> RawInput:
    """What patches an ensemble's networks were trained on."""
    window = ensemble.input.window
    return RawInput(
        *ensemble.shape,
        ensemble.input.color,
        None if window is None else (float(window[0]), float(window[1])),
    )


def raw_patch_network(ensemble: Ensemble, raw: RawInput) -> RawPatchNetwork:
    """An ensemble as one network; it shares the weights."""
    networks = []
    for member in ensemble.members:
        size = member.record.data.image_size
        same = (raw.height, raw.width) == (size, size)
        parts = [] if same else [Resize(raw.height, raw.width, size)]
        network = member.network.to(memory_format=torch.contiguous_format)
        networks.append(nn.Sequential(*parts, Scale(member.input.mean, member.input.std), network))
    return RawPatchNetwork(networks, raw, ensemble.temperature).requires_grad_(False).eval()


def _weights(length: int, size: int) -> Tensor:
    """Weights of the original pixels (columns) in the resized ones (rows): float32, (size, length)."""
    impulses = torch.eye(length).view(1, length, length, 1)
    rows = interpolate(impulses, size=(size, 1), mode="bicubic", antialias=False, align_corners=False)
    return rows[0, :, :, 0].t().contiguous()
