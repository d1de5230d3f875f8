"""How stage runs share a machine: cores, threads, and one accelerator each."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from stages.errors import RelayError

# Memory reserved for each parallel stage run: AlexNet at 224 px with a batch of 256 needs about this much.
BYTES_A_JOB = 4 * 1024**3

_PROJECT = str(Path(__file__).resolve().parents[2])

_claim: FileLock | None = None  # held to the end of the process


def available_cores(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use: those of its affinity, limited by the quota of its cgroup.

    Args:
        cgroups: where the hierarchy of cgroups is mounted.
        own: the file that names the cgroup of this process.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in map(_quota, _own_cgroups(cgroups, own)) if quota is not None]
    return max(1, min([affinity, *(int(quota) for quota in quotas)]))


def _own_cgroups(cgroups: Path, own: Path) -> list[Path]:
    """The cgroup of this process and all above it, for version 2 and the `cpu` controller of version 1."""
    folders = [cgroups, cgroups / "cpu"]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root = cgroups if not controllers else cgroups / "cpu"
        if not controllers or "cpu" in controllers.split(","):
            parts = [part for part in path.split("/") if part not in ("", "..")]
            folders += [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return folders


def _quota(cgroup: Path) -> float | None:
    """Cores that a cgroup allows, or None if it sets no bound."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def jobs_at_once(threads: int) -> int:
    """How many stage runs at once suit this machine: one per accelerator, else all with cores and memory.

    Args:
        threads: CPU threads of each.
    """
    import torch

    if accelerators := torch.cuda.device_count():
        return accelerators
    return max(1, min(available_cores() // threads, psutil.virtual_memory().available // BYTES_A_JOB))


def number_of_jobs(n_jobs: object) -> int:
    """How many stage runs at once `hydra.launcher.n_jobs` asks for, by joblib's convention.

    Args:
        n_jobs: a number; -1 is all cores of this machine, -2 all but one.

    Raises:
        RelayError: if it is no whole number, or 0.
    """
    if not isinstance(n_jobs, int) or n_jobs == 0:
        raise RelayError(
            f"hydra.launcher.n_jobs={n_jobs}: give the number of stage runs at once, or -1 for all cores"
        )
    return n_jobs if n_jobs > 0 else max(1, available_cores() + 1 + n_jobs)


def note_of_cores(launcher: Mapping[str, Any], threads: int) -> str | None:
    """What to say where a launcher gives a stage run fewer cores than it has threads.

    `n_jobs` stage runs at once share the cores of this machine. `cpus_per_task` of Slurm and
    `remote.num_cpus` of Ray are the cores of each run.

    Args:
        launcher: its configuration (`hydra.launcher`).
        threads: CPU threads of each stage run.

    Returns:
        None if there are enough, or if the configuration does not say.

    Raises:
        RelayError: if `n_jobs` is no number of stage runs.
    """
    cores, remote = available_cores(), launcher.get("remote") or {}
    given: Any
    if (jobs := launcher.get("n_jobs")) is not None:
        key, given = f"hydra.launcher.n_jobs={jobs} on {cores} cores", cores / number_of_jobs(jobs)
    elif (given := launcher.get("cpus_per_task")) is not None:
        key = f"hydra.launcher.cpus_per_task={given}"
    elif (given := remote.get("num_cpus")) is not None:
        key = f"hydra.launcher.remote.num_cpus={given:g}"
    if given is None or given >= threads:
        return None
    return f"{key} gives a stage run fewer cores than trainer.threads={threads}: the same results, slower"


def check_accelerator(launcher: Mapping[str, Any], accelerator: str) -> None:
    """Refuse a launcher that asks for accelerators for stage runs of the processor, or Ray's for none.

    Args:
        launcher: its configuration (`hydra.launcher`).
        accelerator: what the stage runs were planned for, never auto.

    Raises:
        RelayError: says what to type.
    """
    remote = launcher.get("remote") or {}
    asked = {"gpus_per_node": launcher.get("gpus_per_node"), "remote.num_gpus": remote.get("num_gpus")}
    for key, number in asked.items():
        if number and accelerator == "cpu":
            raise RelayError(
                f"hydra.launcher.{key}={number}, but the stage runs are planned for the processor: "
                "trainer.accelerator=auto is what the machine has where the command is typed. Add "
                "trainer.accelerator=gpu trainer.precision=bf16-mixed trainer.memory_format=channels_last, "
                f"or leave {key} out"
            )
    if accelerator in ("gpu", "cuda") and "num_gpus" in remote and not remote["num_gpus"]:
        raise RelayError(
            "the stage runs are planned for a GPU, but Ray hides them from tasks that ask for none: add "
            "hydra.launcher.remote.num_gpus=1, a part of 1 to share one, or trainer.accelerator=cpu"
        )


@contextmanager
def workers_environment() -> Iterator[None]:
    """Let jobs in other processes find the project, from whichever folder they start."""
    before = os.environ.get("PYTHONPATH")
    if _PROJECT not in (before or "").split(os.pathsep):
        os.environ["PYTHONPATH"] = _PROJECT if not before else f"{_PROJECT}{os.pathsep}{before}"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before


def claim_accelerator(folder: Path | None = None) -> str | None:
    """Give this process an accelerator that no other stage run on this machine has, if one is free.

    The claim is a lock that the kernel frees when the process ends in any way. If all accelerators are taken,
    they are shared evenly. The others become invisible (`CUDA_VISIBLE_DEVICES`), so call this before CUDA
    starts. If a scheduler has already given this process one accelerator or none, nothing is done.

    Args:
        folder: where the locks are; on this machine, not on a network drive.

    Returns:
        The accelerator as `CUDA_VISIBLE_DEVICES` names it, or None if there was nothing to choose.
    """
    global _claim  # noqa: PLW0603  # a process has one
    visible = visible_accelerators(os.environ)
    if _claim is not None or len(visible) < 2:
        return None
    if folder is None:
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
        folder = Path(tempfile.gettempdir()) / f"relay-accelerators-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid():
        raise RelayError(
            f"{folder} belongs to another user, who could block accelerators with it; remove it, or set "
            "TMPDIR to a folder of yours"
        )
    share = 0
    while True:
        for name in visible:
            lock = FileLock(folder / f"{name.replace('/', '-')}.{share}")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _claim = lock
            os.environ["CUDA_VISIBLE_DEVICES"] = name
            return name
        share += 1


def visible_accelerators(environment: Mapping[str, str]) -> Sequence[str]:
    """The CUDA devices that this process sees, as `CUDA_VISIBLE_DEVICES` names them (numbers or UUIDs)."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        if sys.platform == "darwin":
            return []
        import torch

        return [str(number) for number in range(torch.cuda.device_count())]
    names = []
    for name in (part.strip() for part in listed.split(",")):
        if not name or name.startswith("-"):  # CUDA's rule: the list ends at the first invalid name
            break
        names.append(name)
    return names
