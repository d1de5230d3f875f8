"""Brightness and noise are in Hounsfield units where images are windowed from CT, else in grey levels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.batches.augment import Intensities
from datamodules.batches.random_bits import Draws
from datamodules.pixels.window import window_to_uint8
from datamodules.values.unit import distortion_note, grey_levels
from stages.errors import RelayError
from stages.recipe import Distortions, IntensityUnit
from stages.values import Values
from tests.datamodules.test_values import WINDOW, bright, domain_of, lung, of_number


def values(root: Path, make: Any, **source: Any) -> Values:
    found = domain_of(root, of_number(make), **source).values
    assert found is not None
    return found


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Values:
    return values(tmp_path_factory.mktemp("ct"), lung, window=WINDOW)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Values:
    return values(tmp_path_factory.mktemp("picture"), bright)


def test_a_shift_in_hounsfield_units_is_that_of_the_values_before_the_window(ct: Values) -> None:
    scan, index = np.stack([lung(number) for number in range(8)]), torch.arange(8)
    levels = grey_levels(Distortions(brightness=90.0), ct, "dld")
    images = torch.from_numpy(window_to_uint8(scan, WINDOW)).unsqueeze(1)
    shifted, _ = Intensities(90 * levels, 0.0, 0.0)(images, Draws(1, index))
    shifts = Draws(1, index).uniform("brightness", -90, 90).numpy().reshape(-1, 1, 1)
    expected = np.clip((scan + shifts + 1000) * 255 / 1400, 0, 255)
    seen = (scan > WINDOW[0]) & (scan < WINDOW[1])
    assert np.abs(shifted[:, 0].numpy() - expected)[seen].max() < 0.51, "the window rounds to whole levels"


@pytest.mark.parametrize(
    ("unit", "of_ct", "of_picture"), [(None, 255 / 1400, 1), ("HU", 255 / 1400, None), ("grey", 1, 1)]
)
def test_the_unit(
    ct: Values, picture: Values, unit: IntensityUnit | None, of_ct: float, of_picture: float | None
) -> None:
    drawn = Distortions(noise=5.0, intensity_unit=unit)
    assert grey_levels(drawn, ct, "dld") == pytest.approx(of_ct)
    if of_picture is not None:
        assert grey_levels(drawn, picture, "dld") == of_picture
        return
    for other in (picture, replace_values(ct, eight_bit=0.5), replace_values(ct, black=None), None):
        with pytest.raises(RelayError, match="stage dld: intensity_unit is HU, but its images are not all"):
            grey_levels(drawn, other, "dld")


def replace_values(found: Values, **change: Any) -> Values:
    return found.model_copy(update=change)


@pytest.mark.parametrize("name", ["brightness", "noise"])
def test_a_value_of_the_whole_range_is_refused(ct: Values, picture: Values, name: str) -> None:
    most = Distortions(**{name: 300.0})  # type: ignore[arg-type]
    grey_levels(most, ct, "dld")
    with pytest.raises(RelayError, match=f"{name} is 300 grey levels, which is"):
        grey_levels(most, picture, "natural")
    with pytest.raises(RelayError, match=f"{name} is 1400 HU, which is the whole range"):
        grey_levels(Distortions(**{name: 1400.0}), ct, "dld")  # type: ignore[arg-type]


def test_what_is_drawn_is_said(ct: Values, picture: Values) -> None:
    drawn = Distortions(rotation=(-5.0, 10.0), crop=(0.75, 1.0), brightness=28.0, contrast=0.1, noise=14)
    assert distortion_note(drawn, ct, "dld") == (
        "dld: drawn for each training image in each epoch: rotation by -5 to 10 degrees, a crop of 75% to "
        "100% of the sides, contrast +-10%, brightness +-28 HU (5.1 of 255 grey levels), noise of 14 HU "
        "(2.5 of 255 grey levels)"
    )
    assert distortion_note(Distortions(noise=14.0), picture, "us") == (
        "us: drawn for each training image in each epoch: noise of 14 grey levels"
    )
    assert distortion_note(Distortions(), picture, "us") is None
