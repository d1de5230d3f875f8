"""Intervals over patients of fixed networks: patients left out one by one, by scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats
from sklearn.metrics import f1_score, recall_score

from analysis.statistics.by_patient import kish, patients_dof
from analysis.statistics.fixed_networks import (
    patients_accuracy,
    patients_difference,
    patients_metric,
    patients_metric_difference,
    patients_recall,
)
from analysis.statistics.intervals import Interval
from stages.errors import RelayError
from stages.metrics import METRICS

Array = npt.NDArray[Any]
MACRO_F1 = METRICS["f1_score_macro"]


def study(seed: int, patients: int = 9, networks: int = 2) -> tuple[Array, Array, Array, Array]:
    """Labels of 3 classes, two predictions of some networks, patients of unequal size in mixed order."""
    generator = np.random.default_rng(seed)
    groups = np.repeat([f"p{number}" for number in range(patients)], generator.integers(1, 12, patients))
    generator.shuffle(groups)
    labels = generator.integers(0, 3, len(groups))
    shape = (networks, len(groups))
    a, b = (
        np.where(generator.random(shape) < right, labels, generator.integers(0, 3, shape))
        for right in (0.8, 0.6)
    )
    return labels, a, b, groups


def jackknife(value: Any, groups: Array) -> tuple[float, float]:
    """A value and its jackknife variance over groups, by leaving out one after the other."""
    names = np.unique(groups)
    without = np.array([value(groups != name) for name in names])
    variance = (len(names) - 1) / len(names) * ((without - without.mean()) ** 2).sum()
    return value(np.ones(len(groups), dtype=bool)), float(variance)


def check(found: Interval, value: float, variance: float, dof: float, *, level: bool) -> None:
    half = stats.t.ppf(0.975, dof) * variance**0.5
    expected = (value - half, value + half)
    if level:
        half /= value * (1 - value)
        expected = tuple(special.expit(special.logit(value) + sign * half) for sign in (-1, 1))
    assert found.estimate == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.dof == pytest.approx(dof)


@pytest.mark.parametrize("seed", range(4))
def test_metrics_with_patients_left_out_one_by_one(seed: int) -> None:
    labels, a, b, groups = study(seed)
    sizes = np.unique(groups, return_counts=True)[1].astype(float)
    plain = sizes.sum() ** 2 / (sizes**2).sum() - 1
    level = 2 / (1 / plain + (sizes**4).sum() / (sizes**2).sum() ** 2)

    def accuracy(networks: Array) -> Any:
        return lambda kept: float((networks == labels)[:, kept].mean())

    def f1(networks: Array) -> Any:
        return lambda kept: float(
            np.mean([f1_score(labels[kept], each[kept], average="macro") for each in networks])
        )

    check(patients_accuracy(a == labels, groups), *jackknife(accuracy(a), groups), level, level=True)
    check(patients_metric(MACRO_F1, labels, a, groups), *jackknife(f1(a), groups), level, level=True)
    for metric, found in [
        (accuracy, patients_difference(a == labels, b == labels, groups)),
        (f1, patients_metric_difference(MACRO_F1, labels, a, b, groups)),
    ]:
        first, second = metric(a), metric(b)
        value, variance = jackknife(lambda kept, x=first, y=second: x(kept) - y(kept), groups)
        check(found, value, variance, plain, level=False)


def test_with_patients_of_one_image_it_is_the_textbooks() -> None:
    """Jackknife of a mean: s / sqrt(n) with n - 1; so the difference is Student's paired interval."""
    generator = np.random.default_rng(0)
    a, b = generator.random(30) < 0.8, generator.random(30) < 0.6
    found = patients_difference(a, b, range(30))
    expected = stats.ttest_rel(a.astype(float), b.astype(float)).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.dof == pytest.approx(29)


def test_recall_by_korn_and_graubard() -> None:
    labels, a, _, groups = study(5, patients=12, networks=1)
    of_class = labels == 1
    sizes = np.array([(of_class & (groups == name)).sum() for name in np.unique(groups)])
    sizes = sizes[sizes > 0]
    value, variance = jackknife(
        lambda kept: recall_score(labels[kept], a[0][kept], labels=[1], average=None)[0],
        np.where(of_class, groups, groups[of_class][0]),
    )
    dof = sizes.sum() ** 2 / (sizes**2).sum() - 1
    images = sizes.sum()
    effective = (
        value * (1 - value) / variance * (stats.t.ppf(0.975, images - 1) / stats.t.ppf(0.975, dof)) ** 2
    )
    effective = min(images, effective)
    low = stats.beta.ppf(0.025, effective * value, effective * (1 - value) + 1)
    high = stats.beta.ppf(0.975, effective * value + 1, effective * (1 - value))
    found = patients_recall(labels, a, groups, 1)
    assert found.estimate == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.dof == pytest.approx(dof)


def test_a_recall_of_everything_is_as_sure_as_its_patients() -> None:
    """Four patients of the class, all right: Clopper and Pearson's interval of 4 of 4, not of 40 images."""
    labels = np.repeat([0, 1], [40, 8])
    groups = [*np.repeat([1, 2, 3, 4], 10), *np.repeat([5, 6], 4)]
    expected = stats.binomtest(4, 4).proportion_ci(method="exact")
    found = patients_recall(labels, np.zeros(48, dtype=int), groups, 0)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    expected = stats.binomtest(0, 2).proportion_ci(method="exact")
    found = patients_recall(labels, np.zeros(48, dtype=int), groups, 1)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.0, 0.0, expected.high))


def test_an_accuracy_of_everything_is_as_sure_as_its_patients() -> None:
    groups = np.repeat([1, 2, 3, 4, 5], 10)
    for value, right in [(1.0, 5), (0.0, 0)]:
        found = patients_accuracy(np.full(50, value), groups)
        expected = stats.binomtest(right, 5).proportion_ci(method="exact")
        assert (found.estimate, found.low, found.high) == pytest.approx((value, expected.low, expected.high))


def test_no_interval_where_nothing_is_known_of_other_patients() -> None:
    one = ["a"] * 6
    labels, right = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 1, 0, 1, 1, 0])
    for found, value in [
        (patients_accuracy(labels == right, one), 4 / 6),
        (patients_accuracy(np.ones(6), one), 1.0),
        (patients_difference(np.ones(6), labels == right, one), 2 / 6),
        (patients_metric(MACRO_F1, labels, right, one), f1_score(labels, right, average="macro")),
        (patients_recall(labels, right, one, 0), 2 / 3),
        (patients_recall(labels, right, [1, 2, 1, 2, 1, 2], 0), 2 / 3),  # one patient holds the class
        (patients_accuracy([1, 0, 1, 0], [1, 1, 2, 2]), 0.5),  # no spread between patients
        (patients_difference([1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 2, 2]), 0.5),
        (patients_metric(MACRO_F1, labels, labels, [1, 1, 2, 2, 3, 3]), 1.0),
    ]:
        assert found.estimate == pytest.approx(value)
        assert np.isnan([found.low, found.high, found.dof]).all()
    assert np.isnan(patients_recall(labels, right, one, 2).estimate), "no image of the class"


def test_a_class_that_is_predicted_but_nowhere_labelled_counts_as_in_records() -> None:
    labels, predicted = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 2, 1, 2, 0, 0])
    found = patients_metric(MACRO_F1, labels, predicted, [1, 1, 2, 2, 3, 3])
    assert found.estimate == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_a_class_of_one_patient_leaves_the_mean_with_it() -> None:
    labels, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    groups = np.array([1, 2, 1, 2, 3, 3])  # class 2 is of patient 3 alone, and is predicted of patient 2

    def f1(kept: Array) -> float:
        there = np.unique(labels[kept])
        return float(f1_score(labels[kept], predicted[kept], labels=there, average="macro"))

    dof = float(patients_dof(np.array([2.0, 2.0, 2.0]), level=True))
    found = patients_metric(MACRO_F1, labels, predicted, groups)
    check(found, *jackknife(f1, groups), dof, level=True)


def test_the_mean_over_networks_and_epochs_is_judged() -> None:
    labels, a, b, groups = study(1, networks=6)
    nested = patients_accuracy((a == labels).reshape(2, 3, -1), groups)
    assert nested == patients_accuracy((a == labels).mean(axis=0), groups)
    assert patients_metric(MACRO_F1, labels, a.reshape(3, 2, -1), groups) == patients_metric(
        MACRO_F1, labels, a, groups
    )
    several = patients_difference(a == labels, (b == labels)[0], groups)
    assert several.estimate == pytest.approx((a == labels).mean() - (b == labels)[0].mean())


def test_names_and_order_of_patients_do_not_matter() -> None:
    labels, a, _, groups = study(2)
    order = np.random.default_rng(0).permutation(len(labels))
    renamed = [("patient", name) for name in groups[order]]
    for found, other in [
        (patients_accuracy(a == labels, groups), patients_accuracy((a == labels)[:, order], renamed)),
        (
            patients_metric(MACRO_F1, labels, a, groups),
            patients_metric(MACRO_F1, labels[order], a[:, order], renamed),
        ),
        (patients_recall(labels, a, groups, 2), patients_recall(labels[order], a[:, order], renamed, 2)),
    ]:
        assert (found.low, found.high) == pytest.approx((other.low, other.high))


def test_effective_numbers_by_hand() -> None:
    sizes = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
    assert kish(sizes) == pytest.approx([36 / 14, 3.0])
    assert patients_dof(sizes, level=False) == pytest.approx([36 / 14 - 1, 2.0])
    assert patients_dof(sizes, level=True) == pytest.approx([2 / (14 / 22 + 98 / 196), 2 / (1 / 2 + 1 / 3)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patients_accuracy([1, np.nan], [1, 2]), "NaN"),
        (lambda: patients_accuracy([1, 2], [1, 2]), r"\[0, 1\]"),
        (lambda: patients_accuracy([1, 0], [1]), "1 groups for 2 images"),
        (lambda: patients_accuracy([], []), "no images"),
        (lambda: patients_accuracy(1.0, [1]), "shape"),
        (lambda: patients_accuracy([1, 0], [1, None]), "no group"),
        (lambda: patients_accuracy([1, 0], [1.0, np.nan]), "no group"),
        (lambda: patients_accuracy([1, 0], [[1], [2]]), "hashed"),
        (lambda: patients_accuracy(np.ones((0, 2)), [1, 2]), "no seed"),
        (lambda: patients_metric(MACRO_F1, [0, 1.5], [0, 1], [1, 2]), "whole numbers"),
        (lambda: patients_metric(MACRO_F1, [0, 1], [0, -1], [1, 2]), "numbered from 0"),
        (lambda: patients_metric(MACRO_F1, [0, 1], [0, 1, 1], [1, 2]), "shape"),
        (lambda: patients_metric(MACRO_F1, [0, 1], np.ones((0, 2), int), [1, 2]), "no run"),
        (lambda: patients_recall([0, 1], [0, 1], [1, 2], -1), "class"),
        (lambda: patients_recall([0, 1], [0, 1], [1, 2], 0.5), "class"),  # type: ignore[arg-type]
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        call()
