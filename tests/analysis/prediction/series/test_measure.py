"""Percent and millilitres of a map, worked out by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.prediction.series.measure import Measurement, measure, thirds, write_measurements
from analysis.prediction.series.volume import open_volume
from tests.helpers.fake_hrct import hounsfield, write_series, write_tiff
from tests.helpers.made_maps import made_map

CLASSES = ("EMP", "NOR")
PIXEL = 0.7 * 0.6  # mm2


def rows_of(found: list[Measurement]) -> dict[tuple[str, str], Measurement]:
    return {(row.region, row.pattern): row for row in found}


def test_slices_weigh_as_much_as_they_stand_for(tmp_path: Path) -> None:
    places = write_series(tmp_path / "ct", hounsfield(5), step=2.0)
    places[2].unlink()  # heights 0, 2, 6, 8 from the lowest: the extents are 2, 3, 3, 2 mm
    volume = open_volume(tmp_path / "ct")
    lungs, patterns = np.zeros(volume.shape, np.uint8), np.zeros(volume.shape, np.uint8)
    for number, (right, left) in enumerate([(10, 20), (30, 0), (5, 5), (0, 40)]):
        lungs[number, 0, :right] = 1
        lungs[number, 1, :left] = 2
    patterns[:2][lungs[:2] > 0] = 1
    patterns[2:][lungs[2:] > 0] = 2
    uncertain = lungs == 1
    found = rows_of(measure(made_map(tmp_path / "map", volume, lungs, patterns, CLASSES, None, uncertain)))

    emp, nor = 2 * 30 + 3 * 30, 3 * 10 + 2 * 40
    assert found["lungs", "EMP"].percent == pytest.approx(100 * emp / (emp + nor))
    assert found["lungs", "EMP"].ml == pytest.approx(emp * PIXEL / 1000)
    assert found["lungs", "NOR"].ml == pytest.approx(nor * PIXEL / 1000)
    right = 2 * 10 + 3 * 30 + 3 * 5
    assert found["right lung", "EMP"].percent == pytest.approx(100 * (right - 15) / right)
    assert found["right lung", "uncertain"].percent == pytest.approx(100)
    assert found["left lung", "uncertain"].ml == 0
    assert found["lungs", "uncertain"].percent == pytest.approx(100 * right / (emp + nor))
    # From -1 to 9 mm: thirds end at 2.33 and 5.67
    assert found["lower third", "EMP"].ml == pytest.approx(emp * PIXEL / 1000)
    assert found["middle third", "EMP"].percent is None
    assert found["upper third", "NOR"].percent == 100
    assert all((row.low, row.high) == (None, None) for row in found.values()), "one network"
    assert list(dict.fromkeys(region for region, _ in found)) == [
        "lungs", "right lung", "left lung", "upper third", "middle third", "lower third",
    ]  # fmt: skip


def test_thirds_are_of_the_lungs_not_of_the_series(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", hounsfield(12), step=5.0)
    volume = open_volume(tmp_path / "ct")
    with_lungs = np.zeros(12, bool)
    with_lungs[2:11] = True
    found = thirds(volume, with_lungs)
    assert found is not None
    assert found[2:11].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_the_interval_is_students_over_the_networks_own_maps_within_0_and_100(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", hounsfield(2))
    volume = open_volume(tmp_path / "ct")
    lungs = np.zeros(volume.shape, np.uint8)
    lungs[:, :10, :10] = 1
    own = np.where(lungs > 0, 2, 0)[None].repeat(3, 0).astype(np.uint8)
    shares = [0.02, 0.05, 0.20]
    for network, share in enumerate(shares):
        own[network, 0].ravel()[np.flatnonzero(lungs[0])[: int(share * 200)]] = 1
    found = rows_of(measure(made_map(tmp_path / "map", volume, lungs, own[1], CLASSES, own)))
    low, high = stats.t.interval(0.95, 2, 9.0, stats.sem([100 * share for share in shares]))
    assert low < 0
    row = found["right lung", "EMP"]
    assert (row.percent, row.low, row.high) == (pytest.approx(5), 0, pytest.approx(high))
    assert found["lungs", "NOR"].high == 100
    assert found["lungs", "uncertain"].low is None


def test_without_a_place_there_are_neither_sides_nor_thirds_nor_millilitres(tmp_path: Path) -> None:
    for number, plane in enumerate(hounsfield(2)):
        write_tiff(tmp_path / f"s{number}.tif", plane)
    volume = open_volume(tmp_path)
    lungs = np.full(volume.shape, 3, np.uint8)
    patterns = np.where(np.arange(2)[:, None, None] == 0, lungs - 2, 2).astype(np.uint8)
    rows = measure(made_map(tmp_path / "map", volume, lungs, patterns, CLASSES))
    assert [(row.region, row.percent, row.ml) for row in rows] == [
        ("lungs", 50, None), ("lungs", 50, None), ("lungs", 0, None),
    ]  # fmt: skip
    write_measurements(tmp_path / "m.csv", rows)
    table = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    assert list(table[0]) == ["region", "pattern", "percent", "ml", "low", "high"]
    assert (float(table[0]["percent"]), table[0]["ml"], table[2]["pattern"]) == (50, "", "uncertain")
