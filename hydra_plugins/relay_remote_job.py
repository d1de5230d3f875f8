"""A stage run in another process: what is sent there, and what comes back.

What comes back through a file is text: a pickle in a folder that others may write to would run what they put
into it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from stages.errors import RelayError
from stages.machine.atomic import write_text
from stages.machine.resources import claim_accelerator
from stages.outcome import Outcome
from stages.sweep import job_outcome


@dataclass
class RemoteJob:
    """One stage run, pickled and called in another process.

    Where `answers` is a folder, `NUMBER.json` there gets the outcome, which `answer` reads, and nothing is
    returned.
    """

    hydra_context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    singletons: dict[Any, Any]
    overrides: list[str]
    number: int
    answers: Path | None = None

    def __call__(self) -> JobReturn | None:
        """Compose the stage run's configuration and train it."""
        if self.answers is None:
            return self._train()
        try:
            outcome = job_outcome(self._train(), "")
        except Exception as error:  # its configuration cannot be composed
            outcome = Outcome("", "failed", f"{type(error).__name__}: {error}")
        write_text(self.answers / f"{self.number}.json", json.dumps(asdict(outcome)))
        return None

    def _train(self) -> JobReturn:
        Singleton.set_state(self.singletons)
        setup_globals()
        config = self.hydra_context.config_loader.load_sweep_config(self.config, self.overrides)
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = f"{config.hydra.job.name}_{self.number}", self.number
        if config.trainer.accelerator != "cpu":
            claim_accelerator()
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    def checkpoint(self) -> Any:
        """What submitit queues again at the time limit; the run continues from its last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def answer(folder: Path, number: int, what: str, log_file: Path) -> JobReturn:
    """The outcome that a job left as text. A job that was killed leaves no file."""
    try:
        outcome = Outcome(**json.loads((folder / f"{number}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return lost(f"{what} ended without a result: cancelled or killed ({log_file})")
    return JobReturn(status=JobStatus.COMPLETED, _return_value=outcome)


def lost(message: str) -> JobReturn:
    """What stands for the outcome of a job that left none."""
    return JobReturn(status=JobStatus.FAILED, _return_value=RelayError(message))
