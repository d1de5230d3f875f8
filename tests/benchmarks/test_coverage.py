"""The quick form of benchmarks.coverage: intervals cover as they should, within Monte Carlo error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.statistics.fixed_networks import patients_accuracy, patients_difference
from analysis.statistics.two_way import two_way_difference, two_way_level
from benchmarks import coverage
from benchmarks.coverage_of_studies import Cell, _fixed, _two_way
from benchmarks.simulated_study import World, simulate

REPLICATES = 200


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return coverage.quick(REPLICATES)


def pooled(cells: list[Cell], what: str, replicates: int = REPLICATES) -> tuple[float, float]:
    """Percent over all cells of one kind, and four standard errors of it."""
    found = [cell.percent for cell in cells if cell.what == what]
    assert found, what
    return float(np.mean(found)), 400 * (0.05 * 0.95 / (len(found) * replicates)) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    ["level", "difference", "accuracy", "difference of accuracies", "macro F1", "slope of a process",
     "difference of slopes", "level over seeds"],
)  # fmt: skip
def test_intervals_cover_what_they_should(cells: list[Cell], what: str) -> None:
    percent, error = pooled(cells, what)
    assert coverage.AIM[0] - error < percent < coverage.AIM[1] + error


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        "recall of a class of 50%",
        "recall of a class of 8%",
        "difference of macro F1",
        "level of balanced accuracy",
        "difference of balanced accuracy",
    ],
)
def test_intervals_that_may_cover_more(cells: list[Cell], what: str) -> None:
    percent, error = pooled(cells, what)
    assert percent > coverage.AIM[0] - error


@pytest.mark.slow
def test_tests_err_as_often_as_they_should(cells: list[Cell]) -> None:
    for what in (
        "Wilcoxon p < 0.05",
        "sign-flip p < 0.05 (max-T of one pair)",
        "paired t interval excludes 0",
    ):
        percent, error = pooled(cells, what)
        assert percent < 6 + error
    percent, error = pooled(cells, "a false difference, max-T", REPLICATES // 2)
    assert percent < 6 + error
    for what in ("all intervals cover", "15 differences, corrected: all cover"):
        percent, error = pooled(cells, what, REPLICATES // 2)
        assert percent > coverage.AIM[0] - error


@pytest.mark.slow
def test_max_t_finds_what_holm_cannot(cells: list[Cell]) -> None:
    """Eight seeds, 15 pairs: Holm's smallest p is 15 * 2 / 256 = 0.12."""
    assert pooled(cells, "true differences found, Holm-Wilcoxon (power)")[0] == 0
    assert pooled(cells, "true differences found, max-T (power)")[0] > 40


def test_what_is_measured_are_the_functions_of_the_page() -> None:
    """A simulated study, its patients' shares as images, gives the same ends by the public functions."""
    generator = np.random.default_rng(0)
    studies = next(simulate(World(spread=0.5), 6, 3, 4, generator, epochs=2, classes=True))
    level, difference = (ends for _, ends in list(_two_way(studies, False)))
    for study in range(4):
        sizes = studies.sizes[study].astype(int)
        groups = np.repeat(np.arange(6), sizes)
        a, b = np.repeat(studies.right[study] / sizes, sizes, axis=-1)
        found = two_way_difference(a, b, groups)
        assert (found.low, found.high) == pytest.approx((difference[0][study], difference[1][study]))
        found = two_way_level(b, groups)
        assert (found.low, found.high) == pytest.approx((level[0][study], level[1][study]))
    single = replace(studies, right=studies.right[:, :, :1], hits=studies.hits[:, :, :1])
    single = replace(single, predictions=studies.predictions[:, :, :1])
    accuracy, off, *_ = _fixed(single)
    a, b = np.repeat(studies.right[0, :, 0] / studies.sizes[0], studies.sizes[0].astype(int), axis=-1)
    groups = np.repeat(np.arange(6), studies.sizes[0].astype(int))
    found = patients_accuracy(b, groups)
    assert (found.low, found.high) == pytest.approx((accuracy[0][0], accuracy[1][0]))
    found = patients_difference(a, b, groups)
    assert (found.low, found.high) == pytest.approx((off[0][0], off[1][0]))


@pytest.mark.parametrize("world", [World(), World(size_effect=-0.6, fold=0.3, gap=0.5)])
def test_the_truth_is_what_many_studies_come_to(world: World) -> None:
    generator = np.random.default_rng(1)
    right, sizes, f1 = np.zeros(2), 0.0, np.zeros((3, 2, 4))
    for studies in simulate(world, 200, 2, 60, generator, epochs=2, classes=True):
        right += studies.right.sum(axis=(0, 2, 3)) / 2
        sizes += studies.sizes.sum()
        f1 += [np.tile(studies.images.sum(axis=(0, 1)), (2, 1)),
               studies.hits.sum(axis=(0, 2, 3)) / 2, studies.predictions.sum(axis=(0, 2, 3)) / 2]  # fmt: skip
    truth = [world.accuracy(0), world.accuracy(1)]
    assert right / sizes == pytest.approx(truth, abs=0.012)
    macro = (2 * f1[1] / (f1[0] + f1[2])).mean(axis=1)
    assert macro == pytest.approx([world.macro_f1(0), world.macro_f1(1)], abs=0.015)
    assert f1[1][0] / f1[0][0] == pytest.approx(world.recalls(0), abs=0.025)


def test_the_table_marks_what_misses_the_aim() -> None:
    cells = [
        Cell("level", "usual", "10", 3, 93.46),
        Cell("level", "usual", "10", 5, 93.44, 2.4),
        Cell("a false difference", "usual", "10", 5, 5.0),
        Cell("found (power)", "usual", "10", 3, 20.0),
    ]
    assert coverage.table(cells).splitlines() == [
        "| what | world | patients | 3 | 5 |",
        "|---|---|---|---|---|",
        "| level | usual | 10 | 93.5 | **93.4** (2) |",
        "| a false difference | usual | 10 |  | 5.0 |",
        "| found (power) | usual | 10 | 20.0 |  |",
    ]
