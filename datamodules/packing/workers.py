"""Reads the units of a survey in worker processes, and takes up what an earlier start has read."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context

from datamodules.packing.parts import Part, Task, finished_part, run_task
from stages.errors import RelayError

OnProgress = Callable[[int, int], None]
"""Units done, of all."""


def read_parts(todo: Sequence[Task], workers: int, on_progress: OnProgress) -> list[Part]:
    """All parts in the order of their tasks; what is there is not read again.

    Args:
        todo: One task for each unit.
        workers: Processes, at least 1; one reads in this process.
        on_progress: Called after each unit.

    Raises:
        RelayError: A file cannot be used and is not to be skipped, or a worker was killed.
    """
    found: dict[int, Part] = {}
    missing: list[Task] = []
    for task in todo:
        part = finished_part(task)
        if part is None:
            missing.append(task)
        else:
            found[task.number] = part
    on_progress(len(found), len(todo))
    for number, part in _run(missing, workers):
        found[number] = part
        on_progress(len(found), len(todo))
    return [found[task.number] for task in todo]


def _run(todo: Sequence[Task], workers: int) -> Iterator[tuple[int, Part]]:
    if workers <= 1 or len(todo) <= 1:
        for task in todo:
            yield task.number, run_task(task)
        return
    # spawn: a fork would copy locks that threads of this process may hold
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context, initializer=_begin_worker) as pool:
        left = iter(todo)
        # Some more than run at once: the rest waits here, where Ctrl-C can drop it.
        with _interrupts_held():  # the first submission starts the workers
            waiting = {pool.submit(run_task, task): task.number for task in islice(left, 2 * workers)}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
                    waiting |= {pool.submit(run_task, task): task.number for task in islice(left, 1)}
        except BrokenProcessPool:
            raise RelayError(
                "a worker process was killed, perhaps because memory ran out; what was read is kept, and the "
                "same command goes on from there, with workers=1 if it needs less memory"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits; processes that are started meanwhile hold it until they ask for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    """Ctrl-C, which a terminal sends to workers too, ends them without a word; they share the cores."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ["OMP_NUM_THREADS"] = "1"  # of torch, which few readers load
