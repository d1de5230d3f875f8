"""The bootstrap over patients: against scikit-learn on resamples spelt out, and the binomial distribution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, recall_score

from analysis.statistics.patients import _weights, resample_patients
from lightning_modules.metrics import evaluate
from stages.errors import RelayError
from stages.predictions import write_predictions

CLASSES = ("CON", "GGO", "NOR")


def write_run(
    folder: Path,
    groups: Sequence[str | None],
    labels: Sequence[int],
    predicted: Sequence[int],
    classes: Sequence[str] = CLASSES,
) -> str:
    folder.mkdir(parents=True)
    write_predictions(
        folder / "predictions.parquet",
        samples=[f"sample{index}.png" for index in range(len(labels))],
        groups=groups,
        labels=np.array(labels),
        logits=np.eye(len(classes), dtype=np.float32)[list(predicted)] * 3 - 1,
        classes=classes,
    )
    return str(folder)


def study(
    tmp_path: Path, runs: dict[str, list[list[int]]], labels: Sequence[int], groups: Sequence[str | None]
) -> pd.DataFrame:
    """The table of runs whose predictions are given, a process and a list of its seeds'."""
    rows = [
        {
            "process": process,
            "seed": seed,
            "folder": write_run(tmp_path / process / str(seed), groups, labels, each),
        }
        for process, predictions in runs.items()
        for seed, each in enumerate(predictions)
    ]
    rows.append({"process": None, "seed": 0, "folder": "nowhere"})
    return pd.DataFrame(rows)


def random_study(tmp_path: Path) -> tuple[pd.DataFrame, npt.NDArray[np.int64], npt.NDArray[np.str_]]:
    """Two processes of two seeds; 12 patients of unequal size; class 2 is of the first two patients only."""
    generator = np.random.default_rng(3)
    groups = np.repeat([f"patient{index}" for index in range(12)], generator.integers(1, 9, 12))
    labels = generator.integers(0, 2, len(groups))
    labels[np.isin(groups, ["patient0", "patient1"])] = 2

    def predictions(errors: float) -> list[int]:
        wrong = generator.random(len(labels)) < errors
        return np.where(wrong, generator.integers(0, 3, len(labels)), labels).tolist()

    runs = {"a": [predictions(0.2), predictions(0.3)], "b": [predictions(0.6), predictions(0.5)]}
    return study(tmp_path, runs, labels.tolist(), groups.tolist()), labels, groups


def test_intervals_are_those_of_resamples_spelt_out(tmp_path: Path) -> None:
    """Every resample as a list of images, its metrics by scikit-learn, the mean over seeds, percentiles."""
    runs, labels, groups = random_study(tmp_path)
    found = resample_patients(runs, resamples=25)
    names = pd.unique(groups)
    drawn: dict[str, list[dict[str, float]]] = {"a": [], "b": []}
    logits = [f"logit_{name}" for name in CLASSES]
    read = cache(lambda folder: pd.read_parquet(Path(folder) / "predictions.parquet")[logits])
    for weights in _weights(len(names), 25):
        rows = np.concatenate(
            [np.tile(np.flatnonzero(groups == name), int(w)) for name, w in zip(names, weights, strict=True)]
        )
        for process, resampled in drawn.items():
            of_seeds = []
            for folder in runs.loc[runs["process"] == process, "folder"]:
                predicted = read(folder).to_numpy().argmax(axis=1)
                truth, guess = labels[rows], predicted[rows]
                recall = recall_score(truth, guess, labels=[0, 1, 2], average=None, zero_division=np.nan)
                of_seeds.append(
                    {
                        "accuracy": accuracy_score(truth, guess),
                        "f1_score_macro": f1_score(truth, guess, average="macro"),
                    }
                    | dict(zip(CLASSES, recall, strict=True))
                )
            resampled.append(pd.DataFrame(of_seeds).mean(skipna=False).to_dict())
    tables = {process: pd.DataFrame(rows) for process, rows in drawn.items()}

    def expected(values: pd.Series[float]) -> tuple[float, float, float]:
        return values[0], *np.percentile(values[1:].dropna(), [2.5, 97.5])

    for row in found.metrics.to_dict("records"):
        assert (row["mean"], row["ci_low"], row["ci_high"]) == pytest.approx(
            expected(tables[row["process"]][row["metric"]])
        )
        assert row["n"] == 2
    for row in found.differences.to_dict("records"):
        gap = tables[row["process_a"]][row["metric"]] - tables[row["process_b"]][row["metric"]]
        assert (row["difference"], row["ci_low"], row["ci_high"]) == pytest.approx(expected(gap))
    for row in found.recall.to_dict("records"):
        values = tables[row["process"]][row["class"]]
        assert (row["recall"], row["ci_low"], row["ci_high"]) == pytest.approx(expected(values))
        assert row["absent"] == values[1:].isna().mean()
    assert len(found.metrics) == 4 and len(found.differences) == 2 and len(found.recall) == 6
    assert found.resamples == 25 and found.groups == 12 and found.samples == len(labels)


def test_the_set_as_it_is_has_the_metrics_that_training_recorded(tmp_path: Path) -> None:
    runs, labels, _ = random_study(tmp_path)
    found = resample_patients(runs, resamples=5).metrics.set_index(["process", "metric"])["mean"]
    for process in ("a", "b"):
        recorded = []
        for folder in runs.loc[runs["process"] == process, "folder"]:
            logits = pd.read_parquet(Path(folder) / "predictions.parquet")[
                [f"logit_{name}" for name in CLASSES]
            ]
            recorded.append(evaluate(torch.tensor(logits.to_numpy()), torch.tensor(labels)).metrics)
        for metric in ("accuracy", "f1_score_macro"):
            assert found[process, metric] == pytest.approx(np.mean([each[metric] for each in recorded]))


def test_images_of_their_own_give_the_binomial_interval(tmp_path: Path) -> None:
    """200 independent images, 160 right: the count in a resample is binomial(200, 0.8)."""
    labels, predicted = [0] * 200, [0] * 160 + [1] * 40
    groups = [f"image{index}" for index in range(200)]
    found = resample_patients(study(tmp_path, {"a": [predicted]}, labels, groups), resamples=20_000)
    row = found.metrics.iloc[0]
    low, high = stats.binom.ppf([0.025, 0.975], 200, 0.8) / 200
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=0.0051)  # one image
    assert found.groups == found.samples == 200


def test_patients_of_ten_like_images_widen_the_interval(tmp_path: Path) -> None:
    """The same 200 predictions from 20 patients who are right or wrong as a whole: binomial(20, 0.8)."""
    labels, predicted = [0] * 200, [0] * 160 + [1] * 40
    groups = [f"patient{index // 10}" for index in range(200)]
    found = resample_patients(study(tmp_path, {"a": [predicted]}, labels, groups), resamples=20_000)
    row = found.metrics.iloc[0]
    low, high = stats.binom.ppf([0.025, 0.975], 20, 0.8) / 20
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=0.051)  # one patient
    assert found.groups == 20 and found.samples == 200


def test_processes_are_resampled_together(tmp_path: Path) -> None:
    """Each process alone varies; their difference is the same whichever patients are drawn."""
    labels = [0] * 40
    a = [0, 0, 1, 0] * 10
    b = [0, 1, 1, 1] * 10
    groups = [f"patient{index // 4}" for index in range(40)]
    a[:4], b[:4] = [1, 1, 0, 0], [1, 1, 1, 1]
    found = resample_patients(study(tmp_path, {"a": [a], "b": [b]}, labels, groups), resamples=200)
    accuracy = found.metrics[found.metrics["metric"] == "accuracy"]
    assert (accuracy["ci_high"] > accuracy["ci_low"]).all()
    difference = found.differences.iloc[0]
    assert (difference["difference"], difference["ci_low"], difference["ci_high"]) == pytest.approx(
        (0.5, 0.5, 0.5)
    )


def test_a_class_of_one_patient_is_often_absent_and_said_to_be(tmp_path: Path) -> None:
    labels = [2, 2] + [0, 1] * 9
    groups = [f"patient{index // 2}" for index in range(20)]
    resampled = resample_patients(study(tmp_path, {"a": [labels]}, labels, groups))
    found = resampled.recall.set_index("class")
    assert found.loc["NOR", ["samples", "groups"]].tolist() == [2, 1]
    assert found.loc["CON", ["samples", "groups"]].tolist() == [9, 9]
    assert found.loc["NOR", "absent"] == pytest.approx(0.9**10, abs=0.03)  # 0.35
    assert found.loc["CON", "absent"] == 0.0
    assert found.loc["NOR", ["recall", "ci_low", "ci_high"]].tolist() == [1.0, 1.0, 1.0]
    assert (resampled.metrics[["mean", "ci_low", "ci_high"]] == 1.0).all(
        axis=None
    )  # macro F1 without it is 1


def test_a_class_without_images_has_no_recall(tmp_path: Path) -> None:
    found = resample_patients(study(tmp_path, {"a": [[0, 1, 1]]}, [0, 1, 0], list("xyz")), resamples=20)
    row = found.recall.set_index("class").loc["NOR"]
    assert row[["recall", "ci_low", "ci_high"]].isna().all()
    assert row["absent"] == 1.0 and row["samples"] == 0


@pytest.mark.parametrize("empty", [None, ""])
def test_images_without_a_patient_are_their_own(tmp_path: Path, empty: str | None) -> None:
    groups = ["x", "x", empty, empty, "y"]
    found = resample_patients(study(tmp_path, {"a": [[0] * 5]}, [0] * 5, groups), resamples=10)
    assert (found.groups, found.without_group, found.samples) == (4, 2, 5)


def test_one_patient_says_nothing_of_others(tmp_path: Path) -> None:
    found = resample_patients(
        study(tmp_path, {"a": [[0, 1]], "b": [[0, 0]]}, [0, 0], ["x", "x"]), resamples=10
    )
    for table in (found.metrics, found.differences, found.recall):
        assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert found.metrics["mean"].notna().all()
    assert found.groups == 1


def test_the_same_numbers_every_time(tmp_path: Path) -> None:
    runs, _, _ = random_study(tmp_path)
    first, second = (resample_patients(runs, resamples=50) for _ in range(2))
    pd.testing.assert_frame_equal(first.metrics, second.metrics)
    pd.testing.assert_frame_equal(first.recall, second.recall)
    assert not resample_patients(runs, resamples=51).metrics.equals(first.metrics)


def test_resamples_draw_as_many_groups_as_there_are() -> None:
    weights = _weights(30, 4000)
    assert weights.shape == (4001, 30)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 30).all()
    assert weights[1:].mean(axis=0) == pytest.approx(np.ones(30), abs=0.08)
    assert weights[1:].var() == pytest.approx(29 / 30, abs=0.02)  # multinomial: n p (1 - p)


def test_only_runs_on_the_whole_training_set(tmp_path: Path) -> None:
    runs = study(tmp_path, {"a": [[0, 0], [0, 1]]}, [0, 0], ["x", "y"]).assign(data_ratio=[1.0, 0.2, 1.0])
    row = resample_patients(runs, resamples=5).metrics.iloc[0]
    assert row["mean"] == 1.0 and row["n"] == 1
    with pytest.raises(RelayError, match=r"data_ratio=1\.0"):
        resample_patients(runs[runs["data_ratio"] == 0.2])


@pytest.mark.parametrize("changed", ["groups", "labels", "classes", "size"])
def test_another_evaluation_set_is_refused_without_naming_a_patient(tmp_path: Path, changed: str) -> None:
    runs = study(tmp_path, {"a": [[0, 0]]}, [0, 0], ["Mrs Secret", "y"])
    folder = write_run(
        tmp_path / "other",
        ["Mr Secret", "y"]
        if changed == "groups"
        else ["Mrs Secret", "y", "z"][: 3 if changed == "size" else 2],
        [0, 1] if changed == "labels" else [0] * (3 if changed == "size" else 2),
        [0] * (3 if changed == "size" else 2),
        ("CON", "GGO", "EMP") if changed == "classes" else CLASSES,
    )
    other = pd.DataFrame({"process": ["b"], "seed": [0], "folder": [folder]})
    with pytest.raises(RelayError, match=r"other.predictions\.parquet has another evaluation set") as error:
        resample_patients(pd.concat([runs, other]), resamples=5)
    assert "Secret" not in str(error.value)


def test_missing_and_damaged_predictions_are_named(tmp_path: Path) -> None:
    runs = study(tmp_path, {"a": [[0, 0]]}, [0, 0], ["x", "y"])
    path = tmp_path / "a" / "0" / "predictions.parquet"
    table = pq.read_table(path)
    damaged = [b"not parquet", b""]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(RelayError, match=r"a.0.predictions\.parquet cannot be read"):
            resample_patients(runs)
    for change in (
        table.drop_columns(["group"]),
        table.drop_columns([f"logit_{name}" for name in CLASSES]),
        table.set_column(2, "label", pa.array([0, 3])),
    ):
        pq.write_table(change, path)
        with pytest.raises(RelayError, match=r"a.0.predictions\.parquet cannot be read"):
            resample_patients(runs)
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(RelayError, match=r"a.0.predictions\.parquet cannot be read: there are no images"):
        resample_patients(runs)
    path.unlink()
    with pytest.raises(RelayError, match=r"a.0.predictions\.parquet cannot be read"):
        resample_patients(runs)
