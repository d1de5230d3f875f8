"""Running a plan with a launcher that trains nothing, fails, dies or lies."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hydra.core.utils import JobReturn, JobStatus

from stages.console.summary import failure_lines
from stages.errors import RelayError
from stages.outcome import Outcome
from stages.plan import Plan, StageRun
from stages.store import Store
from stages.sweep import run_plan
from tests.helpers.stage_helpers import by_chain, complete, plan_of, request

TARGETS = [request(*chain) for chain in (("dld",), ("texture", "dld"), ("natural", "texture", "dld"))]


class FakeLauncher:
    """Completes each run unless told what else becomes of it, and remembers what it was asked for."""

    def __init__(self, plan: Plan, store: Store, faults: dict[tuple[str, ...], str] | None = None) -> None:
        self.plan, self.store, self.faults = plan, store, faults or {}
        self.batches: list[tuple[list[tuple[str, ...]], int]] = []
        self.jobs: list[dict[str, str]] = []

    def __call__(self, jobs: Sequence[Sequence[str]], first: int) -> Sequence[Any]:
        given = [dict(text.split("=", 1) for text in job) for job in jobs]
        runs = [self.plan.runs[job["job.id"]] for job in given]
        self.jobs += given
        self.batches.append(([run.chain for run in runs], first))
        for run in runs:
            if self.faults.get(run.chain) == "kills the launcher":
                raise RuntimeError("worker died: signal 9")
            self.run(run)
        return []

    def run(self, run: StageRun) -> None:
        fault = self.faults.get(run.chain)
        folder = self.store.folder(run.stage, run.id)
        if fault is None:
            complete(self.store, run)
        elif fault == "traceback":
            folder.path.mkdir(parents=True)
            folder.failure.write_text(
                "Traceback:\n  somewhere\nstages.errors.RelayError: the loss is not finite\n"
            )


def statuses(plan: Plan, outcomes: dict[str, Outcome]) -> dict[tuple[str, ...], str]:
    return {plan.runs[run_id].chain: outcome.status for run_id, outcome in outcomes.items()}


def test_everything_is_trained_in_batches_of_a_depth(tmp_path: Path) -> None:
    plan, store = plan_of(*TARGETS), Store(tmp_path)
    launcher = FakeLauncher(plan, store)
    outcomes = run_plan(plan, store, launcher)
    assert list(outcomes) == list(plan.runs)
    assert set(statuses(plan, outcomes).values()) == {"trained"}
    assert launcher.batches == [
        ([("dld",), ("texture",), ("natural",)], 0),
        ([("texture", "dld"), ("natural", "texture")], 3),
        ([("natural", "texture", "dld")], 5),
    ]
    assert [job["job.index"] for job in launcher.jobs] == ["1", "2", "3", "4", "5", "6"]
    assert {job["job.count"] for job in launcher.jobs} == {"6"}
    images = [plan.most_images(plan.runs[job["job.id"]]) for job in launcher.jobs]
    assert [int(job["job.images_after"]) for job in launcher.jobs] == [sum(images[n + 1 :]) for n in range(6)]


def test_only_what_is_missing_is_launched(tmp_path: Path) -> None:
    plan, store = plan_of(*TARGETS), Store(tmp_path)
    for chain in (("natural",), ("dld",)):
        complete(store, by_chain(plan)[chain])
    launcher = FakeLauncher(plan, store)
    outcomes = run_plan(plan, store, launcher)
    assert [batch for batch, _ in launcher.batches] == [
        [("texture",)], [("texture", "dld"), ("natural", "texture")], [("natural", "texture", "dld")],
    ]  # fmt: skip
    assert statuses(plan, outcomes)["natural",] == "complete"
    assert statuses(plan, outcomes)["texture",] == "trained"
    assert {job["job.count"] for job in launcher.jobs} == {"4"}
    assert launcher.jobs[-1]["job.images_after"] == "0"
    again = FakeLauncher(plan, store)
    assert {outcome.status for outcome in run_plan(plan, store, again).values()} == {"complete"}
    assert again.batches == []


@pytest.mark.parametrize("fault", ["traceback", "killed"])
def test_a_failure_stops_its_descendants_only(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    plan, store = plan_of(*TARGETS), Store(tmp_path)
    launcher = FakeLauncher(plan, store, {("natural",): fault})
    with caplog.at_level(logging.ERROR):
        outcomes = run_plan(plan, store, launcher)
    assert statuses(plan, outcomes) == {
        ("dld",): "trained", ("texture",): "trained", ("texture", "dld"): "trained", ("natural",): "failed",
        ("natural", "texture"): "blocked", ("natural", "texture", "dld"): "blocked",
    }  # fmt: skip
    assert [batch for batch, _ in launcher.batches] == [
        [("dld",), ("texture",), ("natural",)], [("texture", "dld")],
    ]  # fmt: skip
    message = outcomes[by_chain(plan)["natural",].id].message
    assert message == (
        "stages.errors.RelayError: the loss is not finite"
        if fault == "traceback"
        else "ended without a record: killed, or its machine went away"
    )
    (shown,) = caplog.messages
    assert "natural (seed 0" in shown
    assert message in shown
    # Of the images still to come, those of blocked runs are none.
    assert launcher.jobs[-1]["job.images_after"] == str(
        plan.most_images(by_chain(plan)["natural", "texture", "dld"])
    )


def test_what_a_launcher_that_starts_nothing_says_is_why(tmp_path: Path) -> None:
    """submitit 1624, and joblib with n_jobs=0."""
    plan = plan_of(request("dld"))

    def launch(*_: object) -> NoReturn:
        raise RuntimeError("sbatch: error:\nInvalid job array specification\n")

    (outcome,) = run_plan(plan, Store(tmp_path), launch).values()
    assert outcome.message == (
        "ended without a record: the launcher reported: Invalid job array specification"
    )


def test_a_blocked_run_is_named_with_its_reason(tmp_path: Path) -> None:
    plan, store = plan_of(*TARGETS), Store(tmp_path)
    outcomes = run_plan(plan, store, FakeLauncher(plan, store, {("natural",): "traceback"}))
    failure = store.folder("natural", by_chain(plan)["natural",].id).failure
    assert failure_lines(plan, store, outcomes) == [
        f"failed: natural: stages.errors.RelayError: the loss is not finite (traceback: {failure})",
        "blocked: natural -> texture: its parent failed",
        "blocked: natural -> texture -> dld: its parent failed",
    ]


def test_a_launcher_that_dies_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """dld was done before, texture kills it, natural never started; later batches still run."""
    plan, store = plan_of(*TARGETS), Store(tmp_path)
    launcher = FakeLauncher(plan, store, {("texture",): "kills the launcher"})
    outcomes = run_plan(plan, store, launcher)
    assert statuses(plan, outcomes) == {
        ("dld",): "trained", ("texture",): "failed", ("natural",): "failed", ("texture", "dld"): "blocked",
        ("natural", "texture"): "blocked", ("natural", "texture", "dld"): "blocked",
    }  # fmt: skip
    assert "The launcher reported: worker died: signal 9" in caplog.messages
    # Typed again, it goes on with what is missing.
    assert set(statuses(plan, run_plan(plan, store, FakeLauncher(plan, store))).values()) == {
        "complete",
        "trained",
    }


def test_a_launcher_that_dies_in_one_batch_starts_the_next(tmp_path: Path) -> None:
    plan, store = plan_of(request("dld", "texture"), request("natural", "texture")), Store(tmp_path)
    launcher = FakeLauncher(plan, store, {("natural",): "kills the launcher"})
    assert statuses(plan, run_plan(plan, store, launcher)) == {
        ("dld",): "trained", ("natural",): "failed", ("dld", "texture"): "trained",
        ("natural", "texture"): "blocked",
    }  # fmt: skip


def test_a_launcher_that_cannot_launch_ends_the_sweep(tmp_path: Path) -> None:
    def refusing(*_: Any) -> Sequence[Any]:
        raise RelayError("no sbatch here")

    with pytest.raises(RelayError, match="no sbatch here"):
        run_plan(plan_of(request("dld")), Store(tmp_path), refusing)


def test_each_wait_for_a_batch_is_watched(tmp_path: Path) -> None:
    """Told what is launched and what came of the batches before; also when the launcher dies."""
    plan, store = plan_of(request("natural", "dld"), request("texture", "dld")), Store(tmp_path)
    seen: list[tuple[list[tuple[str, ...]], dict[tuple[str, ...], str]]] = []
    ended = 0

    @contextmanager
    def watch(batch: Sequence[StageRun], outcomes: Mapping[str, Outcome]) -> Iterator[None]:
        nonlocal ended
        seen.append(([run.chain for run in batch], statuses(plan, dict(outcomes))))
        try:
            yield
        finally:
            ended += 1

    launcher = FakeLauncher(
        plan, store, {("natural",): "traceback", ("texture", "dld"): "kills the launcher"}
    )
    run_plan(plan, store, launcher, execution=["trainer.threads=3"], watch=watch)
    assert [batch for batch, _ in seen] == [[("natural",), ("texture",)], [("texture", "dld")]]
    assert seen[1][1] == {
        ("natural",): "failed", ("texture",): "trained", ("natural", "dld"): "blocked",
        ("texture", "dld"): "complete",
    }  # fmt: skip
    assert ended == 2
    assert {job["trainer.threads"] for job in launcher.jobs} == {"3"}


def test_ctrl_c_stops_the_sweep(tmp_path: Path) -> None:
    def interrupted(*_: Any) -> Sequence[Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan_of(request("dld")), Store(tmp_path), interrupted)


def job_return(value: Any, status: JobStatus = JobStatus.COMPLETED) -> JobReturn:
    return JobReturn(status=status, _return_value=value)


def test_a_job_that_returned_says_why_it_failed(tmp_path: Path) -> None:
    """Before it has its folder's lock it leaves no traceback; an earlier sweep's is not this failure."""
    plan, store = plan_of(request("dld"), request("texture"), request("natural")), Store(tmp_path)
    runs = by_chain(plan)
    for run in plan.runs.values():
        store.folder(run.stage, run.id).path.mkdir(parents=True)
        store.folder(run.stage, run.id).failure.write_text("last week's")

    def launch(*_: Any) -> Sequence[Any]:
        return [
            job_return(Outcome(runs["dld",].id, "failed", "this job composes another recipe")),
            job_return(ValueError("no such key"), JobStatus.FAILED),
            job_return(RelayError("Slurm job 7 was cancelled"), JobStatus.FAILED),
        ]

    outcomes = run_plan(plan, store, launch)
    assert [outcome.message for outcome in outcomes.values()] == [
        "this job composes another recipe",
        "ValueError: no such key",
        "Slurm job 7 was cancelled",
    ]
    assert {outcome.status for outcome in outcomes.values()} == {"failed"}


def test_the_store_is_believed_and_not_the_launcher(tmp_path: Path) -> None:
    plan, store = plan_of(request("dld"), request("texture")), Store(tmp_path)
    runs = by_chain(plan)

    def launch(*_: Any) -> Sequence[Any]:
        complete(store, runs["texture",])
        return [
            job_return(Outcome(runs["dld",].id, "trained")),
            job_return(Outcome(runs["texture",].id, "failed", "lost the connection")),
        ]

    assert statuses(plan, run_plan(plan, store, launch)) == {("dld",): "failed", ("texture",): "trained"}


def test_a_run_that_another_sweep_trained_meanwhile_was_complete(tmp_path: Path) -> None:
    """Its job waited for the lock of the folder, and found the record."""
    plan, store = plan_of(request("dld"), request("texture")), Store(tmp_path)
    runs = by_chain(plan)

    def launch(*_: Any) -> Sequence[Any]:
        for run in runs.values():
            complete(store, run)
        return [
            job_return(Outcome(runs["dld",].id, "complete")),
            job_return(Outcome(runs["texture",].id, "trained")),
        ]

    assert statuses(plan, run_plan(plan, store, launch)) == {("dld",): "complete", ("texture",): "trained"}
