"""Killed at any moment, a run goes on and ends with the same bits; two sweeps train a shared stage once."""

import json
import re
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.predictions import read_predictions
from stages.record import read_record
from tests.helpers.programs import PROJECT, environment
from tests.helpers.relay import command, folders, only_folder, run, run_until, same_tensors, start

# A checkpoint after every epoch, and enough epochs to be killed between.
STAGE = (
    *("+stage=texture", "callbacks.plateau.patience=4", "trainer.checkpoint_seconds=0"),
    "test_fraction=0.25",
)
# The last four epochs stand for the plateau, so that a run killed after two of them is killed inside of it.
LENGTH = 4
LAST = ("callbacks.plateau.max_epochs=5", f"callbacks.plateau.length={LENGTH}")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """The folder of a run that nobody disturbed."""
    runs_dir = tmp_path_factory.mktemp("uninterrupted")
    done = run(*STAGE, runs_dir=runs_dir, cache_dir=cache_dir, last=LAST)
    assert done.returncode == 0, done.stderr
    return only_folder(runs_dir, "texture")


def without_times(record: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(record.read_text())
    del content["cost"], content["attempts"]
    del content["files"]["config.yaml"], content["seal"]  # of the folders, of the times
    del content["origin"]["finished"]
    return content


def assert_same(folder: Path, expected: Path) -> None:
    assert same_tensors(folder / "model.ckpt", expected / "model.ckpt")
    assert (folder / "history.csv").read_text() == (expected / "history.csv").read_text()
    for name in ("predictions.parquet", "test_predictions.parquet"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes()
    assert without_times(folder / "record.json") == without_times(expected / "record.json")


def assert_predictions_of_the_plateau(folder: Path, epochs: int) -> None:
    """Their accuracy is that of the history, epoch by epoch."""
    predictions = read_predictions(folder / "predictions.parquet", by_epoch=True)
    accuracy = (predictions.by_epoch == predictions.labels[:, None]).mean(axis=0)
    history = pd.read_csv(folder / "history.csv")["accuracy"].tolist()
    assert accuracy.tolist() == pytest.approx(history[-epochs:], abs=1e-12)
    assert predictions.by_epoch[:, -1].tolist() == predictions.predicted.tolist()


def assert_time_of_training(folder: Path) -> None:
    """Two attempts, of which the first was killed; in all of them no more time than has passed."""
    record = read_record(folder / "record.json")
    first, second = record.attempts
    assert (first.ended, second.ended) == ("killed", "complete")
    assert first.first_epoch == 0 < first.epochs
    assert second.first_epoch + second.epochs == record.epochs
    assert {attempt.threads for attempt in record.attempts} == {1}
    assert record.cost.seconds == pytest.approx(first.seconds + second.seconds)
    assert 0 < record.cost.train_seconds < record.cost.seconds
    passed = datetime.now(UTC) - datetime.fromisoformat(first.started)
    assert record.cost.seconds < passed.total_seconds() + 1
    trained = sum(record.data.train_counts) * record.epochs
    assert record.cost.images_per_second == pytest.approx(trained / record.cost.train_seconds)


def epochs_done(runs_dir: Path) -> int:
    histories = list(runs_dir.glob("texture/*/history.csv"))
    return len(histories[0].read_text().splitlines()) - 1 if histories else 0


def writing(runs_dir: Path, name: str) -> bool:
    return any(runs_dir.glob(f"texture/*/.{name}.*.partial"))


@pytest.mark.parametrize(
    "moment",
    [
        "in the second epoch",
        "while writing last.ckpt",
        "while writing the weights",
        "while writing test predictions",
    ],
)
def test_killed_and_started_again_ends_with_the_same_bits(
    moment: str, uninterrupted: Path, cache_dir: Path, tmp_path: Path
) -> None:
    conditions = {
        "in the second epoch": lambda: (
            epochs_done(tmp_path) >= 1 and any(tmp_path.glob("texture/*/last.ckpt"))
        ),
        "while writing last.ckpt": lambda: epochs_done(tmp_path) >= 2 and writing(tmp_path, "last.ckpt"),
        "while writing the weights": lambda: writing(tmp_path, "model.ckpt"),
        # The others are written just before them, and they in a few milliseconds.
        "while writing test predictions": lambda: (
            writing(tmp_path, "test_predictions.parquet")
            or any(tmp_path.glob("texture/*/predictions.parquet"))
        ),
    }
    killed = run_until(conditions[moment], *STAGE, runs_dir=tmp_path, cache_dir=cache_dir, last=LAST)
    assert killed.returncode == -signal.SIGKILL, "it ended before it could be killed"
    folder = only_folder(tmp_path, "texture")
    assert not (folder / "record.json").exists()
    again = run(*STAGE, runs_dir=tmp_path, cache_dir=cache_dir, last=LAST)
    assert again.returncode == 0, again.stderr
    assert_same(folder, uninterrupted)
    assert_predictions_of_the_plateau(folder, LENGTH)
    assert_time_of_training(folder)
    assert not list(folder.glob(".*.partial")), "what a killed writer left is cleaned up"


def test_killed_with_balanced_draws_and_turned_images(cache_dir: Path, tmp_path: Path) -> None:
    """Some images of 4 classes, of half of a fold's data: what an epoch draws hangs on its number.

    By AdamW in the middle of its cosine, each step of two parts, with a running mean of the weights.
    """
    training = (
        "optim.name=adamw",
        "optim.schedule=cosine",
        "optim.accumulate=2",
        "optim.label_smoothing=0.1",
        "optim.ema_decay=0.9",
    )
    drawn = ("data.augment=dihedral", "data.rotation=[-9,9]", "data.crop=[0.8,1]", "data.noise=3")
    drawn += ("data.brightness=9", "data.contrast=0.1", "folds=2", "fold=1")
    target = ("optim.sampling=balanced", *drawn, "data_ratio=0.5", *training, *LAST)
    undisturbed, runs_dir = tmp_path / "undisturbed", tmp_path / "killed"
    assert run(*STAGE, runs_dir=undisturbed, cache_dir=cache_dir, last=target).returncode == 0
    run_until(
        lambda: epochs_done(runs_dir) >= 2 and any(runs_dir.glob("texture/*/last.ckpt")),
        *STAGE,
        runs_dir=runs_dir,
        cache_dir=cache_dir,
        last=target,
    )
    folder = only_folder(runs_dir, "texture")
    assert not (folder / "record.json").exists(), "it ended before it could be killed"
    assert run(*STAGE, runs_dir=runs_dir, cache_dir=cache_dir, last=target).returncode == 0
    assert_same(folder, only_folder(undisturbed, "texture"))


def test_a_damaged_checkpoint_is_passed_over(uninterrupted: Path, cache_dir: Path, tmp_path: Path) -> None:
    run_until(
        lambda: any(tmp_path.glob("texture/*/previous.ckpt")) and any(tmp_path.glob("texture/*/last.ckpt")),
        *STAGE,
        runs_dir=tmp_path,
        cache_dir=cache_dir,
        last=LAST,
    )
    folder = only_folder(tmp_path, "texture")
    last = folder / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000] if last.exists() else b"")
    again = run(*STAGE, runs_dir=tmp_path, cache_dir=cache_dir, last=LAST)
    assert again.returncode == 0, again.stderr
    assert_same(folder, uninterrupted)


def test_ctrl_c_ends_cleanly_and_the_next_start_goes_on(
    uninterrupted: Path, cache_dir: Path, tmp_path: Path
) -> None:
    stopped = run_until(
        lambda: epochs_done(tmp_path) >= 1 and any(tmp_path.glob("texture/*/last.ckpt")),
        *STAGE,
        "-m",
        runs_dir=tmp_path,
        cache_dir=cache_dir,
        how=signal.SIGINT,
        last=LAST,
    )
    assert stopped.returncode == 130
    assert "Traceback" not in stopped.stderr + stopped.stdout
    assert re.search(
        r"texture stopped after epoch \d; a checkpoint has it up to", stopped.stderr + stopped.stdout
    )
    tidy = "trainer.keep_last=false"
    again = run(*STAGE, "-m", runs_dir=tmp_path, cache_dir=cache_dir, last=(*LAST, tidy))
    assert again.returncode == 0, again.stderr
    assert_same(only_folder(tmp_path, "texture"), uninterrupted)
    assert not list(tmp_path.glob("texture/*/*last.ckpt*"))


def test_a_reader_of_the_output_that_goes_stops_no_training(
    uninterrupted: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """As `python train.py ... | head -1` does."""
    line = command(*STAGE, "-m", runs_dir=tmp_path, cache_dir=cache_dir, last=LAST)
    with subprocess.Popen(
        line, cwd=PROJECT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None and program.stderr is not None
        assert program.stdout.readline()
        program.stdout.close()
        said = program.stderr.read()
    assert (program.returncode, said) == (0, b"")
    assert_same(only_folder(tmp_path, "texture"), uninterrupted)


def test_two_sweeps_train_a_shared_stage_once(cache_dir: Path, tmp_path: Path) -> None:
    sweeps = [
        start(stages, "-m", runs_dir=tmp_path, cache_dir=cache_dir)
        for stages in ("+stage=texture,dld", "+stage=texture,natural")
    ]
    printed = [sweep.communicate(timeout=240)[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], printed
    (shared,) = folders(tmp_path, "texture")
    assert len(json.loads((shared / "record.json").read_text())["attempts"]) == 1
    assert sum("texture epoch 1 of" in text for text in printed) == 1
    assert len(folders(tmp_path, "dld")) == len(folders(tmp_path, "natural")) == 1


def test_the_folder_is_locked_while_it_trains(cache_dir: Path, tmp_path: Path) -> None:
    long = ("callbacks.plateau.max_epochs=50",)
    program = start(*STAGE, runs_dir=tmp_path, cache_dir=cache_dir, last=long)
    try:
        deadline = time.monotonic() + 60
        while epochs_done(tmp_path) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        holder = json.loads((only_folder(tmp_path, "texture") / ".holder.json").read_text())
        assert holder["pid"] == program.pid
    finally:
        program.send_signal(signal.SIGKILL)
        program.communicate()
