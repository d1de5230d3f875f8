"""Waiting for Slurm's jobs, with a queue made by hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.machine.slurm import queued_jobs, wait_for_jobs


def waited(results: dict[str, Path], questions: list[Callable[[], set[str] | None]]) -> list[float]:
    """The pauses until all jobs are over; each question's answer is computed when it is asked."""
    pauses: list[float] = []

    def ask() -> set[str] | None:
        return questions.pop(0)()

    wait_for_jobs(results, ask, pauses.append)
    assert questions == [], "it ended before"
    return pauses


def test_a_job_ends_with_its_result_whether_it_is_queued_or_not(tmp_path: Path) -> None:
    results = {name: tmp_path / name for name in ("1_0", "1_1")}

    def ends(name: str, queued: set[str]) -> set[str]:
        results[name].touch()
        return queued

    pauses = waited(
        results, [lambda: {"1_0", "1_1"}, lambda: ends("1_0", {"1_0", "1_1"}), lambda: ends("1_1", set())]
    )
    assert pauses == pytest.approx([1.0, 1.2, 1.44])


def test_a_job_is_given_up_when_it_is_missing_twice(tmp_path: Path) -> None:
    results = {"7": tmp_path / "7"}
    assert len(waited(results, [lambda: {"7"}, set, set])) == 3
    # Once missing, then seen again: an answer of Slurm's that was wrong.
    assert len(waited(results, [set, lambda: {"7", "8"}, set, set])) == 4
    # No answer says nothing about the job.
    assert len(waited(results, [set, lambda: None, set, set])) == 4


def test_pauses_grow_to_ten_seconds(tmp_path: Path) -> None:
    pauses = waited({"7": tmp_path / "7"}, [*[lambda: {"7"}] * 30, set, set])
    assert max(pauses) == 10.0
    assert pauses == sorted(pauses)


def test_nothing_to_wait_for() -> None:
    assert waited({}, []) == []


@pytest.mark.parametrize(
    ("script", "jobs"), [("echo '12_0 12_1'; echo 13", {"12_0", "12_1", "13"}), ("exit 1", None)]
)
def test_squeue_is_asked(
    script: str, jobs: set[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\n{script}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert queued_jobs() == jobs


def test_without_slurm_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError("squeue")

    monkeypatch.setattr(subprocess, "run", absent)
    assert queued_jobs() is None
