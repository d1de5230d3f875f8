"""Finished stage runs as a table, from records written by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.runs.load import load_runs, read_runs
from analysis.runs.unfinished import unfinished_runs
from stages.errors import RelayError
from stages.record import RECORD_SCHEMA
from stages.store import RunFolder
from tests.helpers.stage_helpers import recipe, record_content, seal

# The columns that a caller may rely on, written out a second time.
COLUMNS = {
    "id",
    "stage",
    "chain",
    "process",
    "parent",
    "transfer_rule",
    "seed",
    "data_ratio",
    "ratio_unit",
    "folds",
    "fold",
    "classes",
    "train_images",
    "val_images",
    "test_images",
    "test_groups",
    "data_digest",
    "content",
    "epochs",
    "learning",
    "plateau_reached",
    "plateau_onset",
    "plateau_length",
    "histogram_accuracy",
    "seconds",
    "images_per_second",
    "peak_memory_bytes",
    "folder",
}


def _write(runs_dir: Path, content: dict[str, Any]) -> Path:
    folder = runs_dir / content["stage"] / content["id"][:16]
    folder.mkdir(parents=True)
    record = folder / "record.json"
    record.write_text(json.dumps(content))
    if content["schema_version"] == RECORD_SCHEMA:
        seal(RunFolder(folder))
    return record


def _target(seed: int = 3, **changes: Any) -> dict[str, Any]:
    return record_content(recipe(seed=seed), ("natural", "texture", "dld")) | changes


def _source() -> dict[str, Any]:
    return record_content(recipe(stage="natural", parent=None, transfer=None, seed=3), ("natural",))


def test_a_row_a_run_with_the_columns_of_the_contract(tmp_path: Path) -> None:
    source, target = _source(), _target()
    target["metrics"] = {
        "accuracy": {"p75": 0.75, "p50": 0.5, "p25": 0.25, "mean": 0.55, "last": 0.7, "best": 0.8},
        "cross_entropy": {"p75": 1.75, "p50": 1.5, "p25": 1.25, "mean": 1.55, "last": 1.7, "best": 1.1},
    }
    source["metrics"] = dict(target["metrics"])
    target["data"]["histogram_accuracy"] = 0.125
    target["data"] |= {"test_counts": [2, 3], "test_groups": 4, "content": "c" * 64}
    record = _write(tmp_path, target)
    _write(tmp_path, source)
    runs = load_runs(tmp_path)
    metrics = {
        f"{name}_{part}"
        for name in ("accuracy", "cross_entropy")
        for part in ("p75", "p50", "p25", "mean", "last", "best")
    }
    assert set(runs.columns) == COLUMNS | metrics
    assert list(runs["stage"]) == ["dld", "natural"]  # the order of folders
    first = runs.iloc[0].to_dict()
    assert first == {
        "id": target["id"],
        "stage": "dld",
        "chain": "natural>texture>dld",
        "process": "two_stage",
        "parent": "a" * 64,
        "transfer_rule": "feature",
        "seed": 3,
        "data_ratio": 0.2,
        "ratio_unit": "patch",
        "folds": None,
        "fold": None,
        "classes": 2,
        "train_images": 7,
        "val_images": 3,
        "test_images": 5,
        "test_groups": 4,
        "data_digest": "b" * 64,
        "content": "c" * 64,
        "epochs": 7,
        "learning": True,
        "plateau_reached": True,
        "plateau_onset": 3,
        "plateau_length": 4,
        "histogram_accuracy": 0.125,
        "seconds": 10.0,
        "images_per_second": 100.0,
        "peak_memory_bytes": 1024,
        "folder": str(record.parent),
        "accuracy_p75": 0.75,
        "accuracy_p50": 0.5,
        "accuracy_p25": 0.25,
        "accuracy_mean": 0.55,
        "accuracy_last": 0.7,
        "accuracy_best": 0.8,
        "cross_entropy_p75": 1.75,
        "cross_entropy_p50": 1.5,
        "cross_entropy_p25": 1.25,
        "cross_entropy_mean": 1.55,
        "cross_entropy_last": 1.7,
        "cross_entropy_best": 1.1,
    }
    second = runs.iloc[1]
    assert second["parent"] is None and second["process"] is None
    assert second["transfer_rule"] == "none"
    assert second["chain"] == "natural"


def test_numbers_are_numbers(tmp_path: Path) -> None:
    for seed in range(3):
        _write(tmp_path, _target(seed))
    runs = load_runs(str(tmp_path))
    assert sorted(runs["seed"]) == [0, 1, 2]
    assert runs["plateau_reached"].dtype == runs["learning"].dtype == bool
    for name in ("seed", "data_ratio", "epochs", "accuracy_p75", "plateau_onset", "peak_memory_bytes"):
        assert pd.api.types.is_numeric_dtype(runs[name]), name
    assert runs.groupby("process")["accuracy_p75"].mean()["two_stage"] == 0.75


@pytest.mark.parametrize(
    ("chain", "rule", "process"),
    [
        (("dld",), None, "scratch"),
        (("natural", "dld"), "feature", "natural"),
        (("texture", "dld"), "feature", "texture"),
        (("natural", "texture", "dld"), "feature", "two_stage"),
        (("texture", "natural", "dld"), "feature", None),
    ],
)
def test_process_is_looked_up_by_chain_and_rule(
    tmp_path: Path, chain: tuple[str, ...], rule: str | None, process: str | None
) -> None:
    parent = None if rule is None else "a" * 64
    _write(tmp_path, record_content(recipe(parent=parent, transfer=rule), chain))
    assert load_runs(tmp_path)["process"].tolist() == [process]


def test_the_rule_between_is_read_from_the_parents(tmp_path: Path) -> None:
    """As long as they are in the store: a parent that is gone counts as one under the usual rule."""
    natural = recipe(stage="natural", parent=None, transfer=None)
    textures, targets = [], []
    for rule in ("feature", "conv_only"):
        texture = recipe(stage="texture", parent=natural.id, transfer=rule)
        target = recipe(parent=texture.id)
        textures.append(_write(tmp_path, record_content(texture, ("natural", "texture"))))
        targets.append(_write(tmp_path, record_content(target, ("natural", "texture", "dld"))))
    _write(tmp_path, record_content(natural, ("natural",)))
    folders = [str(record.parent) for record in targets]
    names = load_runs(tmp_path).set_index("folder")["process"]
    assert list(names[folders]) == ["two_stage", "two_stage+between=conv_only"]
    textures[1].unlink()
    names = load_runs(tmp_path).set_index("folder")["process"]
    assert list(names[folders]) == ["two_stage", "two_stage"]


def test_unfinished_runs_and_hidden_folders_are_no_rows(tmp_path: Path) -> None:
    finished = _write(tmp_path, _target())
    unfinished = tmp_path / "dld" / "0123456789abcdef"
    unfinished.mkdir()
    (unfinished / "history.csv").write_text("epoch,train_loss\n0,1.0\n")
    hidden = tmp_path / "dld" / ".trash"
    hidden.mkdir()
    (hidden / "record.json").write_text("not looked at")
    assert load_runs(tmp_path)["folder"].tolist() == [str(finished.parent)]


def test_an_empty_store_has_columns_and_no_rows(tmp_path: Path) -> None:
    runs = load_runs(tmp_path)
    assert len(runs) == 0
    assert set(runs.columns) == COLUMNS


def _without_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replaced(old: str, new: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(path.read_text().replace(old, new))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "half": (_without_end, "cannot be read as JSON"),
    "empty": (lambda path: path.write_text(""), "cannot be read as JSON"),
    "text": (lambda path: path.write_text("accuracy 17"), "cannot be read as JSON"),
    "Latin-1": (lambda path: path.write_bytes(b'{"stage": "d\xe4"}'), "cannot be read as JSON"),
    "nested": (lambda path: path.write_text("[" * 100_000), "cannot be read as JSON"),
    "a folder": (_directory, "cannot be read as JSON: Is a directory"),
    "a list": (lambda path: path.write_text("[]"), "schema None"),
    "other schema": (_replaced(f'"schema_version": {RECORD_SCHEMA}', '"schema_version": 99'), "schema 99"),
    "text for a number": (_replaced('"seed": 3', '"seed": "3"'), "seed"),
    "null": (_replaced('"epochs": 7', '"epochs": null'), "epochs"),
    "another accuracy": (_replaced('"p75": 0.75', '"p75": 17.0'), "was changed since its run wrote it"),
    "another seed": (_replaced('"seed": 3', '"seed": 4'), "was changed since its run wrote it"),
    "another seal": (_replaced('"seal": "', '"seal": "0'), "was changed since its run wrote it"),
    "no seal": (_replaced('"seal"', '"check"'), "check: Extra inputs are not permitted"),
    "counts": (_replaced('"val_counts": [\n   1,', '"val_counts": [\n   2,'), "the evaluation images"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named_and_hides_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    change, why = DAMAGES[damage]
    sound = _write(tmp_path, _source())
    record = _write(tmp_path, _target())
    change(record)
    runs, damaged = read_runs(tmp_path)
    assert runs["folder"].tolist() == [str(sound.parent)]
    ((folder, said),) = ((each.folder, each.why) for each in damaged)
    assert folder == record.parent
    assert str(record) in said and why in said
    cure = "remove its folder and run the same command again: it trains the run again"
    newer = "a newer version of Relay wrote it: install that version, and keep the run"
    assert said.endswith(f"; {newer if damage == 'other schema' else cure}")
    (message,) = caplog.messages
    assert "1 finished stage run is damaged and left out" in message and said in message
    sound.unlink()
    with pytest.raises(RelayError, match="1 finished stage run is damaged, and there is no other"):
        load_runs(tmp_path)


def test_the_command_that_checks_a_store_can_be_pasted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "my runs (2)"
    _write(store, _source())
    _write(store, _target()).write_text("{")
    read_runs(store)
    command = caplog.messages[-1].rpartition("All that is wrong: ")[2]
    assert shlex.split(command) == ["python", "-m", "stages.verify", f"runs_dir={store}"]


@pytest.mark.parametrize("name", ["recipe.yaml", "history.csv", "predictions.parquet"])
def test_a_run_with_another_file_than_it_wrote_is_left_out(tmp_path: Path, name: str) -> None:
    _write(tmp_path, _source())
    run = RunFolder(_write(tmp_path, _target()).parent)
    file = run.path / name
    file.write_text("as it was written")
    seal(run)
    assert len(load_runs(tmp_path)) == 2
    file.write_text("as it was writteN")
    (damaged,) = read_runs(tmp_path)[1]
    assert damaged.why.startswith(f"{file} is not the file that its run wrote")
    file.unlink()
    damaged_now = read_runs(tmp_path)[1]
    if name == "recipe.yaml":  # without it a run could be of any study
        assert damaged_now[0].why.startswith(f"{file} is not there")
    else:
        assert damaged_now == [], "what reads the file says that it is missing"


def test_runs_in_each_other_s_folders_are_left_out(tmp_path: Path) -> None:
    one, other = (_write(tmp_path, _target(seed)).parent for seed in (0, 1))
    _write(tmp_path, _source())
    one.rename(tmp_path / "between")
    other.rename(one)
    (tmp_path / "between").rename(other)
    runs, damaged = read_runs(tmp_path)
    assert runs["stage"].tolist() == ["natural"]
    assert all("not of its folder's" in each.why for each in damaged) and len(damaged) == 2


def test_runs_of_an_older_version_are_said_and_do_not_hide_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = _write(tmp_path, {"schema_version": 1, "stage": "dld", "id": "0" * 64})
    unfinished = tmp_path / "dld" / ("1" * 16)
    unfinished.mkdir()
    (unfinished / "recipe.yaml").write_text("version: 1\nseed: 3\ndata: {ratio: 1.0}\n")
    with pytest.raises(RelayError, match=r"1 finished stage run of an older version.*Train again") as caught:
        load_runs(tmp_path)
    assert str(older.parent) in str(caught.value)
    _write(tmp_path, _target())
    assert load_runs(tmp_path)["seed"].tolist() == [3]
    (message,) = caplog.messages
    assert f"1 finished stage run of an older version of Relay, such as {older.parent}, which" in message
    assert message.endswith("They are left out; 1 other is read.")
    assert unfinished_runs(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no-such-store.*runs_dir"):
        load_runs(tmp_path / "no-such-store")


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(tmp_path / "runs", _target())
    assert len(load_runs("~/runs")) == 1
