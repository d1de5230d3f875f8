"""The attempts at a stage run: what each computed with, for how long, and why it ended.

They stand in a file of the run's folder, written anew after each epoch, until the record has them. What a
killed attempt says of itself is what its last epoch left.
"""

import logging
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from stages.environment import peak_memory_bytes
from stages.machine.atomic import write_text
from stages.machine.resources import available_cores
from stages.record import AttemptRecord, Ended

log = logging.getLogger(__name__)

_RECORDS = TypeAdapter(list[AttemptRecord])


class Attempt:
    """This process's attempt at a stage run.

    Args:
        path: where attempts are kept.
        device: the name of what computes.
        threads: CPU threads.
        writes: whether this process writes: the only one, or the first of DDP's.

    Attributes:
        threads: CPU threads.
        kept: epochs that a start after this attempt has, from the last checkpoint.
    """

    def __init__(self, path: Path, *, device: str, threads: int, writes: bool = True) -> None:
        self.threads = threads
        self.kept = 0
        self._path, self._writes = path, writes
        self._earlier = _read(path)
        self._began = time.perf_counter()
        self._device, self._cores = device, available_cores()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._first_epoch = self._epochs = 0
        self._write("killed")

    def goes_on_at(self, epoch: int) -> None:
        """The training begins; some epochs are there already.

        Args:
            epoch: number of them.
        """
        self._first_epoch = self.kept = epoch
        here = self._record("killed")
        ways = {(other.torch, other.device): None for other in self._earlier if other.first_epoch < epoch}
        ways.pop((here.torch, here.device), None)
        if ways and self._writes:
            others = "; ".join(f"torch {torch} on {device}" for torch, device in ways)
            log.warning(
                "Up to epoch %d it was computed by %s, from then on by torch %s on %s: its last bits may not "
                "be those of an uninterrupted run.",
                *(epoch, others, here.torch, here.device),
            )
        self._write("killed")

    def epoch_done(self) -> None:
        """An epoch has been trained and evaluated."""
        self._epochs += 1
        self._write("killed")

    def saved(self) -> None:
        """A checkpoint has been written after the last epoch that was done."""
        self.kept = self._first_epoch + self._epochs

    def end(self, why: Ended) -> None:
        """The attempt ends without a result."""
        self._write(why)

    def completed(self) -> list[AttemptRecord]:
        """All attempts, this one last: it has a result."""
        return [*self._earlier, self._record("complete")]

    def what_is_left(self) -> str:
        """What an interrupted attempt leaves, and what the next start does."""
        reached = self._first_epoch + self._epochs
        where = f"stopped after epoch {reached}" if reached else "stopped in its first epoch"
        if self.kept:
            return f"{where}; a checkpoint has it up to epoch {self.kept}, and the same command goes on there"
        return (
            f"{where}, before its first checkpoint: nothing of it is kept, and the same command begins it "
            "again (trainer.checkpoint_seconds says how often one is written)"
        )

    def _record(self, ended: Ended) -> AttemptRecord:
        return AttemptRecord(
            started=self._started,
            host=platform.node(),
            device=self._device,
            threads=self.threads,
            cores=self._cores,
            torch=version("torch"),
            first_epoch=self._first_epoch,
            epochs=self._epochs,
            seconds=time.perf_counter() - self._began,
            peak_memory_bytes=peak_memory_bytes(),
            ended=ended,
        )

    def _write(self, ended: Ended) -> None:
        if self._writes:
            records = [*self._earlier, self._record(ended)]
            write_text(self._path, _RECORDS.dump_json(records, indent=1).decode() + "\n")


def _read(path: Path) -> Sequence[AttemptRecord]:
    """Earlier attempts; none, and a warning, where the file cannot be read."""
    try:
        return _RECORDS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        log.warning("%s cannot be read (%s): attempts before this one are not recorded.", path, error)
        return ()
