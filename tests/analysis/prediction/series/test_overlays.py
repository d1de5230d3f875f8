"""Overlays show each pattern in its colour where it is, seen from the feet, and hold nothing but pixels."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from analysis.prediction.series.colours import pattern_colours
from analysis.prediction.series.overlays import (
    LUNG_WINDOW,
    Overlay,
    chosen_slices,
    draw_overlays,
    draw_strip,
    most_of_each,
    radiological,
)
from analysis.prediction.series.overview import Overview, look_through
from analysis.prediction.series.pattern_map import ONE, PatternMap
from datamodules.embedded.dld_series import CLASSES
from tests.helpers.fake_maps import fake_map

WINDOW = (-1000.0, 400.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PatternMap:
    """A map that says CON in the right lung and GGO in the left, uncertain in slice 3."""
    found, _ = fake_map(tmp_path_factory.mktemp("map"))
    for number in range(6):
        side = np.asarray(found.lungs[number])
        likely = np.zeros((len(CLASSES), *side.shape), np.uint16)
        likely[0][side == 1], likely[1][side == 2] = ONE, ONE
        found.write(number, likely, (side > 0) & (number == 3), np.asarray(found.own_counts[number]))
    return found


def overview(found: PatternMap) -> Overview:
    return look_through(found, WINDOW, LUNG_WINDOW)


def drawn(found: PatternMap, number: int) -> Overlay:
    return next(iter(draw_overlays(found, overview(found), [number])))


def coloured(overlay: Overlay) -> npt.NDArray[np.int64]:
    """(h, w) of the map, the right panel: the pattern whose colour is nearest, from 1; 0 where it is grey."""
    picture = np.asarray(Image.open(io.BytesIO(overlay.png)).convert("RGB"), np.int64)[28:]
    panel = picture[:, overlay.size[0] // 2 :][:300]
    distance = np.abs(panel[:, :, None] - np.array(pattern_colours(len(CLASSES)))).sum(-1)
    return np.where(np.ptp(panel, axis=-1) > 25, distance.argmin(-1) + 1, 0)


def test_the_right_lung_is_at_the_left_in_its_pattern_s_colour(made: PatternMap) -> None:
    overlay = drawn(made, 2)
    colours = coloured(overlay)[:200]
    middle = colours.shape[1] // 2
    assert set(np.unique(colours[:, :middle])) == {0, 1} and set(np.unique(colours[:, middle:])) == {0, 2}
    counts = overview(made).counts[2]
    assert counts[0] > 0 < counts[1] and sum(counts[2:]) == 0
    seen = (colours[:, :middle] > 0).sum() / (colours[:, middle:] > 0).sum()
    assert seen == pytest.approx(counts[0] / counts[1], rel=0.05)
    assert overlay.shares[:3] == pytest.approx((*(counts[:2] / counts.sum()), 0.0))
    assert overlay.place == f"slice 3 of 6, {made.volume.heights[2]:+.1f} mm"  # type: ignore[index]


def test_what_is_uncertain_is_striped(made: PatternMap) -> None:
    sure, unsure = drawn(made, 2), drawn(made, 3)
    share = [(coloured(each)[:200] > 0).sum() for each in (sure, unsure)] / overview(made).lungs[2:4]
    assert share[1] == pytest.approx(share[0] / 2, rel=0.06)
    assert (sure.uncertain, unsure.uncertain) == (0.0, 1.0)


@pytest.mark.parametrize("columns", [-1, 1])
@pytest.mark.parametrize("rows", [-1, 1])
@pytest.mark.parametrize("transposed", [False, True])
def test_any_orientation_is_seen_from_the_feet(
    made: PatternMap, columns: int, rows: int, transposed: bool
) -> None:
    """By NIfTI's equation: x (to the patient's right) falls along rows, y (to the front) falls downwards."""
    affine = np.diag([0.7 * columns, 0.6 * rows, 1.0, 1.0])
    if transposed:
        affine[:, :2] = affine[:, 1::-1]
    turn = radiological(replace(made, volume=replace(made.volume, affine=affine)))
    place = np.stack(np.meshgrid(np.arange(4), np.arange(3), [0], [1]), -1).reshape(3, 4, 4)  # (column, row)
    x, y = (turn.apply((place @ affine.T)[..., axis]) for axis in (0, 1))
    assert (np.diff(x, axis=1) < 0).all() and (np.diff(y, axis=0) < 0).all()
    assert (np.diff(x, axis=0) == 0).all() and (np.diff(y, axis=1) == 0).all()


def test_dicom_and_nifti_of_a_series_give_the_same_files_with_nothing_but_pixels(tmp_path: Path) -> None:
    pictures = []
    for name in ("dicom", "series.nii.gz"):
        found, _ = fake_map(tmp_path / name, kind=name)
        pictures.append(drawn(found, 2).png)
    assert pictures[0] == pictures[1]
    for content in (pictures[0], draw_strip(found, overview(found))[0]):
        kinds, place = [], 8
        while place < len(content):
            kinds.append(content[place + 4 : place + 8])
            place += 12 + int.from_bytes(content[place : place + 4])
        assert set(kinds) == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def test_of_a_long_series_some_slices_and_those_with_the_most_of_a_pattern_are_drawn(
    made: PatternMap,
) -> None:
    counts = np.ones((301, 3), np.int64)
    counts[0], counts[:, 2] = 0, 0
    counts[2, 0] = counts[7, 1] = 5
    long = replace(overview(made), counts=counts)
    assert most_of_each(long) == {0: 2, 1: 7}
    some = chosen_slices(long, every=False)
    assert {1, 2, 7, 300} <= set(some) and 60 <= len(some) <= 62 and max(np.diff(some)) <= 6
    assert chosen_slices(long, every=True) == list(range(1, 301))
    assert chosen_slices(overview(made), every=False) == np.flatnonzero(overview(made).lungs).tolist()


def test_a_series_without_a_place_is_shown_as_it_is_without_sides(made: PatternMap) -> None:
    scan = replace(made.volume.scan, planes=None)
    loose = replace(made, volume=replace(made.volume, scan=scan, heights=None, spacing=(None, None, None)))
    overlay = drawn(loose, 2)
    assert overlay.place == "slice 3 of 6" and not any(vars(radiological(loose)).values())
    assert overlay.png != drawn(made, 2).png
