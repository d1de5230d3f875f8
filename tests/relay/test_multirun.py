"""The whole study from one command: sweeps, then the page."""

import subprocess
import sys
from pathlib import Path

import pytest

from relay_transfer.commands import STARTED_BY
from tests.helpers.programs import PROJECT, environment, forking_python
from tests.helpers.relay import TINY


def multirun(
    *arguments: str, cwd: Path, python: Path = Path(sys.executable)
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROJECT / "multirun.sh"), *arguments],
        cwd=cwd,
        env={**environment(), "PYTHON": str(python)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_its_help_is_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "./multirun.sh paper  " in multirun("--help", cwd=tmp_path).stdout
    monkeypatch.setenv(STARTED_BY, "relay")
    said = multirun("small", "--help", cwd=tmp_path).stdout
    assert said.startswith("The whole study") and "relay multirun paper  " in said and "set -e" not in said


def test_a_study_ends_with_its_page_and_planned_again_trains_nothing(tmp_path: Path) -> None:
    """From another folder, with Hydra overrides that shorten it."""
    shorter = (
        "process=scratch,texture", "seed=0", "callbacks.plateau.max_epochs=1", "callbacks.plateau.length=1",
        "paths.runs_dir=study", "paths.cache_dir=cache",
    )  # fmt: skip
    settings = [*(each for each in TINY if not each.startswith("callbacks")), *shorter, "data_ratio=1.0"]
    with forking_python() as python:
        first = multirun("small", *settings, cwd=tmp_path, python=python)
        assert first.returncode == 0, first.stdout + first.stderr
        assert "report: study/report/report.html" in first.stdout
        text = (tmp_path / "study" / "report" / "report.html").read_text()
        assert "scratch" in text and "texture" in text
        (tmp_path / "study" / "report" / "report.html").unlink()
        again = multirun("small", *settings, "plan=true", cwd=tmp_path, python=python)
        assert again.returncode == 0, again.stdout + again.stderr
        assert again.stdout.count("3 done, 0 to train") == 2, again.stdout
        assert list((tmp_path / "study" / "report").glob("*.html")) == [], "a plan looks at nothing"


def test_another_study_is_refused(tmp_path: Path) -> None:
    done = multirun("large", cwd=tmp_path)
    assert done.returncode == 2
    assert "choose small, real or paper" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_python_without_the_packages_is_named_not_traced(tmp_path: Path) -> None:
    bare = tmp_path / "bare python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "$@"\n')
    bare.chmod(0o755)
    done = multirun("plan=true", cwd=tmp_path, python=bare)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and f"{bare} has not what Relay needs" in done.stderr
