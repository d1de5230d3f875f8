"""Hydra launchers for several stage runs at once: joblib, submitit (processes or Slurm), Ray.

The published plugins stop waiting for a batch as soon as one of its jobs is lost, and give no job an
accelerator of its own. These wait for every job, and report what became of a lost one.
"""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.relay_remote_job import RemoteJob, answer, lost
from stages.console.output import refuse
from stages.errors import RelayError
from stages.machine.private import private_folder, writable_by_others
from stages.machine.resources import jobs_at_once, number_of_jobs
from stages.machine.signals import end_with_parent
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
    """`n_jobs` processes on this machine, each for many stage runs. If one is killed, the batch ends.

    They end with the sweep, if that is killed too: else each would keep its memory, and wait.
    """

    needs, extra, shares_terminal = "joblib", "slurm", True

    def __init__(self, n_jobs: int) -> None:
        self._n_jobs = n_jobs

    def _run(self, jobs: Sequence[RemoteJob]) -> Sequence[JobReturn]:
        from joblib import Parallel, delayed

        # Nothing through files in a shared folder: large arrays would be mapped from one.
        parallel = Parallel(
            n_jobs=self._n_jobs,
            backend="loky",
            batch_size=1,
            max_nbytes=None,
            initializer=end_with_parent,
            initargs=(os.getpid(),),
        )
        try:
            returned: list[JobReturn] = parallel(delayed(job)() for job in jobs)
        except BrokenProcessPool:  # joblib's words end with where a traceback is not
            alone = "under hydra/launcher=submitit_local it would end only its own run"
            raise RuntimeError(f"a worker was killed, as where memory runs out; {alone}") from None
        return returned


class SubmititLocalLauncher(ParallelLauncher):
    """One process per stage run, `n_jobs` of them at once on this machine.

    Ctrl-C in a terminal reaches every process of the sweep's group; the jobs have groups of their own, and
    are ended by the sweep.
    """

    needs, extra = "cloudpickle", "slurm"

    def __init__(self, n_jobs: int, folder: str) -> None:
        self._n_jobs, self._folder = n_jobs, Path(folder)

    def _run(self, jobs: Sequence[RemoteJob]) -> Sequence[JobReturn]:
        at_once, folder = number_of_jobs(self._n_jobs), private_folder(self._folder)
        waiting = list(jobs)[::-1]
        running: dict[int, subprocess.Popen[bytes]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    job = replace(waiting.pop(), answers=folder)
                    running[job.number] = _start(job, folder / f"{job.number}.log")
                running = {number: process for number, process in running.items() if process.poll() is None}
                time.sleep(0.1)
        except BaseException:  # Ctrl-C: each stage run ends as after its own Ctrl-C
            _end(running.values())
            raise
        return [answer(folder, job.number, "process", folder / f"{job.number}.log") for job in jobs]


_JOB = """
import pickle, sys
from stages.machine.signals import end_as_after_ctrl_c
end_as_after_ctrl_c()
pickle.load(sys.stdin.buffer)()
"""


def _start(job: RemoteJob, log_file: Path) -> subprocess.Popen[bytes]:
    """A process that is given the job through a pipe, which nobody else can write to."""
    import cloudpickle

    with log_file.open("xb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _JOB],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert process.stdin is not None, "a pipe"
    try:
        with process.stdin as pipe:
            pipe.write(cloudpickle.dumps(job))
    except BrokenPipeError:  # it is gone; its log says why
        pass
    return process


def _end(processes: Collection[subprocess.Popen[bytes]], seconds: float = 60) -> None:
    """Ask processes to end, and after some time make them."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except BaseException:  # they take too long, or a second Ctrl-C
            for each in processes:
                each.kill()
            raise


_MOST_IN_ARRAY = 1000  # Slurm's MaxArraySize is 1001 unless a cluster sets another


class SubmititSlurmLauncher(ParallelLauncher):
    """A Slurm job array. `parameters` are those of submitit's Slurm executor, without `slurm_`."""

    needs, extra = "submitit", "slurm"

    def __init__(self, submitit_folder: str, max_num_timeout: int, **parameters: Any) -> None:
        self._folder, self._max_num_timeout = Path(submitit_folder), max_num_timeout
        self._parameters = parameters

    def _run(self, jobs: Sequence[RemoteJob]) -> Sequence[JobReturn]:
        import submitit

        if shutil.which("sbatch") is None:
            raise RelayError("hydra/launcher=submitit_slurm: no sbatch here; start it on a login node")
        folder = private_folder(self._folder)  # submitit hands jobs over as pickles in files
        if (above := writable_by_others(folder)) is not None:
            log.warning(
                "Other users can write to %s, put other files in place of this sweep's Slurm jobs, and so "
                "run programs as you. If you do not trust them: hydra.launcher.submitit_folder=FOLDER, one "
                "of your own that the nodes see",
                above,
            )
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=self._max_num_timeout)
        executor.update_parameters(**_plain(self._parameters))
        submitted = [
            sent
            for start in range(0, len(jobs), _MOST_IN_ARRAY)
            for sent in executor.submit_array(
                [replace(job, answers=folder) for job in jobs[start : start + _MOST_IN_ARRAY]]
            )
        ]
        try:
            wait_for_jobs({job.job_id: job.paths.result_pickle for job in submitted})
        except KeyboardInterrupt:
            arrays = " ".join(dict.fromkeys(job.job_id.split("_")[0] for job in submitted))
            log.warning("Slurm job %s continues without this sweep; to end it: scancel %s", arrays, arrays)
            raise
        return [
            answer(folder, job.number, f"Slurm job {sent.job_id}", sent.paths.stderr)
            for job, sent in zip(jobs, submitted, strict=True)
        ]


class RayLauncher(ParallelLauncher):
    """One Ray task per stage run, on the cluster that `init` names or on one started here."""

    needs, extra, shares_terminal = "ray", "ray", True

    def __init__(self, init: Mapping[str, Any], remote: Mapping[str, Any]) -> None:
        self._init, self._remote = _plain(init), _plain(remote)

    def _run(self, jobs: Sequence[RemoteJob]) -> Sequence[JobReturn]:
        import ray

        if not ray.is_initialized():
            # Ray runs what anybody sends to its ports: a cluster of this machine listens to it alone.
            alone = {} if self._init.get("address") else {"_node_ip_address": "127.0.0.1"}
            ray.init(**{**alone, **self._init})
        call = ray.remote(**self._remote)(_call)
        shared = ray.put(jobs[0])  # the configuration once, not once per job: there may be thousands
        tasks = [call.remote(shared, job.overrides, job.number) for job in jobs]
        try:
            return [_ray_return(ray, task) for task in tasks]
        except BaseException:  # Ctrl-C
            for task in tasks:
                ray.cancel(task, force=True)
            raise


def _call(shared: RemoteJob, overrides: list[str], number: int) -> JobReturn | None:
    return replace(shared, overrides=overrides, number=number)()


def _ray_return(ray: Any, task: Any) -> JobReturn:
    try:
        returned: JobReturn = ray.get(task)
        return returned
    except ray.exceptions.RayError as error:
        return lost(f"Ray lost the task: {str(error).strip().splitlines()[0]}")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = OmegaConf.to_container(OmegaConf.create(dict(values)), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if value is not None}
