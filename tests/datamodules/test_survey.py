"""What is said of images before any is decoded: whether complete runs are of the images as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

import datamodules.survey
from datamodules.listing import list_source
from datamodules.survey import Listings, replaced_notes
from lightning_modules.resolve import resolve
from stages.plan import StageRun
from stages.planner import build_plan
from stages.record import Record
from stages.source import Source
from stages.store import Store
from tests.helpers.fake_images import split_folders
from tests.helpers.stage_helpers import composed, record_content, request, with_value

OLD, NEW = "1" * 64, "2" * 64


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    """A stage run of images in folders."""
    source = Source(kind="folder", root=str(split_folders(tmp_path / "images")))
    config = composed("+stage=dld", f"paths.runs_dir={tmp_path}/runs", f"paths.cache_dir={tmp_path}/cache")
    config = with_value(config, "data.domains", {**config.data.domains, "dld": source})
    plan = build_plan([request("dld")], lambda *_: config, list_source, resolve)
    return next(iter(plan.runs.values()))


def complete(run: StageRun, content: str, name: str | None = None) -> None:
    """A complete run: this one, or another of the same images."""
    record = record_content(run.recipe, run.chain)
    record["data"] |= {"content": content, "digest": run.recipe.data.digest}
    folder = Store(Path(run.config.paths.runs_dir)).folder(run.stage, name or run.id).path
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(Record.model_validate(record | {"id": name or run.id}).to_json())


def said(monkeypatch: pytest.MonkeyPatch, run: StageRun, now: str | None) -> list[str]:
    monkeypatch.setattr(datamodules.survey, "known_content", lambda *_: now)
    return replaced_notes([run], Listings())


def test_a_complete_run_of_older_images_is_named_though_newer_ones_follow(
    run: StageRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(monkeypatch, run, NEW) == []
    complete(run, OLD)
    assert said(monkeypatch, run, OLD) == []
    complete(run, NEW, "f" * 64)  # another seed, trained since
    (note,) = said(monkeypatch, run, NEW)
    assert "replaced by others" in note and run.id[:16] in note
    assert "(1 complete run of those asked for)" in note and "remove the folders of the old runs" in note


def test_another_runs_images_that_were_replaced_are_said_without_counting_it(
    run: StageRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(run, NEW)
    complete(run, OLD, "f" * 64)
    (note,) = said(monkeypatch, run, NEW)
    assert "f" * 16 in note and "of those asked for" not in note


def test_that_it_cannot_be_told_is_said_of_complete_runs(
    run: StageRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(monkeypatch, run, None) == []
    complete(run, OLD)
    (note,) = said(monkeypatch, run, None)
    assert "is not known" in note
