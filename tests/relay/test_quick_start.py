"""A plan, and a start that finds nothing to train, load no torch: that takes three seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages.store import RunFolder
from tests.helpers.programs import PROJECT, environment
from tests.helpers.stage_helpers import recipe, record_content, seal

pytestmark = pytest.mark.slow

CODE = """
import runpy, sys
try:
    runpy.run_path("train.py", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules
"""


def start(runs_dir: Path, *typed: str) -> str:
    line = [sys.executable, "-c", CODE, *typed, "trainer.accelerator=cpu", f"paths.runs_dir={runs_dir}"]
    done = subprocess.run(
        line, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_plan_and_a_complete_store_load_no_torch(tmp_path: Path) -> None:
    chain = ("+stage=natural,dld", "-m")
    planned = [line.split(": ")[1].split(",")[0] for line in start(tmp_path, *chain, "plan=true").splitlines()
               if line.endswith(", to train")]  # fmt: skip
    assert [name.split("/")[0] for name in planned] == ["natural", "dld"]
    for name in planned:
        stage, short = name.split("/")
        (tmp_path / name).mkdir(parents=True)
        seal(
            RunFolder(tmp_path / name),
            record_content(recipe()) | {"stage": stage, "id": short.ljust(64, "0")},
        )
    assert "2 stage runs: 2 were complete" in start(tmp_path, *chain)
