"""Every experiment of conf/ runs for a moment, on tiny sets in the layout that it reads."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.fake_domains import write_domains
from tests.helpers.relay import PROJECT, TINY, run

EXPERIMENTS = sorted(path.stem for path in (PROJECT / "conf" / "experiment").glob("*.yaml"))

# The experiments' own data; the embedded sets' sizes do not belong to them.
SETTINGS = tuple(setting for setting in TINY if not setting.startswith("data.domains"))


CHAIN = ("+stage=natural,texture,dld",)

# Stage runs of each sweep that are left of it, counted by hand: sources are shared.
RUNS = {"comparison": 6, "robustness": 6}


def content(experiment: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(
        (PROJECT / "conf" / "experiment" / f"{experiment}.yaml").read_text()
    )
    return loaded


def sweep_of(experiment: str) -> tuple[str, ...]:
    """What is typed so that a sweep has few runs: the ends of each of its lists; else a chain."""
    swept = content(experiment).get("hydra", {}).get("sweeper", {}).get("params", {})
    ends = {key: text.split(",")[:: max(1, text.count(","))] for key, text in swept.items()}
    few = {
        key: "range(2)" if text.startswith("range") else ",".join(ends[key]) for key, text in swept.items()
    }
    return tuple(f"{key}={text}" for key, text in few.items()) or CHAIN


def is_embedded(experiment: str) -> bool:
    chosen = {"override /data": "embedded"}
    for entry in content(experiment).get("defaults", ()):
        chosen |= entry
    return chosen["override /data"] == "embedded"


def test_there_are_experiments() -> None:
    assert {"paper", "real", *RUNS} <= set(EXPERIMENTS)
    assert sweep_of("robustness") == ("process=scratch,two_stage", "data_ratio=0.2,1.0")
    assert sweep_of("comparison") == ("process=scratch,finetune_texture", "seed=range(2)")
    assert [name for name in ("small", "paper", "real") if is_embedded(name)] == ["small"]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_runs_for_a_moment(experiment: str, tmp_path: Path) -> None:
    """Those on generated images are only planned: test_multirun runs them."""
    write_domains(tmp_path / "data")
    sweep, embedded = sweep_of(experiment), is_embedded(experiment)
    runs = RUNS.get(experiment, r"\d+" if sweep != CHAIN else 3)
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
    said = f"0 done, {runs} to train" if embedded else f"{runs} stage runs: {runs} trained"
    assert re.search(said, done.stdout)


@pytest.mark.slow
def test_a_study_of_ultrasound_in_folds(tmp_path: Path) -> None:
    """As docs/real-data.md has it: sources once, the target once for each fold."""
    write_domains(tmp_path / "data")
    done = run(
        "-m",
        "process=scratch,natural",
        "experiment=real_small",
        "data=ultrasound",
        "folds=3",
        f"paths.data_dir={tmp_path / 'data'}",
        runs_dir=tmp_path / "runs",
        cache_dir=tmp_path / "cache",
        tiny=SETTINGS,
        last=("callbacks.plateau.max_epochs=1", "callbacks.plateau.length=1"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 stage runs: 7 trained" in done.stdout
