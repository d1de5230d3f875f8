"""Equal and nearly equal images are found, others are not."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from datamodules.duplicates.find import Duplicate, crossing, find_duplicates
from datamodules.duplicates.image_hash import picture_hashes, similarity
from stages.errors import RelayError
from tests.helpers.fake_images import picture

ROOT = os.environ.get("RELAY_REAL_DATA", "")
Picture = npt.NDArray[np.uint8]


def jpeg(pixels: Picture) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def resized(pixels: Picture) -> Picture:
    return np.asarray(Image.fromarray(pixels).resize((150, 120), Image.Resampling.BICUBIC))


def brighter(pixels: Picture) -> Picture:
    return np.clip(pixels * 1.1 + 8, 0, 255).astype(np.uint8)


def shifted(pixels: Picture) -> Picture:
    return np.roll(pixels, (2, -1), (0, 1))


def in_color(pixels: Picture) -> Picture:
    return np.stack([pixels] * 3, axis=2)


def pairs(found: list[Duplicate]) -> list[tuple[int, int, str]]:
    return [(pair.i, pair.j, pair.kind) for pair in found]


def test_equal_pixels_are_exact_duplicates_of_their_first() -> None:
    images = [picture(0), picture(1), picture(0), picture(2), picture(0)]
    found = find_duplicates(images)
    assert pairs(found) == [(0, 2, "exact"), (0, 4, "exact")]
    assert [pair.similarity for pair in found] == [1.0, 1.0]


@pytest.mark.parametrize("change", [jpeg, resized, brighter, shifted, in_color])
@pytest.mark.parametrize("seed", range(3))
def test_a_changed_copy_is_a_near_duplicate(change: Any, seed: int) -> None:
    images = [picture(number) for number in range(20, 40)]
    images.append(change(images[seed]))
    found = find_duplicates(images)
    assert pairs(found) == [(seed, 20, "near")]
    assert 0.985 <= found[0].similarity <= 1.0


def test_hounsfield_units_are_compared_as_they_are() -> None:
    volume = [picture(seed).astype(np.int16) * 6 - 1000 for seed in range(6)]
    volume.append(volume[2] + np.int16(20))
    assert pairs(find_duplicates(volume)) == [(2, 6, "near")]


def test_neighbouring_slices_are_no_duplicates() -> None:
    """They share their outline and differ in what is inside."""
    body = 160 * (np.hypot(*(np.mgrid[:160, :200] - np.asarray([80, 100])[:, None, None])) < 70)
    slices = [np.clip(body + (picture(seed) - 128.0) * 0.8, 0, 255).astype(np.uint8) for seed in range(8)]
    assert find_duplicates(slices) == []


def test_patches_across_the_same_edge_are_no_duplicates() -> None:
    """Half of each is lung, half is wall, so that they correlate; the noise tells them apart."""
    edge = np.where(np.arange(32) < 16, -850.0, 40.0)[None, :].repeat(32, axis=0)
    rng = np.random.default_rng(0)
    patches = (edge + rng.normal(0, 25, (40, 32, 32))).astype(np.int16)
    assert np.corrcoef(patches[0].ravel(), patches[1].ravel())[0, 1] > 0.985
    assert similarity(patches[0], patches[1], 0.985) == 0
    assert similarity(patches[0], patches[0] + np.int16(9), 0.985) > 0.985
    assert find_duplicates(patches) == []


def test_constant_images_are_duplicates_only_where_they_are_equal() -> None:
    constant = [np.full((32, 32), level, np.uint8) for level in (0, 7, 255, 7)]
    assert pairs(find_duplicates(constant)) == [(1, 3, "exact")]
    noise = np.random.default_rng(0).normal(size=(32, 32))
    assert find_duplicates([np.asarray(9 + (noise > level), np.uint8) for level in (1.0, 1.01, 1.02)]) == []


def test_the_same_bytes_in_another_shape_or_type_are_not_equal() -> None:
    pixels = picture(0, (32, 64))
    assert find_duplicates([pixels, pixels.reshape(64, 32), pixels.view(np.int16)]) == []


def test_the_threshold_decides() -> None:
    images = [picture(0), np.clip(picture(0) + np.random.default_rng(0).normal(0, 40, (160, 200)), 0, 255)]
    images[1] = images[1].astype(np.uint8)
    value = similarity(images[0], images[1])
    assert 0.7 < value < 0.985
    assert find_duplicates(images) == []
    assert pairs(find_duplicates(images, threshold=value - 0.01)) == [(0, 1, "near")]


def test_an_image_is_read_once_while_hashing() -> None:
    class Counting(list[Picture]):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            self.reads += 1
            return super().__getitem__(index)

    images = Counting([picture(seed, (40, 40)) for seed in range(9)])
    find_duplicates(images)
    assert images.reads == 9


def test_hashes_of_mixed_sizes_are_those_of_each_alone() -> None:
    images = [picture(0), picture(1), picture(2, (32, 32)), picture(3)]
    together, _ = picture_hashes(images)
    assert together.tolist() == [int(picture_hashes([image])[0][0]) for image in images]


def test_copies_on_both_sides_are_joined_and_named() -> None:
    found = [Duplicate(0, 2, "exact", 1.0), Duplicate(2, 5, "near", 0.99), Duplicate(1, 3, "exact", 1.0)]
    sides = ["train", "val", "train", "val", "train", "val"]
    assert crossing(found, sides) == [(0, 2, 5)]
    assert crossing([], sides) == []


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(RelayError, match="give a correlation above 0 and up to 1"):
        find_duplicates([picture(0)], threshold=threshold)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 2, 3, 4)])
def test_an_image_of_no_image_s_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RelayError, match="image 1 has shape"):
        find_duplicates([picture(0), np.zeros(shape, np.uint8)])


def test_no_images_have_no_duplicates() -> None:
    assert find_duplicates([]) == []
    assert find_duplicates([picture(0), np.zeros((1, 1), np.uint8)]) == []


@pytest.mark.slow
def test_thirty_thousand_patches_take_seconds() -> None:
    rng = np.random.default_rng(0)
    patches = np.empty((30_000, 32, 32), np.int16)
    for start in range(0, len(patches), 1000):
        noise = rng.normal(size=(1000, 32, 32))
        patches[start : start + 1000] = -850 + 900 * gaussian_filter(noise, (0, 3, 3)) + 30 * noise
    patches[20_000] = patches[4]
    patches[25_000] = patches[9] + 5
    assert pairs(find_duplicates(patches)) == [(4, 20_000, "exact"), (9, 25_000, "near")]


@pytest.mark.skipif(not ROOT, reason="RELAY_REAL_DATA is not set to a folder of real images")
def test_the_one_repeated_slice_of_the_real_set_is_found_and_no_other() -> None:
    folder = Path(ROOT, "lung", "semiseg-slices")
    files = [
        file for side in ("train", "test") for file in sorted(folder.glob(f"{side}/Imgs/*.jpg"), key=_number)
    ]
    assert len(files) == 98
    found = find_duplicates([np.asarray(Image.open(file).convert("L")) for file in files])
    named = [(files[pair.i].stem, files[pair.j].stem, pair.kind) for pair in found]
    assert named == [("10", "43", "near")]
    assert {files[found[0].i].parts[-3], files[found[0].j].parts[-3]} == {"train"}


@pytest.mark.slow
@pytest.mark.skipif(not ROOT, reason="RELAY_REAL_DATA is not set to a folder of real images")
@pytest.mark.parametrize("folder", ["lung/semiseg-patches32", "texture/KTH-TIPS-grey"])
def test_real_patches_and_textures_have_no_duplicates(folder: str) -> None:
    files = sorted(Path(ROOT, folder).glob("*/*.png"))
    assert len(files) > 800
    assert find_duplicates([np.asarray(Image.open(file)) for file in files]) == []


def _number(file: Path) -> int:
    return int(file.stem)
