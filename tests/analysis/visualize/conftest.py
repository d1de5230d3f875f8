"""The store that the tests of the command share: written and explained once in a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import analysis.explain.study_images
import analysis.visualize
from analysis.explain.sample_choice import true_class_probability
from analysis.report.page import Section, write_files
from tests.helpers.explained_store import COMPUTING, ExplainedStore, explain_store, fails, write_store
from tests.helpers.relay import folders


def _once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first process makes; the others wait for it."""
    with FileLock(folder.parent / f"{folder.name}.lock"):
        done = folder.parent / f"{folder.name}.{name}"
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The store of `write_store`."""
    root = tmp_path_factory.getbasetemp()
    return _once((root if worker_id == "master" else root.parent) / "study", "written", write_store) / "runs"


@pytest.fixture(scope="module", autouse=True)
def _few_dots() -> Iterator[None]:
    """What the figures look like is looked at, not tested."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("analysis.report.figures.PNG_DPI", 40)
        yield


@pytest.fixture(scope="module")
def explained(written: Path, _few_dots: None) -> ExplainedStore:
    """Explained, with figures. Tests leave it as it is."""
    _once(written.parent, "explained", lambda folder: explain_store(folder / "runs"))
    return ExplainedStore(written, (written.parent / "printed.txt").read_text())


@pytest.fixture
def fresh(written: Path, tmp_path: Path) -> Path:
    """A copy of the store that was not explained."""
    left_out = shutil.ignore_patterns(".explanations", "explanations", "report", "last.ckpt")
    return Path(shutil.copytree(written, tmp_path / "runs", ignore=left_out))


@pytest.fixture
def store(explained: ExplainedStore, fresh: Path) -> Path:
    """A copy of the store that was explained."""
    shutil.copytree(explained.store / ".explanations", fresh / ".explanations")
    return fresh


@pytest.fixture
def same_choice(explained: ExplainedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images of all four runs are chosen for fewer too, so that little is to be computed."""
    targets = folders(explained.store, "dld")

    def probability(_: Sequence[Path], *rest: Any) -> Any:
        return true_class_probability(targets, *rest)

    monkeypatch.setattr(analysis.explain.study_images, "true_class_probability", probability)


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> dict[str, Section]:
    """What the command makes of a study, by the section's name, filled as the command runs."""
    kept: dict[str, Section] = {}

    def write(made: Sequence[Section], folder: Path) -> None:
        kept.update({section.name: section for section in made})
        write_files(made, folder)

    monkeypatch.setattr(analysis.visualize, "write_files", write)
    return kept


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COMPUTING:
        monkeypatch.setattr(name, fails(f"{name} was called"))
