"""The bar, and the line on how an epoch ended and how much is left."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
from rich.console import Console

import callbacks.progress
from callbacks import SweepProgress, progress_of
from stages.console.output import log_handler, output
from tests.helpers.fake_training import Clock, batch_of, fake_module, fake_trainer
from tests.helpers.stage_helpers import composed


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
        (1, 0, 10.0, "at most about 1 s left"),
        (2, 0, 10.0, "at most about 10 s left"),
        (2, 780, 10.0, "at most about 88 s left"),
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
    monkeypatch.setattr(Console, "is_terminal", True)
    for name, value in {"COLUMNS": "160", "TERM": "xterm"}.items():
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


def test_progress_can_be_switched_off() -> None:
    assert progress_of(composed("+stage=dld", "callbacks.progress=false"), 100) == []
    (shown,) = progress_of(composed("+stage=dld"), 100)
    assert isinstance(shown, SweepProgress)
