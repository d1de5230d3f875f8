"""A training made by hand: a clock, a job, a trainer, a module, and losses with a plateau."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from callbacks import History
from stages.attempts import Attempt
from stages.job import Job
from stages.plateau import PlateauRule
from tests.helpers.stage_helpers import composed, recipe

# The fall from chance is 1 at first; 0.96 and 0.95 are not a tenth of it below. The plateau is epochs 3, 4.
RULE = PlateauRule(min_delta=0.1, patience=2, length=2, smoothing=1, max_epochs=10, start_from_epoch=0)
CHANCE = 2.0
LOSSES = [1.0, 0.96, 0.95, 0.5, 0.25]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fake_job(runs_dir: Path) -> Job:
    """The job of a second stage under `RULE`, on a processor; its folder is made."""
    rule = asdict(RULE)
    config = composed(
        "+stage=dld",
        f"paths.runs_dir={runs_dir}",
        "job.chain=[natural,dld]",
        "trainer.accelerator=cpu",
        *(f"callbacks.plateau.{name}={value}" for name, value in rule.items()),
    )
    job = Job(config, recipe(plateau=RULE))
    job.folder.path.mkdir(parents=True, exist_ok=True)
    job._attempt = Attempt(job.folder.attempts, device="a processor", threads=torch.get_num_threads())
    return job


def fake_trainer(**changes: Any) -> Any:
    values = {
        "current_epoch": 0,
        "should_stop": False,
        "is_global_zero": True,
        "world_size": 1,
        "num_training_batches": 4,
    }
    return SimpleNamespace(**(values | changes))


def fake_module(loss: float, accuracy: float = 0.5, predicted: tuple[int, int] = (0, 1)) -> Any:
    """A module that predicted these classes, of three, for its two images."""
    return SimpleNamespace(
        train_loss=loss,
        learning_rate=0.1,
        loss_judged=lambda loss, counts: None,
        evaluation=SimpleNamespace(metrics={"accuracy": accuracy}),
        predictions=SimpleNamespace(logits=torch.eye(3)[list(predicted)], labels=torch.tensor([0, 1])),
    )


def batch_of(images: int) -> Any:
    return SimpleNamespace(labels=torch.zeros(images))


def end_epochs(history: History, losses: list[float], begin: int = 0) -> list[bool]:
    """Whether training was told to stop after each epoch; epoch E predicts the classes E % 3 and E // 3."""
    stops = []
    for epoch, loss in enumerate(losses, begin):
        trainer = fake_trainer(current_epoch=epoch)
        module = fake_module(loss, accuracy=epoch / 10, predicted=(epoch % 3, epoch // 3 % 3))
        history.on_train_epoch_end(trainer, module)
        stops.append(trainer.should_stop)
    return stops
