"""Slurm's queue: waiting for jobs where Slurm keeps no accounts."""

import logging
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 10.0  # seconds between two questions to Slurm


def queued_jobs() -> set[str] | None:
    """The user's jobs that Slurm has not ended, or None if it does not answer."""
    try:
        answer = subprocess.run(
            ["squeue", "--me", "--noheader", "--array", "--format=%i"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("squeue does not answer: %s", error)
        return None
    return set(answer.stdout.split())


def wait_for_jobs(
    results: Mapping[str, Path],
    ask: Callable[[], set[str] | None] = queued_jobs,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until every job has left its result or the queue.

    `squeue` is asked, because submitit asks `sacct`, which many small clusters do not have, and there would
    wait for a cancelled job without end. A job is given up when it is missing in the queue twice, since its
    result may be seen late on a network file system.

    Args:
        results: the file that each job writes at its end, by the job's id.
        ask: ids of the jobs in the queue; None if that is unknown now.
        sleep: waits some seconds.
    """
    waiting = dict(results)
    missed: set[str] = set()
    pause = 1.0
    while waiting:
        sleep(pause)
        pause = min(_LONGEST_PAUSE, 1.2 * pause)
        queued = ask()
        for job, result in list(waiting.items()):
            if result.exists() or (queued is not None and job in missed - queued):
                del waiting[job]
        missed = set() if queued is None else set(waiting) - queued
