"""Agreement of maps against cases worked by hand and scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import confusion_matrix, f1_score

from benchmarks.agreement import (
    confusion,
    dice,
    dice_of_lungs,
    limits_of_agreement,
    percentages,
    plot_agreement,
)

TRUE = np.array([[0, 1, 1, 2], [0, 1, 2, 2]], np.uint8)
FOUND = np.array([[0, 1, 2, 2], [1, 1, 2, 0]], np.uint8)


def test_worked_by_hand() -> None:
    counts = confusion(TRUE, FOUND, 3)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    assert dice(counts, 1) == pytest.approx(2 * 2 / (3 + 3))
    assert dice(counts, 2) == pytest.approx(2 * 2 / (3 + 3))
    assert dice(counts, 3) is None  # in neither
    assert dice_of_lungs(counts) == pytest.approx(2 * 5 / (6 + 6))
    true, found = percentages(counts)
    assert_allclose(true, [50, 50, 0])
    assert_allclose(found, [50, 50, 0])


def test_random_maps_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 5, (2, 6, 20, 30)).astype(np.uint8)
    counts = confusion(true, found, 4)
    assert_array_equal(counts, confusion_matrix(true.ravel(), found.ravel()))
    f1 = f1_score(true.ravel(), found.ravel(), average=None)  # Dice is F1
    assert_allclose([dice(counts, label) for label in range(5)], f1)
    assert dice_of_lungs(counts) == pytest.approx(f1_score(true.ravel() > 0, found.ravel() > 0))


def test_empty_lungs_have_no_percentages() -> None:
    true, found = percentages(confusion(np.zeros(4, np.uint8), np.zeros(4, np.uint8), 2))
    assert_array_equal(true, [0, 0])
    assert_array_equal(found, [0, 0])


def test_limits_of_agreement_worked_by_hand() -> None:
    limits = limits_of_agreement([1.0, 2.0, 3.0, 6.0])
    # Mean 3; squares of the deviations 4 + 1 + 0 + 9 = 14, over 3.
    assert (limits.bias, limits.count) == (3.0, 4)
    assert limits.high - limits.bias == pytest.approx(1.96 * (14 / 3) ** 0.5)
    assert limits.bias - limits.low == pytest.approx(1.96 * (14 / 3) ** 0.5)


def test_the_plot_shows_each_panel_and_is_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = {name: (rng.random(40), rng.random(40)) for name in ("networks", "thresholds")}
    for path in (tmp_path / "one.svg", tmp_path / "two.svg"):
        plot_agreement(path, {"glass": pairs, "dense": pairs}, "percent")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"<svg" in (tmp_path / "one.svg").read_bytes()
    assert (tmp_path / "one.svg").stat().st_size < 300_000
