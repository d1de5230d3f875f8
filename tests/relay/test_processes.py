"""Two processes of one chain that differ in the rule between: they keep their own runs, down to the page."""

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.programs import PROJECT, run_program
from tests.helpers.relay import TINY
from tests.helpers.wandb_files import read_tracked

OTHER = "name: a_first\nchain: [natural, texture, dld]\nbetween: conv_only\n"  # before two_stage by name

SHORT = (
    "callbacks.plateau.max_epochs=1",
    "callbacks.plateau.length=1",
    "logger.wandb=offline",
    "logger.study=between",
)
LOADED = "from analysis.runs import load_runs; print(load_runs('runs')[['process', 'folder']].to_json())"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the program, with one more process."""
    for name in (
        "analysis",
        "callbacks",
        "conf",
        "datamodules",
        "hydra_plugins",
        "lightning_modules",
        "relay_transfer",
        "stages",
    ):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "train.py", tmp_path)
    (tmp_path / "conf/process/a_first.yaml").write_text(OTHER)
    return tmp_path


def python(project: Path, *arguments: str) -> str:
    done = run_program(arguments, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def processes(project: Path) -> dict[str, str]:
    """Process of each target run by its folder."""
    table = json.loads(python(project, "-c", LOADED))
    return {table["folder"][row]: name for row, name in table["process"].items() if name is not None}


@pytest.mark.slow
def test_processes_that_differ_in_the_rule_between(project: Path) -> None:
    settings = [each for each in TINY if not each.startswith(("callbacks", "logger"))]
    said = python(project, "train.py", "-m", "process=two_stage,a_first", *settings, *SHORT)
    assert "5 stage runs: 5 trained" in said  # natural is shared
    named = processes(project)
    assert sorted(named.values()) == ["a_first", "two_stage"]

    for folder, process in named.items():
        tracked = read_tracked(project / folder)
        assert tracked.run.run_group == f"between/{process}"
        assert tracked.config["process"] == process
        assert f"process {process}" in tracked.tags
        chain = json.loads((project / folder / "record.json").read_text())
        (parent,) = project.glob(f"runs/texture/{chain['parent'][:16]}/record.json")
        rule = json.loads(parent.read_text())["transfer"]["rule"]
        assert rule == {"a_first": "conv_only", "two_stage": "feature"}[process]
        assert read_tracked(parent.parent).run.run_group == "between/sources"

    python(project, "-m", "analysis.report", "runs_dir=runs")
    (table,) = (project / "runs/report/tables").glob("processes.csv")
    assert {line.split(",")[0] for line in table.read_text().splitlines()[1:]} == {
        "a_first",
        "(4) two_stage",
    }

    (project / "conf/process/a_first.yaml").unlink()
    unnamed = processes(project)
    assert unnamed == {
        folder: {"a_first": "two_stage+between=conv_only"}.get(process, process)
        for folder, process in named.items()
    }
