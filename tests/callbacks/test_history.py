"""The history: one row per epoch, the end of the plateau, and what a checkpoint carries of it."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import entropy

import callbacks.history
from callbacks import History, save_whole
from stages.plateau import PlateauRule
from stages.record import AttemptRecord
from tests.helpers.fake_training import (
    CHANCE,
    LOSSES,
    RULE,
    Clock,
    batch_of,
    end_epochs,
    fake_job,
    fake_module,
    fake_trainer,
)
from tests.helpers.store_files import attempt


def test_history_keeps_a_row_an_epoch_and_stops_when_the_plateau_is_over(tmp_path: Path) -> None:
    told: list[dict[str, float | int]] = []
    history = History(tmp_path / "history.csv", RULE, CHANCE, told.append)
    assert end_epochs(history, LOSSES) == [False, False, False, False, True]
    assert history.rows == told
    assert history.rows[1] == {"epoch": 1, "train_loss": 0.96, "learning_rate": 0.1, "accuracy": 0.1}
    assert history.losses == LOSSES


def test_history_stops_at_max_epochs(tmp_path: Path) -> None:
    rule = PlateauRule(min_delta=0.1, patience=2, length=2, smoothing=1, max_epochs=3, start_from_epoch=0)
    history = History(tmp_path / "history.csv", rule, CHANCE)
    assert end_epochs(history, [1.0, 0.5, 0.25]) == [False, False, True]


def test_history_stops_when_a_plateau_below_chance_is_over(tmp_path: Path) -> None:
    """24 classes: at the loss of chance, 3.18, a flat start is none; the rest after the fall is one."""
    rule = replace(RULE, max_epochs=30)
    history = History(tmp_path / "history.csv", rule, math.log(24))
    assert end_epochs(history, [3.18] * 6 + [2.0] + [0.5] * 6) == [False] * 12 + [True]
    plateau = history.plateau
    assert (plateau.onset, plateau.reached, plateau.learning) == (11, True, True)


@pytest.mark.parametrize(
    ("balance", "chance"),
    [
        ({}, -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))),
        ({"class_weights": "balanced"}, math.log(2)),
        ({"sampling": "balanced"}, math.log(2)),
    ],
)
def test_chance_is_that_of_the_classes_as_the_loss_weighs_them(
    tmp_path: Path, balance: dict[str, Any], chance: float
) -> None:
    """By hand, for 6 and 2 training images. 5% below the loss of chance is not enough."""
    job = fake_job(tmp_path)
    job.recipe = job.recipe.model_copy(update={"optim": replace(job.recipe.optim, **balance)})
    for share, learning in ((0.951, False), (0.949, True)):
        history = History.of(job, [6, 2], lambda row: None)
        end_epochs(history, [share * chance] * 2)
        assert history.plateau.learning is learning


@pytest.mark.parametrize("smoothing", [0.1, 0.8, 0.95])
def test_learning_is_judged_between_chance_and_the_least_loss_of_smoothed_labels(
    tmp_path: Path, smoothing: float
) -> None:
    """A network that knows each label has learned, however little its loss can fall; by hand, two classes."""
    job = fake_job(tmp_path)
    optim = replace(job.recipe.optim, label_smoothing=smoothing)
    job.recipe = job.recipe.model_copy(update={"optim": optim})
    least = float(entropy([1 - smoothing / 2, smoothing / 2]))
    for share, learning in ((0.96, False), (0.94, True), (0.0, True)):
        history = History.of(job, [5, 5], lambda row: None)
        end_epochs(history, [least + share * (math.log(2) - least)] * 2)
        assert history.plateau.learning is learning
        assert history.losses[0] == pytest.approx(history.rows[0]["train_loss"])


def test_no_plateau_ends_a_warm_up_before_the_rate_has_fallen(tmp_path: Path) -> None:
    """Batches of 32 of 64 images: 12 steps are six epochs, whose level loss does not count with step."""
    job, rule = fake_job(tmp_path), replace(RULE, max_epochs=30)
    stops = {}
    for schedule in ("constant", "step"):
        changes = {"schedule": schedule, "warmup_steps": 12, "batch_size": 32, "step_factor": 0.1}
        optim = replace(job.recipe.optim, **changes, step_patience=1)
        job.recipe = job.recipe.model_copy(update={"optim": optim, "plateau": rule})
        stops[schedule] = end_epochs(History.of(job, [32, 32], lambda row: None), [0.3] * 12).index(True)
    assert stops == {"constant": 4, "step": 9}


def test_history_csv_holds_the_numbers_exactly(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv", RULE, CHANCE)
    losses = [1 / 3, 2e-17]
    end_epochs(history, losses)
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "train_loss", "learning_rate", "accuracy"]
    assert [float(row["train_loss"]) for row in rows] == losses
    assert [row["epoch"] for row in rows] == ["0", "1"]


def test_only_the_first_process_writes_and_all_decide_alike(tmp_path: Path) -> None:
    told: list[Any] = []
    history = History(tmp_path / "history.csv", RULE, CHANCE, told.append)
    for epoch, loss in enumerate(LOSSES):
        trainer = fake_trainer(current_epoch=epoch, is_global_zero=False)
        history.on_train_epoch_end(trainer, fake_module(loss))
    assert trainer.should_stop and len(history.rows) == 5
    assert told == [] and not (tmp_path / "history.csv").exists()


def test_history_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    first = History(tmp_path / "history.csv", RULE, CHANCE)
    end_epochs(first, LOSSES[:2])
    save_whole({"state_dict": {}, "history": first.state_dict()}, tmp_path / "last.ckpt")
    end_epochs(first, [7.0], begin=2)  # written to history.csv, but not into the checkpoint

    second = History(tmp_path / "history.csv", RULE, CHANCE)
    second.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True)["history"])
    assert second.losses == LOSSES[:2]
    assert end_epochs(second, LOSSES[2:], begin=2) == [False, False, True]
    uninterrupted = History(tmp_path / "other.csv", RULE, CHANCE)
    end_epochs(uninterrupted, LOSSES)
    assert [each.tolist() for each in second.predicted] == [[0, 1], [1, 1]]  # of epochs 3 and 4
    assert all(map(torch.equal, second.predicted, uninterrupted.predicted))
    assert (tmp_path / "history.csv").read_text() == (tmp_path / "other.csv").read_text()


def test_predictions_of_the_plateau_survive_a_kill_inside_it(tmp_path: Path) -> None:
    """The plateau is epochs 3 and 4. Nothing but small integers of the last epochs is kept."""
    first, second = (History(tmp_path / "history.csv", RULE, CHANCE) for _ in range(2))
    end_epochs(first, LOSSES[:4])
    save_whole(first.state_dict(), tmp_path / "last.ckpt")
    second.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True))
    end_epochs(second, LOSSES[4:], begin=4)
    assert [each.tolist() for each in second.predicted] == [[0, 1], [1, 1]]
    assert {each.dtype for each in second.predicted} == {torch.int16}


@pytest.mark.parametrize(("epochs", "stop"), [(0, False), (4, False), (5, True)])
def test_a_run_killed_after_its_last_epoch_trains_no_more(tmp_path: Path, epochs: int, stop: bool) -> None:
    first, resumed = (History(tmp_path / "history.csv", RULE, CHANCE) for _ in range(2))
    end_epochs(first, LOSSES[:epochs])
    resumed.load_state_dict(first.state_dict())
    trainer = fake_trainer()
    resumed.on_train_start(trainer, fake_module(1.0))
    assert trainer.should_stop is stop


def test_evaluation_does_not_count_as_training_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(callbacks.history.time, "perf_counter", clock)
    history, module = History(tmp_path / "history.csv", RULE, CHANCE), fake_module(1.0)
    trainer = fake_trainer(world_size=2)
    for _ in range(2):
        history.on_train_epoch_start(trainer, module)
        for images in (8, 8, 3):
            clock.now += 2.0
            history.on_train_batch_end(trainer, module, None, batch_of(images), 0)
        history.on_validation_start(trainer, module)
        clock.now += 50.0
    assert history.train_seconds == 12.0
    assert history.train_images == 2 * 2 * 19


def test_evaluating_a_run_killed_after_its_last_epoch_is_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock counts from the start of the machine, 5,000 s ago."""
    clock = Clock()
    clock.now = 5000.0
    monkeypatch.setattr(callbacks.history.time, "perf_counter", clock)
    history = History(tmp_path / "history.csv", RULE, CHANCE)
    history.load_state_dict(history.state_dict() | {"train_seconds": 7.2, "train_images": 36})
    for _ in range(2):  # the evaluation set, the test set
        history.on_validation_start(fake_trainer(), fake_module(1.0))
    cost = history.cost([AttemptRecord(**attempt(seconds=seconds)) for seconds in (9.0, 1.5)])
    assert (cost.seconds, cost.train_seconds, cost.images_per_second) == (10.5, 7.2, 5.0)
