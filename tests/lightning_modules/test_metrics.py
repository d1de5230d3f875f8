"""The metrics against scikit-learn and against sums written out by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from torchmetrics.functional.classification import multiclass_auroc

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
    "balanced_accuracy",
    "auroc_macro",
    "brier_score",
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
    probabilities = _probabilities(logits)
    with warnings.catch_warnings():  # of classes without images, which it leaves out
        warnings.simplefilter("ignore", UserWarning)
        balanced = balanced_accuracy_score(labels, predicted)
    expected = {
        "accuracy": accuracy_score(labels, predicted),
        "cross_entropy": log_loss(labels, probabilities, labels=classes),
        "calibration_error": _calibration_error(probabilities, labels),
        "balanced_accuracy": balanced,
        "brier_score": sum(
            np.mean(np.square(probabilities[:, label] - (labels == label))) for label in classes
        ),
    }
    of_one_against_the_rest = [
        roc_auc_score(labels == label, probabilities[:, label])
        for label in classes
        if 0 < (labels == label).sum() < len(labels)
    ]
    if of_one_against_the_rest:
        expected["auroc_macro"] = np.mean(of_one_against_the_rest)
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
    assert set(found.metrics) == NAMES - ({"auroc_macro"} if len(set(labels)) == 1 else set())
    # torchmetrics divides counts in float32
    assert found.metrics == pytest.approx(_expected(logits, labels), rel=2e-6, abs=5e-7)
    reference = confusion_matrix(labels, logits.argmax(axis=1), labels=range(logits.shape[1]))
    assert found.confusion_matrix == reference.tolist()


@settings(max_examples=30, deadline=None)
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


# the area under the ROC curve, balanced accuracy and the Brier score


def test_auroc_by_hand() -> None:
    """Pairs of an image of the class and another one that stand in the right order; equal ones are half."""
    probabilities = np.array([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3], [0.4, 0.5, 0.1], [0.2, 0.2, 0.6]])
    labels = np.array([0, 1, 0, 2])
    # class 0: images 0, 2 against 1, 3: 0.7 beats both; 0.4 equals 0.4 and beats 0.2
    # class 1: image 1 (0.3) against 0.2, 0.5, 0.2; class 2: image 3 (0.6) against all lower
    expected = ((2 + 1.5) / 4 + 2 / 3 + 1) / 3
    metrics = _evaluate(np.log(probabilities), labels).metrics
    assert metrics["auroc_macro"] == pytest.approx(expected, rel=1e-6)
    reference = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert metrics["auroc_macro"] == pytest.approx(reference, rel=1e-6)


def test_auroc_is_that_of_scikit_learn_and_torchmetrics_where_every_class_has_images() -> None:
    random = np.random.default_rng(4)
    logits = random.normal(size=(200, 5)).round(1)  # with ties
    labels = np.concatenate([np.arange(5), random.integers(5, size=195)])
    found = _evaluate(logits, labels).metrics["auroc_macro"]
    probabilities = _probabilities(logits)
    assert found == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"), rel=1e-6)
    of_torchmetrics = multiclass_auroc(torch.from_numpy(probabilities), torch.from_numpy(labels), 5)
    assert found == pytest.approx(float(of_torchmetrics), rel=1e-6)


def test_auroc_of_two_classes_is_the_usual_one() -> None:
    random = np.random.default_rng(5)
    logits, labels = random.normal(size=(60, 2)), random.integers(2, size=60)
    found = _evaluate(logits, labels).metrics["auroc_macro"]
    assert found == pytest.approx(roc_auc_score(labels, _probabilities(logits)[:, 1]), rel=1e-6)


def test_a_class_without_images_is_left_out_of_auroc_and_balanced_accuracy() -> None:
    logits = np.array([[2.0, 0.0, 1.0], [1.0, 0.5, 3.0], [0.0, 1.0, 0.0], [1.5, 1.0, 0.0]])
    labels = np.array([0, 0, 1, 1])  # class 2 is predicted once
    metrics = _evaluate(logits, labels).metrics
    probabilities = _probabilities(logits)
    areas = [roc_auc_score(labels == label, probabilities[:, label]) for label in (0, 1)]
    assert metrics["auroc_macro"] == pytest.approx(np.mean(areas))
    assert metrics["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert metrics["recall_macro"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)


def test_equal_scores_have_an_area_of_one_half() -> None:
    metrics = _evaluate(np.zeros((6, 3)), np.array([0, 0, 1, 1, 2, 2])).metrics
    assert metrics["auroc_macro"] == 0.5
    assert metrics["balanced_accuracy"] == pytest.approx(1 / 3)  # the first class is predicted
    assert metrics["brier_score"] == pytest.approx((2 / 3) ** 2 + 2 * (1 / 3) ** 2)


@pytest.mark.parametrize("labels", [[1], [1, 1, 1]], ids=["one image", "one class"])
def test_where_all_images_are_of_one_class_there_is_no_auroc(labels: list[int]) -> None:
    found = _evaluate(np.tile([0.0, 2.0, 1.0], (len(labels), 1)), np.array(labels)).metrics
    assert "auroc_macro" not in found
    assert found["balanced_accuracy"] == 1.0
    assert all(math.isfinite(value) for value in found.values())


def test_the_brier_score_sums_over_classes() -> None:
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    # (0.4^2 + 0.3^2 + 0.1^2 + 0.2^2 + 0.8^2 + 0.6^2) / 2
    metrics = _evaluate(np.log(probabilities), np.array([0, 1])).metrics
    assert metrics["brier_score"] == pytest.approx((0.16 + 0.09 + 0.01 + 0.04 + 0.64 + 0.36) / 2)
    of_two = _evaluate(np.log([[0.7, 0.3]]), np.array([1])).metrics
    assert of_two["brier_score"] == pytest.approx(2 * 0.7**2)


def test_the_brier_score_is_scikit_learns_of_several_classes() -> None:
    random = np.random.default_rng(6)
    logits, labels = random.normal(size=(80, 4)), random.integers(4, size=80)
    try:
        reference = brier_score_loss(labels, _probabilities(logits), labels=range(4))
    except (TypeError, ValueError):
        pytest.skip("scikit-learn has several classes from 1.7 on; the sum over classes is compared above")
    assert _evaluate(logits, labels).metrics["brier_score"] == pytest.approx(reference, rel=1e-12)


@pytest.mark.parametrize(("right", "expected"), [(True, 0.0), (False, 2.0)])
def test_the_brier_score_is_from_0_to_2(right: bool, expected: float) -> None:
    logits = np.full((3, 4), -1e4) + 2e4 * np.eye(4)[:3]
    labels = np.array([0, 1, 2]) if right else np.array([1, 2, 0])
    found = _evaluate(logits, labels).metrics
    assert found["brier_score"] == expected
    assert found["auroc_macro"] == (1.0 if right else 0.25)  # 1 of 2 other images is higher, 1 equal


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
def test_bfloat16_and_large_logits_have_finite_metrics(scale: float) -> None:
    random = np.random.default_rng(7)
    logits = (torch.from_numpy(random.normal(size=(40, 4))) * scale).to(torch.bfloat16)
    labels = torch.from_numpy(random.integers(4, size=40))
    found = evaluate(logits, labels).metrics
    assert set(found) == NAMES
    assert all(math.isfinite(value) for value in found.values())
    if scale == 1.0:
        _compare(logits.double().numpy(), labels.numpy())
