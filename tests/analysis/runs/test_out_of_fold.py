"""Predictions pooled over folds: every image once, in one order, from files written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.runs import pool_folds
from analysis.statistics import compare
from stages.errors import RelayError
from stages.predictions import write_predictions

IMAGES = 9
LABELS = np.arange(IMAGES) % 2


def folder_of(path: Path, images: list[int], predicted: dict[int, int], classes: str = "ab") -> str:
    """A run's folder, in which each image is predicted as `predicted` says, rightly where it does not."""
    path.mkdir(parents=True)
    chosen = [predicted.get(image, int(LABELS[image])) for image in images]
    write_predictions(
        path / "predictions.parquet",
        samples=[f"image{image}" for image in images],
        groups=[f"patient{image // 2}" for image in images],
        labels=LABELS[images],
        logits=np.eye(2, dtype=np.float32)[chosen],
        classes=list(classes),
    )
    return str(path)


def row(folder: str, images: list[int], fold: int | None = None, **changes: Any) -> dict[str, Any]:
    right = {"accuracy_p75": 0.5, "val_images": len(images), "plateau_reached": True}
    cell = {
        "process": "scratch",
        "data_ratio": 1.0,
        "seed": 0,
        "fold": fold,
        "folds": None if fold is None else 3,
    }
    return {"id": folder, "folder": folder, "stage": "dld"} | right | cell | changes


def of_seed(
    tmp_path: Path, parts: list[list[int]], predicted: dict[int, int] | None = None, **cell: Any
) -> list[dict[str, Any]]:
    name = "-".join(map(str, cell.values())) or "run"
    return [
        row(folder_of(tmp_path / name / str(fold), images, predicted or {}), images, fold, **cell)
        for fold, images in enumerate(parts)
    ]


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows).astype({"fold": "Int64", "folds": "Int64"})


PARTS = [[4, 5, 0, 1], [2, 3, 8], [6, 7]]
OTHER_PARTS = [[2, 3, 0, 1], [4, 5, 6, 7], [8]]


def test_every_image_once_in_one_order_whatever_the_partition(tmp_path: Path) -> None:
    rows = [
        *of_seed(tmp_path, PARTS, {3: 0, 6: 1}, seed=0),
        *of_seed(tmp_path, OTHER_PARTS, {3: 0}, seed=1),
        *of_seed(tmp_path, PARTS, {0: 1}, seed=1, process="natural"),
    ]
    pooled = pool_folds(table(rows[::-1]))
    assert pooled.classes == ("a", "b")
    assert pooled.samples == tuple(f"image{image}" for image in range(IMAGES))
    assert pooled.groups == tuple(f"patient{image // 2}" for image in range(IMAGES))
    assert np.array_equal(pooled.labels, LABELS)
    assert pooled.seeds(("scratch", 1.0)) == (0, 1)
    assert pooled.seeds(("scratch", 1.0), ("natural", 1.0)) == (1,)
    assert pooled.seeds(("scratch", 1.0), ("texture", 1.0)) == ()
    wrong = [np.flatnonzero(seed == 0).tolist() for seed in pooled.correctness(("scratch", 1.0))]
    assert wrong == [[3, 6], [3]]
    assert pooled.correctness(("natural", 1.0), (1,)).tolist() == [[0.0] + [1.0] * 8]
    assert pooled.by_epoch["scratch", 1.0][0][3].tolist() == [0]
    assert pooled.incomplete == ()


def test_a_seed_that_lacks_a_fold_is_said_and_left_out(tmp_path: Path) -> None:
    complete, lacking = of_seed(tmp_path, PARTS, seed=0), of_seed(tmp_path, PARTS, seed=7)
    pooled = pool_folds(table([*complete, lacking[1]]))
    assert pooled.seeds(("scratch", 1.0)) == (0,)
    (missing,) = pooled.incomplete
    assert missing.missing == (0, 2)
    assert str(missing) == "scratch, data ratio 1, seed 7: 2 folds not trained: 0, 2"
    with pytest.raises(RelayError, match=r"no seed has all of its runs: scratch, .* seed 7: 2 folds"):
        pool_folds(table([lacking[1]]))


def test_a_run_without_folds_is_all_of_its_seed(tmp_path: Path) -> None:
    rows = [
        row(folder_of(tmp_path / str(seed), [2, 0, 1], {0: 1} if seed else {}), [2, 0, 1], seed=seed)
        for seed in range(2)
    ]
    for runs in (table(rows), pd.DataFrame(rows).drop(columns=["fold", "folds"])):
        pooled = pool_folds(runs)
        assert pooled.samples == ("image0", "image1", "image2")
        assert pooled.correctness(("scratch", 1.0)).tolist() == [[1, 1, 1], [0, 1, 1]]


def test_what_cannot_be_pooled_is_refused(tmp_path: Path) -> None:
    good = of_seed(tmp_path, PARTS, seed=0)
    overlapping = of_seed(tmp_path, [[0, 1], [1, 2], [3]], seed=1)
    fewer = of_seed(tmp_path, [[0], [1], [3]], seed=2)
    for rows, message in (
        (overlapping, "share 1 image: these are not the folds of one partition"),
        ([*good, *fewer], "scratch, data ratio 1, seed 2 has other evaluation images"),
        ([*good, {**good[0], "id": "f" * 64}], r"2 runs have the same process scratch, seed 0, .* fold 0"),
        ([], "no seed has all of its runs"),
        ([{**good[0], "folder": str(tmp_path / "nowhere")}, *good[1:]], "cannot be read"),
    ):
        with pytest.raises(RelayError, match=message):
            pool_folds(table(rows) if rows else table(good).iloc[:0])


def test_runs_of_different_folds_are_never_averaged(tmp_path: Path) -> None:
    good = of_seed(tmp_path, PARTS, seed=0)
    none = [row(folder_of(tmp_path / "none", [0, 1], {}), [0, 1], seed=5)]
    five = [{**each, "folds": 5, "seed": 6} for each in good]
    for others, said in ((none, "3 and none"), (five, "3 and 5")):
        for read in (pool_folds, compare):
            with pytest.raises(RelayError, match=f"their numbers of folds are {said}"):
                read(table([*good, *others]))


def test_a_row_for_each_seed_with_the_mean_over_its_folds(tmp_path: Path) -> None:
    """Weighted by images, the mean accuracy of folds is the accuracy of the pooled predictions."""
    predicted = {3: 0, 6: 1, 0: 1}
    rows = of_seed(tmp_path, PARTS, predicted, seed=0) + of_seed(tmp_path, OTHER_PARTS, {}, seed=1)
    for each, part in zip(rows, PARTS + OTHER_PARTS, strict=True):
        wrong = len(set(part) & set(predicted)) if each["seed"] == 0 else 0
        each["accuracy_p75"] = 1 - wrong / len(part)
    lacking = of_seed(tmp_path, PARTS, {}, seed=2)[:2]
    result = compare(table(rows + lacking)).set_index("metric").loc["accuracy"]
    assert (result["n"], result["mean"]) == (2, pytest.approx((6 / 9 + 1) / 2))
    pooled = pool_folds(table(rows)).correctness(("scratch", 1.0)).mean(axis=1)
    assert pooled.tolist() == pytest.approx([6 / 9, 1])
