from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from datamodules.batches.preprocess import Preprocess
from datamodules.batches.resize import resize_bicubic
from stages.errors import RelayError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FORMATS = [torch.contiguous_format, torch.channels_last]


def batch(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def plain(images: Tensor, size: int) -> Tensor:
    """The formula as one writes it down: copies first, then each step on its own."""
    if images.dim() == 3:
        images = torch.stack([images] * 3, dim=-1)
    x = images.permute(0, 3, 1, 2).contiguous().float() / 255
    if x.shape[2:] != (size, size):
        x = interpolate(x, size=(size, size), mode="bicubic", antialias=False, align_corners=False)
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    "shape",
    [
        (5, 24, 24, 3),
        (5, 24, 24),
        (5, 8, 8),
        (5, 8, 8, 3),
        (5, 48, 48, 3),
        (5, 48, 48),
        (5, 20, 30, 3),
        (1, 7, 9),
    ],
)
def test_equals_the_plain_formula(shape: tuple[int, ...], memory_format: torch.memory_format) -> None:
    images = batch(*shape)
    before = images.clone()
    result = Preprocess(24, MEAN, STD, memory_format=memory_format)(images)
    assert result.dtype == torch.float32
    assert result.shape == (shape[0], 3, 24, 24)
    assert result.is_contiguous(memory_format=memory_format)
    # A millionth of the pixels' range; torch's own float32 resizing is ten times as far from float64.
    error = (result - plain(images, 24)) * torch.tensor(STD).view(1, 3, 1, 1)
    assert error.abs().max() < 1e-6
    torch.testing.assert_close(images, before, rtol=0, atol=0)


@pytest.mark.parametrize(("shape", "size"), [((32, 32), 96), ((17, 31), 40), ((40, 17), 40), ((64, 64), 48)])
def test_resizing_is_torchs(shape: tuple[int, int], size: int) -> None:
    planes = torch.rand(3, 3, *shape, generator=torch.Generator().manual_seed(0))
    expected = interpolate(planes, size=(size, size), mode="bicubic", align_corners=False)
    precision = torch.get_float32_matmul_precision()
    try:
        for other in ("highest", "medium"):
            torch.set_float32_matmul_precision(other)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                result = resize_bicubic(planes, size)
            torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
    finally:
        torch.set_float32_matmul_precision(precision)
    last = planes.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(resize_bicubic(last, size), expected, rtol=0, atol=1e-6)


def test_no_normalisation_is_division_by_255() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    result = Preprocess(16, (0, 0, 0), (1, 1, 1))(images)
    torch.testing.assert_close(result[0, 2], images[0].float() / 255, rtol=0, atol=1e-7)


def test_non_contiguous_batches() -> None:
    images = batch(4, 3, 24, 24).permute(0, 2, 3, 1)
    for memory_format in FORMATS:
        result = Preprocess(24, MEAN, STD, "dihedral", memory_format)(images, 1)
        expected = Preprocess(24, MEAN, STD, "dihedral", memory_format)(images.contiguous(), 1)
        torch.testing.assert_close(result, expected, rtol=0, atol=0)


def symmetries(image: Tensor, augment: str) -> list[Tensor]:
    """By rotating and mirroring (H, W, ...) with torch's own functions."""
    if augment == "flip":
        return [image, torch.fliplr(image)]
    turned = [torch.rot90(image, times) for times in range(4)]
    return turned + [torch.fliplr(other) for other in turned]


@pytest.mark.parametrize(("augment", "count"), [("flip", 2), ("dihedral", 8)])
@pytest.mark.parametrize("shape", [(400, 6, 6), (400, 6, 6, 3)])
def test_each_image_gets_one_symmetry_of_the_right_set(
    augment: Any, count: int, shape: tuple[int, ...]
) -> None:
    images = batch(*shape[1:]).expand(*shape)
    result = (Preprocess(6, (0, 0, 0), (1, 1, 1), augment)(images, 5) * 255).round().to(torch.uint8)
    result = result[:, 0] if len(shape) == 3 else result.permute(0, 2, 3, 1)
    allowed = symmetries(images[0], augment)
    drawn = [next(i for i, other in enumerate(allowed) if torch.equal(image, other)) for image in result]
    numbers = torch.bincount(torch.tensor(drawn), minlength=count)
    assert len(numbers) == count
    expected = 400 / count
    chi_squared = float(((numbers - expected) ** 2 / expected).sum())
    assert chi_squared < {2: 10.8, 8: 24.3}[count]  # p = 0.001


def test_flip_keeps_images_of_any_shape() -> None:
    images = batch(8, 5, 9)
    result = Preprocess(9, (0, 0, 0), (1, 1, 1), "flip")(images, 0)
    assert result.shape == (8, 3, 9, 9)


def test_symmetry_belongs_to_the_image_not_to_the_batch() -> None:
    images, numbers = batch(32, 6, 6), torch.arange(100, 132)
    process = Preprocess(6, MEAN, STD, "dihedral")
    whole = process(images, 3, numbers)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(process(images[order], 3, numbers[order]), whole[order], rtol=0, atol=0)
    halves = [process(part, 3, index) for part, index in zip(images.chunk(2), numbers.chunk(2), strict=True)]
    torch.testing.assert_close(torch.cat(halves), whole, rtol=0, atol=0)
    assert not torch.equal(process(images, 4, numbers), whole)
    assert not torch.equal(process(images, 3, numbers + 1), whole)
    torch.testing.assert_close(process(images, 3), process(images, 3, torch.arange(32)), rtol=0, atol=0)


def test_large_seeds_and_no_seed() -> None:
    images = batch(16, 6, 6)
    process = Preprocess(6, MEAN, STD, "dihedral")
    assert not torch.equal(process(images, 2**64 - 1), process(images, 2**64 - 2))
    plainly = Preprocess(6, MEAN, STD)(images, 3)
    torch.testing.assert_close(process(images), plainly, rtol=0, atol=0)


def test_augmenting_before_resizing_is_augmenting_after() -> None:
    images = batch(16, 8, 8)
    small = Preprocess(8, (0, 0, 0), (1, 1, 1), "dihedral")(images, 7)
    expected = interpolate(small, size=(24, 24), mode="bicubic", align_corners=False)
    result = Preprocess(24, (0, 0, 0), (1, 1, 1), "dihedral")(images, 7)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_bad_arguments() -> None:
    with pytest.raises(RelayError, match="image_size is 0"):
        Preprocess(0, MEAN, STD)
    with pytest.raises(RelayError, match="three numbers"):
        Preprocess(6, (0.5,), (0.5,))
    with pytest.raises(RelayError, match="std above 0"):
        Preprocess(6, MEAN, (0.2, 0.0, 0.2))
    with pytest.raises(RelayError, match="augment is 'mixup'"):
        Preprocess(6, MEAN, STD, "mixup")  # type: ignore[arg-type]
    with pytest.raises(RelayError, match="9x5 pixels; set decode_size"):
        Preprocess(6, MEAN, STD, "dihedral")(batch(2, 5, 9), 1)
