"""Cores, threads and accelerators of stage runs that share a machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric.utilities.distributed import _set_num_threads_if_needed

import stages.machine.resources
from stages.errors import RelayError
from stages.machine.resources import (
    available_cores,
    check_accelerator,
    jobs_at_once,
    note_of_cores,
    number_of_jobs,
    visible_accelerators,
)
from stages.machine.threads import ignore_limits_of_threads, set_threads
from tests.helpers.stage_helpers import PROJECT


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def cgroup(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.")).write_text(text)


def test_cores_without_a_quota(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "none", tmp_path / "none") == 8
    cgroup(tmp_path, cpu_max="max 100000\n")
    assert available_cores(tmp_path, tmp_path / "none") == 8


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)],
)
def test_the_quota_of_a_cgroup(tmp_path: Path, quota: str, cores: int) -> None:
    cgroup(tmp_path, cpu_max=f"{quota}\n")
    assert available_cores(tmp_path, tmp_path / "none") == cores


def test_the_smallest_quota_above_this_process_holds(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/slurm/job_7\n")
    cgroup(tmp_path / "slurm", cpu_max="300000 100000\n")
    cgroup(tmp_path / "slurm" / "job_7", cpu_max="max 100000\n")
    assert available_cores(tmp_path, own) == 3
    cgroup(tmp_path / "slurm" / "job_7", cpu_max="200000 100000\n")
    assert available_cores(tmp_path, own) == 2


def test_the_quota_of_cgroups_version_1(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n")
    cgroup(tmp_path / "cpu", cpu_cfs_quota_us="-1\n", cpu_cfs_period_us="100000\n")
    assert available_cores(tmp_path, own) == 8
    cgroup(tmp_path / "cpu" / "docker" / "a", cpu_cfs_quota_us="400000\n", cpu_cfs_period_us="100000\n")
    assert available_cores(tmp_path, own) == 4


@pytest.mark.parametrize(
    ("launcher", "most"),
    [
        ({"n_jobs": 1}, 8), ({"n_jobs": 2}, 4), ({"n_jobs": 3}, 2), ({"n_jobs": 100}, 0),
        ({"n_jobs": -1}, 1), ({"n_jobs": -5}, 2), ({"n_jobs": -8}, 8), ({"n_jobs": -20}, 8),
        ({"cpus_per_task": 4}, 4), ({"remote": {"num_cpus": 2}}, 2), ({"remote": {"num_cpus": 0.5}}, 0),
    ],
)  # fmt: skip
def test_more_threads_than_a_launcher_gives_cores_are_noted(launcher: Mapping[str, Any], most: int) -> None:
    assert note_of_cores(launcher, max(1, most)) is None or most == 0
    note = note_of_cores(launcher, most + 1)
    assert note is not None and "hydra.launcher." in note and f"trainer.threads={most + 1}" in note


@pytest.mark.parametrize(("n_jobs", "expected"), [(1, 1), (100, 100), (-1, 8), (-2, 7), (-20, 1)])
def test_a_negative_number_of_jobs_counts_from_all_cores(n_jobs: int, expected: int) -> None:
    """joblib's convention, for submitit_local too."""
    assert number_of_jobs(n_jobs) == expected


@pytest.mark.parametrize("n_jobs", [0, "many", 1.5, None])
def test_a_number_of_jobs_that_starts_none_is_refused(n_jobs: object) -> None:
    with pytest.raises(RelayError, match="or -1 for all cores"):
        number_of_jobs(n_jobs)


@pytest.mark.parametrize("launcher", [{}, {"cpus_per_task": None}, {"remote": {}}, {"remote": None}])
def test_a_launcher_that_does_not_say_it(launcher: Mapping[str, Any]) -> None:
    assert note_of_cores(launcher, 256) is None


@pytest.mark.parametrize("launcher", [{"gpus_per_node": 1}, {"remote": {"num_gpus": 0.5}}])
def test_an_accelerator_for_runs_of_the_processor_is_refused(launcher: Mapping[str, Any]) -> None:
    with pytest.raises(RelayError, match=r"trainer\.accelerator=gpu trainer\.precision=bf16-mixed"):
        check_accelerator(launcher, "cpu")
    check_accelerator(launcher, "gpu")
    check_accelerator({"gpus_per_node": None, "remote": {"num_gpus": None}}, "cpu")


def test_ray_tasks_that_ask_for_no_gpu_are_refused_where_one_is_planned() -> None:
    """Ray sets CUDA_VISIBLE_DEVICES to nothing for them."""
    for nothing in (None, 0):
        with pytest.raises(RelayError, match=r"add hydra\.launcher\.remote\.num_gpus=1"):
            check_accelerator({"remote": {"num_gpus": nothing}}, "gpu")
    check_accelerator({"gpus_per_node": None}, "gpu")


def test_the_threads_are_those_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the environment says; Lightning, which divides cores among DDP's processes, leaves them."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC"):
        monkeypatch.setenv(name, "1")
    ignore_limits_of_threads()
    try:
        set_threads(9)
        _set_num_threads_if_needed(num_processes=4)
        assert torch.get_num_threads() == 9
    finally:
        torch.set_num_threads(before)
    assert "trainer.threads=9 on fewer cores (8): the same results, slower" in caplog.text
    assert os.environ["OMP_NUM_THREADS"] == "9"
    assert not {"OMP_THREAD_LIMIT", "OMP_DYNAMIC"} & set(os.environ)


@pytest.mark.parametrize(
    ("accelerators", "gibibytes", "threads", "jobs"),
    [(0, 64, 1, 8), (0, 64, 2, 4), (0, 64, 3, 2), (0, 64, 16, 1), (0, 9, 1, 2), (0, 1, 1, 1), (4, 64, 2, 4),
     (1, 64, 2, 1)],
)  # fmt: skip
def test_jobs_that_suit_a_machine(
    accelerators: int, gibibytes: int, threads: int, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        available = gibibytes * 1024**3

    monkeypatch.setattr("torch.cuda.device_count", lambda: accelerators)
    monkeypatch.setattr(stages.machine.resources.psutil, "virtual_memory", Memory)
    monkeypatch.setattr(stages.machine.resources, "available_cores", lambda: 8)
    assert jobs_at_once(threads) == jobs


@pytest.mark.parametrize(
    ("listed", "names"),
    [("0,1", ["0", "1"]), ("3", ["3"]), ("", []), ("-1", []), ("2, GPU-5a,-1,4", ["2", "GPU-5a"])],
)
def test_what_cuda_sees(listed: str, names: list[str]) -> None:
    assert visible_accelerators({"CUDA_VISIBLE_DEVICES": listed}) == names


def test_without_a_list_cuda_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert visible_accelerators({}) == ["0", "1"]


CLAIM = """
import os, sys
from pathlib import Path
from stages.machine.resources import claim_accelerator
claimed = claim_accelerator(Path(sys.argv[1]))
assert claim_accelerator(Path(sys.argv[1])) is None, "one a process"
print(claimed, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


def claim(folder: Path, visible: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder)],
        cwd=PROJECT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": visible},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.slow
def test_each_process_has_an_accelerator_of_its_own(tmp_path: Path) -> None:
    """Also after one was killed; with more processes than accelerators they are shared evenly."""
    folder = tmp_path / "locks"
    processes = [claim(folder, "GPU-a,5") for _ in range(4)]
    try:
        assert [said for _, said in processes] == ["GPU-a GPU-a", "5 5", "GPU-a GPU-a", "5 5"]
        processes[1][0].kill()
        processes[1][0].wait()
        processes.append(claim(folder, "GPU-a,5"))
        assert processes[-1][1] == "5 5"
        processes.append(claim(folder, "7"))
        assert processes[-1][1] == "None 7", "a scheduler has chosen"
    finally:
        for process, _ in processes:
            process.communicate()
