"""Which images and patients are wrong: three images' worth of predictions, counted by hand."""

from __future__ import annotations

import numpy as np

from analysis.report.errors_section import errors_section
from analysis.report.tables import Table
from analysis.runs import PooledPredictions

LABELS = {"scratch": "(1) scratch", "two_stage": "(4) two_stage"}


def pooled(groups: tuple[str | None, ...] = ("p", "p", "q", "q")) -> PooledPredictions:
    """Four images of classes 0, 0, 1, 1; two seeds of two processes, two epochs."""
    said = {
        # image 0 right at both seeds, 1 at one (half of its epochs is enough), 2 and 3 at none
        "scratch": {0: [[0, 0], [1, 0], [0, 0], [2, 0]], 1: [[0, 0], [1, 1], [0, 0], [0, 0]]},
        # image 3 is right at one seed
        "two_stage": {0: [[0, 0], [0, 0], [2, 2], [1, 1]], 1: [[0, 0], [0, 0], [0, 0], [0, 0]]},
    }
    return PooledPredictions(
        classes=("CON", "GGO", "HCM"),
        samples=("a", "b", "c", "d"),
        groups=groups,
        labels=np.array([0, 0, 1, 1]),
        by_epoch={
            (process, 1.0): {seed: np.array(rows) for seed, rows in of_seeds.items()}
            for process, of_seeds in said.items()
        },
        incomplete=(),
    )


def shown(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows()]


def test_images_patients_and_classes() -> None:
    section = errors_section(pooled(), LABELS)
    assert section is not None
    images, patients, classes = section.tables
    assert shown(images) == [
        ["(1) scratch", "25.0", "25.0", "50.0", "2"],
        ["(4) two_stage", "50.0", "25.0", "25.0", "2"],
    ]
    # scratch: p has 3 of 4 right, q none; two_stage: p all, q 1 of 4
    assert shown(patients) == [
        ["(1) scratch", "0.0", "18.8", "37.5", "56.2", "1"],
        ["(4) two_stage", "25.0", "43.8", "62.5", "81.2", "1"],
    ]
    # image c is wrong for all: 0, 0, 2, 0 at the last epochs
    assert shown(classes) == [
        ["CON", "2", "0", "\N{EN DASH}"], ["GGO", "2", "1", "CON"], ["HCM", "0", "0", "\N{EN DASH}"],
    ]  # fmt: skip
    assert not any(name in str(shown(table)) for table in section.tables for name in ("'p'", "'q'", "'c'"))


def test_nothing_is_said_of_patients_where_groups_are_images() -> None:
    for groups in (("a", "b", "c", "d"), ("p", "p", None, None)):
        section = errors_section(pooled(groups), LABELS)
        assert section is not None
        assert [table.name for table in section.tables] == ["errors", "errors_classes"]


def test_without_predictions_there_is_no_section() -> None:
    assert errors_section(None, LABELS) is None
