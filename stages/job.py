"""A job: one stage run that this process trains, its folder, and the lock on it."""

import logging
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from stages.attempts import Attempt
from stages.build import build_recipe
from stages.config import Config, LoggerConfig, config_document
from stages.environment import device_name
from stages.errors import RelayError
from stages.machine.atomic import write_text
from stages.machine.lock import RunLock
from stages.machine.signals import end_with_parent, ending_signal
from stages.outcome import Outcome
from stages.plan import parent_folder
from stages.processes import chain_rules, load_processes, process_name, use_store
from stages.recipe import Recipe, short_id
from stages.record import Ended, GivenRecord
from stages.store import RunFolder, Store

log = logging.getLogger(__name__)


@dataclass
class Job:
    """A stage run that this process trains.

    Attributes:
        config: its configuration.
        recipe: its recipe.
        writes: whether this process writes: the only one, or the first of DDP's.
    """

    config: Config
    recipe: Recipe
    writes: bool = True
    _lock: RunLock | None = field(default=None, repr=False)
    _attempt: Attempt | None = field(default=None, repr=False)

    @classmethod
    def of(cls, config: Config, data_digest: str) -> "Job":
        """The job of a configuration.

        Args:
            config: what the plan composed: `job.id` is the run's id.
            data_digest: identity of its images.

        Raises:
            RelayError: if the recipe is not the one that was planned.
        """
        recipe = build_recipe(config, data_digest=data_digest, parent=config.job.parent)
        if recipe.id != config.job.id:
            weights = "" if config.init_from is None else f", or {config.init_from},"
            raise RelayError(
                f"this job composes recipe {short_id(recipe.id)}, but {short_id(str(config.job.id))} was "
                f"planned: conf/ or the data{weights} changed since the sweep was started. Start it again"
            )
        return cls(config, recipe, writes=int(os.environ.get("LOCAL_RANK", "0")) == 0)

    @cached_property
    def store(self) -> Store:
        """The store that the run belongs to."""
        return Store(Path(self.config.paths.runs_dir))

    @cached_property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return self.store.folder(self.recipe.stage, self.recipe.id)

    @property
    def chain(self) -> tuple[str, ...]:
        """The stages from the first source to the run's own."""
        return self.config.job.chain or (self.recipe.stage,)

    @property
    def parent_weights(self) -> Path | None:
        """The parent's weights; None for a run without a parent."""
        parent = parent_folder(self.store, self.chain, self.recipe.parent)
        return None if parent is None else parent.weights

    @cached_property
    def parent_digest(self) -> str | None:
        """SHA-256 of the parent's weights, from its record; None for a run without a parent.

        Raises:
            RelayError: if the parent's record cannot be read, or names no weights.
        """
        parent = parent_folder(self.store, self.chain, self.recipe.parent)
        return None if parent is None else parent.weights_digest()

    @property
    def identity(self) -> dict[str, str | None]:
        """Of which training a resume checkpoint must be: the run, and the weights that it began with."""
        return {"stage run": self.recipe.id, "file of the parent's weights": self.parent_digest}

    @property
    def users_weights(self) -> Path | None:
        """The checkpoint of the user's that the run starts from, or None."""
        return None if self.config.init_from is None else Path(self.config.init_from)

    @property
    def given(self) -> GivenRecord | None:
        """What the record says of the checkpoint of the user's; None without one."""
        sha256 = self.recipe.init_from
        if sha256 is None:
            return None
        return GivenRecord(name=self.recipe.given, sha256=sha256, license=self.config.job.license)

    @property
    def process(self) -> str | None:
        """The learning process whose target the run is, or None for a source."""
        recipe = self.recipe
        rules = chain_rules(self.chain, recipe.transfer or "none", recipe.parent, self.store.find_record)
        use_store(self.store.runs_dir)
        return process_name(self.chain, rules, load_processes())

    @property
    def logger(self) -> LoggerConfig:
        """Weights & Biases' settings: disabled in a process that writes nothing."""
        return self.config.logger if self.writes else replace(self.config.logger, wandb="disabled")

    @property
    def attempt(self) -> Attempt:
        """The attempt that `begin` began."""
        assert self._attempt is not None, "it was begun"
        return self._attempt

    def begin(self) -> Attempt:
        """Begin an attempt: its time counts from now on."""
        settings, path = self.config.trainer, self.folder.attempts
        device = device_name(settings.accelerator)
        self._attempt = Attempt(path, device=device, threads=settings.threads, writes=self.writes)
        return self._attempt

    @contextmanager
    def locked(self, hide: Callable[[str], str] = str) -> Iterator[bool]:
        """Hold the lock on the folder, and leave `failure.txt` there if the block fails.

        Args:
            hide: takes patients' names out of a text.

        Yields:
            Whether the run is complete already; looked up before, since a complete run may be in a store that
            is only read, and when the lock is held, since another sweep may have trained it meanwhile.

        Raises:
            RelayError: if the folder cannot be written or belongs to another recipe.
        """
        if not self.writes:
            end_with_parent()
            yield False
            return
        folder = self.folder
        if folder.is_complete():
            folder.check(self.recipe)
            yield True
            return
        with folder.lock(self.config.paths.lock, on_wait=log.info) as self._lock:
            if folder.is_complete():
                folder.check(self.recipe)
                yield True
                return
            folder.open_for(self.recipe)
            folder.failure.unlink(missing_ok=True)
            try:
                write_text(folder.config, config_document(self.config))
                yield False
            except BaseException as error:
                self._ended_by(error, hide)
                raise

    def _ended_by(self, error: BaseException, hide: Callable[[str], str]) -> None:
        """Leave the traceback of a failure; say what is left after an interrupt."""
        if isinstance(error, Exception):
            write_text(self.folder.failure, hide(traceback.format_exc()))
        if self._attempt is None:
            return
        why: Ended = "failed" if isinstance(error, Exception) else "stopped"
        if isinstance(error, KeyboardInterrupt):
            why = "interrupted" if ending_signal() == signal.SIGINT else "terminated"
            log.warning("%s %s.", self.recipe.stage, self._attempt.what_is_left())
        with suppress(OSError):  # a full disk, which may be why it failed
            self._attempt.end(why)

    def check_lock(self) -> None:
        """Refuse to write after the lock was lost.

        Raises:
            RelayError: if another process has taken the folder.
        """
        if self._lock is not None:
            self._lock.check()


def failure(config: Config, error: Exception, hide: Callable[[str], str] = str) -> Outcome:
    """The outcome of a job that failed: one line on why, and what to do where that is known.

    Args:
        config: the job's.
        error: what ended it.
        hide: takes patients' names out of a text: launchers write it to files.
    """
    assert config.stage is not None and config.job.id is not None, "a job has a stage and an id"
    if isinstance(error, RelayError):
        message = str(error)
    elif isinstance(error, OSError):
        folder = Store(Path(config.paths.runs_dir)).folder(config.stage.name, config.job.id)
        message = (
            f"{error.strerror or error} ({folder.path}): make room or choose another paths.runs_dir; the "
            "same command goes on from the last checkpoint"
        )
    else:
        message = f"{type(error).__name__}: {error}"
    return Outcome(config.job.id, "failed", hide(message))
