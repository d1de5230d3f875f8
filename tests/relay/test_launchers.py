"""The same sweep under each of Hydra's launchers gives the same runs, from another folder too."""

import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.runs.load import load_runs
from stages.store import Store
from tests.helpers.programs import forking_python
from tests.helpers.relay import run, same_tensors, start
from tests.helpers.store_files import holder

EVERY_EPOCH = "trainer.checkpoint_seconds=0"


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    runs_dir = tmp_path_factory.mktemp("basic")
    done = run("-m", "process=scratch,texture", runs_dir=runs_dir, cache_dir=cache_dir)
    assert done.returncode == 0, done.stderr
    return runs_dir


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """For jobs of which it does not matter that Python loads everything anew, seconds slower."""
    with forking_python() as path:
        yield path


def assert_same_runs(runs_dir: Path, basic: Path) -> None:
    expected = load_runs(basic).sort_values("id", ignore_index=True)
    found = load_runs(runs_dir).sort_values("id", ignore_index=True)
    columns = ["id", "stage", "chain", "process", "parent", "epochs", "accuracy_p75", "cross_entropy_p75"]
    assert found[columns].equals(expected[columns])
    for ours, theirs in zip(found["folder"], expected["folder"], strict=True):
        assert same_tensors(Path(ours) / "model.ckpt", Path(theirs) / "model.ckpt")


def test_joblib_agrees_and_reports_a_failure(basic: Path, cache_dir: Path, tmp_path: Path) -> None:
    runs_dir = tmp_path / "the runs"
    done = run(
        "-m",
        "process=scratch,texture",
        "hydra/launcher=joblib",
        runs_dir=runs_dir,
        cache_dir=cache_dir,
        last=("optim.lr_scratch=0.03,1e30",),  # that of the tiny settings, and one that diverges
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr + done.stdout
    assert "6 stage runs: 3 trained, 2 failed, 1 blocked" in done.stdout
    assert "the training loss is not finite" in done.stdout
    assert_same_runs(runs_dir, basic)


def test_submitit_local_agrees_and_opens_no_planted_pickle(
    basic: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """Files under every name that submitit gives, in the folder of old and of new, do nothing."""
    proof, runs_dir = tmp_path / "proof", tmp_path / "the runs"
    planted = pickle.dumps(_Opened(str(proof)))
    for place in (".hydra/submitit", ".hydra/submitit/%j", ".hydra/jobs"):
        (runs_dir / place).mkdir(parents=True, exist_ok=True)
        for number in (0, 1, *range(os.getpid(), os.getpid() + 300)):
            for name in (f"{number}_0_result.pkl", f"{number}_submitted.pkl", f"{number}.json"):
                (runs_dir / place / name).write_bytes(planted)
    done = run(
        "-m",
        "process=scratch,texture",
        "hydra/launcher=submitit_local",
        runs_dir=runs_dir,
        cache_dir=cache_dir,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "3 stage runs: 3 trained" in done.stdout
    assert_same_runs(runs_dir, basic)
    assert not proof.exists()
    folders = [path for path in (runs_dir / ".hydra/jobs").iterdir() if path.is_dir()]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
    assert {path.suffix for folder in folders for path in folder.iterdir()} == {".log", ".json"}


def test_a_launcher_does_not_change_the_threads(
    basic: Path, cache_dir: Path, tmp_path: Path, python: Path
) -> None:
    """Nor do the machine's cores and the environment: two runs at once have the threads of the recipe, 3."""
    done = run(
        "-m",
        "process=scratch",
        "hydra/launcher=submitit_local",
        "hydra.launcher.n_jobs=2",
        runs_dir=tmp_path,
        cache_dir=cache_dir,
        last=("trainer.threads=3",),
        python=python,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (folder,) = Store(tmp_path).complete_runs()
    record = folder.read_record()
    assert record.attempts[0].threads == folder.read_recipe()["arithmetic"]["threads"] == 3
    assert record.id not in set(load_runs(basic)["id"])
    assert "fewer cores than trainer.threads=3: the same results, slower" in done.stdout


def test_a_killed_worker_stops_its_descendants_only(cache_dir: Path, tmp_path: Path, python: Path) -> None:
    """natural is killed while it trains; dld ends. Typed again, natural goes on and the rest follows."""
    slow = (
        "callbacks.plateau.max_epochs=20",
        "callbacks.plateau.length=20",
        "trainer.checkpoint_seconds=0",
    )
    arguments = ("-m", "process=scratch,natural", "hydra/launcher=submitit_local", "hydra.launcher.n_jobs=2")
    sweep = start(*arguments, runs_dir=tmp_path, cache_dir=cache_dir, last=slow, python=python)
    _wait_for(tmp_path / "natural", "last.ckpt")
    os.kill(int(holder(tmp_path / "natural")["pid"]), signal.SIGKILL)
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, said
    assert "3 stage runs: 1 trained, 1 failed, 1 blocked" in said
    assert "ended without a result: cancelled or killed" in said
    again = run(*arguments, runs_dir=tmp_path, cache_dir=cache_dir, last=slow, python=python)
    assert "3 stage runs: 2 trained, 1 were complete" in again.stdout, again.stdout + again.stderr
    assert {len(record.read_record().attempts) for record in Store(tmp_path).complete_runs()} == {1, 2}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_the_sweep_ends_its_jobs(
    number: signal.Signals, cache_dir: Path, tmp_path: Path, python: Path
) -> None:
    slow = ("callbacks.plateau.max_epochs=2000", "callbacks.plateau.length=2000")
    sweep = start(
        "-m", "process=scratch", "hydra/launcher=submitit_local", runs_dir=tmp_path, cache_dir=cache_dir,
        last=slow, python=python,
    )  # fmt: skip
    _wait_for(tmp_path / "dld", ".holder.json")
    worker = int(holder(tmp_path / "dld")["pid"])
    sweep.send_signal(number)
    said, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 128 + number, said
    assert "Traceback" not in said
    assert said.count("The same command trains what is missing") == 1, said
    assert number == signal.SIGINT or "Ended by SIGTERM" in said
    _wait_for_end(worker)


def test_a_killed_sweep_leaves_no_worker_of_joblib(cache_dir: Path, tmp_path: Path) -> None:
    """It would wait for five minutes, with its memory. A killed worker is named as what ended the batch."""
    slow = ("callbacks.plateau.max_epochs=2000", "callbacks.plateau.length=2000")
    arguments = ("-m", "process=scratch", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    sweep = start(*arguments, runs_dir=tmp_path / "sweep", cache_dir=cache_dir, last=slow)
    _wait_for(tmp_path / "sweep" / "dld", ".holder.json")
    worker = int(holder(tmp_path / "sweep" / "dld")["pid"])
    sweep.send_signal(signal.SIGKILL)
    sweep.communicate(timeout=60)
    _wait_for_end(worker)
    sweep = start(*arguments, "seed=0,1", runs_dir=tmp_path / "worker", cache_dir=cache_dir, last=slow)
    _wait_for(tmp_path / "worker" / "dld", ".holder.json")
    os.kill(int(holder(tmp_path / "worker" / "dld")["pid"]), signal.SIGKILL)
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, said
    assert (
        said.count("failed: dld: ended without a record: the launcher reported: a worker was killed") == 2
    ), said


class _Opened:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.path,)


def _wait_for_end(process: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{process}/cmdline").exists() and Path(f"/proc/{process}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the job goes on"
        time.sleep(0.05)


def _wait_for(stage: Path, name: str) -> None:
    deadline = time.monotonic() + 60
    while not list(stage.glob(f"*/{name}")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
