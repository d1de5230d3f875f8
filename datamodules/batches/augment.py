"""What is drawn anew for each training image, beside symmetries: torchvision's transforms for whole batches.

torchvision's own transforms draw once for all images of a batch, from torch's global generator. These draw
for each image, from its number, and do what `torchvision.transforms.v2.functional` does with one image after
another: `adjust_contrast`, `gaussian_noise`, `affine`.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms import v2  # type: ignore[import-untyped]

from datamodules.batches.random_bits import Draws
from stages.recipe import Distortions

_LUMA = (0.2989, 0.587, 0.114)  # as torchvision's rgb_to_grayscale, whose mean adjust_contrast keeps
_LEVELS = 255.0


class _OfEachImage(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """A transform of a batch of images and its `Draws`, which are handed on."""

    def forward(self, images: Tensor, draws: Draws) -> tuple[Tensor, Draws]:
        """In place of torchvision's, which draws once for a whole sample."""
        return self.transform(images, {"draws": draws}), draws


class Intensities(_OfEachImage):
    """Contrast about the image's mean, a shift, noise; then what is below black or above white is clipped.

    value = mean + c * (value - mean) + b + noise * z, with c from [1 - contrast, 1 + contrast) and b from
    [-brightness, brightness), one for each image, and z normal, one for each pixel and channel. The mean is
    that of the image's luma (0.2989 R + 0.587 G + 0.114 B).

    Args:
        brightness: In grey levels of 0 to 255, as are all values here.
        contrast: In [0, 1).
        noise: Standard deviation, in grey levels.
    """

    def __init__(self, brightness: float, contrast: float, noise: float) -> None:
        super().__init__()
        self.brightness, self.contrast, self.noise = brightness, contrast, noise

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """From uint8 (N, C, H, W) to float32 of 0 to 255, contiguous."""
        draws: Draws = params["draws"]
        values = inpt.to(torch.float32, memory_format=torch.contiguous_format)
        each = (-1, 1, 1, 1)
        if self.contrast:
            factor = draws.uniform("contrast", 1 - self.contrast, 1 + self.contrast).view(each)
            mean = _means(inpt).view(each)
            values = (values - mean).mul_(factor).add_(mean)
        if self.brightness:
            values = values + draws.uniform("brightness", -self.brightness, self.brightness).view(each)
        if self.noise:
            noise = draws.normal("noise", values[0].numel()).reshape(values.shape)
            values = values.add(noise, alpha=self.noise)
        return values.clamp_(0, _LEVELS)


class Geometry(_OfEachImage):
    """A turned crop of each image, scaled to the network's input in one bicubic step.

    The crop has a share of both of the image's sides, drawn from `crop`, and lies at a place drawn evenly
    within the image; its content is turned against the clock about the crop's centre by an angle drawn from
    `rotation`. What lies beyond the image is its mirror image, so that no black corner is to be learned.
    Pixels between pixels are bicubic, as in `resize_bicubic`: an image that is turned by nothing is what an
    evaluated one is, but for the pixels at its edge.

    Args:
        size: Side of the result in pixels.
        rotation: Least and greatest angle in degrees.
        crop: Least and greatest share of the sides, in (0, 1].
    """

    def __init__(self, size: int, rotation: tuple[float, float], crop: tuple[float, float]) -> None:
        super().__init__()
        self.size, self.rotation, self.crop = size, rotation, crop

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """From (N, C, H, W) of 0 to 255 to float32 (N, C, size, size)."""
        draws: Draws = params["draws"]
        height, width = inpt.shape[2:]
        share = draws.uniform("crop", *self.crop)
        angle = draws.uniform("rotation", *(limit * math.pi / 180 for limit in self.rotation))
        cosine, sine = (share * angle.cos()).view(-1, 1, 1), (share * angle.sin()).view(-1, 1, 1)
        # Written out: a matrix product may be of less than float32. x and y are from -1 to 1 over the image.
        along = (torch.arange(self.size, device=inpt.device) * 2 + 1) / self.size - 1
        column, line = along, along.unsqueeze(1)
        at = [((1 - share) * draws.uniform(name, -1, 1)).view(-1, 1, 1) for name in ("left", "top")]
        x = at[0] + cosine * column - sine * (height / width) * line
        y = at[1] + sine * (width / height) * column + cosine * line
        grid = torch.stack([x, y], dim=-1)
        planes = inpt.to(torch.float32, memory_format=torch.contiguous_format)
        return grid_sample(planes, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def augmentation(distortions: Distortions, size: int, levels: float) -> v2.Compose | None:
    """The transforms of a batch (images uint8 (N, C, H, W), `Draws`); None where none is asked for.

    Images come out as float32 of 0 to 255: at the network's size where they are turned or cropped, else at
    their own.

    Args:
        distortions: What is drawn.
        size: Side of the network's input in pixels.
        levels: Grey levels in one unit of brightness and noise.
    """
    drawn, steps = distortions, list[v2.Transform]()
    if drawn.brightness or drawn.contrast or drawn.noise:
        brightness, noise = (levels * (value or 0) for value in (drawn.brightness, drawn.noise))
        steps.append(Intensities(brightness, drawn.contrast or 0, noise))
    if drawn.rotation or drawn.crop:
        steps.append(Geometry(size, drawn.rotation or (0, 0), drawn.crop or (1, 1)))
    return v2.Compose(steps) if steps else None


def _means(images: Tensor) -> Tensor:
    """Mean luma of each image, uint8 (N, C, H, W): sums of whole numbers, the same in every batch."""
    sums = images.sum(dim=(2, 3), dtype=torch.int64).float()
    weights = _LUMA if images.shape[1] == 3 else (1.0,)
    means = sums[:, 0] * weights[0]
    for channel, weight in enumerate(weights[1:], start=1):
        means = means + sums[:, channel] * weight
    return means / images[0, 0].numel()
