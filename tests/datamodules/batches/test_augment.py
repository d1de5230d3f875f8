"""What is drawn for training images; the reference is torchvision's own, of one image after another."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import InterpolationMode, functional

from datamodules.batches.augment import Geometry, Intensities
from datamodules.batches.preprocess import Preprocess
from datamodules.batches.random_bits import Draws, random_words
from stages.recipe import Distortions

NUMBERS = torch.arange(40, 52)
SHAPES = [(12, 1, 20, 20), (12, 3, 20, 20), (12, 3, 18, 26)]
ALL = Distortions(rotation=(-20.0, 30.0), crop=(0.6, 0.9), brightness=20.0, contrast=0.3, noise=9.0)


def batch(*shape: int) -> Tensor:
    """Smooth pictures: between pixels two interpolations of noise would differ."""
    coarse = torch.rand(shape[0], shape[1], 5, 5, generator=torch.Generator().manual_seed(0))
    return interpolate(coarse, size=shape[2:], mode="bicubic").mul(255).clamp(0, 255).to(torch.uint8)


def drawn(name: str, low: float, high: float) -> list[float]:
    values: list[float] = Draws(7, NUMBERS).uniform(name, low, high).tolist()
    return values


@pytest.mark.parametrize("shape", SHAPES)
def test_contrast_and_brightness_are_torchvisions_of_each_image(shape: tuple[int, ...]) -> None:
    images = batch(*shape)
    result, _ = Intensities(30.0, 0.4, 0.0)(images, Draws(7, NUMBERS))
    factors, shifts = drawn("contrast", 0.6, 1.4), drawn("brightness", -30, 30)
    assert len({*factors}) == len({*shifts}) == 12
    for image, factor, shift, ours in zip(images, factors, shifts, result, strict=True):
        # adjust_contrast clips to 0..1: a dark picture is far enough from both.
        dark = functional.adjust_contrast(image / 1020 + 0.25, factor) * 1020 - 255
        torch.testing.assert_close(ours, (dark + shift).clamp(0, 255), rtol=0, atol=0.03)


def test_noise_is_normal_and_apart_in_each_image_pixel_and_channel() -> None:
    images = torch.full((12, 3, 48, 48), 128, dtype=torch.uint8)
    noise = (Intensities(0.0, 0.0, 9.0)(images, Draws(7, NUMBERS))[0] - 128) / 9
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 0.01
    planes = noise.flatten(2).flatten(0, 1)
    apart = torch.corrcoef(planes) - torch.eye(36)
    assert apart.abs().max() < 5 / math.sqrt(planes.shape[1])
    neighbours = (noise[..., :-1] * noise[..., 1:]).mean(), (noise[..., :-1, :] * noise[..., 1:, :]).mean()
    assert max(map(abs, neighbours)) < 5 / math.sqrt(noise.numel())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_turned_crop_is_torchvisions_affine_of_each_mirrored_image(shape: tuple[int, ...]) -> None:
    """`affine` has no crop: the crop is its scale and translation, of an image of the network's size."""
    images, (height, width), size = batch(*shape), shape[2:], 20
    angles, shares = drawn("rotation", -25, 40), drawn("crop", 0.5, 0.9)
    places = zip(drawn("left", -1, 1), drawn("top", -1, 1), strict=True)
    result, _ = Geometry(size, (-25.0, 40.0), (0.5, 0.9))(images, Draws(7, NUMBERS))
    for image, angle, share, (left, top), ours in zip(images, angles, shares, places, result, strict=True):
        # Its angle is with the clock. Enlarged first, so that bilinear hardly differs from bicubic.
        fine, pad = 8, 8 * min(height, width)
        large = interpolate(image[None].float(), scale_factor=fine, mode="bicubic")[0]
        mirrored = functional.pad(large, [pad] * 4, padding_mode="symmetric")
        shift = [-(1 - share) * left * width * fine / 2, -(1 - share) * top * height * fine / 2]
        turned = functional.affine(
            functional.affine(mirrored, 0, shift, 1.0, [0.0]), -angle, [0, 0], 1 / share, [0.0],
            interpolation=InterpolationMode.BILINEAR,
        )  # fmt: skip
        whole = functional.center_crop(turned, [height * fine, width * fine])
        expected = interpolate(whole[None], size=(size, size), mode="bilinear", antialias=True)[0]
        inner = (..., slice(2, -2), slice(2, -2))
        assert (ours[inner] - expected[inner]).abs().mean() < 3


def test_nothing_drawn_is_what_evaluation_does_but_at_the_edge() -> None:
    images = batch(12, 1, 20, 20)[:, 0]
    plain = Preprocess(33, (0, 0, 0), (1, 1, 1))
    still = Preprocess(
        33, (0, 0, 0), (1, 1, 1), distortions=Distortions(rotation=(0.0, 0.0), crop=(1.0, 1.0))
    )
    inner = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(still(images, 7, NUMBERS)[inner], plain(images)[inner], rtol=0, atol=1e-5)


@pytest.mark.parametrize("colour", [(), (3,)])
@pytest.mark.parametrize("size", [20, 28])
def test_what_is_drawn_belongs_to_the_image_not_to_the_batch(colour: tuple[int, ...], size: int) -> None:
    images = batch(12, *(colour or (1,)), 20, 20)
    images = images.permute(0, 2, 3, 1).contiguous() if colour else images[:, 0]
    process = Preprocess(size, (0.4, 0.5, 0.6), (0.2, 0.3, 0.2), "dihedral", distortions=ALL)
    whole = process(images, 3, NUMBERS)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    parts = [process(images[part], 3, NUMBERS[part]) for part in order.split([1, 4, 7])]
    assert torch.equal(torch.cat(parts), whole[order]), "not one bit"
    assert not torch.equal(process(images, 4, NUMBERS), whole)
    assert not torch.equal(process(images, 3, NUMBERS + 1), whole)
    assert torch.equal(process(images), Preprocess(size, (0.4, 0.5, 0.6), (0.2, 0.3, 0.2))(images))
    assert (
        len({tuple(image.flatten().tolist()) for image in process(images[:1].expand_as(images), 3, NUMBERS)})
        == 12
    )


def test_torchs_own_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    Preprocess(20, (0, 0, 0), (1, 1, 1), distortions=ALL)(batch(12, 1, 20, 20)[:, 0], 3, NUMBERS)
    assert torch.equal(torch.get_rng_state(), before)


def test_uniform_numbers_are_uniform_and_streams_apart() -> None:
    draws = Draws(2**64 - 1, torch.arange(20_000))
    one, other = draws.uniform("left", -1, 1), draws.uniform("top", -1, 1)
    assert stats.kstest(one.numpy(), "uniform", args=(-1, 2)).pvalue > 0.01
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.03
    assert float(one.min()) >= -1
    assert float(one.max()) < 1


def test_words_are_splitmix64() -> None:
    """The first words of Vigna's splitmix64.c from the seed 0."""
    words = [word & 0xFFFFFFFFFFFFFFFF for word in random_words(0, torch.arange(3)).tolist()]
    assert words == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
