"""The metrics against scikit-learn and against sums written out by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
)

from lightning_modules.metrics import Evaluation, evaluate

NAMES = {
    "accuracy",
    "precision_macro",
    "recall_macro",
    "f1_score_macro",
    "precision_weighted",
    "recall_weighted",
    "f1_score_weighted",
    "cross_entropy",
    "calibration_error",
}


def _probabilities(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _calibration_error(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """Guo et al. 2017, equation 3: the gap of each of 15 bins, weighted by its share of the samples."""
    gaps = 0.0
    for bin_ in range(15):
        inside = [
            (float(row.max()), int(row.argmax()) == label)
            for row, label in zip(probabilities, labels, strict=True)
            if bin_ / 15 <= row.max() < (bin_ + 1) / 15 or (bin_ == 14 and row.max() == 1.0)
        ]
        if inside:
            confidence = math.fsum(confidence for confidence, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            gaps += len(inside) / len(labels) * abs(accuracy - confidence)
    return gaps


def _expected(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> dict[str, float]:
    predicted, classes = logits.argmax(axis=1), range(logits.shape[1])
    expected = {
        "accuracy": accuracy_score(labels, predicted),
        "cross_entropy": log_loss(labels, _probabilities(logits), labels=classes),
        "calibration_error": _calibration_error(_probabilities(logits), labels),
    }
    for average in ("macro", "weighted"):
        for name, score in (
            ("precision", precision_score),
            ("recall", recall_score),
            ("f1_score", f1_score),
        ):
            # no `labels`: a class neither present nor predicted does not count
            expected[f"{name}_{average}"] = score(labels, predicted, average=average, zero_division=0)
    return {name: float(value) for name, value in expected.items()}


def _evaluate(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> Evaluation:
    return evaluate(torch.from_numpy(logits), torch.from_numpy(labels))


def _compare(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> None:
    found = _evaluate(logits, labels)
    assert set(found.metrics) == NAMES
    # torchmetrics divides counts in float32
    assert found.metrics == pytest.approx(_expected(logits, labels), rel=2e-6, abs=1e-7)
    reference = confusion_matrix(labels, logits.argmax(axis=1), labels=range(logits.shape[1]))
    assert found.confusion_matrix == reference.tolist()


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 80),
    classes=st.integers(2, 9),
    present=st.integers(1, 9),
    scale=st.sampled_from([0.1, 1.0, 4.0]),
    seed=st.integers(0, 2**32),
)
@example(samples=1, classes=2, present=1, scale=1.0, seed=0)
@example(samples=80, classes=9, present=2, scale=4.0, seed=1)
def test_all_metrics_are_those_of_scikit_learn(
    samples: int, classes: int, present: int, scale: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    logits = scale * random.normal(size=(samples, classes))
    _compare(logits, random.integers(min(present, classes), size=samples))


def test_a_class_that_is_never_predicted_has_precision_zero_and_counts() -> None:
    predicted, labels = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1])
    logits = 3.0 * np.eye(3)[predicted]
    _compare(logits, labels)
    metrics = _evaluate(logits, labels).metrics
    assert metrics["precision_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics["precision_weighted"] == pytest.approx((2 * 2 / 3 + 1 * 1 + 1 * 0) / 4)
    assert metrics["recall_macro"] == pytest.approx((1 + 1 + 0) / 3)
    assert metrics["f1_score_macro"] == pytest.approx((0.8 + 1 + 0) / 3)


def test_a_class_that_is_predicted_but_absent_counts_zero_in_the_macro_mean_only() -> None:
    logits = 3.0 * np.eye(3)[[0, 1, 2]]
    labels = np.array([0, 1, 1])
    _compare(logits, labels)
    metrics = _evaluate(logits, labels).metrics
    assert metrics["recall_macro"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert metrics["recall_weighted"] == pytest.approx((1 * 1 + 2 * 1 / 2) / 3)


def test_a_class_neither_present_nor_predicted_is_left_out_of_the_macro_mean() -> None:
    logits = 3.0 * np.eye(4)[[0, 1, 1, 0]]
    labels = np.array([0, 1, 0, 0])
    _compare(logits, labels)
    found = _evaluate(logits, labels)
    assert found.metrics["recall_macro"] == pytest.approx((2 / 3 + 1) / 2)
    assert found.confusion_matrix == [[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_row_of_the_confusion_matrix_is_a_true_class() -> None:
    logits = np.array([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    assert _evaluate(logits, np.array([1, 1, 1])).confusion_matrix == [[0, 0], [2, 1]]


def test_calibration_error_of_a_hand_worked_case() -> None:
    # 0.9 sure and half of it right, in one bin; 0.6 sure and all right, in another
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    metrics = _evaluate(np.log(probabilities), np.array([0, 1, 0, 0])).metrics
    assert metrics["calibration_error"] == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_calibration_error_has_fifteen_bins() -> None:
    # 0.81 and 0.86 share one of 15 bins and lie in different ones of 10 or 20
    probabilities = np.array([[0.81, 0.19], [0.86, 0.14]])
    metrics = _evaluate(np.log(probabilities), np.array([0, 1])).metrics
    assert metrics["calibration_error"] == pytest.approx(abs(0.5 - (0.81 + 0.86) / 2))


@pytest.mark.parametrize("margin", [18.0, 60.0], ids=["1 in float32", "1 in float64"])
def test_certainty_lies_in_the_last_bin(margin: float) -> None:
    logits = np.array([[margin, 0.0], [np.log(0.95), np.log(0.05)]])
    metrics = _evaluate(logits, np.array([1, 0])).metrics
    assert metrics["calibration_error"] == pytest.approx(abs(0.5 - (1.0 + 0.95) / 2))


def test_float32_logits_are_evaluated_in_float64() -> None:
    logits = torch.tensor([[30.0, 0.0], [0.0, 30.0]])
    # log(1 + e^-30), which float32 rounds to 0
    metrics = evaluate(logits, torch.tensor([0, 1])).metrics
    assert metrics["cross_entropy"] == pytest.approx(math.log1p(math.exp(-30.0)), rel=1e-9)
