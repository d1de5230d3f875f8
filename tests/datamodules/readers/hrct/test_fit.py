"""Masks that were turned or mirrored on the way to their slices."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.readers.hrct.reader import HrctOptions, survey
from datamodules.readers.hrct.regions.fit import fits_better_turned
from tests.helpers.fake_hrct import write_tiff
from tests.helpers.fake_units import read_all

REAL = Path(os.environ.get("RELAY_REAL_DATA", ""), "lung/semiseg-slices/test")


def slice_and_mask(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A bright pattern with a bay, in noise."""
    down, across = np.mgrid[: shape[0], : shape[1]]
    mask = ((down - 40) / 28) ** 2 + ((across - 50) / 40) ** 2 < 1
    mask &= ((down - 30) / 12) ** 2 + ((across - 60) / 20) ** 2 > 1
    noise = np.random.default_rng(0).normal(0, 20, shape)
    return (np.where(mask, -100, -800) + noise).astype(np.int16), mask


@pytest.mark.parametrize("shape", [(128, 128), (128, 160)])
def test_turned_and_mirrored_masks_are_seen_and_others_are_not(shape: tuple[int, int]) -> None:
    image, mask = slice_and_mask(shape)
    assert not fits_better_turned(image, mask)
    assert fits_better_turned(image, mask[::-1])
    assert fits_better_turned(image, mask[:, ::-1])
    assert fits_better_turned(image, mask[::-1, ::-1])
    if shape[0] == shape[1]:
        assert fits_better_turned(image, np.rot90(mask))
        assert fits_better_turned(image, mask.T)
    small = np.zeros(shape, bool)
    small[90:110, 90:110] = True
    assert not fits_better_turned(image, small), "nothing to compare"


def test_a_prepared_slice_says_so(tmp_path: Path) -> None:
    image, mask = slice_and_mask((128, 128))
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for place, drawn in enumerate((mask, mask[:, ::-1])):
        write_tiff(tmp_path / "images" / f"a{place}.tif", image)
        Image.fromarray(drawn.astype(np.uint8)).save(tmp_path / "labels" / f"a{place}.png")
    found = survey(tmp_path, HrctOptions(labels={1: "GGO"}, coverage=0.5), "raise")
    samples, _ = read_all(found)
    noted = {s.group: any("turned or mirrored" in each for each in s.remarks) for s in samples}
    assert sorted(noted.values()) == [False, True]


@pytest.mark.skipif(not REAL.is_dir(), reason="RELAY_REAL_DATA is not set to a folder of real images")
def test_real_masks_as_radiologists_drew_them() -> None:
    right = wrong = 0
    for file in sorted((REAL / "Imgs").iterdir())[:20]:
        image = np.asarray(Image.open(file).convert("L"))
        mask = np.asarray(Image.open(next((REAL / "GT").glob(f"{file.stem}.*"))).convert("L")) > 0
        right += fits_better_turned(image, mask)
        wrong += fits_better_turned(image, mask[::-1])
    assert right == 0 and wrong >= 5
