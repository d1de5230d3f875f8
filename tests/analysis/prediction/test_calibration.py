"""One temperature: against torch and scikit-learn, on simulated logits of a known one, and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import log_loss

from analysis.prediction.calibration import (
    Calibration,
    HeldOut,
    calibrate,
    cross_fit,
    fit_temperature,
    held_out,
)
from stages.errors import RelayError
from tests.helpers.report_helpers import small_study


def simulated(images: int, networks: int, temperature: float, seed: int = 0, noise: float = 0.0) -> HeldOut:
    """Labels drawn from the softmax of logits, of which the networks give `temperature` times as much."""
    draw = np.random.default_rng(seed)
    true = draw.normal(0, 1.5, (images, 4))
    labels = np.array([draw.choice(4, p=p) for p in softmax(true, axis=1)])
    logits = np.repeat(true, networks, axis=0) + noise * draw.normal(size=(images * networks, 4))
    starts = np.arange(0, images * networks, networks)
    groups = np.arange(images) // 7
    samples = tuple(f"image {n}" for n in range(images))
    runs = np.tile(np.arange(networks), images)
    return HeldOut(samples, labels, groups, temperature * logits, starts, runs, out_of_fold=False)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    assert fit_temperature(simulated(8000, 1, temperature)) == pytest.approx(temperature, rel=0.05)


@pytest.mark.slow
def test_it_is_the_one_that_torch_finds_for_the_mean_probability() -> None:
    held = simulated(400, 3, 3.0, noise=0.8)
    logits, labels = torch.from_numpy(held.logits).view(400, 3, 4), torch.from_numpy(held.labels)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([log_temperature], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        descent.zero_grad()
        mean = (logits / log_temperature.exp()).softmax(-1).mean(1)
        value = torch.nn.functional.nll_loss(mean.log(), labels)
        value.backward()
        return value

    descent.step(loss)
    assert fit_temperature(held) == pytest.approx(log_temperature.detach().exp().item(), rel=1e-4)
    mean = softmax(held.logits.reshape(400, 3, 4) / 1.7, axis=2).mean(axis=1)
    assert np.exp(held.log_probabilities(1.7)) == pytest.approx(mean, abs=1e-12)
    assert held.cross_entropy(1.7) == pytest.approx(log_loss(held.labels, mean), rel=1e-12)


def test_of_networks_in_folds_it_is_that_of_a_mean_of_fewer_and_says_so() -> None:
    """Each image of a simulated fold has one of six networks; the mean of all six wants less."""
    held = simulated(1200, 6, 3.0, noise=0.8)
    own = np.arange(1200) * 6 + np.arange(1200) % 6
    folds = replace(
        held, logits=held.logits[own], starts=np.arange(1200), runs=held.runs[own], out_of_fold=True
    )
    of_one = Calibration(fit_temperature(folds), folds, cross_fit(folds))
    of_all = Calibration(fit_temperature(held), held, cross_fit(held))
    assert of_one.temperature > 1.05 * of_all.temperature
    assert "Each of these has 1 of the 6 networks" in of_one.note and "too even" in of_one.note
    assert "too even" not in of_all.note
    assert (of_one.document()["networks"], of_one.document()["networks_of_an_image"]) == (6, 1)


def test_an_image_is_judged_with_a_temperature_of_other_groups() -> None:
    held = simulated(300, 2, 2.0)
    found = cross_fit(held)
    own = {group: found[held.groups == group] for group in np.unique(held.groups)}
    assert all(len(set(values)) == 1 for values in own.values())
    values, sizes = np.unique(found, return_counts=True)
    assert len(values) == 5 and sizes.min() >= 56  # five parts of about equal size
    outside = held.only(found != values[0])
    assert fit_temperature(outside) == values[0]
    assert outside.networks.tolist() == [2] * len(outside.labels)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (simulated(40, 3, 1.0), "needs 50 images .* there are 40"),
        (simulated(100, 1, 0.0), "falls as far as a temperature of"),
    ],
)
def test_a_fit_that_cannot_hold_is_refused(held: HeldOut, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        fit_temperature(held)


def test_one_class_and_networks_that_are_always_right_are_refused() -> None:
    held = simulated(400, 1, 1.0)
    with pytest.raises(RelayError, match="are of one class"):
        fit_temperature(held.only(held.labels == 2))
    right = held.only(held.logits.argmax(axis=1) == held.labels)
    with pytest.raises(RelayError, match="nearly always right"):
        fit_temperature(right)
    barely = simulated(56, 1, 1.0)
    with pytest.raises(RelayError, match="without a part of the groups"):
        cross_fit(barely)
    one = replace(held, groups=np.zeros(400, np.int64))
    with pytest.raises(RelayError, match="of one group"):
        cross_fit(one)


@pytest.mark.parametrize("folds", [None, 3])
def test_the_runs_own_predictions_are_read_each_image_with_the_networks_that_had_it_out(
    tmp_path: Path, folds: int | None
) -> None:
    study = small_study(processes=("scratch",), seeds=range(2), ratios=(1.0,), folds=folds, samples=140)
    runs = study.write(tmp_path)
    for run in runs:
        run.test_predictions.write_bytes(b"locked: whoever reads this fails")
    held = held_out(runs)
    assert held.out_of_fold == (folds is not None)
    table = pd.concat([pd.read_parquet(run.predictions) for run in runs])
    assert held.samples == tuple(sorted(set(table["sample"])))
    assert set(held.networks) == {2}  # one of each seed
    of_class = [name for name in table if str(name).startswith("logit_")]
    for place, (name, rows) in enumerate(table.groupby("sample")):
        assert held.samples[place] == name and held.labels[place] == rows["label"].iloc[0]
        mine = held.logits[held.starts[place] : held.starts[place] + 2]
        assert mine == pytest.approx(rows[of_class].to_numpy())
        assert held.runs[held.starts[place]] == min(
            number
            for number, run in enumerate(runs)
            if name in set(pd.read_parquet(run.predictions)["sample"])
        )
    assert len(np.unique(held.groups)) == table["group"].nunique()
    found = calibrate(runs)
    assert found.document()["images"] == len(held.samples)
    assert found.cross_fitted is not None and held.cross_entropy(found.temperature) <= held.cross_entropy()


def test_two_labels_of_one_image_and_other_classes_are_refused(tmp_path: Path) -> None:
    one = small_study(processes=("scratch",), seeds=[0], ratios=(1.0,))
    first = one.write(tmp_path / "a")
    two = small_study(processes=("scratch",), seeds=[1], ratios=(1.0,), samples=90).write(tmp_path / "b")
    with pytest.raises(RelayError, match="one image two labels"):
        held_out([*first, *two])
    other = small_study(processes=("scratch",), seeds=[2], ratios=(1.0,), classes=("A", "B"))
    with pytest.raises(RelayError, match="same classes"):
        held_out([*first, *other.write(tmp_path / "c")])
