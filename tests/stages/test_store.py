"""The store: what complete means, and whose folder it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import RelayError
from stages.machine.lock import RunLock
from stages.recipe import Recipe
from stages.record import Record
from stages.store import RunFolder, Store, make_folder, recipe_document
from tests.helpers.stage_helpers import recipe, record_content


def opened(store: Store, of: Recipe) -> RunFolder:
    folder = store.folder(of.stage, of.id)
    with folder.lock("flock"):
        folder.open_for(of)
    return folder


def test_complete_exactly_when_the_record_is_there(tmp_path: Path) -> None:
    store, of = Store(tmp_path / "runs"), recipe()
    folder = store.folder(of.stage, of.id)
    assert not folder.is_complete(), "no folder at all"
    assert not folder.path.exists(), "asking makes nothing"
    opened(store, of)
    for path in (folder.config, folder.last_checkpoint, folder.previous_checkpoint, folder.weights,
                 folder.history, folder.predictions, folder.failure):  # fmt: skip
        path.touch()
    assert folder.recipe.exists()
    assert not folder.is_complete(), "everything but the record"
    assert list(store.complete_runs()) == []
    folder.record.write_text(Record.model_validate(record_content(of)).to_json())
    assert folder.is_complete()
    assert [run.path for run in store.complete_runs()] == [folder.path]
    assert folder.read_record().id == of.id
    folder.record.unlink()
    assert not folder.is_complete()


def test_layout(tmp_path: Path) -> None:
    folder = Store(tmp_path).folder("dld", "0123456789abcdef" + "0" * 48)
    assert folder.path == tmp_path / "dld" / "0123456789abcdef"
    assert {path.name for name, path in vars(folder).items() if name != "path"} == {
        "recipe.yaml", "config.yaml", "last.ckpt", "previous.ckpt", "model.ckpt", "history.csv",
        "predictions.parquet", "test_predictions.parquet", "samples.jpg", "record.json", "failure.txt",
        "attempts.json",
    }  # fmt: skip


def test_complete_runs_are_in_order_and_without_hidden_folders(tmp_path: Path) -> None:
    for name in ("texture/b", "dld/c", "dld/a", ".hydra/a", "dld/.trash"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "record.json").touch()
    (tmp_path / "dld" / "unfinished").mkdir()
    found = [str(run.path.relative_to(tmp_path)) for run in Store(tmp_path).complete_runs()]
    assert found == ["dld/a", "dld/c", "texture/b"]
    assert list(Store(tmp_path / "absent").complete_runs()) == []


def test_opening_again_changes_nothing_and_removes_leftovers(tmp_path: Path) -> None:
    store, of = Store(tmp_path), recipe()
    folder = opened(store, of)
    before = folder.recipe.read_bytes(), folder.recipe.stat().st_mtime_ns
    leftover = folder.path / ".last.ckpt.1.0123abcd.partial"
    leftover.touch()
    opened(store, of)
    assert (folder.recipe.read_bytes(), folder.recipe.stat().st_mtime_ns) == before
    assert not leftover.exists()
    folder.check(of)


def test_the_stored_recipe_reads_as_it_was_written(tmp_path: Path) -> None:
    folder = opened(Store(tmp_path), recipe())
    stored = yaml.safe_load(folder.recipe.read_text())
    assert stored["id"] == recipe().id
    assert stored["optim"]["lr"] == 0.0005
    assert stored["data"]["mean"] == [0.5, 0.5, 0.5]


@settings(deadline=None, derandomize=True)
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**70),
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["null", "yes", "1:30", "1e-5", "0x10", "~"]),
)
def test_yaml_keeps_every_value(number: float, seed: int, text: str) -> None:
    """YAML reads 1e-5, yes and 1:30 as other things than were meant, unless it is written well."""
    data = replace(recipe().data, mean=(number, 0.0, 0.0))
    document = recipe_document(recipe(data=data, seed=seed, stage=text))
    assert yaml.safe_load(yaml.safe_dump(document, sort_keys=False)) == document


OTHERS = {
    "another seed": lambda document: document | {"seed": 4},
    "another nested value": lambda document: document | {"model": {**document["model"], "dropout": 0.25}},
    "a key more": lambda document: document | {"new": 1},
    "a key less": lambda document: {key: value for key, value in document.items() if key != "transfer"},
    "another id": lambda document: document | {"id": document["id"][:16] + "0" * 48},
    "nothing": lambda _: None,
    "a list": lambda _: [1],
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_recipe_in_the_folder_is_refused(tmp_path: Path, other: str) -> None:
    folder = opened(Store(tmp_path), recipe())
    edited: Any = OTHERS[other](recipe_document(recipe()))
    folder.recipe.write_text(yaml.safe_dump(edited))
    before = folder.recipe.read_bytes()
    for attempt in (folder.check, folder.open_for):
        with pytest.raises(RelayError, match="is not the recipe of run") as refusal:
            attempt(recipe())
        assert str(folder.path) in str(refusal.value)
    assert folder.recipe.read_bytes() == before


def test_two_recipes_under_one_name_are_refused(tmp_path: Path) -> None:
    """As if the first 16 digits collided."""
    folder = opened(Store(tmp_path), recipe())
    with pytest.raises(RelayError, match=recipe(seed=4).id):
        RunFolder(folder.path).open_for(recipe(seed=4))


@pytest.mark.parametrize("content", [b"a: [", b"a: b: c", b"\x00", b"\xff"])
def test_a_damaged_recipe_is_named(tmp_path: Path, content: bytes) -> None:
    folder = opened(Store(tmp_path), recipe())
    folder.recipe.write_bytes(content)
    with pytest.raises(RelayError, match=r"(?s)recipe\.yaml cannot be read.*remove its folder"):
        folder.check(recipe())


def test_a_record_without_its_recipe_is_named(tmp_path: Path) -> None:
    folder = opened(Store(tmp_path), recipe())
    folder.recipe.unlink()
    with pytest.raises(RelayError, match=r"recipe\.yaml cannot be read"):
        folder.check(recipe())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "runs", Path("/proc/runs")):
        with pytest.raises(RelayError, match="cannot be written") as refusal:
            make_folder(path)
        assert str(path) in str(refusal.value)
        assert "paths.runs_dir" in str(refusal.value)
    with pytest.raises(RelayError, match="cannot be written"):
        Store(tmp_path / "file").folder("dld", "0" * 64).lock("flock")


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Existing, but on a full or read-only disk; permissions do not stop root, so the refusal is made up."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(RelayError, match="cannot be written: Permission denied"):
        make_folder(tmp_path)


def test_making_a_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
        assert list((tmp_path / "a" / "b").iterdir()) == []


def test_the_folders_lock(tmp_path: Path) -> None:
    folder = Store(tmp_path).folder("dld", "0" * 64)
    lock = folder.lock("soft")
    assert isinstance(lock, RunLock)
    assert folder.path.is_dir()
    assert not (folder.path / ".lock").exists(), "not yet taken"
    with lock:
        assert (folder.path / ".lock").exists()
