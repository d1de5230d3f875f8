"""Figures of an explained study are drawn once, and again when something that they depend on changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.report import explained_sections
from analysis.report.explained_study import ExplainedStudy, all_explanations, load_explained, save_explained
from analysis.report.figures import ProcessStyle
from analysis.report.page import Section
from analysis.report.processes import process_labels, styles_of
from tests.helpers.fake_explained import fake_explained

pytestmark = pytest.mark.slow

Labels = dict[str, str]
Styles = dict[str, ProcessStyle]
NAMES = ["frequencies", "layers", "maps"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the analyses whose figures were made, in the order of the names; none of them is drawn."""
    made: list[str] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))
    for analysis in all_explanations():

        def figures(
            summary: Any,
            context: Any,
            *,
            name: str = analysis.name,
            make: Callable[..., Any] = analysis.figures,
        ) -> Any:
            made.append(name)
            made.sort()
            return make(summary, context)

        monkeypatch.setattr(analysis, "figures", figures)
    return made


def _sections(
    runs_dir: Path,
    explained: ExplainedStudy,
    *,
    keep: bool = False,
    change: Callable[[Labels, Styles], None] = lambda labels, styles: None,
) -> list[Section]:
    labels = process_labels(explained.facts.processes)
    styles = styles_of(labels)
    change(labels, styles)
    return explained_sections.explained_sections(explained, labels, styles, runs_dir, keep=keep)


def _loaded(runs_dir: Path) -> ExplainedStudy:
    found = load_explained(runs_dir, "0a1b2c3d")
    assert found is not None
    return found


@pytest.fixture
def store(tmp_path: Path, drawn: list[str]) -> Path:
    """Where an explained study and its figures are kept."""
    save_explained(fake_explained(), tmp_path)
    _sections(tmp_path, fake_explained(), keep=True)
    assert drawn == NAMES
    drawn.clear()
    return tmp_path


def test_kept_figures_are_the_very_same(tmp_path: Path) -> None:
    """Really drawn here, and read by who loads the study from disk."""
    explained = fake_explained({"scratch": (0,)})
    save_explained(explained, tmp_path)
    first = _sections(tmp_path, explained, keep=True)
    again = _sections(tmp_path, _loaded(tmp_path))
    assert [section.pictures for section in first] == [section.pictures for section in again]
    assert all(picture.png.startswith(b"\x89PNG") for section in again for picture in section.pictures)


def test_nothing_is_drawn_twice(store: Path, drawn: list[str]) -> None:
    for keep in (False, True):
        _sections(store, _loaded(store), keep=keep)
        _sections(store, fake_explained(), keep=keep)
    assert drawn == []


def test_a_report_keeps_nothing(tmp_path: Path, drawn: list[str]) -> None:
    """It may have no right to write to the store."""
    save_explained(fake_explained(), tmp_path)
    _sections(tmp_path, _loaded(tmp_path))
    assert drawn == NAMES
    assert [path.name for path in (tmp_path / ".explanations").iterdir()] == ["study-0a1b2c3d.npz"]


def test_another_summary_draws_its_own_figures_alone(store: Path, drawn: list[str]) -> None:
    responses = fake_explained().summaries["frequencies"]["responses"]
    other = {**responses, "scratch": np.nextafter(responses["scratch"], 2.0)}
    _sections(store, fake_explained(frequencies={"responses": other}), keep=True)
    assert drawn == ["frequencies"]


def test_other_facts_draw_all(store: Path, drawn: list[str]) -> None:
    _sections(store, fake_explained(facts={"seeds": {"scratch": [0, 3], "natural": [0, 1]}}))
    assert drawn == NAMES


def _renamed(labels: Labels, styles: Styles) -> None:
    labels["scratch"] = "from scratch"


def _recoloured(labels: Labels, styles: Styles) -> None:
    styles["scratch"] = replace(styles["scratch"], colour="#000000")


@pytest.mark.parametrize("change", [_renamed, _recoloured])
def test_another_label_or_style_draws_all(
    store: Path, drawn: list[str], change: Callable[[Labels, Styles], None]
) -> None:
    _sections(store, _loaded(store), change=change)
    assert drawn == NAMES


def test_a_process_that_was_not_explained_changes_nothing(store: Path, drawn: list[str]) -> None:
    def added(labels: Labels, styles: Styles) -> None:
        more = process_labels([*labels, "two_stage"])
        labels.update(more)
        styles.update(styles_of(more))

    _sections(store, _loaded(store), change=added)
    assert drawn == []


def test_other_code_draws_all(store: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explained_sections, "_code", lambda: "of another version")
    _sections(store, _loaded(store))
    assert drawn == NAMES


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_damaged_figures_are_drawn_again(store: Path, drawn: list[str], content: bytes) -> None:
    (file,) = (store / ".explanations").glob("figures-*.npz")
    file.write_bytes(content)
    _sections(store, _loaded(store), keep=True)
    assert drawn == NAMES
    _sections(store, _loaded(store))
    assert drawn == NAMES


def test_the_code_is_that_of_the_analyses_and_of_matplotlib(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The digest is of every source file of `analysis`, by a copy of which one file is changed."""
    package = Path(explained_sections.__file__).parents[1]
    code = explained_sections.code_digest
    copied = tmp_path / "analysis"
    for file in package.rglob("*.py"):
        (copied / file.relative_to(package)).parent.mkdir(parents=True, exist_ok=True)
        (copied / file.relative_to(package)).write_bytes(file.read_bytes())
    assert code(copied) == code(package) == explained_sections._code()
    with (copied / "report" / "explanations" / "maps_figures.py").open("a") as changed:
        changed.write("# another line\n")
    assert code(copied) != code(package)
    monkeypatch.setattr("matplotlib.__version__", "0.0")
    assert code(package) != explained_sections._code()
