"""The same sweep under each of Hydra's launchers gives the same runs, from another folder too."""

from pathlib import Path

import pytest

from analysis.runs import load_runs
from tests.relay import run, same_tensors


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    runs_dir = tmp_path_factory.mktemp("basic")
    done = run("-m", "process=scratch,texture", runs_dir=runs_dir, cache_dir=cache_dir)
    assert done.returncode == 0, done.stderr
    return runs_dir


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_agree(launcher: str, basic: Path, cache_dir: Path, tmp_path: Path) -> None:
    runs_dir = tmp_path / "the runs"
    done = run(
        "-m",
        "process=scratch,texture",
        f"hydra/launcher={launcher}",
        runs_dir=runs_dir,
        cache_dir=cache_dir,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "3 stage runs: 3 trained" in done.stdout
    expected = load_runs(basic).sort_values("id", ignore_index=True)
    found = load_runs(runs_dir).sort_values("id", ignore_index=True)
    columns = ["id", "stage", "chain", "process", "parent", "epochs", "accuracy_p75", "cross_entropy_p75"]
    assert found[columns].equals(expected[columns])
    for ours, theirs in zip(found["folder"], expected["folder"], strict=True):
        assert same_tensors(Path(ours) / "model.ckpt", Path(theirs) / "model.ckpt")


def test_a_failure_is_reported_by_every_launcher(cache_dir: Path, tmp_path: Path) -> None:
    done = run(
        "-m",
        "process=texture",
        "hydra/launcher=joblib",
        "optim.lr_scratch=1e30",
        runs_dir=tmp_path,
        cache_dir=cache_dir,
    )
    assert done.returncode == 1
    assert "2 stage runs: 1 failed, 1 blocked" in done.stdout
    assert "the training loss is not finite" in done.stdout
