"""The status line of a running sweep whose jobs are in other processes."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from stages.console.output import output
from stages.cost import RecordedSpeeds, duration, sample_of, work_of
from stages.errors import RelayError
from stages.machine.lock import is_held
from stages.outcome import Outcome
from stages.plan import Plan, StageRun
from stages.store import Store

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_BETWEEN_LINES = 60.0  # where there is no terminal
_SHARE_OF_TIME = 0.02  # of a core, at most, for looking


@dataclass(frozen=True)
class Standing:
    """How many stage runs of a sweep are in which state, and the seconds expected until the last one ends."""

    done: int
    running: int
    waiting: int
    failed: int
    seconds_left: float | None

    def __str__(self) -> str:
        left = "time left unknown" if self.seconds_left is None else f"{duration(self.seconds_left)} left"
        return (
            f"{self.done} done, {self.running} running, {self.waiting} waiting, {self.failed} failed; {left}"
        )


class LiveLine:
    """Reads the state of a sweep from the store: a record is done, a failure file failed, a holder running.

    Only the batch that is being trained is looked at, with a few `stat` calls per run.

    Args:
        plan: the sweep's plan.
        missing: its runs that are to be trained.
        store: where they are kept.
        speeds: to estimate the time left; learns from every run that ends.
        clock: seconds; replaced in tests.
    """

    def __init__(
        self,
        plan: Plan,
        missing: Sequence[StageRun],
        store: Store,
        speeds: RecordedSpeeds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._store, self._speeds, self._clock = plan, store, speeds, clock
        self._later = {run.id: run for run in missing}  # not launched, nor blocked
        self._open: dict[str, StageRun] = {}  # launched, and neither done nor failed
        self._folders: dict[str, str] = {}
        self._began: dict[str, float] = {}  # when an open run was first seen running
        self._done = self._failed = 0
        self._most_running = 1

    @contextmanager
    def during(self, batch: Sequence[StageRun], outcomes: Mapping[str, Outcome]) -> Iterator[None]:
        """Show the line while a batch is trained, and remove it however that ends.

        Args:
            batch: the runs that are launched now.
            outcomes: the outcomes of the runs so far.
        """
        self.launched(batch, outcomes)
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(output(), ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def launched(self, batch: Sequence[StageRun], outcomes: Mapping[str, Outcome]) -> None:
        """Note which batch is launched, and how the batches before it ended."""
        statuses = [outcome.status for outcome in outcomes.values()]
        self._done = statuses.count("trained")
        self._failed = statuses.count("failed") + statuses.count("blocked")
        for run_id, outcome in outcomes.items():
            if outcome.status != "complete":
                self._later.pop(run_id, None)
        self._open = {run.id: run for run in batch}
        self._began = {}
        for run in batch:
            self._later.pop(run.id, None)
            self._folders[run.id] = str(self._store.folder(run.stage, run.id).path)

    def look(self) -> Standing:
        """The state of the sweep now."""
        now = self._clock()
        for run_id, run in list(self._open.items()):
            folder = self._folders[run_id]
            if os.path.exists(f"{folder}/record.json"):
                self._finish(run)
                self._done += 1
            elif os.path.exists(f"{folder}/failure.txt"):
                del self._open[run_id]
                self._failed += 1
            elif is_held(Path(folder)):
                self._began.setdefault(run_id, now)
            else:
                self._began.pop(run_id, None)
        running = sum(run_id in self._began for run_id in self._open)
        self._most_running = max(self._most_running, running)
        return Standing(
            done=self._done,
            running=running,
            waiting=len(self._open) - running + len(self._later),
            failed=self._failed,
            seconds_left=self._seconds_left(now),
        )

    def _finish(self, run: StageRun) -> None:
        del self._open[run.id]
        try:
            record = self._store.folder(run.stage, run.id).read_record()
        except RelayError:
            return  # the sweep reports it at its end
        self._speeds.learn(sample_of(work_of(self._plan, run), record))

    def _seconds_left(self, now: float) -> float | None:
        """Expected seconds of all open runs, divided by the most that were seen running at once."""
        total = 0.0
        for run in (*self._open.values(), *self._later.values()):
            seconds = self._speeds.seconds(work_of(self._plan, run))
            if seconds is None:
                return None
            total += max(0.0, seconds - (now - self._began.get(run.id, now)))
        return total / self._most_running

    def _watch(self, console: Console, ended: threading.Event) -> None:
        try:
            if console.is_terminal:
                with console.status("the sweep begins", refresh_per_second=4) as status:
                    self._repeat(ended, lambda standing: status.update(str(standing)))
            else:
                self._repeat(ended, _Slowly(self._clock, console).say)
        except Exception as error:  # the sweep does not need the line
            log.warning("The status line of the sweep ended: %s: %s", type(error).__name__, error)

    def _repeat(self, ended: threading.Event, show: Callable[[Standing], None]) -> None:
        pause = 0.0
        while not ended.wait(pause):
            began = time.perf_counter()
            show(self.look())
            pause = max(SECONDS_BETWEEN_LOOKS, (time.perf_counter() - began) / _SHARE_OF_TIME)


class _Slowly:
    """Prints at most one line per minute."""

    def __init__(self, clock: Callable[[], float], console: Console) -> None:
        self._clock, self._console = clock, console
        self._last = clock()

    def say(self, standing: Standing) -> None:
        if self._clock() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = self._clock()
            self._console.print(str(standing))
