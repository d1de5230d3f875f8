"""The histogram baseline of a study: pooled over folds, once for all processes, from hand-written files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.runs import pool_folds
from analysis.runs.baseline import baseline_levels
from stages.errors import RelayError
from stages.predictions import write_predictions

LABELS = np.array([0, 1, 0, 1, 0, 1])


def run(
    tmp_path: Path,
    images: list[int],
    wrong: set[int],
    *,
    fold: int | None = None,
    folds: int | None = None,
    seed: int = 0,
    process: str = "scratch",
    known: bool = True,
) -> dict[str, Any]:
    """A run's row, and its predictions, in which the baseline is wrong about some images."""
    path = tmp_path / f"{process}-{seed}-{fold}"
    path.mkdir(parents=True)
    histogram = np.array([LABELS[image] ^ (image in wrong) for image in images])
    write_predictions(
        path / "predictions.parquet",
        samples=[f"image{image}" for image in images],
        groups=[f"patient{image // 2}" for image in images],
        labels=LABELS[images],
        logits=np.zeros((len(images), 2), dtype=np.float32),
        classes=["a", "b"],
        histogram=histogram if known else None,
    )
    right = [image not in wrong for image in images]
    return {
        "id": str(path), "folder": str(path), "process": process, "data_ratio": 1.0, "seed": seed,
        "fold": fold, "folds": folds, "val_images": len(images), "seconds": 1.0,
        "histogram_accuracy": float(np.mean(right)) if known else None,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows).astype({"fold": "Int64", "folds": "Int64"})


def test_folds_are_pooled_and_processes_share_the_baseline(tmp_path: Path) -> None:
    parts = ([4, 1, 0, 5], [2, 3])
    runs = table(
        [
            run(tmp_path, images, wrong, fold=fold, folds=2, seed=seed, process=process)
            for process in ("scratch", "two_stage")
            for seed, wrong in ((0, {3}), (1, {0, 1, 2}))
            for fold, images in enumerate(parts)
        ]
    )
    pooled = pool_folds(runs)
    (found,) = pooled.histogram.values()
    assert tuple(found) == (0, 1)
    assert pooled.samples == tuple(f"image{image}" for image in range(6))
    assert pooled.groups == tuple(f"patient{image // 2}" for image in range(6))
    correct = [(predicted == pooled.labels).tolist() for predicted in found.values()]
    assert correct == [[1, 1, 1, 0, 1, 1], [0, 0, 0, 1, 1, 1]]
    # by image, not by fold: seed 0 has 4/4 and 1/2, which is 5 of 6
    assert baseline_levels(runs) == pytest.approx({1.0: (5 / 6 + 3 / 6) / 2})


def test_a_seed_that_lacks_a_fold_has_no_baseline(tmp_path: Path) -> None:
    runs = table([
        run(tmp_path, [0, 1, 2, 3], set(), fold=0, folds=2), run(tmp_path, [4, 5], set(), fold=1, folds=2),
        run(tmp_path, [0, 1, 2, 3], {0}, fold=0, folds=2, seed=1),
    ])  # fmt: skip
    assert tuple(pool_folds(runs).histogram[1.0]) == (0,)
    assert baseline_levels(runs) == {1.0: 1.0}


def test_images_that_stream_have_none(tmp_path: Path) -> None:
    runs = table([run(tmp_path, [0, 1], set(), known=False)])
    assert pool_folds(runs).histogram == {}
    assert baseline_levels(runs) == {}


def test_seeds_with_other_images_are_refused(tmp_path: Path) -> None:
    runs = table([run(tmp_path, [0, 1], set()), run(tmp_path, [0, 2], set(), seed=1)])
    with pytest.raises(RelayError, match="seed 1 has other evaluation images than the runs before it"):
        pool_folds(runs)
