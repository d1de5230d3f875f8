"""Patches inside regions: against a loop over all windows, and on cases worked by hand."""

import time
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from datamodules.readers.hrct.patches import extract_patches, find_patches
from stages.errors import RelayError

Kept = list[tuple[tuple[int, int, int], int, Fraction]]


def by_loop(mask: npt.NDArray[np.uint8], size: int, stride: int, coverage: Fraction) -> Kept:
    kept: Kept = []
    for number, plane in enumerate(mask):
        for row in range(0, plane.shape[0] - size + 1, stride):
            for column in range(0, plane.shape[1] - size + 1, stride):
                window = plane[row : row + size, column : column + size].ravel().tolist()
                counts = sorted((-window.count(label), label) for label in set(window) - {0})
                if counts and Fraction(-counts[0][0], size * size) >= coverage:
                    share = Fraction(-counts[0][0], size * size)
                    kept.append(((number, row, column), counts[0][1], share))
    return kept


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)),
                  elements=st.integers(0, 3)),
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 20),
)  # fmt: skip
def test_patches_are_those_that_a_loop_over_all_windows_keeps(
    mask: npt.NDArray[np.uint8], size: int, stride: int, twentieths: int
) -> None:
    coverage = Fraction(twentieths, 20)
    volume = np.arange(mask.size, dtype=np.int16).reshape(mask.shape) - 100
    patches, positions, labels = extract_patches(volume, mask, size, stride, float(coverage))
    expected = by_loop(mask, size, stride, coverage)
    assert [tuple(position) for position in positions.tolist()] == [place for place, _, _ in expected]
    assert labels.tolist() == [label for _, label, _ in expected]
    shares = find_patches(mask, size, stride, float(coverage))[2]
    assert shares.tolist() == [float(share) for _, _, share in expected]
    assert patches.dtype == np.int16 and patches.shape == (len(expected), size, size)
    for patch, ((number, row, column), _, _) in zip(patches, expected, strict=True):
        assert np.array_equal(patch, volume[number, row : row + size, column : column + size])


def test_the_defaults_keep_a_window_of_32_pixels_on_a_grid_of_16_with_three_quarters_inside() -> None:
    volume = np.arange(64 * 64, dtype=np.int16).reshape(1, 64, 64)
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, 24:56, 16:48] = 7  # (16, 16) and (32, 16) hold 24 of 32 rows
    patches, positions, labels = extract_patches(volume, mask)
    assert positions.tolist() == [[0, 16, 16], [0, 32, 16]]
    assert labels.tolist() == [7, 7]
    assert np.array_equal(patches[1], volume[0, 32:64, 16:48])
    mask[0, 55, 47] = 0
    assert extract_patches(volume, mask)[1].tolist() == [[0, 16, 16]]


def test_a_share_that_floating_point_rounds_up_is_enough() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[0, :7] = 1  # 0.07 * 10 * 10 is a little more than 7
    assert len(extract_patches(mask, mask, size=10, stride=1, coverage=0.07)[0]) == 1
    assert len(extract_patches(mask, mask, size=10, stride=1, coverage=0.0701)[0]) == 0


def test_a_single_slice_has_slice_zero() -> None:
    image = np.arange(36, dtype=np.uint8).reshape(6, 6)
    patches, positions, labels = extract_patches(image, np.ones((6, 6), bool), size=4, stride=2)
    assert positions.tolist() == [[0, 0, 0], [0, 0, 2], [0, 2, 0], [0, 2, 2]]
    assert labels.tolist() == [1, 1, 1, 1] and patches.dtype == np.uint8
    assert np.array_equal(patches[3], image[2:6, 2:6])


def test_an_equal_share_goes_to_the_smaller_label() -> None:
    mask = np.array([[5, 5, 2, 2]] * 4)
    assert extract_patches(mask, mask, size=4, stride=1, coverage=0.5)[2].tolist() == [2]


def test_patches_are_copies() -> None:
    volume, mask = np.zeros((1, 4, 4), np.int16), np.ones((1, 4, 4), np.uint8)
    patches, _, _ = extract_patches(volume, mask, size=4)
    patches[:] = 9
    assert not volume.any()


def test_a_slice_smaller_than_a_patch_has_none() -> None:
    patches, positions, labels = extract_patches(np.ones((2, 31, 90)), np.ones((2, 31, 90), int))
    assert patches.shape == (0, 32, 32) and patches.dtype == np.float64
    assert positions.shape == (0, 3) and labels.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask": np.ones((8, 9), int)}, r"shape \(8, 8\), its mask \(8, 9\)"),
        ({"mask": np.ones((8, 8))}, "type float64; write whole numbers"),
        ({"mask": np.full((8, 8), -1)}, "the label -1; labels count from 1"),
        ({"mask": np.ones(8, int)}, "neither"),
        ({"size": 0}, "size is 0"),
        ({"size": 2.0}, "size is 2.0"),
        ({"stride": -1}, "stride is -1"),
        ({"stride": True}, "stride is True"),
        ({"coverage": 0.0}, "coverage is 0.0"),
        ({"coverage": 1.01}, "coverage is 1.01"),
        ({"coverage": float("nan")}, "coverage is nan"),
        ({"coverage": "0.75"}, "coverage is '0.75'"),
        ({"mask": np.full((8, 8), 2**63, np.uint64)}, "the label 9223372036854775808; labels are returned"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, object], message: str) -> None:
    usual = {"volume": np.ones((8, 8)), "mask": np.ones((8, 8), int), "size": 4}
    with pytest.raises(RelayError, match=message):
        extract_patches(**(usual | arguments))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_volume_of_300_slices_takes_seconds() -> None:
    mask = np.zeros((300, 512, 512), np.uint8)
    for label in range(1, 5):
        mask[:, label * 100 : label * 100 + 90, 60:300] = label
    volume = np.zeros(mask.shape, np.int16)
    started = time.process_time()
    patches, _, labels = extract_patches(volume, mask)
    assert time.process_time() - started < 20.0  # some four seconds on one core of 2020
    assert len(patches) > 10_000 and set(labels.tolist()) == {1, 2, 3, 4}
