"""Levels and differences of a study: against the functions for one pair, scikit-learn, and records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, recall_score

from analysis.runs import PooledPredictions, load_runs, pool_folds
from analysis.statistics.comparison import compare
from analysis.statistics.fixed_networks import (
    patients_accuracy,
    patients_difference,
    patients_metric,
    patients_recall,
)
from analysis.statistics.inference import Inference, infer
from analysis.statistics.max_t import max_t
from analysis.statistics.two_way import (
    two_way_difference,
    two_way_level,
    two_way_metric_difference,
    two_way_metric_level,
)
from stages.metrics import METRICS, Metric, shown_in
from tests.helpers.report_helpers import small_study

SHOWN = shown_in("table 1")
F1 = METRICS["f1_score_macro"]


class Study:
    """A small study on disk, its predictions by process and seed, and what is inferred of it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        small_study(processes=("scratch", "natural", "two_stage"), **changes).write(folder)
        runs = load_runs(folder)
        self.runs = runs[runs["process"].notna() & (runs["data_ratio"] == 1.0)]
        self.pooled: PooledPredictions = pool_folds(self.runs)
        self.inference: Inference = infer(self.runs, self.pooled, SHOWN)
        self.groups, self.labels = list(self.pooled.groups), self.pooled.labels

    def correct(self, process: str, *seeds: int) -> Any:
        return self.pooled.correctness((process, 1.0), seeds or None)

    def predicted(self, process: str, *seeds: int) -> Any:
        """Shape (seeds, epochs, images)."""
        of_seeds = self.pooled.by_epoch[process, 1.0]
        return np.array([of_seeds[seed].T for seed in seeds or of_seeds])

    def level(self, process: str, metric: str) -> pd.Series[Any]:
        return self.inference.levels.set_index(["process", "metric"]).loc[(process, metric)]

    def difference(self, a: str, b: str, metric: str) -> pd.Series[Any]:
        return self.inference.differences.set_index(["process_a", "process_b", "metric"]).loc[(a, b, metric)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Four seeds, of which two_stage lacks the last and natural the first."""

    def skip(process: str, seed: int, ratio: float) -> bool:
        return (process, seed) in (("two_stage", 3), ("natural", 0))

    return Study(tmp_path_factory.mktemp("inference"), seeds=range(4), skip=skip)


def test_levels_are_two_way(study: Study) -> None:
    for process in ("scratch", "natural", "two_stage"):
        row = study.level(process, "accuracy")
        expected = two_way_level(study.correct(process), study.groups)
        assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(
            [expected.estimate, expected.low, expected.high]
        )
        assert row["covers"] == "seeds and patients" and row["n"] == (4 if process == "scratch" else 3)
        row = study.level(process, F1.name)
        expected = two_way_metric_level(F1, study.labels, study.predicted(process), study.groups)
        assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(
            [expected.estimate, expected.low, expected.high]
        )


def test_what_is_judged_is_the_plateaus_mean_of_the_records(study: Study) -> None:
    means = study.runs.groupby("process")
    for metric in SHOWN:
        for process, of_process in means:
            found = study.level(str(process), metric.name)["mean"]
            assert found == pytest.approx(of_process[metric.mean_column].mean()), metric.name


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("precision_macro", lambda *given: precision_score(*given, average="macro", zero_division=0)),
        ("recall_macro", lambda *given: recall_score(*given, average="macro", zero_division=0)),
        ("f1_score_macro", lambda *given: f1_score(*given, average="macro")),
        ("precision_weighted", lambda *given: precision_score(*given, average="weighted", zero_division=0)),
        ("recall_weighted", lambda *given: recall_score(*given, average="weighted")),
        ("f1_score_weighted", lambda *given: f1_score(*given, average="weighted")),
        ("balanced_accuracy", balanced_accuracy_score),
    ],
)
def test_metrics_of_counts_are_scikit_learns(study: Study, metric: str, reference: Any) -> None:
    found = infer(study.runs, study.pooled, [METRICS[metric]]).by_seed.set_index(["process", "seed"])["value"]
    of_epochs = [reference(study.labels, each) for each in study.predicted("scratch", 2)[0]]
    assert found["scratch", 2] == pytest.approx(np.mean(of_epochs))


def test_differences_are_two_way_over_the_seeds_that_both_have(study: Study) -> None:
    row = study.difference("natural", "two_stage", "accuracy")
    a, b = (study.correct(process, 1, 2) for process in ("natural", "two_stage"))
    expected = two_way_difference(a, b, study.groups)
    assert row["n"] == 2 and row["covers"] == "seeds and patients"
    assert row[["difference", "ci_low", "ci_high"]].tolist() == pytest.approx(
        [expected.estimate, expected.low, expected.high]
    )
    row = study.difference("scratch", "two_stage", F1.name)
    predicted = [study.predicted(process, 0, 1, 2) for process in ("scratch", "two_stage")]
    expected = two_way_metric_difference(F1, study.labels, *predicted, study.groups)
    assert row[["difference", "ci_low", "ci_high"]].tolist() == pytest.approx(
        [expected.estimate, expected.low, expected.high]
    )


def test_the_interval_for_all_pairs_is_bonferronis(study: Study) -> None:
    for _, row in study.inference.differences.iterrows():
        if row["covers"] == "seeds and patients":
            assert row["together_low"] < row["ci_low"] or row["ci_low"] == -1
            assert row["together_high"] > row["ci_high"] or row["ci_high"] == 1
    two = infer(
        study.runs[study.runs["process"] != "natural"],
        pool_folds(study.runs[study.runs["process"] != "natural"]),
        SHOWN,
    ).differences
    for _, row in two.iterrows():
        assert row[["together_low", "together_high"]].tolist() == pytest.approx(
            row[["ci_low", "ci_high"]].tolist(), nan_ok=True
        ), "one pair needs no correction"


def test_max_t_is_of_all_pairs_and_of_the_same_values(study: Study) -> None:
    rows = study.inference.differences
    of_accuracy = rows[rows["metric"] == "accuracy"]
    values = study.inference.by_seed
    wide = values[values["metric"] == "accuracy"].pivot(index="seed", columns="process", values="value")
    off = [wide[a] - wide[b] for a, b in zip(of_accuracy["process_a"], of_accuracy["process_b"], strict=True)]
    assert of_accuracy["p_max_t"].tolist() == pytest.approx(max_t(np.array(off)).tolist())
    for _, row in rows.iterrows():
        assert (row["all_low"] > 0 or row["all_high"] < 0) == (row["p_max_t"] < 0.05)


def test_a_metric_of_probabilities_has_an_interval_over_seeds(study: Study) -> None:
    row = study.level("scratch", "cross_entropy")
    values = study.runs.loc[study.runs["process"] == "scratch", "cross_entropy_mean"]
    interval = stats.ttest_1samp(values, 0.0).confidence_interval()
    assert row["covers"] == "seeds"
    assert row[["ci_low", "ci_high"]].tolist() == pytest.approx([interval.low, interval.high])
    row = study.difference("scratch", "two_stage", "cross_entropy")
    assert row["covers"] == "seeds"
    assert row[["together_low", "together_high"]].tolist() == row[["all_low", "all_high"]].tolist()


def test_recall_is_of_fixed_networks(study: Study) -> None:
    rows = study.inference.recall.set_index(["process", "class"])
    for label, name in enumerate(study.pooled.classes):
        expected = patients_recall(study.labels, study.predicted("natural"), study.groups, label)
        assert rows.loc[("natural", name), ["recall", "ci_low", "ci_high"]].tolist() == pytest.approx(
            [expected.estimate, expected.low, expected.high], nan_ok=True
        )
        holds = {group for group, of in zip(study.groups, study.labels, strict=True) if of == label}
        assert rows.loc[("natural", name), "groups"] == len(holds)


def test_the_difference_with_every_patient_counted_once(study: Study) -> None:
    off = (study.correct("natural", 1, 2) - study.correct("two_stage", 1, 2)).mean(axis=0)
    by_patient = pd.Series(off).groupby(study.groups).mean().mean()
    assert study.difference("natural", "two_stage", "accuracy")["by_patient"] == pytest.approx(by_patient)


def test_one_seed_is_judged_as_fixed_networks(tmp_path: Path) -> None:
    one = Study(tmp_path, seeds=[5])
    a, b = one.correct("scratch"), one.correct("two_stage")
    row, expected = one.level("scratch", "accuracy"), patients_accuracy(a, one.groups)
    assert row["covers"] == "patients"
    assert row[["ci_low", "ci_high"]].tolist() == pytest.approx([expected.low, expected.high])
    row, expected = one.difference("scratch", "two_stage", "accuracy"), patients_difference(a, b, one.groups)
    assert row["covers"] == "patients" and row["p_max_t"] == 1.0
    assert row[["ci_low", "ci_high"]].tolist() == pytest.approx([expected.low, expected.high])
    row = one.level("scratch", F1.name)
    expected = patients_metric(F1, one.labels, one.predicted("scratch"), one.groups)
    assert row[["ci_low", "ci_high"]].tolist() == pytest.approx([expected.low, expected.high])
    assert one.level("scratch", "cross_entropy")["covers"] == ""


def test_one_seed_in_folds_has_no_interval(tmp_path: Path) -> None:
    """Its networks share training patients, so none for patients alone covers (docs/statistics.md)."""
    one = Study(tmp_path, seeds=[5])
    found = infer(one.runs.assign(folds=5), one.pooled, SHOWN)
    for table in (found.levels, found.differences, found.recall):
        assert len(table) and set(table["covers"]) == {""}
        assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert found.levels["mean"].tolist() == one.inference.levels["mean"].tolist()
    assert found.differences["difference"].tolist() == one.inference.differences["difference"].tolist()


def test_recall_in_folds_is_for_seeds_and_patients(study: Study) -> None:
    found = infer(study.runs.assign(folds=5), study.pooled, SHOWN).recall.set_index(["process", "class"])
    for label, name in enumerate(study.pooled.classes):
        of_class = study.labels == label
        groups = [group for group, chosen in zip(study.groups, of_class, strict=True) if chosen]
        expected = two_way_level(study.correct("natural")[:, of_class], groups)
        row = found.loc[("natural", name)]
        assert row["covers"] == "seeds and patients" and 0 < expected.estimate < 1
        assert row[["recall", "ci_low", "ci_high"]].tolist() == pytest.approx(
            [expected.estimate, expected.low, expected.high]
        )


@pytest.mark.parametrize("metric", SHOWN, ids=lambda metric: metric.name)
def test_no_interval_leaves_what_a_metric_can_be(tmp_path: Path, metric: Metric) -> None:
    """Two seeds that disagree: Student's interval over them is 12.7 standard errors wide."""
    two = Study(tmp_path, seeds=range(2))
    values = {0: 0.02, 1: 0.9}
    rows = two.runs.assign(**{metric.mean_column: two.runs["seed"].map(values)})
    rows.loc[rows["process"] == "natural", metric.mean_column] = [0.9, 0.02]
    found = infer(rows, None, [metric])
    top = 1.0 if metric.is_fraction else np.inf
    assert found.levels["ci_low"].min() >= 0 and found.levels["ci_high"].max() <= top
    for low, high in (("ci_low", "ci_high"), ("together_low", "together_high"), ("all_low", "all_high")):
        assert found.differences[low].min() >= -top and found.differences[high].max() <= top
    assert compare(rows)["ci_low"].min() >= 0


def test_without_predictions_seeds_are_all_there_is(study: Study) -> None:
    found = infer(study.runs, None, SHOWN)
    assert set(found.levels["covers"]) == set(found.differences["covers"]) == {"seeds"}
    assert found.samples == found.groups == 0 and found.recall.empty


def test_images_without_a_group_are_their_own(tmp_path: Path) -> None:
    labels = np.arange(20) % 7
    names = [f"image{index}" for index in range(20)]
    own = Study(tmp_path, evaluation=(labels, names, names), seeds=range(2))
    assert own.inference.groups_are_images and own.inference.groups == own.inference.samples == 20
    without = PooledPredictions(**{**own.pooled.__dict__, "groups": ("", None, *names[2:])})
    found = infer(own.runs, without, SHOWN)
    assert (found.groups, found.without_group) == (20, 2)
    pd.testing.assert_frame_equal(found.levels, own.inference.levels)
