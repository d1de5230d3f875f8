"""Preprocessing: uint8 pixels become the network's input, on the device, one batch at a time."""

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from datamodules.batches.random_bits import Draws, random_words, top_bits
from datamodules.batches.resize import resize_bicubic
from stages.errors import RelayError, unknown_name
from stages.recipe import Augment, Distortions


class Preprocess:
    """Resize, copy grey to three channels, divide by 255, normalise; augment while training.

    Resizing is torch's `interpolate(mode="bicubic", antialias=False, align_corners=False)`, as in the first
    author's public code; images of the right size are left alone. Grey images are copied to three channels
    after resizing, which is a third of the work and the same result.

    Augmentation draws one symmetry for each image: "flip" mirrors left and right with probability 1/2,
    "dihedral" is one of the square's eight rotations and reflections (for lung patches and textures, which
    have no upright side). It moves pixels only, so it is done on uint8, before all else.

    Args:
        size: Side of the network's square input in pixels.
        mean: Of the three channels, in units of 0..1.
        std: Of the three channels, in units of 0..1.
        augment: Which symmetries are drawn.
        memory_format: `torch.channels_last` or `torch.contiguous_format` of the result.
        distortions: What else is drawn, see `datamodules.batches.augment`; it follows the symmetry.
        levels: Grey levels in one unit of its brightness and noise.
        shared: Whether the channels of grey images are one in memory, a view with a stride of 0, where they
            have the same mean and std. Values are the same; `memory_format` is that of other images.

    Raises:
        RelayError: A value is out of range.
    """

    def __init__(
        self,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augment = "none",
        memory_format: torch.memory_format = torch.contiguous_format,
        distortions: Distortions | None = None,
        levels: float = 1.0,
        *,
        shared: bool = False,
    ) -> None:
        if size < 1:
            raise RelayError(f"image_size is {size}; give the side of the network's input in pixels.")
        if len(mean) != 3 or len(std) != 3 or not all(value > 0 for value in std):
            raise RelayError(f"mean {mean} and std {std} must be three numbers each, std above 0.")
        if augment not in get_args(Augment):
            raise unknown_name("augment", augment, get_args(Augment))
        self.size = size
        self.augment = augment
        self._distort = None
        if distortions not in (None, Distortions()):
            # Imported here: torchvision takes a second, and few runs ask for it.
            from datamodules.batches.augment import augmentation

            self._distort = augmentation(distortions, size, levels)
        self.memory_format = memory_format
        self.shared = shared and len(set(mean)) == len(set(std)) == 1
        # (x - mean) / std as one multiplication and addition, worked out in double precision.
        shift = [-m / s for m, s in zip(mean, std, strict=True)]
        self._scale = torch.tensor([1 / s for s in std], dtype=torch.float64)
        self._shift = torch.tensor(shift, dtype=torch.float64)
        self._cached: dict[tuple[object, ...], Tensor] = {}

    def __call__(
        self, images: Tensor, augment_seed: int | None = None, index: Tensor | None = None
    ) -> Tensor:
        """Prepare a batch.

        Args:
            images: uint8, (N, H, W) grey or (N, H, W, 3) in colour, on any device.
            augment_seed: Seed of what is drawn, one for each epoch; None does not augment.
            index: int64, (N,), the images' numbers: what is drawn depends on the seed and the image's number,
                not on the batch it is in. Its place in the batch where not given.

        Returns:
            float32, (N, 3, size, size), in `memory_format` or shared, on the device of `images`.
        """
        if augment_seed is None:
            return self._prepared(_planes(images))
        index = torch.arange(len(images), device=images.device) if index is None else index
        if self.augment != "none":
            images = self._augmented(images, augment_seed, index)
        planes = _planes(images)
        if self._distort is not None:
            planes, _ = self._distort(planes, Draws(augment_seed, index))
        return self._prepared(planes)

    @property
    def augments(self) -> bool:
        """Whether anything is drawn while training."""
        return self.augment != "none" or self._distort is not None

    def check(self, shape: tuple[int, ...]) -> None:
        """Whether images of this shape, (H, W) or (H, W, 3), can be augmented so.

        Raises:
            RelayError: They are not square, and "dihedral" turns them by 90 degrees.
        """
        if self.augment == "dihedral" and shape[0] != shape[1]:
            raise RelayError(
                f"augment=dihedral turns images by 90 degrees, but they have {shape[1]}x{shape[0]} pixels; "
                "set decode_size to make them square, or use augment=flip."
            )

    def _prepared(self, planes: Tensor) -> Tensor:
        """Resized and normalised, from (N, 1 or 3, H, W) of 0 to 255."""
        if planes.shape[2:] == (self.size, self.size):
            return self._normalised(planes.float(), 255)
        planes = planes.to(torch.float32, memory_format=torch.contiguous_format)
        return self._normalised(resize_bicubic(planes.div_(255), self.size), 1)

    def _normalised(self, values: Tensor, unit: int) -> Tensor:
        """(values / unit - mean) / std in one pass over (N, 1 or 3, size, size)."""
        if self.shared and values.shape[1] == 1:
            scale, shift = self._constants(unit, values.device, 1)
            return torch.addcmul(shift[0], values, scale[0]).expand(-1, 3, -1, -1)
        output = torch.empty(
            (len(values), 3, self.size, self.size), device=values.device, memory_format=self.memory_format
        )
        last = torch.channels_last
        if values.shape[1] == 3 and self.memory_format == last and values.is_contiguous(memory_format=last):
            # Three channels a pixel are too short an inner loop: take whole rows, constants repeated.
            shape = (len(values), self.size, 3 * self.size)
            scale, shift = self._constants(unit, values.device, self.size)
            rows = values.permute(0, 2, 3, 1).reshape(shape)
            torch.addcmul(shift, rows, scale, out=output.permute(0, 2, 3, 1).view(shape))
        else:
            scale, shift = self._constants(unit, values.device, 1)
            torch.addcmul(shift.view(3, 1, 1), values, scale.view(3, 1, 1), out=output)
        return output

    def _constants(self, unit: int, device: torch.device, repeats: int) -> tuple[Tensor, Tensor]:
        key = (unit, device, repeats)
        if key not in self._cached:
            both = torch.stack([self._scale / unit, self._shift]).float().repeat(1, repeats)
            self._cached[key] = both.to(device)
        scale, shift = self._cached[key]
        return scale, shift

    def _augmented(self, images: Tensor, seed: int, index: Tensor) -> Tensor:
        self.check(tuple(images.shape[1:]))
        height, width = images.shape[1:3]
        symmetries = self._symmetries(height, width, images.device)
        drawn = top_bits(random_words(seed, index), 3) % len(symmetries)
        pixels = images.reshape(len(images), height * width, -1)
        origin = symmetries[drawn].unsqueeze(-1).expand_as(pixels)
        return pixels.gather(1, origin).view_as(images)

    def _symmetries(self, height: int, width: int, device: torch.device) -> Tensor:
        """For each symmetry, the pixel that each pixel comes from: (2 or 8, height * width)."""
        key = ("symmetries", height, width, device)
        if key not in self._cached:
            pixels = torch.arange(height * width).view(height, width)
            drawn = [pixels, pixels.flip(1)]
            if self.augment == "dihedral":
                drawn += [pixels.flip(0), pixels.flip(0, 1)]
                drawn += [symmetry.t() for symmetry in drawn]
            self._cached[key] = torch.stack([symmetry.reshape(-1) for symmetry in drawn]).to(device)
        return self._cached[key]


def _planes(images: Tensor) -> Tensor:
    """(N, H, W) or (N, H, W, 3) as (N, 1 or 3, H, W)."""
    return images.permute(0, 3, 1, 2) if images.dim() == 4 else images.unsqueeze(1)
