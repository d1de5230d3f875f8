"""A local cluster of Ray: skipped where the extra `ray` is not installed."""

import os
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from analysis.runs.load import load_runs
from tests.helpers.relay import run, same_tensors, start
from tests.helpers.store_files import holder

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed, an extra: pip install -e '.[ray]'"
)

RAY = ("hydra/launcher=ray", "+hydra.launcher.init.num_cpus=2")
SLOW = (
    "callbacks.plateau.max_epochs=400",
    "callbacks.plateau.length=400",
    "trainer.checkpoint_seconds=0",
)  # some ten seconds


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_ray_trains_the_same_bits(tmp_path: Path, cache_dir: Path) -> None:
    basic, ray = tmp_path / "basic", tmp_path / "the runs"
    assert run("-m", "process=scratch,texture", runs_dir=basic, cache_dir=cache_dir).returncode == 0
    done = run("-m", "process=scratch,texture", *RAY, runs_dir=ray, cache_dir=cache_dir, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 stage runs: 3 trained" in done.stdout
    ours, theirs = (load_runs(path).sort_values("id", ignore_index=True) for path in (basic, ray))
    assert list(ours["id"]) == list(theirs["id"])
    for one, other in zip(ours["folder"], theirs["folder"], strict=True):
        assert same_tensors(Path(one) / "model.ckpt", Path(other) / "model.ckpt")


def test_a_killed_worker_stops_its_descendants_only(tmp_path: Path, cache_dir: Path) -> None:
    """natural is killed while it trains; dld ends. Typed again, natural goes on and the rest follows."""
    sweep = start(
        "-m", "process=scratch,natural", *RAY, runs_dir=tmp_path, cache_dir=cache_dir, last=SLOW
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "natural").glob("*/last.ckpt"))) != 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(int(holder(tmp_path / "natural")["pid"]), 9)
    said, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 1, said
    assert "3 stage runs: 1 trained, 1 failed, 1 blocked" in said
    again = run(
        "-m", "process=scratch,natural", *RAY, runs_dir=tmp_path, cache_dir=cache_dir, last=SLOW
    )  # fmt: skip
    assert "3 stage runs: 2 trained, 1 were complete" in again.stdout, again.stdout + again.stderr
