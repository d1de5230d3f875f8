"""The bits of a run hang on the threads of its recipe alone; a signal ends it with all its processes."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from stages.record import read_record
from tests.helpers.programs import PROJECT, Program, environment
from tests.helpers.relay import command, only_folder, run, same_tensors, start
from tests.relay.test_ddp import unbalanced

STAGE = "+stage=texture"
LONG = ("callbacks.plateau.max_epochs=2000", "callbacks.plateau.length=2000")
BEGINS_AGAIN = "before its first checkpoint: nothing of it is kept, and the same command begins it again"
KEPT = "a checkpoint has it up to epoch "


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_neither_cores_nor_the_environment_change_bits(cache_dir: Path, tmp_path: Path) -> None:
    """One core, and an environment that takes threads away: a step of oneDNN would wait for them forever."""
    limits = {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "OMP_DYNAMIC": "true", "MKL_NUM_THREADS": "2"}
    three = ("trainer.threads=3",)
    done = run(STAGE, runs_dir=tmp_path / "plain", cache_dir=cache_dir, last=three)
    assert done.returncode == 0, done.stdout + done.stderr
    line = command(STAGE, runs_dir=tmp_path / "one", cache_dir=cache_dir, last=three)
    core = min(os.sched_getaffinity(0))
    done = subprocess.run(
        ["taskset", "-c", str(core), *line],
        cwd=PROJECT,
        env={**environment(), **limits},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "trainer.threads=3 on fewer cores (1): the same results, slower" in done.stdout
    plain, one = (only_folder(tmp_path / name, "texture") for name in ("plain", "one"))
    assert plain.name == one.name
    assert same_tensors(plain / "model.ckpt", one / "model.ckpt")
    assert (plain / "history.csv").read_text() == (one / "history.csv").read_text()
    (attempt,) = read_record(one / "record.json").attempts
    assert (attempt.threads, attempt.cores) == (3, 1)


def epochs(runs_dir: Path) -> int:
    histories = list(runs_dir.glob("texture/*/history.csv"))
    return len(histories[0].read_text().splitlines()) - 1 if histories else 0


def wait_for_epochs(runs_dir: Path, number: int, program: Program | subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while epochs(runs_dir) < number:
        assert program.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def stopped(number: int, *arguments: str, runs_dir: Path, cache_dir: Path, last: Sequence[str]) -> str:
    """What a run says that a signal ends after two epochs."""
    before = epochs(runs_dir)
    program = start(STAGE, *arguments, runs_dir=runs_dir, cache_dir=cache_dir, last=(*LONG, *last))
    wait_for_epochs(runs_dir, before + 2, program)
    program.send_signal(number)
    said, _ = program.communicate(timeout=60)
    assert program.returncode == 128 + number, said
    return said


@pytest.mark.parametrize(
    ("number", "ended", "sweep"),
    [(signal.SIGINT, "interrupted", ()), (signal.SIGTERM, "terminated", ("-m",))],
)
def test_what_is_said_after_a_signal_is_so(
    cache_dir: Path, tmp_path: Path, number: int, ended: str, sweep: tuple[str, ...]
) -> None:
    """First nothing is kept, and it begins again; then all is kept up to the last checkpoint."""
    kept = [0]
    for every, left in (("1e6", BEGINS_AGAIN), ("0", KEPT), ("0", KEPT)):
        last = (f"trainer.checkpoint_seconds={every}",)
        said = stopped(number, *sweep, runs_dir=tmp_path, cache_dir=cache_dir, last=last)
        assert left in said and "Traceback" not in said
        kept.append(int(said.partition(left)[2].split(",")[0]) if left == KEPT else 0)
    attempts = json.loads((only_folder(tmp_path, "texture") / "attempts.json").read_text())
    assert [attempt["ended"] for attempt in attempts] == [ended] * 3
    assert [attempt["first_epoch"] for attempt in attempts] == kept[:3]
    assert 2 <= kept[2] <= attempts[1]["epochs"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_processes_of_a_run_end_with_it(cache_dir: Path, tmp_path: Path, number: int) -> None:
    """Two of DDP, which compute with the recipe's threads, and their workers that decode."""
    streamed = ("data.memory_limit_gb=0", "data.workers=1", "data.mean=[0.5,0.5,0.5]", "data.std=[1,1,1]")
    last = (*unbalanced(tmp_path / "images"), *streamed, *LONG, "trainer.devices=2", "trainer.threads=3")
    line = command(STAGE, runs_dir=tmp_path / "runs", cache_dir=cache_dir, last=last)
    with open(tmp_path / "said", "w") as said:  # they do not end with a program that is a fork
        program = subprocess.Popen(line, cwd=PROJECT, env=environment(), stdout=said, stderr=said)
    wait_for_epochs(tmp_path / "runs", 2, program)
    family = psutil.Process(program.pid).children(recursive=True)
    assert len(family) >= 3
    program.send_signal(number)
    assert program.wait(60) == (143 if number == signal.SIGTERM else -number), (tmp_path / "said").read_text()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def test_workers_do_not_change_bits(cache_dir: Path, tmp_path: Path) -> None:
    """Files decoded in the process itself, with its three threads, or by two others with one each."""
    files = unbalanced(tmp_path / "images")
    texture = "data.domains.texture"
    settings = (f"{texture}.decode_size=24", "data.memory_limit_gb=0", "data.mean=[0.5,0.5,0.5]")
    for workers in (0, 2):
        last = (*files, *settings, "data.std=[1,1,1]", "trainer.threads=3", f"data.workers={workers}")
        done = run(STAGE, runs_dir=tmp_path / str(workers), cache_dir=cache_dir, last=last)
        assert done.returncode == 0, done.stdout + done.stderr
    none, two = (only_folder(tmp_path / name, "texture") / "model.ckpt" for name in ("0", "2"))
    assert same_tensors(none, two)
