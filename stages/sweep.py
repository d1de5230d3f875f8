"""Runs a plan: one batch of stage runs per depth, parents first."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from stages.errors import RelayError
from stages.job_overrides import job_overrides
from stages.outcome import Outcome
from stages.plan import Plan, StageRun, describe
from stages.store import RunFolder, Store
from stages.stored import read_stored

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Sequence[str]], int], Sequence[Any]]
Watch = Callable[[Sequence[StageRun], Mapping[str, Outcome]], AbstractContextManager[object]]


def _unwatched(_: Sequence[StageRun], __: Mapping[str, Outcome]) -> AbstractContextManager[object]:
    return nullcontext()


def _as_said(_: StageRun, message: str) -> str:
    return message


def run_plan(
    plan: Plan,
    store: Store,
    launch: Launch,
    *,
    execution: Sequence[str] = (),
    watch: Watch = _unwatched,
    reveal: Callable[[StageRun, str], str] = _as_said,
) -> dict[str, Outcome]:
    """Train what is missing. A failed run stops only its descendants.

    How a run ended is read from the store and not from the launcher, because a launcher raises when one of
    its workers dies and reports nothing about the others. If a job returned, its answer says why it failed.

    Args:
        plan: what was asked for.
        store: where it is kept.
        launch: runs jobs, each a list of Hydra overrides, given the number of the first.
        execution: Hydra overrides for every job; see `stages.job_overrides`.
        watch: a context around the wait for a batch, made from its runs and the outcomes so far.
        reveal: what a job says, with the names that it hides from files put back for this terminal.

    Returns:
        Every stage run's outcome by id, in the plan's order.

    Raises:
        RelayError: if the launcher cannot launch anything here.
    """
    outcomes = {run.id: Outcome(run.id, "complete") for run in plan.runs.values()}
    missing = plan.missing(store)
    images_after = sum(plan.most_images(run) for run in missing)
    for run in missing:
        store.folder(run.stage, run.id).failure.unlink(missing_ok=True)  # an earlier sweep's
    launched = 0
    for batch in plan.by_depth(missing):
        ready = []
        for run in batch:
            if _parent_is_complete(plan, store, run):
                ready.append(run)
            else:
                outcomes[run.id] = Outcome(run.id, "blocked", "its parent failed")
                images_after -= plan.most_images(run)
        jobs = []
        for run in ready:
            images_after -= plan.most_images(run)
            launched += 1
            jobs.append(
                job_overrides(
                    run,
                    store,
                    index=launched,
                    count=len(missing),
                    images_after=images_after,
                    execution=execution,
                )
            )
        returned: Sequence[Any] = ()
        why = ""
        if jobs:
            with watch(ready, outcomes):
                returned, why = _launched(launch, jobs, launched - len(jobs))
        for run, job in zip_longest(ready, returned[: len(ready)]):
            outcome = _outcome(store.folder(run.stage, run.id), run, job_outcome(job, run.id), why)
            outcomes[run.id] = replace(outcome, message=reveal(run, outcome.message))
            if outcomes[run.id].status == "failed":
                log.error("Failed: %s: %s", describe(run), outcomes[run.id].message)
    return outcomes


def _launched(launch: Launch, jobs: Sequence[Sequence[str]], first: int) -> tuple[Sequence[Any], str]:
    """What the jobs returned; nothing if the launcher failed, but its jobs may have succeeded, and why."""
    try:
        return launch(jobs, first), ""
    except RelayError:  # it cannot launch anything
        raise
    except Exception as error:  # a launcher raises whatever its workers died of, or why it started none
        log.warning("The launcher reported: %s", error)
        return (), (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _parent_is_complete(plan: Plan, store: Store, run: StageRun) -> bool:
    if run.recipe.parent is None:
        return True
    parent = plan.runs[run.recipe.parent]
    return store.folder(parent.stage, parent.id).is_complete()


def job_outcome(job: Any, run_id: str) -> Outcome:
    """What a job says of itself, by Hydra's JobReturn; None stands for a job that did not return."""
    if job is None:
        return Outcome(run_id, "failed")
    try:
        value = job.return_value
    except RelayError as error:
        return Outcome(run_id, "failed", str(error))
    except Exception as error:  # what ended the job is raised here
        return Outcome(run_id, "failed", f"{type(error).__name__}: {error}")
    return value if isinstance(value, Outcome) else Outcome(run_id, "failed")


def _outcome(folder: RunFolder, run: StageRun, returned: Outcome, launcher: str) -> Outcome:
    if folder.is_complete():  # a job that waited for another sweep's says "complete"
        return Outcome(run.id, "complete" if returned.status == "complete" else "trained")
    if returned.message:
        return Outcome(run.id, "failed", returned.message)
    try:
        lines = read_stored(folder.failure, follow=False).strip().splitlines()
    except (OSError, ValueError):  # a link may lead to any file of this machine
        lines = []
    why = f"the launcher reported: {launcher}" if launcher else "killed, or its machine went away"
    message = lines[-1] if lines else f"ended without a record: {why}"
    return Outcome(run.id, "failed", message)
