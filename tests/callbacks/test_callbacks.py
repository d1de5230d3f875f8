"""History and plateau, resume checkpoints, results and progress, on runs made by hand."""

from __future__ import annotations

import csv
import logging
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

import callbacks.checkpoint
import callbacks.history
import callbacks.progress
import callbacks.results
from callbacks import (
    AtomicCheckpointIO,
    History,
    ResumeCheckpoint,
    SweepProgress,
    loads,
    save_whole,
    summarise,
    write_results,
)
from callbacks.history import to_csv
from stages.console.output import log_handler, output
from stages.errors import RelayError
from stages.plateau import Plateau, PlateauRule
from stages.record import DataRecord, OriginRecord, Record
from stages.store import RunFolder
from tests.helpers.stage_helpers import recipe

# Lightning 2.6 makes a LeafSpec, which torch 2.9 and later warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")

# Flat from epoch 2 (0.96 and 0.95 are not a tenth below 1.0): the plateau is epochs 3 and 4.
RULE = PlateauRule(min_delta=0.1, patience=2, length=2, smoothing=1, max_epochs=10)
LOSSES = [1.0, 0.96, 0.95, 0.5, 0.25]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fake_trainer(**changes: Any) -> Any:
    values = {
        "current_epoch": 0,
        "should_stop": False,
        "is_global_zero": True,
        "world_size": 1,
        "num_training_batches": 4,
    }
    return SimpleNamespace(**(values | changes))


def fake_module(loss: float, accuracy: float = 0.5) -> Any:
    return SimpleNamespace(train_loss=loss, evaluation=SimpleNamespace(metrics={"accuracy": accuracy}))


def batch_of(images: int) -> Any:
    return SimpleNamespace(labels=torch.zeros(images))


def end_epochs(history: History, losses: list[float], begin: int = 0) -> list[bool]:
    """Whether the training was told to stop after each epoch."""
    stops = []
    for epoch, loss in enumerate(losses, begin):
        trainer = fake_trainer(current_epoch=epoch)
        history.on_train_epoch_end(trainer, fake_module(loss, accuracy=epoch / 10))
        stops.append(trainer.should_stop)
    return stops


def test_history_keeps_a_row_an_epoch_and_stops_when_the_plateau_is_over(tmp_path: Path) -> None:
    told: list[dict[str, float | int]] = []
    history = History(tmp_path / "history.csv", RULE, told.append)
    assert end_epochs(history, LOSSES) == [False, False, False, False, True]
    assert history.rows == told
    assert history.rows[1] == {"epoch": 1, "train_loss": 0.96, "accuracy": 0.1}
    assert history.losses == LOSSES


def test_history_stops_at_max_epochs(tmp_path: Path) -> None:
    rule = PlateauRule(min_delta=0.1, patience=2, length=2, smoothing=1, max_epochs=3)
    assert end_epochs(History(tmp_path / "history.csv", rule), [1.0, 0.5, 0.25]) == [False, False, True]


def test_history_csv_holds_the_numbers_exactly(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv", RULE)
    losses = [1 / 3, 2e-17]
    end_epochs(history, losses)
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "train_loss", "accuracy"]
    assert [float(row["train_loss"]) for row in rows] == losses
    assert [row["epoch"] for row in rows] == ["0", "1"]


def test_only_the_first_process_writes_and_all_decide_alike(tmp_path: Path) -> None:
    told: list[Any] = []
    history = History(tmp_path / "history.csv", RULE, told.append)
    for epoch, loss in enumerate(LOSSES):
        trainer = fake_trainer(current_epoch=epoch, is_global_zero=False)
        history.on_train_epoch_end(trainer, fake_module(loss))
    assert trainer.should_stop and len(history.rows) == 5
    assert told == [] and not (tmp_path / "history.csv").exists()


def test_history_goes_on_from_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(callbacks.history.time, "perf_counter", clock)
    first = History(tmp_path / "history.csv", RULE)
    end_epochs(first, LOSSES[:2])
    clock.now += 60.0
    save_whole({"state_dict": {}, "history": first.state_dict()}, tmp_path / "last.ckpt")
    end_epochs(first, [7.0], begin=2)  # written to history.csv, but not into the checkpoint

    clock.now += 500.0  # between two attempts
    second = History(tmp_path / "history.csv", RULE)
    second.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True)["history"])
    assert second.losses == LOSSES[:2]
    assert second.attempts == 2
    clock.now += 5.0
    assert second.seconds == 65.0
    assert end_epochs(second, LOSSES[2:], begin=2) == [False, False, True]
    uninterrupted = History(tmp_path / "other.csv", RULE)
    end_epochs(uninterrupted, LOSSES)
    assert (tmp_path / "history.csv").read_text() == (tmp_path / "other.csv").read_text()


@pytest.mark.parametrize(("epochs", "stop"), [(0, False), (4, False), (5, True)])
def test_a_run_killed_after_its_last_epoch_trains_no_more(tmp_path: Path, epochs: int, stop: bool) -> None:
    first, resumed = (History(tmp_path / "history.csv", RULE) for _ in range(2))
    end_epochs(first, LOSSES[:epochs])
    resumed.load_state_dict(first.state_dict())
    trainer = fake_trainer()
    resumed.on_train_start(trainer, fake_module(1.0))
    assert trainer.should_stop is stop


def test_evaluation_does_not_count_as_training_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(callbacks.history.time, "perf_counter", clock)
    history, module = History(tmp_path / "history.csv", RULE), fake_module(1.0)
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
    assert history.seconds == 112.0


class Checkpointed:
    """A ResumeCheckpoint and a trainer that writes the epoch's number."""

    def __init__(self, folder: Path, seconds: float, before: Callable[[], None] = lambda: None) -> None:
        self.last, self.previous = folder / "last.ckpt", folder / "previous.ckpt"
        self.callback = ResumeCheckpoint(self.last, self.previous, seconds, before)

    def end(self, epoch: int, stop: bool = False, first: bool = True) -> None:
        def save(path: Path) -> None:
            if first:
                path.write_text(str(epoch))

        trainer = fake_trainer(should_stop=stop, is_global_zero=first, save_checkpoint=save)
        self.callback.on_train_epoch_end(trainer, fake_module(1.0))

    def written(self) -> tuple[str | None, str | None]:
        last, previous = (path.read_text() if path.exists() else None for path in (self.last, self.previous))
        return last, previous


def test_the_checkpoint_before_is_kept(tmp_path: Path) -> None:
    run = Checkpointed(tmp_path, seconds=0.0)
    run.end(0)
    assert run.written() == ("0", None)
    run.end(1)
    assert run.written() == ("1", "0")
    run.end(2)
    assert run.written() == ("2", "1")


def test_checkpoints_keep_their_distance_but_the_last_epoch_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(callbacks.checkpoint.time, "monotonic", clock)
    run = Checkpointed(tmp_path, seconds=60.0)
    written = []
    for epoch, later in enumerate((59.0, 1.0, 59.9, 0.1, 1.0)):
        clock.now += later
        run.end(epoch, stop=epoch == 4)
        written.append(run.written())
    assert written == [(None, None), ("1", None), ("1", None), ("3", "1"), ("4", "3")]


def test_what_is_called_before_writing_can_stop_it(tmp_path: Path) -> None:
    def refuse() -> None:
        raise RelayError("the lock was lost")

    good = Checkpointed(tmp_path, seconds=0.0)
    good.end(0)
    good.end(1)
    with pytest.raises(RelayError, match="lock was lost"):
        Checkpointed(tmp_path, seconds=0.0, before=refuse).end(2, stop=True)
    assert good.written() == ("1", "0")
    with pytest.raises(RelayError):  # a run that diverged ends at once, not at the next checkpoint
        Checkpointed(tmp_path, seconds=1e9, before=refuse).end(2)


def test_other_processes_move_no_checkpoint(tmp_path: Path) -> None:
    Checkpointed(tmp_path, seconds=0.0).end(0)
    Checkpointed(tmp_path, seconds=0.0).end(1, first=False)
    assert Checkpointed(tmp_path, seconds=0.0).written() == ("0", None)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("weights_only", [None, False, True])
def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, weights_only: bool | None) -> None:
    path, proof = tmp_path / "last.ckpt", tmp_path / "executed"
    torch.save({"state_dict": {}, "epoch": Malicious(proof)}, path)
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=weights_only)
    assert not loads(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)  # it would have been
    assert proof.exists()


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    content = {"state_dict": {"weight": torch.tensor([1.5, float("-inf")])}, "epoch": 3, "rows": [{"a": 0.1}]}
    AtomicCheckpointIO().save_checkpoint(content, str(path))
    found = AtomicCheckpointIO().load_checkpoint(str(path))
    assert torch.equal(found["state_dict"].pop("weight"), torch.tensor([1.5, float("-inf")]))
    assert found == {"state_dict": {}, "epoch": 3, "rows": [{"a": 0.1}]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_whole({"state_dict": {}}, path)
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        save_whole({"state_dict": {"layer": torch.zeros(9), "function": lambda: None}}, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_loads_tells_a_checkpoint_from_what_is_not_one(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    assert not loads(path)
    save_whole({"state_dict": {"weight": torch.zeros(1000)}, "epoch": 1}, path)
    assert loads(path)
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert not loads(path), length
    for other in ({"weight": torch.zeros(2)}, [1, 2], torch.zeros(3)):
        save_whole(other, path)
        assert not loads(path)


def test_the_summary_is_of_the_plateau() -> None:
    random = np.random.default_rng(0)
    names = ("train_loss", "cross_entropy", "calibration_error", "accuracy", "f1_score_macro")
    rows = [{"epoch": epoch, **{name: float(random.random()) for name in names}} for epoch in range(9)]
    summary = summarise(rows, Plateau(onset=3, length=5, reached=True))
    assert set(summary) == set(names)
    for name in names:
        values = [row[name] for row in rows[3:8]]
        metric = summary[name]
        assert [metric.p25, metric.p50, metric.p75] == pytest.approx(np.percentile(values, [25, 50, 75]))
        assert metric.last == rows[7][name]
        assert metric.best == (max if name in ("accuracy", "f1_score_macro") else min)(values)


def test_the_75th_percentile_by_hand() -> None:
    rows = [{"epoch": epoch, "accuracy": value} for epoch, value in enumerate([0.9, 0.1, 0.4, 0.2, 0.3])]
    metric = summarise(rows, Plateau(onset=1, length=4, reached=False))["accuracy"]
    assert metric.p75 == pytest.approx(0.325)  # a quarter of the way from 0.3 to 0.4
    assert (metric.last, metric.best) == (0.3, 0.4)


def test_a_metric_that_some_epoch_of_the_plateau_lacks_is_left_out() -> None:
    """A run that was begun by a version with other metrics goes on, and its record has what is whole."""
    rows: list[dict[str, float | int]] = [{"epoch": 0, "accuracy": 0.5, "of_another_version": 1.0}]
    rows += [{"epoch": epoch, "accuracy": 0.6, "balanced_accuracy": 0.4} for epoch in (1, 2)]
    assert set(summarise(rows, Plateau(onset=0, length=3, reached=True))) == {"accuracy"}
    assert set(summarise(rows, Plateau(onset=1, length=2, reached=True))) == {"accuracy", "balanced_accuracy"}
    lines = to_csv(rows).splitlines()
    assert lines[0] == "epoch,accuracy,of_another_version,balanced_accuracy"
    assert lines[1:] == ["0,0.5,1.0,", "1,0.6,,0.4", "2,0.6,,0.4"]


def results(folder: Path) -> tuple[RunFolder, Callable[[], Record]]:
    """A run's folder with a checkpoint before the last, and the call that finishes the run."""
    run = RunFolder(folder)
    run.previous_checkpoint.write_text("the checkpoint before")
    history = History(run.history, RULE)
    end_epochs(history, LOSSES)
    history.train_images, history.train_seconds = 500, 4.0
    classes = ["CON", "GGO"]
    data = DataRecord(
        digest="b" * 64,
        classes=classes,
        train_counts=[3, 4],
        val_counts=[1, 1],
        train_groups=5,
        val_groups=2,
        histogram_accuracy=0.5,
    )
    origin = OriginRecord(
        versions={"torch": "0"}, git_commit=None, git_dirty=None, machine={}, threads=1, finished="today"
    )
    transfer = {
        "rule": "feature",
        "source": "parent",
        "kept": ["conv.weight"],
        "reinitialised": ["fc8.weight", "fc8.bias"],
        "frozen": [],
        "ignored": [],
        "kept_buffers": ["norm.running_mean"],
        "reinitialised_buffers": [],
        "rounded": [],
    }
    weights = {
        "conv.weight": nn.Parameter(torch.arange(6.0).reshape(2, 3)).t(),
        "norm.running_mean": torch.zeros(50),
        "fc8.weight": torch.ones(2, 4),
        "fc8.bias": torch.zeros(2),
    }

    def finish() -> Record:
        return write_results(
            run,
            recipe(),
            RULE,
            history,
            chain=("natural", "dld"),
            starting_point="parent",
            transfer=transfer,
            weights=weights,
            data=data,
            samples=("a", "b"),
            groups=("p", "q"),
            logits=torch.eye(2),
            labels=torch.tensor([0, 1]),
            confusion_matrix=[[1, 0], [0, 1]],
            origin=origin,
        )

    return run, finish


def test_results_of_a_finished_run(tmp_path: Path) -> None:
    run, finish = results(tmp_path)
    record = finish()
    assert run.read_record() == record
    assert record.id == recipe().id
    assert record.chain == ["natural", "dld"]
    assert record.parameters == 6 + 8 + 2  # buffers are not parameters
    assert record.epochs == 5
    assert (record.plateau.onset, record.plateau.length, record.plateau.reached) == (3, 2, True)
    assert record.metrics["train_loss"].best == 0.25
    assert record.metrics["accuracy"].p75 == pytest.approx(0.3 + 0.75 * 0.1)
    assert record.cost.images_per_second == 125.0
    assert record.cost.peak_memory_bytes > 10_000_000
    weights = torch.load(run.weights, weights_only=True)
    assert torch.equal(weights["conv.weight"], torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]))
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in weights.values())
    assert pq.read_table(run.predictions).num_rows == 2
    assert not run.previous_checkpoint.exists()


@pytest.mark.parametrize("file", ["model.ckpt", "predictions.parquet"])
def test_a_run_whose_results_cannot_be_written_is_not_complete(tmp_path: Path, file: str) -> None:
    run, finish = results(tmp_path)
    (tmp_path / file).mkdir()  # a folder in the file's place: the rename fails
    with pytest.raises(OSError, match=file):
        finish()
    assert not run.is_complete()
    assert run.previous_checkpoint.exists()
    assert not list(tmp_path.glob(".*partial"))
    (tmp_path / file).rmdir()
    finish()
    assert run.is_complete()


def test_the_record_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, finish = results(tmp_path)
    present: list[set[str]] = []

    def full_disk(path: Path, content: str) -> None:
        assert path == run.record
        present.append({entry.name for entry in tmp_path.iterdir()})
        raise OSError("no space left on device")

    monkeypatch.setattr(callbacks.results, "write_text", full_disk)
    with pytest.raises(OSError, match="no space"):
        finish()
    assert present == [{"model.ckpt", "predictions.parquet", "history.csv"}]
    assert not run.is_complete()


def test_a_metric_that_is_not_a_number_completes_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, finish = results(tmp_path)
    monkeypatch.setattr(callbacks.results, "representative_value", lambda values, percentile: float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        finish()
    assert not run.is_complete()


class Watched:
    """A SweepProgress with a clock; a fifth of a second an image."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, epochs: int = 10, images_after: int = 500) -> None:
        self.clock = Clock()
        monkeypatch.setattr(callbacks.progress.time, "perf_counter", self.clock)
        self.progress = SweepProgress("texture", 2, 3, epochs, 100, images_after)
        self.trainer = fake_trainer()

    def train(self, images: int, seconds: float, epoch: int = 0) -> None:
        self.trainer.current_epoch = epoch
        self.progress.on_train_epoch_start(self.trainer, fake_module(1.0))
        self.clock.now += seconds
        self.progress.on_train_batch_end(self.trainer, fake_module(1.0), None, batch_of(images), 0)

    def line(self, caplog: pytest.LogCaptureFixture) -> str:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="callbacks.progress"):
            self.progress.on_train_epoch_end(self.trainer, fake_module(1.0625, accuracy=0.625))
        return caplog.messages[-1] if caplog.messages else ""


def test_progress_tells_the_place_and_the_most_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Watched(monkeypatch)
    run.progress.on_train_start(run.trainer, fake_module(1.0))
    run.train(100, seconds=12.0)
    # 9 epochs of 100 images and 500 images of later runs, at 0.12 s an image: 168 s
    assert run.line(caplog) == (
        "texture epoch 1 of at most 10: loss 1.062, accuracy 62.5%; "
        "stage run 2 of 3, at most about 3 min left"
    )
    run.train(100, seconds=12.0, epoch=1)
    assert run.line(caplog).endswith("at most about 3 min left")  # 156 s


@pytest.mark.parametrize(
    ("epochs", "after", "seconds", "left"),
    [
        (1, 0, 10.0, "at most 1 s left"),
        (2, 0, 10.0, "at most 10 s left"),
        (2, 780, 10.0, "at most 88 s left"),
        (2, 900, 10.0, "at most about 2 min left"),
        (2, 53_800, 10.0, "at most about 90 min left"),
        (2, 53_900, 10.0, "at most about 1.5 h left"),
        (11, 71_000, 10.0, "at most about 2.0 h left"),
    ],
)
def test_time_left_in_words(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    epochs: int,
    after: int,
    seconds: float,
    left: str,
) -> None:
    run = Watched(monkeypatch, epochs, after)
    run.progress.on_train_start(run.trainer, fake_module(1.0))
    run.train(100, seconds)
    assert run.line(caplog).endswith(f"stage run 2 of 3, {left}")


def test_the_speed_is_that_of_this_attempt(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Watched(monkeypatch, images_after=0)
    run.progress.on_train_start(run.trainer, fake_module(1.0))
    run.train(100, seconds=50.0, epoch=7)  # resumed: 2 epochs of 100 images are left, half a second each
    assert run.line(caplog).endswith("at most about 2 min left")


def test_only_the_first_process_reports(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Watched(monkeypatch)
    run.trainer.is_global_zero = False
    run.progress.on_train_start(run.trainer, fake_module(1.0))
    run.train(100, seconds=1.0)
    assert run.line(caplog) == ""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard output is a terminal; the process's one console is made anew for it and after it."""
    values = {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "COLUMNS": "160", "TERM": "xterm"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    output.cache_clear()
    yield
    output.cache_clear()


@pytest.mark.usefixtures("terminal")
def test_messages_go_above_the_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A message that another console writes would stand in the bar's own line."""
    run = Watched(monkeypatch)
    run.progress.on_train_start(run.trainer, fake_module(1.0))
    capsys.readouterr()
    log_handler().handle(logging.makeLogRecord({"msg": "epoch over", "levelname": "INFO"}))
    shown = capsys.readouterr().out
    run.progress.teardown(run.trainer, fake_module(1.0), "fit")
    assert re.search(r"^\r\x1b\[2K[^\n]*epoch over", shown), "the bar is erased first"


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_a_bar_that_is_taken_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Watched(monkeypatch)
    run.progress.on_train_start(run.trainer, fake_module(1.0))
    run.train(50, seconds=6.0)
    run.progress.teardown(run.trainer, fake_module(1.0), "fit")
    run.progress.teardown(run.trainer, fake_module(1.0), "fit")
    shown = capsys.readouterr().out
    assert "texture epoch 1 of at most 10" in shown
    assert "1/4" in shown
    # 950 images of this run and 500 of later ones, at 0.12 s an image: 174 s
    assert "stage run 2 of 3, at most about 3 min left" in shown
    assert "\x1b[?25h" in shown  # the cursor is back


class Dot(pl.LightningModule):
    """One number, trained on nothing in particular."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.evaluation: Any = None
        self.train_loss = 0.0
        self.steps = 0

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
        self.steps += 1
        self.train_loss = LOSSES[self.current_epoch]
        return (self.weight * batch.labels.sum()).square()

    def validation_step(self, batch: torch.Tensor, batch_index: int) -> None:
        self.evaluation = SimpleNamespace(metrics={"accuracy": self.current_epoch / 10})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.001)


class TwoBatches:
    """What a loader needs."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Any:
        return iter([SimpleNamespace(labels=torch.ones(2)), SimpleNamespace(labels=torch.ones(3))])


def fit(folder: Path, resume: bool = False) -> tuple[Dot, History, pl.Trainer]:
    history = History(folder / "history.csv", RULE)
    last, previous = folder / "last.ckpt", folder / "previous.ckpt"
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=RULE.max_epochs,
        callbacks=[history, ResumeCheckpoint(last, previous, 0.0, lambda: None)],
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    module = Dot()
    trainer.fit(module, TwoBatches(), TwoBatches(), ckpt_path=last if resume else None)
    return module, history, trainer


def test_lightning_stops_with_the_plateau_and_trains_no_finished_run_again(tmp_path: Path) -> None:
    module, history, _ = fit(tmp_path)
    assert module.steps == 2 * 5
    assert history.losses == LOSSES
    assert history.train_images == 5 * 5
    assert loads(tmp_path / "last.ckpt") and loads(tmp_path / "previous.ckpt")
    again, resumed, _ = fit(tmp_path, resume=True)
    assert again.steps == 0
    assert torch.equal(again.weight, module.weight)
    assert resumed.rows == history.rows
    assert resumed.attempts == 2


def test_lightning_goes_on_from_the_checkpoint_before(tmp_path: Path) -> None:
    module, history, _ = fit(tmp_path)
    os.replace(tmp_path / "previous.ckpt", tmp_path / "last.ckpt")
    again, resumed, _ = fit(tmp_path, resume=True)
    assert again.steps == 2
    assert torch.equal(again.weight, module.weight)
    assert resumed.rows == history.rows
