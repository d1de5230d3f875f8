"""AUROC without each group: against scikit-learn on the images that are left."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from analysis.statistics.auroc import leave_one_out_auroc


def _reference(scores: np.ndarray, labels: np.ndarray) -> float:
    classes = [label for label in np.unique(labels) if 0 < (labels == label).mean() < 1]
    return float(np.mean([roc_auc_score(labels == label, scores[:, label]) for label in classes]))


@pytest.mark.parametrize("groups", [9, 60])
def test_each_group_is_left_out_as_if_it_had_not_been_there(groups: int) -> None:
    draw = np.random.default_rng(groups)
    labels = draw.integers(0, 3, 60)
    labels[labels == 2] = np.where(np.arange((labels == 2).sum()) < 3, 3, 1)  # class 2 has no image
    of_image = np.arange(60) % groups
    of_image[labels == 3] = 0  # one group alone holds a class
    scores = np.round(draw.random((60, 4)), 1)  # many are equal
    value, without = leave_one_out_auroc(scores, labels, of_image)
    assert value == pytest.approx(_reference(scores, labels))
    for group, found in enumerate(without):
        left = of_image != group
        assert found == pytest.approx(_reference(scores[left], labels[left]))


def test_one_class_has_none() -> None:
    value, without = leave_one_out_auroc(np.eye(3), np.zeros(3, np.int64), np.arange(3))
    assert np.isnan(value) and np.isnan(without).all()
