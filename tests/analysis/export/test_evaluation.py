"""What the card says of networks together and of single ones, against plain averages of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch import nn

from analysis.export.evaluation import evaluation_of
from analysis.prediction.ensemble import Ensemble, Member
from stages.predictions import read_predictions
from stages.store import RunFolder
from tests.helpers.fake_study import FakeStudy

pytestmark = pytest.mark.slow

CLASSES = ("CON", "GGO", "NOR")
STUDY = FakeStudy(
    processes=("two_stage",), seeds=(0, 1, 2), ratios=(1.0,), classes=CLASSES, samples=90, patients=30
)


def ensemble_of(folders: Sequence[RunFolder]) -> Ensemble:
    """Networks of which only records and predictions are looked at."""
    nothing = cast(Any, None)
    members = [
        Member(folder, folder.read_record(), nothing, nn.Identity(), nothing, "32-true") for folder in folders
    ]
    return Ensemble(tuple(members), CLASSES, (32, 32), nothing, torch.device("cpu"))


def mean_probabilities(folders: Sequence[RunFolder]) -> tuple[list[int], np.ndarray[Any, Any]]:
    """Labels, and probabilities averaged over the networks that evaluated an image."""
    rows: dict[str, list[np.ndarray[Any, Any]]] = {}
    labels: dict[str, int] = {}
    for folder in folders:
        read = read_predictions(folder.predictions, samples=True)
        each = torch.from_numpy(read.logits).double().softmax(dim=1).numpy()
        for sample, label, row in zip(read.samples, read.labels, each, strict=True):
            rows.setdefault(sample, []).append(row)
            labels[sample] = int(label)
    assert {len(each) for each in rows.values()} == {3}, "an image has one network of each seed"
    return list(labels.values()), np.array([np.mean(rows[sample], axis=0) for sample in labels])


@pytest.mark.parametrize("folds", [None, 3])
def test_together_is_the_mean_probability_of_networks_that_had_not_seen_an_image(
    folds: int | None, tmp_path: Path
) -> None:
    study = FakeStudy(**(vars(STUDY) | {"folds": folds}))
    folders = study.write(tmp_path)
    found = evaluation_of(ensemble_of(folders), tmp_path, None)
    labels, probabilities = mean_probabilities(folders)
    predicted = probabilities.argmax(axis=1)
    expected = {
        "accuracy": accuracy_score(labels, predicted),
        "macro F1": f1_score(labels, predicted, average="macro"),
        "cross-entropy": -np.log(probabilities[np.arange(len(labels)), labels]).mean(),
    }
    for title, value in expected.items():
        assert found.together[title].value == pytest.approx(value, abs=1e-6), title
    recalls = recall_score(labels, predicted, average=None)
    assert [found.together[f"recall of {name}"].value for name in CLASSES] == pytest.approx(recalls)
    assert (found.images, found.groups, found.notes) == (90, 30, [])
    assert found.singly["accuracy"].interval_for == "new seeds and new patients"
    # Folds share training patients: no interval for patients alone covers.
    together = found.together["accuracy"]
    assert together.interval_for == ("new patients, the networks fixed" if folds is None else "")
    assert bool(together.range) == (folds is None)


def test_single_networks_are_the_mean_over_seeds_and_the_plateau(tmp_path: Path) -> None:
    folders = STUDY.write(tmp_path)
    found = evaluation_of(ensemble_of(folders), tmp_path, None).singly["accuracy"]
    read = [read_predictions(folder.predictions, by_epoch=True) for folder in folders]
    each = [(one.by_epoch == one.labels[:, None]).mean() for one in read]
    assert found.value == pytest.approx(np.mean(each))
    assert found.low is not None and found.high is not None and found.low < found.value < found.high
    assert found.text == f"{100 * found.value:.1f}% ({100 * found.low:.1f}% to {100 * found.high:.1f}%)"


def test_networks_of_several_configurations_have_no_mean_of_single_ones(tmp_path: Path) -> None:
    first, *_ = STUDY.write(tmp_path)
    second, *_ = FakeStudy(**(vars(STUDY) | {"processes": ("scratch",)})).write(tmp_path)
    found = evaluation_of(ensemble_of([first, second]), tmp_path, None)
    assert found.together and not found.singly
    assert "several configurations" in found.notes[0]
    third, *_ = FakeStudy(**(vars(STUDY) | {"image_size": 96})).write(tmp_path)  # the first one's seed
    assert not evaluation_of(ensemble_of([first, third]), tmp_path, None).singly


def test_some_folds_alone(tmp_path: Path) -> None:
    folders = FakeStudy(**(vars(STUDY) | {"folds": 3})).write(tmp_path)
    found = evaluation_of(ensemble_of(folders[:2]), tmp_path, None)
    assert 0 < found.images < 90 and found.together["accuracy"].value > 0
