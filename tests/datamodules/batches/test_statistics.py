"""The mean and deviation of a domain's training images, against numpy's over all pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datamodules.batches.statistics
from datamodules.batches.statistics import channel_statistics
from datamodules.domain import Domain, Side
from datamodules.loading.image_files import ImageFiles
from datamodules.pixels.decode import Reading
from stages.errors import RelayError


def _split(images: npt.NDArray[np.uint8] | ImageFiles) -> Side:
    names = tuple(str(index) for index in range(len(images)))
    return Side(images, np.zeros(len(images), dtype=np.int64), names, names)


def _domain(train: npt.NDArray[np.uint8] | ImageFiles, val: npt.NDArray[np.uint8]) -> Domain:
    return Domain(("a", "b"), _split(train), _split(val))


def _random(shape: tuple[int, ...], seed: int, low: int = 0, high: int = 256) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(low, high, shape, dtype=np.uint8)


@settings(max_examples=30, deadline=None)
@given(images=st.integers(1, 5), side=st.integers(2, 7), low=st.integers(0, 250), seed=st.integers(0, 999))
def test_grey_images_have_three_equal_channels(images: int, side: int, low: int, seed: int) -> None:
    train = _random((images, side, side + 1), seed, low=low)
    train[0, 0, :2] = 0, 255
    mean, std = channel_statistics(_domain(train, train))
    assert mean == pytest.approx([np.mean(train / 255.0)] * 3, rel=1e-12)
    assert std == pytest.approx([np.std(train / 255.0)] * 3, rel=1e-12)


def test_channels_of_colour_images_are_told_apart() -> None:
    train = np.concatenate(
        [_random((4, 5, 6, 1), seed=each, low=40 * each, high=100 + 60 * each) for each in (0, 1, 2)], axis=3
    )
    mean, std = channel_statistics(_domain(train, train))
    assert mean == pytest.approx(np.mean(train / 255.0, axis=(0, 1, 2)), rel=1e-12)
    assert std == pytest.approx(np.std(train / 255.0, axis=(0, 1, 2)), rel=1e-12)
    assert len({*mean, *std}) == 6


def test_of_the_training_side_only() -> None:
    train, val = _random((3, 4, 4), seed=1, high=20), _random((9, 4, 4), seed=2, low=200)
    mean, _ = channel_statistics(_domain(train, val))
    assert mean[0] == pytest.approx(np.mean(train / 255.0))


def test_counting_in_pieces_misses_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    train = _random((7, 4, 4), seed=3)
    whole = channel_statistics(_domain(train, train))
    for pixels in (1, 16, 33):  # one image at a time; exactly one; two, so that the last piece is short
        monkeypatch.setattr(datamodules.batches.statistics, "_CHUNK", pixels)
        assert channel_statistics(_domain(train, train)) == whole


def test_black_and_white_in_equal_shares() -> None:
    train = np.zeros((2, 4, 4), dtype=np.uint8)
    train[1] = 255
    assert channel_statistics(_domain(train, train)) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@settings(max_examples=60, deadline=None)
@given(value=st.integers(0, 255), images=st.integers(1, 9), side=st.integers(1, 9))
def test_images_of_one_value_are_refused(value: int, images: int, side: int) -> None:
    grey = np.full((images, side, side), value, dtype=np.uint8)
    with pytest.raises(RelayError, match="one and the same value"):
        channel_statistics(_domain(grey, grey))


def test_one_constant_channel_is_refused() -> None:
    colour = _random((3, 4, 4, 3), seed=4)
    colour[..., 1] = 9
    with pytest.raises(RelayError, match="same value"):
        channel_statistics(_domain(colour, colour))


def test_a_domain_that_streams_is_refused_with_the_keys_to_set() -> None:
    files = ImageFiles(("a.png", "b.png"), Reading(None, None, color=False), (4, 4))
    val = _random((2, 4, 4), seed=5)
    with pytest.raises(RelayError, match=r"data\.mean and data\.std.*data\.memory_limit_gb"):
        channel_statistics(_domain(files, val))
