"""Lightning with our callbacks: it stops with the plateau, goes on from a checkpoint, and reads that once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from callbacks import AtomicCheckpointIO, History, ResumeCheckpoint, build_trainer, fit
from stages.job import Job
from tests.helpers.fake_training import CHANCE, LOSSES, RULE, fake_job


class Dot(pl.LightningModule):
    """One number, trained on nothing in particular."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.evaluation: Any = None
        self.predictions: Any = None
        self.train_loss = 0.0
        self.learning_rate = 0.001
        self.steps = 0

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
        self.steps += 1
        self.train_loss = LOSSES[self.current_epoch]
        return (self.weight * batch.labels.sum()).square()

    def validation_step(self, batch: torch.Tensor, batch_index: int) -> None:
        self.evaluation = SimpleNamespace(metrics={"accuracy": self.current_epoch / 10})
        self.predictions = SimpleNamespace(logits=torch.eye(5)[[self.current_epoch, 0]])

    def loss_judged(self, loss: float, counts: float) -> None:
        """Its rate is constant."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.001)


class TwoBatches:
    """What a loader needs."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Any:
        return iter([SimpleNamespace(labels=torch.ones(2)), SimpleNamespace(labels=torch.ones(3))])


class Data(pl.LightningDataModule):
    """The same two batches to train and to evaluate on."""

    def train_dataloader(self) -> TwoBatches:
        return TwoBatches()

    def val_dataloader(self) -> TwoBatches:
        return TwoBatches()


def fitted(job: Job, *callbacks: pl.Callback, resume: bool = False) -> tuple[Dot, History]:
    history = History(job.folder.history, RULE, CHANCE)
    last, checkpoints = job.folder.last_checkpoint, AtomicCheckpointIO()
    if resume:
        assert checkpoints.fault(last) is None
    saving = ResumeCheckpoint(last, job.folder.previous_checkpoint, 0.0, lambda: None)
    trainer = build_trainer(job, [history, saving, *callbacks], checkpoints)
    module = Dot()
    fit(trainer, module, Data(), last if resume else None)
    return module, history


def test_lightning_stops_with_the_plateau_and_trains_no_finished_run_again(tmp_path: Path) -> None:
    job = fake_job(tmp_path)
    module, history = fitted(job)
    assert module.steps == 2 * 5
    assert history.losses == LOSSES
    assert history.train_images == 5 * 5
    fault = AtomicCheckpointIO().fault
    assert fault(job.folder.last_checkpoint) is fault(job.folder.previous_checkpoint) is None
    again, resumed = fitted(job, resume=True)
    assert again.steps == 0
    assert torch.equal(again.weight, module.weight)
    assert resumed.rows == history.rows


def test_lightning_goes_on_from_the_checkpoint_before(tmp_path: Path) -> None:
    job = fake_job(tmp_path)
    module, history = fitted(job)
    os.replace(job.folder.previous_checkpoint, job.folder.last_checkpoint)
    again, resumed = fitted(job, resume=True)
    assert again.steps == 2
    assert torch.equal(again.weight, module.weight)
    assert resumed.rows == history.rows
    assert [each.tolist() for each in resumed.predicted] == [[3, 0], [4, 0]]  # of before the kill and after


def test_a_resume_reads_its_checkpoint_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = fake_job(tmp_path)
    fitted(job)
    read: list[Path] = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda path, **how: read.append(Path(path)) or load(path, **how))
    fitted(job, resume=True)
    assert read == [job.folder.last_checkpoint]


class CtrlC(pl.Callback):
    """The user stops the training in the second epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


def test_ctrl_c_is_what_it_is_elsewhere(tmp_path: Path) -> None:
    """Lightning turns it into an exit, and ignores the signal from then on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            fitted(fake_job(tmp_path), CtrlC())
    finally:
        signal.signal(signal.SIGINT, handler)
