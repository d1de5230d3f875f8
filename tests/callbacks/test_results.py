"""What a finished run leaves, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import callbacks.results
from callbacks import History, write_results, write_samples
from stages.epochs import summarise, to_csv
from stages.job import Job
from stages.plateau import Plateau
from stages.record import DataRecord, InputRecord, OriginRecord, Record
from stages.store import RunFolder
from tests.helpers.fake_training import CHANCE, LOSSES, RULE, end_epochs, fake_job


def test_the_summary_is_of_the_plateau() -> None:
    random = np.random.default_rng(0)
    names = ("train_loss", "cross_entropy", "calibration_error", "accuracy", "f1_score_macro")
    rows = [{"epoch": epoch, **{name: float(random.random()) for name in names}} for epoch in range(9)]
    summary = summarise(rows, Plateau(onset=3, length=5, reached=True, learning=True))
    assert set(summary) == set(names)
    for name in names:
        values = [row[name] for row in rows[3:8]]
        metric = summary[name]
        assert [metric.p25, metric.p50, metric.p75] == pytest.approx(np.percentile(values, [25, 50, 75]))
        assert metric.mean == pytest.approx(np.mean(values))
        assert metric.last == rows[7][name]
        assert metric.best == (max if name in ("accuracy", "f1_score_macro") else min)(values)


def test_the_75th_percentile_by_hand() -> None:
    rows = [{"epoch": epoch, "accuracy": value} for epoch, value in enumerate([0.9, 0.1, 0.4, 0.2, 0.3])]
    metric = summarise(rows, Plateau(onset=1, length=4, reached=False, learning=True))["accuracy"]
    assert metric.p75 == pytest.approx(0.325)  # a quarter of the way from 0.3 to 0.4
    assert metric.mean == pytest.approx(0.25)
    assert (metric.last, metric.best) == (0.3, 0.4)


def test_a_metric_that_some_epoch_of_the_plateau_lacks_is_left_out() -> None:
    """A run that was begun by a version with other metrics goes on, and its record has what is whole."""
    rows: list[dict[str, float | int]] = [{"epoch": 0, "accuracy": 0.5, "of_another_version": 1.0}]
    rows += [{"epoch": epoch, "accuracy": 0.6, "balanced_accuracy": 0.4} for epoch in (1, 2)]
    assert set(summarise(rows, Plateau(onset=0, length=3, reached=True, learning=True))) == {"accuracy"}
    assert set(summarise(rows, Plateau(onset=1, length=2, reached=True, learning=True))) == {
        "accuracy",
        "balanced_accuracy",
    }
    lines = to_csv(rows).splitlines()
    assert lines[0] == "epoch,accuracy,of_another_version,balanced_accuracy"
    assert lines[1:] == ["0,0.5,1.0,", "1,0.6,,0.4", "2,0.6,,0.4"]


class Network(nn.Module):
    """A state dict whose first tensor is neither contiguous nor without a gradient."""

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {
            "conv.weight": nn.Parameter(torch.arange(6.0).reshape(2, 3)).t(),
            "norm.running_mean": torch.zeros(50),
            "fc8.weight": torch.ones(2, 4),
            "fc8.bias": torch.zeros(2),
        }


def results(runs_dir: Path, chance: float = CHANCE) -> tuple[RunFolder, Job, Callable[[], Record]]:
    """A run's folder with a checkpoint before the last, its job, and the call that finishes the run."""
    job = fake_job(runs_dir)
    run = job.folder
    job.parent_digest = "f" * 64  # type: ignore[misc]  # the parent is not there
    run.previous_checkpoint.write_text("the checkpoint before")
    history = History(run.history, RULE, chance)
    end_epochs(history, LOSSES)
    history.train_images, history.train_seconds = 500, 4.0
    classes = ["CON", "GGO"]
    data = DataRecord(
        digest="b" * 64,
        height=32,
        width=32,
        image_size=64,
        classes=classes,
        train_counts=[3, 4],
        val_counts=[1, 1],
        train_groups=5,
        val_groups=2,
        test_counts=None,
        test_groups=None,
        grouped=True,
        histogram_accuracy=0.5,
        crossing_groups=0,
        crossing_pictures=0,
    )
    network_input = InputRecord(
        mean=[0.5] * 3,
        std=[0.25] * 3,
        color=False,
        window=[-1000.0, 400.0],
        decode_size=None,
        precision="32-true",
        memory_format="contiguous",
    )
    environment = OriginRecord(
        versions={"torch": "0"}, git_commit=None, git_dirty=None, machine={}, finished="today"
    )
    transfer = {
        "rule": "feature",
        "source": "parent",
        "kept": ["conv.weight"],
        "reinitialised": ["fc8.weight", "fc8.bias"],
        "frozen": [],
        "ignored": [],
        "names": "",
        "dropped": [],
        "kept_buffers": ["norm.running_mean"],
        "reinitialised_buffers": [],
        "rounded": [],
    }
    module: Any = SimpleNamespace(
        evaluated_network=Network(),
        report=SimpleNamespace(as_dict=lambda: transfer),
        test_predictions=SimpleNamespace(logits=-torch.eye(2), labels=torch.tensor([1, 0])),
        predictions=SimpleNamespace(logits=torch.eye(2)[[1, 1]], labels=torch.tensor([0, 1])),
        evaluation=SimpleNamespace(confusion_matrix=[[1, 0], [0, 1]]),
    )
    evaluated: Any = SimpleNamespace(
        val_samples=("a", "b"),
        val_groups=("p", "q"),
        val_histogram=np.array([1, 1]),
        sample_sheet=lambda: b"a picture",
        test_samples=("c", "d"),
        test_groups=("r", "s"),
    )

    def finish() -> Record:
        write_samples(job, evaluated)
        return write_results(job, "parent", module, history, evaluated, (data, network_input), environment)

    return run, job, finish


def test_results_of_a_finished_run(tmp_path: Path) -> None:
    run, job, finish = results(tmp_path)
    record = finish()
    assert run.read_record() == record
    assert record.id == job.recipe.id
    assert record.starting_point == "parent"
    assert record.chain == ["natural", "dld"]
    assert record.input is not None and record.input.window == [-1000.0, 400.0]
    assert record.parameters == 6 + 8 + 2  # buffers are not parameters
    assert record.epochs == 5
    assert record.plateau.model_dump() == {"onset": 3, "length": 2, "reached": True, "learning": True}
    assert record.metrics["train_loss"].best == 0.25
    assert record.metrics["accuracy"].p75 == pytest.approx(0.3 + 0.75 * 0.1)
    assert record.cost.images_per_second == 125.0
    (attempt,) = record.attempts
    assert (attempt.device, attempt.ended) == ("a processor", "complete")
    assert record.cost.seconds == attempt.seconds > 0.0
    assert not run.attempts.exists(), "the record has them"
    assert record.cost.peak_memory_bytes > 10_000_000
    weights = torch.load(run.weights, weights_only=True)
    assert torch.equal(weights["conv.weight"], torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]))
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in weights.values())
    written = pq.read_table(run.predictions)
    assert written["sample"].to_pylist() == ["a", "b"]
    assert written["predicted_0"].to_pylist() == [0, 1]  # of epoch 3, the plateau's first
    assert written["predicted_1"].to_pylist() == [1, 1]  # of the network that was evaluated last
    assert "predicted_2" not in written.column_names
    assert pq.read_table(run.predictions)["histogram"].to_pylist() == [1, 1]
    assert run.sample_sheet.read_bytes() == b"a picture"
    test = pq.read_table(run.test_predictions).to_pydict()
    assert (test["sample"], test["group"], test["label"]) == (["c", "d"], ["r", "s"], [1, 0])
    assert test["logit_CON"] == [-1, 0]
    assert not run.previous_checkpoint.exists()
    assert record.parent_weights == "f" * 64
    assert record.files == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in run.path.iterdir()
        if file != run.record
    }, "of every file, as another reading of it finds it"


@pytest.mark.parametrize(
    "file", ["model.ckpt", "predictions.parquet", "samples.jpg", "test_predictions.parquet"]
)
def test_a_run_whose_results_cannot_be_written_is_not_complete(tmp_path: Path, file: str) -> None:
    run, _, finish = results(tmp_path)
    (run.path / file).mkdir()  # a folder in the file's place: the rename fails
    with pytest.raises(OSError, match=file):
        finish()
    assert not run.is_complete()
    assert run.previous_checkpoint.exists()
    assert not list(run.path.glob(".*partial"))
    (run.path / file).rmdir()
    finish()
    assert run.is_complete()


def test_a_run_that_never_learned_says_so_in_its_record(tmp_path: Path) -> None:
    """By a loss of chance of 0.4, the last two losses, 0.5 and 0.25, are 0.375 in the mean: 6% below."""
    for chance, learning in ((0.39, False), (0.4, True)):
        _, _, finish = results(tmp_path / str(chance), chance)
        plateau = finish().plateau
        assert (plateau.onset, plateau.length) == (3, 2)
        assert (plateau.reached, plateau.learning) == (False, learning)


def test_the_record_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _, finish = results(tmp_path)
    present: list[set[str]] = []

    def full_disk(path: Path, content: str) -> None:
        assert path == run.record
        present.append({entry.name for entry in run.path.iterdir()})
        raise OSError("no space left on device")

    monkeypatch.setattr(callbacks.results, "write_text", full_disk)
    with pytest.raises(OSError, match="no space"):
        finish()
    assert present == [
        {
            "model.ckpt",
            "predictions.parquet",
            "samples.jpg",
            "test_predictions.parquet",
            "history.csv",
            "attempts.json",
        }
    ]
    assert not run.is_complete()


def test_a_metric_that_is_not_a_number_completes_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, finish = results(tmp_path)
    monkeypatch.setattr("stages.epochs.representative_value", lambda values, percentile: float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        finish()
    assert not run.is_complete()
