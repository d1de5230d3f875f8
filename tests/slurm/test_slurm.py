"""A real Slurm of one node: skipped unless `tests/slurm/set_up.sh` has started one.

tests/slurm/set_up.sh && .venv/bin/python -m pytest -n 0 tests/slurm; tests/slurm/set_up.sh stop
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.runs.load import load_runs
from stages.record import read_record
from tests.helpers.programs import Program
from tests.helpers.relay import run, same_tensors, start
from tests.helpers.store_files import holder

CONF = Path("/tmp/relay-slurm/slurm.conf")
SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1")

SLOW = (
    "callbacks.plateau.max_epochs=400",
    "callbacks.plateau.length=400",
    "trainer.checkpoint_seconds=0",
)  # some ten seconds


def _is_up() -> bool:
    if not CONF.exists():
        return False
    os.environ["SLURM_CONF"] = str(CONF)
    answer = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and bool(answer.stdout.strip())


pytestmark = pytest.mark.skipif(
    not _is_up(), reason="Slurm does not run here: tests/slurm/set_up.sh starts one"
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_slurm_trains_the_same_bits(tmp_path: Path, cache_dir: Path) -> None:
    """In a store whose name has a space, from another folder; a second time it trains nothing."""
    basic, slurm = tmp_path / "basic", tmp_path / "the runs"
    assert run("-m", "process=scratch,texture", runs_dir=basic, cache_dir=cache_dir).returncode == 0
    done = run(
        "-m", "process=scratch,texture", *SLURM, runs_dir=slurm, cache_dir=cache_dir, cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 stage runs: 3 trained" in done.stdout
    ours, theirs = (load_runs(path).sort_values("id", ignore_index=True) for path in (basic, slurm))
    assert list(ours["id"]) == list(theirs["id"])
    for one, other in zip(ours["folder"], theirs["folder"], strict=True):
        assert same_tensors(Path(one) / "model.ckpt", Path(other) / "model.ckpt")
    again = run("-m", "process=scratch,texture", *SLURM, runs_dir=slurm, cache_dir=cache_dir)
    assert "3 stage runs: 3 were complete" in again.stdout


def sweep_until(condition: Callable[[], bool], *arguments: str, runs_dir: Path, cache_dir: Path) -> Program:
    """Start a slow sweep and wait for something to happen in its store."""
    sweep = start("-m", *arguments, *SLURM, runs_dir=runs_dir, cache_dir=cache_dir, last=SLOW)
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)
    return sweep


def test_a_cancelled_job_stops_its_descendants_only(tmp_path: Path, cache_dir: Path) -> None:
    """natural is cancelled while it trains; dld ends. Typed again, natural goes on and the rest follows."""
    sweep = sweep_until(
        lambda: len(list((tmp_path / "natural").glob("*/last.ckpt"))) == 1,
        "process=scratch,natural",
        runs_dir=tmp_path,
        cache_dir=cache_dir,
    )
    _scancel(tmp_path / "natural")
    said, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 1, said
    assert "3 stage runs: 1 trained, 1 failed, 1 blocked" in said
    assert "ended without a result: cancelled or killed" in said
    dld = load_runs(tmp_path)
    assert list(dld["chain"]) == ["dld"]

    again = run(
        "-m", "process=scratch,natural", *SLURM, runs_dir=tmp_path, cache_dir=cache_dir, last=SLOW
    )  # fmt: skip
    assert "3 stage runs: 2 trained, 1 were complete" in again.stdout, again.stdout + again.stderr
    (record,) = (path for path in (tmp_path / "natural").glob("*/record.json"))
    assert len(read_record(record).attempts) == 2, "it went on from its checkpoint"


def test_a_killed_worker_is_noticed(tmp_path: Path, cache_dir: Path) -> None:
    sweep = sweep_until(
        lambda: len(list((tmp_path / "dld").glob("*/.holder.json"))) == 1,
        "process=scratch",
        runs_dir=tmp_path,
        cache_dir=cache_dir,
    )
    os.kill(holder(tmp_path / "dld")["pid"], 9)
    said, _ = sweep.communicate(timeout=240)
    assert "1 stage run: 1 failed" in said
    assert sweep.returncode == 1
    again = run("-m", "process=scratch", *SLURM, runs_dir=tmp_path, cache_dir=cache_dir, last=SLOW)
    assert "1 stage run: 1 trained" in again.stdout


def test_a_job_whose_time_is_up_is_queued_again_and_goes_on(tmp_path: Path, cache_dir: Path) -> None:
    """Slurm's warning is sent by hand, because its shortest time limit is a minute."""
    sweep = sweep_until(
        lambda: len(list((tmp_path / "dld").glob("*/last.ckpt"))) == 1,
        "process=scratch",
        runs_dir=tmp_path,
        cache_dir=cache_dir,
    )
    _scancel(tmp_path / "dld", "--signal=USR2")
    said, _ = sweep.communicate(timeout=240)
    assert "1 stage run: 1 trained" in said
    (record,) = (tmp_path / "dld").glob("*/record.json")
    assert len(read_record(record).attempts) == 2


def _scancel(stage: Path, *options: str) -> None:
    """Cancel the job that trains a stage's only run, and not the array that it is in.

    The lock's holder left its own number, which for one job of an array is also the array's.
    """
    answer = subprocess.run(
        ["squeue", "--noheader", "--array", "--format=%A %i"], capture_output=True, text=True, check=True
    )
    names = dict(line.split() for line in answer.stdout.splitlines())
    subprocess.run(["scancel", *options, names[str(holder(stage)["slurm_job"])]], check=True)
