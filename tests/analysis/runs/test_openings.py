"""The locked test set: closed unless asked for, and every look is written down, whole or not at all."""

import json
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from analysis.runs import load_runs
from analysis.runs.openings import OPENINGS, open_test_sets, ordinal, read_openings, with_test
from stages.errors import RelayError
from stages.store import RunFolder
from tests.helpers.fake_study import FakeStudy
from tests.helpers.fake_test_set import Predicted, add_test_set
from tests.helpers.stage_helpers import seal

TWO = ("scratch", "two_stage")


@pytest.fixture
def store(tmp_path: Path) -> tuple[Path, list[RunFolder], Predicted, dict[str, Predicted]]:
    folders = FakeStudy(TWO, range(2), (1.0,), samples=60).write(tmp_path)
    labels, _, predicted = add_test_set(folders)
    return tmp_path, folders, labels, predicted


def test_open_adds_the_metrics_of_the_test_images(store: Any) -> None:
    runs_dir, _, labels, predicted = store
    closed = load_runs(runs_dir)
    assert not [name for name in closed if name.startswith("test_") and name[5:] not in ("images", "groups")]
    assert sorted(set(closed["test_images"])) == [0, 60], "sources have none"
    opened = load_runs(runs_dir, test="open").set_index("id")
    pd.testing.assert_frame_equal(opened[closed.columns.drop("id")], closed.set_index("id"))
    for run, row in opened.iterrows():
        if row["test_images"]:
            found = predicted[str(run)]
            assert row["test_accuracy"] == pytest.approx(accuracy_score(labels, found))
            expected = f1_score(labels, found, average="macro")
            assert row["test_f1_score_macro"] == pytest.approx(expected, abs=1e-6)
        else:
            assert np.isnan(row["test_accuracy"])


def test_each_opening_is_a_line_of_the_store(store: Any) -> None:
    runs_dir, _, _, _ = store
    load_runs(runs_dir)
    assert read_openings(runs_dir) == [] and not (runs_dir / OPENINGS).exists()
    before = datetime.now(UTC).replace(microsecond=0)
    load_runs(runs_dir, test="open")
    open_test_sets(with_test(load_runs(runs_dir)).head(3), runs_dir, "a  command\nof two lines")
    first, second = read_openings(runs_dir)
    assert (first.number, first.command, first.runs) == (1, 'load_runs(test="open")', 4)
    assert (second.number, second.command, second.runs) == (2, "a command of two lines", 3)
    assert before <= datetime.fromisoformat(first.time) <= datetime.fromisoformat(second.time)
    assert len((runs_dir / OPENINGS).read_text().splitlines()) == 2


def test_a_look_counts_before_anything_is_read(store: Any) -> None:
    runs_dir, folders, _, _ = store
    folders[0].test_predictions.write_bytes(b"garbage")
    with pytest.raises(RelayError, match=r"test_predictions\.parquet is not the file that its run wrote"):
        load_runs(runs_dir, test="open")
    assert read_openings(runs_dir) == [], "its digest tells nothing of the test set"
    seal(folders[0])
    with pytest.raises(RelayError, match=r"test_predictions\.parquet cannot be read"):
        load_runs(runs_dir, test="open")
    assert [opening.number for opening in read_openings(runs_dir)] == [1]


@pytest.mark.parametrize("name", ["closed", "Open", "true", "val"])
def test_another_value_is_refused(store: Any, name: str) -> None:
    with pytest.raises(RelayError, match=f"test={name} is not known: test=open reads"):
        load_runs(store[0], test=name)
    assert read_openings(store[0]) == []


def test_open_without_a_test_set_is_refused_and_not_counted(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match=r"no run of .* has a test set: train with test_fraction"):
        load_runs(tmp_path, test="open")
    FakeStudy(TWO, range(1), (1.0,), samples=60).write(tmp_path)
    with pytest.raises(RelayError, match="Nothing was opened"):
        load_runs(tmp_path, test="open")
    assert not (tmp_path / OPENINGS).exists()


def test_an_opening_that_cannot_be_written_stays_closed(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.runs.openings.write_text", full)
    monkeypatch.setattr(
        "analysis.runs.openings.read_predictions", lambda *_, **__: pytest.fail("it was read")
    )
    with pytest.raises(RelayError, match=r"the test set stays closed, .* No space left on device"):
        load_runs(store[0], test="open")


@pytest.mark.parametrize(
    "line", ["", "{}", "[1]", '{"number": 7, "time": "2026-01-01T00:00:00+00:00", "command": "x", "runs": 1}']
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / OPENINGS).write_text(line + "\n")
    with pytest.raises(RelayError, match=r"test_openings\.jsonl, line 1 is not an opening"):
        read_openings(tmp_path)


def opens(runs_dir: Path, times: int, barrier: Any) -> None:
    runs = pd.DataFrame({"folder": [str(next(runs_dir.glob("dld/*")))], "test_images": [60]})
    barrier.wait(60)
    for _ in range(times):
        open_test_sets(runs, runs_dir, "python -m analysis.report")


@pytest.mark.slow
def test_processes_that_open_at_once_each_have_a_number(store: Any) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=opens, args=(store[0], 5, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 3
    lines = (store[0] / OPENINGS).read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(1, 16))


def test_numbers_in_words() -> None:
    assert [ordinal(number) for number in (1, 4, 9, 11, 21, 22, 112, 113, 123)] == [
        "first", "fourth", "9th", "11th", "21st", "22nd", "112th", "113th", "123rd",
    ]  # fmt: skip
