"""Every experiment of conf/ runs for a moment, on tiny sets in the layout that it reads."""

from pathlib import Path

import pytest

from tests.helpers.fake_domains import write_domains
from tests.helpers.relay import PROJECT, TINY, run

EXPERIMENTS = sorted(path.stem for path in (PROJECT / "conf" / "experiment").glob("*.yaml"))

# The experiments' own data; the embedded sets' sizes do not belong to them.
SETTINGS = tuple(setting for setting in TINY if not setting.startswith("data.domains"))


# What is typed so that a sweep has few runs, and how many it then has: sources are shared.
SWEEPS = {
    "comparison": (("process=scratch,finetune_texture", "seed=0,1"), 6),
    "robustness": (("process=scratch,texture", "data_ratio=0.2,1.0"), 5),
}
CHAIN = (("+stage=natural,texture,dld",), 3)
EMBEDDED = {"small", *SWEEPS}


def test_there_are_experiments() -> None:
    assert {"paper", "real", *EMBEDDED} == set(EXPERIMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_runs_for_a_moment(experiment: str, tmp_path: Path) -> None:
    """Those on generated images are only planned: test_multirun runs them."""
    write_domains(tmp_path / "data")
    sweep, runs = SWEEPS.get(experiment, CHAIN)
    embedded = experiment in EMBEDDED
    done = run(
        "-m",
        *sweep,
        f"experiment={experiment}",
        f"paths.data_dir={tmp_path / 'data'}",
        *(["plan=true"] if embedded else []),
        runs_dir=tmp_path / "runs",
        cache_dir=tmp_path / "cache",
        tiny=TINY if embedded else SETTINGS,
        last=("callbacks.plateau.max_epochs=1", "callbacks.plateau.length=1"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (f"0 done, {runs} to train" if embedded else f"{runs} stage runs: {runs} trained") in done.stdout
