"""The table of metrics: metrics of a class against scikit-learn and torchmetrics, unknown names, the docs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_score, recall_score
from torchmetrics.functional.classification import multiclass_specificity

from stages.metrics import (
    METRICS,
    PRIMARY,
    TRAIN_LOSS,
    Counts,
    Outputs,
    metric_of,
    of_a_class,
    shown_in,
    titles_in,
)
from tests.helpers.relay import PROJECT

Labels = npt.NDArray[np.int64]


def _of_a_class(name: str, labels: Labels, predicted: Labels, classes: int) -> npt.NDArray[np.float64]:
    compute = METRICS[name].of_counts
    assert compute is not None
    return compute(Counts.of(confusion_matrix(labels, predicted, labels=range(classes))))


@settings(max_examples=30, deadline=None)
@given(
    samples=st.integers(1, 60),
    classes=st.integers(2, 7),
    present=st.integers(1, 7),
    seed=st.integers(0, 2**32),
)
@example(samples=1, classes=2, present=1, seed=0)
@example(samples=60, classes=7, present=2, seed=1)
def test_metrics_of_a_class_are_those_of_scikit_learn(
    samples: int, classes: int, present: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(min(present, classes), size=samples)
    predicted = random.integers(classes, size=samples)
    every = {"labels": range(classes), "average": None}
    sensitivity = recall_score(labels, predicted, **every, zero_division=np.nan)
    np.testing.assert_allclose(_of_a_class("sensitivity", labels, predicted, classes), sensitivity)
    specificity = [  # the recall of the rest
        recall_score(labels != label, predicted != label, zero_division=np.nan) for label in range(classes)
    ]
    np.testing.assert_allclose(_of_a_class("specificity", labels, predicted, classes), specificity)
    precision = precision_score(labels, predicted, **every, zero_division=0)
    neither = ~np.isin(range(classes), [*labels, *predicted])
    np.testing.assert_allclose(
        _of_a_class("precision", labels, predicted, classes), np.where(neither, np.nan, precision)
    )


def test_specificity_is_that_of_torchmetrics() -> None:
    random = np.random.default_rng(2)
    labels, predicted = random.integers(4, size=(2, 90))
    reference = multiclass_specificity(
        torch.from_numpy(predicted), torch.from_numpy(labels), 4, average="none"
    )
    np.testing.assert_allclose(_of_a_class("specificity", labels, predicted, 4), reference.numpy(), rtol=1e-6)


def test_metrics_of_a_class_by_hand() -> None:
    #  true A: 3 as A, 1 as B; true B: 2 as B; C has no images and one prediction; D neither
    counts = Counts.of([[3, 1, 1, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    found = {metric.name: metric.of_counts(counts).tolist() for metric in of_a_class() if metric.of_counts}
    assert found == {
        "sensitivity": [3 / 5, 1.0, pytest.approx(np.nan, nan_ok=True), pytest.approx(np.nan, nan_ok=True)],
        "specificity": [1.0, 4 / 5, 6 / 7, 1.0],
        "precision": [1.0, 2 / 3, 0.0, pytest.approx(np.nan, nan_ok=True)],
    }
    alone = Counts.of([[5, 0], [0, 0]])
    specificity = METRICS["specificity"].of_counts
    assert specificity is not None
    assert np.isnan(specificity(alone)).tolist() == [True, False]


def test_a_class_with_images_that_is_never_predicted_has_precision_0() -> None:
    assert _of_a_class("precision", np.array([0, 1]), np.array([0, 0]), 2).tolist() == [0.5, 0.0]


def test_a_metric_of_counts_is_the_one_of_outputs() -> None:
    """For one set, and for several at once."""
    random = np.random.default_rng(3)
    logits = torch.from_numpy(random.normal(size=(5, 50, 4)))
    labels = torch.from_numpy(random.integers(3, size=(5, 50)))
    sets = [Outputs(*each) for each in zip(logits, labels, strict=True)]
    counts = Counts.of([outputs.confusion_matrix for outputs in sets])
    both = [metric for metric in METRICS.values() if metric.compute and metric.of_counts]
    kinds = ("precision", "recall", "f1_score")
    averages = {f"{name}_{of}" for name in kinds for of in ("macro", "weighted")}
    assert {metric.name for metric in both} == {"accuracy", "balanced_accuracy", *averages}
    for metric in both:
        assert metric.compute is not None and metric.of_counts is not None
        found = metric.of_counts(counts)
        assert found.tolist() == pytest.approx([metric.compute(outputs) for outputs in sets], rel=1e-6)


def test_a_declaration_is_whole() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name and metric.title and not name.endswith(("_p75", "_mean"))
        assert metric.unit in ("%", "nats", "") and metric.better in ("higher", "lower")
        assert metric.compute or name == TRAIN_LOSS or (metric.per_class and metric.of_counts)
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)
    assert PRIMARY in METRICS and METRICS[PRIMARY].better == "higher"


def test_the_best_value_is_by_the_direction() -> None:
    lower = {"train_loss", "cross_entropy", "calibration_error", "brier_score"}
    for name, metric in METRICS.items():
        assert metric.best([0.2, 0.1, 0.3]) == (0.1 if name in lower else 0.3)


def test_titles_and_units() -> None:
    assert metric_of("f1_score_macro").title == "macro F1"
    assert metric_of("cross_entropy").title == "cross-entropy"
    assert metric_of("auroc_macro").capitalised == "Macro AUROC"
    assert metric_of("accuracy").heading == "accuracy (%)"
    assert metric_of("recall_macro").short_heading == "recall (%)"
    assert metric_of("cross_entropy").heading == "cross-entropy (nats)"
    assert metric_of("brier_score").heading == "Brier score"
    assert metric_of("accuracy").description == "fraction, higher is better"
    assert metric_of("brier_score").description == "no unit, lower is better"
    assert (metric_of("accuracy").text(0.625), metric_of("cross_entropy").text(0.625)) == ("62.5%", "0.625")
    assert metric_of("auroc_macro").scale == 100.0 and metric_of("brier_score").scale == 1.0


def test_a_metric_that_is_not_declared_has_its_name_and_says_what_is_not_known() -> None:
    unknown = metric_of("accuracy_of_another_kind")  # begins like a fraction, and is not one
    assert unknown.title == "accuracy_of_another_kind"
    assert unknown.scale == 1.0 and not unknown.is_fraction and unknown.better is None
    assert unknown.heading == "accuracy_of_another_kind (unit not known)"
    assert unknown.description == "unit and direction not known"
    assert unknown.text(0.5) == "0.500"


def test_places_are_in_the_table_s_order() -> None:
    assert [metric.name for metric in shown_in("table 1")] == [
        "accuracy", "precision_macro", "recall_macro", "f1_score_macro", "cross_entropy",
    ]  # fmt: skip
    assert titles_in("robustness") == "accuracy and cross-entropy"
    assert titles_in("overview") == "accuracy, macro F1 and cross-entropy"


def test_the_docs_list_every_metric() -> None:
    lines = (PROJECT / "docs" / "statistics.md").read_text().splitlines()
    for metric in METRICS.values():
        name = f"{metric.title} of a class" if metric.per_class else f"`{metric.name}` | {metric.title}"
        beginning = f"| {name} | {metric.unit or 'none'} | {metric.better} | "
        assert any(line.startswith(beginning) for line in lines), beginning
    assert titles_in("overview") in (PROJECT / "docs" / "wandb.md").read_text()


def test_the_table_loads_no_torch() -> None:
    """It is seconds at every start."""
    program = "import sys, stages.metrics; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
