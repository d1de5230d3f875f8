"""Hydra launchers for several stage runs at once: joblib, submitit (processes or Slurm), Ray.

The published plugins stop waiting for a batch as soon as one of its jobs is lost, and give no job an
accelerator of its own. These wait for every job, and report what became of a lost one.
"""

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from stages.console.output import refuse
from stages.errors import RelayError
from stages.machine.resources import claim_accelerator, jobs_at_once
from stages.machine.slurm import wait_for_jobs

log = logging.getLogger(__name__)

# For `n_jobs` in conf/hydra/launcher; evaluated only for the launcher that is chosen.
OmegaConf.register_new_resolver("relay_jobs_at_once", jobs_at_once, replace=True)


class OwnLauncherConfigs(SearchPathPlugin):
    """Lets `conf/hydra/launcher/` win where published plugins have launchers of the same names.

    Hydra 1.3 takes what a plugin stored under a file's name for the file's schema. It asks this plugin after
    all plugins have been loaded and before any configuration is.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Forget the stored configurations; the search path stays as it is."""
        stored = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
        for name in ("joblib", "submitit_local", "submitit_slurm", "ray"):
            stored.pop(f"{name}.yaml", None)


@dataclass
class RemoteJob:
    """One stage run, pickled and called in another process."""

    hydra_context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    singletons: dict[Any, Any]
    overrides: list[str]
    number: int

    def __call__(self) -> JobReturn:
        """Compose the stage run's configuration and train it."""
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


class ParallelLauncher(Launcher):
    """What the launchers below share; only `_run` differs."""

    needs = ""  # a package, and the extra that installs it
    extra = ""
    shares_terminal = False  # whether jobs print where the sweep does

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what a job needs.

        Raises:
            SystemExit: if the launcher's package is not installed.
        """
        if find_spec(self.needs) is None:
            missing = f"hydra/launcher: {self.needs} is not installed"
            refuse(RelayError(f"{missing}: pip install 'relay-transfer[{self.extra}]'"))
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs and wait for all of them.

        Args:
            job_overrides: each job's overrides.
            initial_job_idx: number of the first.

        Returns:
            What each job returned, in their order; for a lost job, why.
        """
        setup_globals()
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        singletons = Singleton.get_state()
        return self._run(
            [
                RemoteJob(
                    self.hydra_context, self.config, self.task_function, singletons, list(overrides), number
                )
                for number, overrides in enumerate(job_overrides, initial_job_idx)
            ]
        )

    def _run(self, jobs: Sequence[RemoteJob]) -> Sequence[JobReturn]:
        raise NotImplementedError


class JoblibLauncher(ParallelLauncher):
    """`n_jobs` processes on this machine, each for many stage runs. If one is killed, the batch ends."""

    needs, extra, shares_terminal = "joblib", "slurm", True

    def __init__(self, n_jobs: int) -> None:
        self._n_jobs = n_jobs

    def _run(self, jobs: Sequence[RemoteJob]) -> Sequence[JobReturn]:
        from joblib import Parallel, delayed

        returned: list[JobReturn] = Parallel(n_jobs=self._n_jobs, backend="loky", batch_size=1)(
            delayed(job)() for job in jobs
        )
        return returned


class SubmititLocalLauncher(ParallelLauncher):
    """One process per stage run, `n_jobs` of them at once on this machine."""

    needs, extra = "submitit", "slurm"

    def __init__(self, n_jobs: int, submitit_folder: str, timeout_min: int) -> None:
        self._n_jobs, self._folder, self._timeout = n_jobs, submitit_folder, timeout_min

    def _run(self, jobs: Sequence[RemoteJob]) -> Sequence[JobReturn]:
        import submitit

        executor = submitit.AutoExecutor(folder=self._folder, cluster="local")
        executor.update_parameters(timeout_min=self._timeout)
        waiting = list(enumerate(jobs))[::-1]
        running: dict[int, Any] = {}
        returned: dict[int, JobReturn] = {}
        try:
            while waiting or running:
                while waiting and len(running) < max(1, self._n_jobs):
                    place, job = waiting.pop()
                    running[place] = executor.submit(job)
                for place, process in list(running.items()):
                    if process.done():
                        returned[place] = _submitit_return(running.pop(place), "process")
                time.sleep(0.1)
        except BaseException:  # Ctrl-C: each stage run ends as after its own Ctrl-C
            for process in running.values():
                process.cancel()
            raise
        return [returned[place] for place in range(len(jobs))]


class SubmititSlurmLauncher(ParallelLauncher):
    """A Slurm job array. `parameters` are those of submitit's Slurm executor, without `slurm_`."""

    needs, extra = "submitit", "slurm"

    def __init__(self, submitit_folder: str, max_num_timeout: int, **parameters: Any) -> None:
        self._folder, self._max_num_timeout = submitit_folder, max_num_timeout
        self._parameters = parameters

    def _run(self, jobs: Sequence[RemoteJob]) -> Sequence[JobReturn]:
        import submitit

        if shutil.which("sbatch") is None:
            raise RelayError("hydra/launcher=submitit_slurm: no sbatch here; start it on a login node")
        executor = submitit.SlurmExecutor(folder=self._folder, max_num_timeout=self._max_num_timeout)
        executor.update_parameters(**_plain(self._parameters))
        submitted = executor.submit_array(list(jobs))
        try:
            wait_for_jobs({job.job_id: job.paths.result_pickle for job in submitted})
        except KeyboardInterrupt:
            array = submitted[0].job_id.split("_")[0]
            log.warning("Slurm job %s continues without this sweep; to end it: scancel %s", array, array)
            raise
        return [_submitit_return(job, "Slurm job") for job in submitted]


class RayLauncher(ParallelLauncher):
    """One Ray task per stage run, on the cluster that `init` names or on one started here."""

    needs, extra, shares_terminal = "ray", "ray", True

    def __init__(self, init: Mapping[str, Any], remote: Mapping[str, Any]) -> None:
        self._init, self._remote = _plain(init), _plain(remote)

    def _run(self, jobs: Sequence[RemoteJob]) -> Sequence[JobReturn]:
        import ray

        if not ray.is_initialized():
            ray.init(**self._init)
        call = ray.remote(**self._remote)(_call)
        shared = ray.put(jobs[0])  # the configuration once, not once per job: there may be thousands
        tasks = [call.remote(shared, job.overrides, job.number) for job in jobs]
        try:
            return [_ray_return(ray, task) for task in tasks]
        except BaseException:  # Ctrl-C
            for task in tasks:
                ray.cancel(task, force=True)
            raise


def _call(shared: RemoteJob, overrides: list[str], number: int) -> JobReturn:
    return replace(shared, overrides=overrides, number=number)()


def _ray_return(ray: Any, task: Any) -> JobReturn:
    try:
        returned: JobReturn = ray.get(task)
        return returned
    except ray.exceptions.RayError as error:
        return _lost(f"Ray lost the task: {str(error).strip().splitlines()[0]}")


def _submitit_return(job: Any, what: str) -> JobReturn:
    """What a job returned. If there is no result, submitit is not asked: it would wait for `sacct`."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        if job.paths.result_pickle.exists():
            returned: JobReturn = job.result()
            return returned
    except FailedJobError as error:
        return _lost(str(error).strip().splitlines()[-1])
    except UncompletedJobError:
        pass
    return _lost(f"{what} {job.job_id} ended without a result: cancelled or killed ({job.paths.stderr})")


def _lost(message: str) -> JobReturn:
    return JobReturn(status=JobStatus.FAILED, _return_value=RelayError(message))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = OmegaConf.to_container(OmegaConf.create(dict(values)), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if value is not None}
