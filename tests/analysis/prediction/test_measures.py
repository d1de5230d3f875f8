"""Metrics elsewhere: against scikit-learn, and with the intervals of `analysis.statistics`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from analysis.prediction.calibration import HeldOut
from analysis.prediction.evaluation.answers import Answers
from analysis.prediction.evaluation.home import comparison, home_of
from analysis.prediction.evaluation.measures import classes_of, groups_of, table_of
from analysis.statistics import two_way_level
from analysis.statistics.fixed_networks import patients_accuracy, patients_recall
from analysis.statistics.two_way import two_way_metric_level
from stages.metrics import METRICS

CLASSES = ("CON", "GGO", "HCM", "RET")


def answers(*, absent: int | None = None, networks: int = 4, seeds: int = 4, grouped: bool = True) -> Answers:
    draw = np.random.default_rng(5)
    labels = draw.integers(0, 4, 90)
    if absent is not None:
        labels[labels == absent] = (absent + 1) % 4
    logits = draw.normal(0, 1, (networks, 90, 4)) + 1.2 * np.eye(4)[labels]
    groups = np.arange(90) // 6 if grouped else np.arange(90)
    return Answers(labels, groups, logits, np.arange(networks) % seeds)


def value(table: pd.DataFrame, metric: str, of: str = "ensemble") -> pd.Series:
    return table.set_index(["metric", "of"]).loc[(metric, of)]


@pytest.mark.parametrize("absent", [None, 2])
def test_every_metric_is_scikit_learns_over_the_classes_that_have_images(absent: int | None) -> None:
    given = answers(absent=absent)
    table = table_of(given)
    mean = softmax(given.logits, axis=2).mean(axis=0)
    said, labels = mean.argmax(axis=1), given.labels
    shown = [label for label in range(4) if label != absent]
    averages = {"labels": shown, "average": "macro", "zero_division": 0}
    assert value(table, "accuracy")["value"] == pytest.approx(accuracy_score(labels, said))
    assert value(table, "f1_score_macro")["value"] == pytest.approx(f1_score(labels, said, **averages))
    assert value(table, "recall_macro")["value"] == pytest.approx(recall_score(labels, said, **averages))
    found = value(table, "precision_macro")["value"]
    assert found == pytest.approx(precision_score(labels, said, **averages))
    weighted = averages | {"average": "weighted"}
    assert value(table, "f1_score_weighted")["value"] == pytest.approx(f1_score(labels, said, **weighted))
    balanced = recall_score(labels, said, **averages) if absent else balanced_accuracy_score(labels, said)
    assert value(table, "balanced_accuracy")["value"] == pytest.approx(balanced)
    loss = log_loss(labels, mean, labels=range(4))
    assert value(table, "cross_entropy")["value"] == pytest.approx(loss)
    areas = [roc_auc_score(labels == label, mean[:, label]) for label in shown]
    assert value(table, "auroc_macro")["value"] == pytest.approx(np.mean(areas))
    brier = ((mean - np.eye(4)[labels]) ** 2).sum(axis=1).mean()
    assert value(table, "brier_score")["value"] == pytest.approx(brier)
    assert set(table["metric"]) == {name for name, metric in METRICS.items() if metric.compute}
    singles = [accuracy_score(labels, each.argmax(axis=1)) for each in given.logits]
    assert value(table, "accuracy", "single networks")["value"] == pytest.approx(np.mean(singles))
    losses = [log_loss(labels, softmax(each, axis=1), labels=range(4)) for each in given.logits]
    assert value(table, "cross_entropy", "single networks")["value"] == pytest.approx(np.mean(losses))


def test_intervals_are_for_other_seeds_and_groups_or_groups_alone() -> None:
    given = answers()
    table, right = table_of(given), given.logits.argmax(axis=2) == given.labels
    of_single = value(table, "accuracy", "single networks")
    expected = two_way_level(right, given.groups)
    assert (of_single["low"], of_single["high"]) == pytest.approx((expected.low, expected.high))
    assert of_single["covers"] == "other seeds and groups"
    f1 = two_way_metric_level(METRICS["f1_score_macro"], given.labels, given.logits.argmax(2), given.groups)
    of_f1 = value(table, "f1_score_macro", "single networks")
    assert (of_f1["low"], of_f1["high"]) == pytest.approx((f1.low, f1.high))
    of_all = value(table, "accuracy")
    fixed = patients_accuracy(given.together[0].argmax(axis=1) == given.labels, given.groups)
    assert (of_all["low"], of_all["high"]) == pytest.approx((fixed.low, fixed.high))
    assert of_all["covers"] == "other groups"
    assert value(table, "calibration_error")["covers"] == ""
    for name in ("auroc_macro", "cross_entropy", "brier_score"):
        row = value(table, name, "single networks")
        assert row["low"] < row["value"] < row["high"] and row["covers"] == "other seeds and groups"


def test_the_folds_of_a_seed_are_one_and_networks_of_one_seed_stay_as_they_are() -> None:
    given = answers(networks=6, seeds=3)  # two networks of each seed
    right = (given.logits.argmax(axis=2) == given.labels).astype(float)
    by_seed = np.stack([right[[seed, seed + 3]].mean(axis=0) for seed in range(3)])
    expected = two_way_level(by_seed, given.groups)
    found = value(table_of(given), "accuracy", "single networks")
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    one = value(table_of(answers(networks=3, seeds=1)), "accuracy", "single networks")
    assert one["covers"] == "other groups"


def test_one_network_images_without_groups_one_group_and_one_class() -> None:
    alone = table_of(answers(networks=1, grouped=False))
    assert set(alone["of"]) == {"ensemble"} and value(alone, "accuracy")["covers"] == "other images"
    given = answers()
    together = table_of(replace(given, groups=np.zeros(90, np.int64)))
    assert (together.loc[together["metric"] == "accuracy", "covers"] == "").all()
    one = given.only(given.labels == 1)
    table = table_of(one)
    assert "auroc_macro" not in set(table["metric"])
    assert value(table, "balanced_accuracy")["value"] == value(table, "accuracy")["value"]


def test_recall_and_groups() -> None:
    given = answers(absent=2)
    said = given.together[0].argmax(axis=1)
    classes = classes_of(given, CLASSES).set_index("class")
    assert list(classes.index) == ["CON", "GGO", "RET"]
    expected = patients_recall(given.labels, said, given.groups, 3)
    found = classes.loc["RET"]
    assert (found["recall"], found["low"], found["high"]) == pytest.approx(
        (expected.estimate, expected.low, expected.high)
    )
    assert found["precision"] == pytest.approx(((said == 3) & (given.labels == 3)).sum() / (said == 3).sum())
    groups = groups_of(given, CLASSES, [f"group {n}" for n in range(15)])
    assert groups["images"].sum() == 90 and groups["accuracy"].is_monotonic_increasing
    (row,) = groups[groups["group"] == "group 4"].to_dict("records")
    assert row["accuracy"] == pytest.approx((said == given.labels)[24:30].mean())
    counts = pd.Series(np.asarray(CLASSES)[given.labels[24:30]]).value_counts()
    assert row["classes"] == ", ".join(f"{name} {counts[name]}" for name in sorted(counts.index))


def _held(given: Answers) -> HeldOut:
    """At home, each image has one network of each seed."""
    networks, images = given.logits.shape[:2]
    rows = given.logits.transpose(1, 0, 2).reshape(-1, 4)
    runs = np.tile(np.arange(networks), images)
    samples = tuple(map(str, range(images)))
    return HeldOut(samples, given.labels, given.groups, rows, np.arange(images) * networks, runs, False)


def test_home_is_of_the_same_seeds_and_of_the_classes_that_are_here() -> None:
    given, seeds = answers(), np.arange(4)
    home = home_of(_held(given), seeds, present=np.array([0, 1]))
    assert home is not None and set(home.answers.labels) == {0, 1}
    here = answers(absent=2)
    whole = home_of(_held(given), seeds, present=here.present)
    assert whole is not None
    table = comparison(here, whole, shared=False).set_index("metric")
    kept = given.labels != 2
    right = given.logits.argmax(axis=2) == given.labels
    assert table.loc["accuracy", "home"] == pytest.approx(right[:, kept].mean())
    row = table.loc["accuracy"]
    assert row["difference"] == pytest.approx(row["here"] - row["home"])
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    shared = comparison(here, whole, shared=True)
    assert shared["difference_low"].isna().all() and shared["difference"].notna().all()
    fewer = _held(given).only(np.arange(90) < 80)
    torn = replace(fewer, runs=np.where(np.arange(320) == 3, 0, fewer.runs))
    assert home_of(torn, seeds, here.present) is None
    one = home_of(
        replace(_held(given), runs=np.zeros(360, np.int64)).only(given.labels < 9), np.zeros(1, int), seeds
    )
    assert one is None  # one seed cannot have four networks for an image
