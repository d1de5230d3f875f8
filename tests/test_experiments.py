"""Every experiment of conf/ runs for a moment, on tiny sets in the layout that it reads."""

from pathlib import Path

import pytest

from tests.fake_domains import write_domains
from tests.relay import PROJECT, TINY, run

EXPERIMENTS = sorted(path.stem for path in (PROJECT / "conf" / "experiment").glob("*.yaml"))

# The experiments' own data; the embedded sets' sizes do not belong to them.
SETTINGS = tuple(setting for setting in TINY if not setting.startswith("data.domains"))


def test_there_are_experiments() -> None:
    assert {"paper", "real", "robustness"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_runs_for_a_moment(experiment: str, tmp_path: Path) -> None:
    write_domains(tmp_path / "data")
    embedded = experiment == "robustness"
    chain = ("data_ratio=0.2,1.0", "process=scratch,texture") if embedded else ("+stage=natural,texture,dld",)
    done = run(
        "-m",
        *chain,
        f"experiment={experiment}",
        f"paths.data_dir={tmp_path / 'data'}",
        runs_dir=tmp_path / "runs",
        cache_dir=tmp_path / "cache",
        tiny=TINY if embedded else SETTINGS,
        last=("callbacks.plateau.max_epochs=1", "callbacks.plateau.length=1"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{5 if embedded else 3} stage runs: {5 if embedded else 3} trained" in done.stdout
