"""A store that was really trained: whatever is changed in it is noticed, and the rest of it is not lost."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.runs.load import read_runs
from stages.store import RunFolder, Store
from stages.verify.__main__ import main
from stages.verify.finding import Finding
from stages.verify.run import run_findings
from stages.verify.store import verify_store
from tests.helpers.relay import run
from tests.helpers.stage_helpers import seal

pytestmark = pytest.mark.slow

FILES = (
    *("recipe.yaml", "config.yaml", "history.csv", "model.ckpt", "predictions.parquet", "record.json"),
    *("test_predictions.parquet", "samples.jpg", "last.ckpt"),
)
READ_BY_THE_TABLE = ("recipe.yaml", "history.csv", "predictions.parquet", "record.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """natural -> dld with two seeds and a locked test set."""
    runs_dir = tmp_path_factory.mktemp("store") / "runs"
    more = ("data.domains.dld.train_images=420", "data.domains.dld.val_images=140", "test_fraction=0.2")
    done = run(
        *("+stage=natural,dld", "-m", "seed=0,1"),
        *more,
        runs_dir=runs_dir,
        cache_dir=tmp_path_factory.mktemp("cache"),
        last=more,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return runs_dir


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def target(store: Path, seed: int = 0) -> RunFolder:
    (found,) = (
        run
        for run in Store(store).complete_runs()
        if run.path.parent.name == "dld" and json.loads(run.record.read_text())["seed"] == seed
    )
    return found


def found_in(store: Path, run: RunFolder) -> list[Finding]:
    return run_findings(run, Store(store))


def only(findings: list[Finding], file: str) -> Finding:
    assert {finding.file.rpartition("/")[2] for finding in findings} == {file}, findings
    return findings[0]


def test_a_whole_store_has_nothing_wrong(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    assert main([f"runs_dir={trained}"]) == 0
    assert capsys.readouterr().out == "4 complete stage runs: all is well\n"
    assert main([f"runs_dir={trained}", "json=true"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
    assert {path.name for path in target(trained).path.iterdir()} == {*FILES, ".lock"}


def damages(path: Path, sibling: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Ways to damage a file that is whole when each is called."""
    content = path.read_bytes()
    for place in {0, 1, len(content) // 3, len(content) // 2, len(content) - 2, len(content) - 1}:
        flipped = bytearray(content)
        flipped[place] ^= 4
        yield f"byte {place}", lambda flipped=flipped: path.write_bytes(flipped)
    yield "cut short", lambda: path.write_bytes(content[: len(content) // 2])
    yield "empty", lambda: path.write_bytes(b"")
    yield "longer", lambda: path.write_bytes(content + b"\n")
    yield "a sibling's", lambda: shutil.copyfile(sibling, path)
    yield "a folder", lambda: (path.unlink(), path.mkdir())
    yield "gone", path.unlink
    yield "a pipe", lambda: (path.unlink(), os.mkfifo(path))


@pytest.mark.parametrize("name", FILES)
def test_whatever_is_done_to_a_file_is_noticed(store: Path, name: str) -> None:
    run = target(store)
    path, content = run.path / name, (run.path / name).read_bytes()
    sibling = next(each for each in store.glob(f"*/*/{name}") if each.read_bytes() != content)
    for what, damage in damages(path, sibling):
        damage()
        findings = found_in(store, run)
        if (name, what) == ("last.ckpt", "gone"):  # as trainer.keep_last=false leaves it
            assert findings == []
        else:
            assert name in {each.file.rpartition("/")[2] for each in findings} or name == "record.json", what
            assert findings and all(each.remedy for each in findings), what
        runs, damaged = read_runs(store)
        if (name, what) == ("record.json", "longer"):  # by white space
            assert damaged == []
        elif name in READ_BY_THE_TABLE and (what != "gone" or name == "recipe.yaml"):
            assert [each.folder for each in damaged] == [run.path], what
            assert str(run.path) not in runs["folder"].tolist()
        elif (name, what) != ("record.json", "gone"):
            assert damaged == [] and len(runs) == 4
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        assert found_in(store, run) == [] and len(read_runs(store)[0]) == 4


def test_swapped_folders_are_noticed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = target(store, 0).path, target(store, 1).path
    first.rename(store / "between")
    second.rename(first)
    (store / "between").rename(second)
    assert main([f"runs_dir={store}", "json=true"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert all(list(finding) == ["run", "file", "problem", "remedy"] for finding in found)
    for folder in (first, second):
        name = f"dld/{folder.name}"
        of_run = {each["file"]: each["problem"] for each in found if each["run"] == name}
        assert "is of the run dld/" in of_run[f"{name}/recipe.yaml"]
        assert "not of its folder's" in of_run[f"{name}/record.json"]
    assert read_runs(store)[0]["stage"].tolist() == ["natural", "natural"]


def edited(run: RunFolder, change: Callable[[dict[str, Any]], object]) -> None:
    """An edited record whose checksum was made anew, as no accident does."""
    content = json.loads(run.record.read_text())
    change(content)
    seal(run, content)


@pytest.mark.parametrize(
    ("change", "file", "problem"),
    [
        (lambda of: of["metrics"]["accuracy"].update(p75=17.0), "history.csv", "accuracy p75"),
        (lambda of: of["metrics"]["f1_score_macro"].update(mean=0.5), "history.csv", "f1_score_macro mean"),
        (lambda of: of["plateau"].update(onset=0), "history.csv", "its losses give the plateau"),
        (lambda of: of.update(seed=7), "record.json", "says seed 7, and recipe.yaml 0"),
        (lambda of: of.update(parent="a" * 64), "record.json", "says parent aaa"),
        (lambda of: of["data"].update(digest="b" * 64), "record.json", "says data.digest"),
        (lambda of: of["data"].update(histogram_accuracy=0.99), "predictions.parquet", "baseline"),
        (lambda of: of.update(parent_weights="c" * 64), None, "began with other weights than its parent"),
    ],
)
def test_a_record_is_held_against_the_other_files(
    store: Path, change: Callable[[dict[str, Any]], object], file: str | None, problem: str
) -> None:
    run = target(store)
    edited(run, change)
    findings = [finding for finding in found_in(store, run) if problem in finding.problem]
    assert findings, found_in(store, run)
    assert findings[0].file == f"dld/{run.path.name}" + ("" if file is None else f"/{file}")


def test_predictions_are_held_against_the_record(store: Path) -> None:
    """Two logits swapped in a file whose digest was made anew: another matrix, another accuracy."""
    run = target(store)
    table = pq.read_table(run.predictions).to_pandas()
    logits = table.columns[table.columns.str.startswith("logit_")]
    row = int(np.flatnonzero(table[logits].to_numpy().argmax(axis=1) != table["label"].to_numpy())[0])
    table.loc[row, logits[table.loc[row, "label"]]] = 99.0
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), run.predictions)
    seal(run)
    problems = " ".join(finding.problem for finding in found_in(store, run))
    assert "another confusion matrix" in problems and "its classes of the last epoch" in problems


def test_a_changed_recipe_is_noticed_even_under_a_new_digest(store: Path) -> None:
    run = target(store)
    run.recipe.write_text(run.recipe.read_text().replace("momentum: 0.9", "momentum: 0.5"))
    seal(run)
    assert "its hash is not the id in it" in only(found_in(store, run), "recipe.yaml").problem


def test_a_parent_that_was_replaced_or_is_gone_is_said(store: Path) -> None:
    """By a whole run of its own: trained again, it has a sound record of other weights."""
    child = target(store)
    parent = Store(store).folder("natural", json.loads(child.record.read_text())["parent"])
    parent.weights.write_bytes(parent.weights.read_bytes()[:-1] + b"!")
    seal(parent)
    assert found_in(store, parent) == []
    (finding,) = found_in(store, child)
    assert "began with other weights than its parent" in finding.problem
    shutil.rmtree(parent.path)
    (finding,) = found_in(store, child)
    assert finding.problem == f"its parent natural/{parent.path.name} is not there"
    assert "the results stand without it" in finding.remedy


def test_what_kills_leave_is_named(store: Path) -> None:
    run = target(store)
    (run.path / ".model.ckpt.12.ab12cd34.partial").touch()
    (run.path / ".holder.json").write_text('{"host": "' + __import__("socket").gethostname() + '", "pid": 1}')
    (store / ".test_openings.jsonl.7.00000000.partial").touch()
    problems = {finding.file: finding.problem for finding in verify_store(store).findings}
    assert problems == {
        f"dld/{run.path.name}/.model.ckpt.12.ab12cd34.partial": "was left by a process that was killed",
        f"dld/{run.path.name}/.holder.json": "is of a lock whose holder is gone",
        ".test_openings.jsonl.7.00000000.partial": "was left by a process that was killed",
    }


def test_a_run_that_goes_on_is_nothing_wrong_and_its_checkpoints_are_checked(store: Path) -> None:
    run, other = target(store, 0), target(store, 1)
    run.record.unlink()
    assert "weights and no record" in only(found_in(store, run), run.path.name).problem
    for path in (run.weights, run.predictions, run.test_predictions, run.sample_sheet):
        path.unlink()
    assert found_in(store, run) == []
    assert (verify_store(store).complete, verify_store(store).unfinished) == (3, 1)
    shutil.copyfile(other.last_checkpoint, run.last_checkpoint)
    assert "it is of another stage run" in only(found_in(store, run), "last.ckpt").problem
    run.last_checkpoint.write_bytes(run.last_checkpoint.read_bytes()[:-1000])
    assert "cut short or damaged" in only(found_in(store, run), "last.ckpt").problem
    run.recipe.unlink()
    assert "nothing says which run" in found_in(store, run)[0].problem


def test_older_runs_are_counted_and_not_checked(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older = store / "dld" / ("0" * 16)
    older.mkdir()
    (older / "record.json").write_text('{"schema_version": 2}')
    assert main([f"runs_dir={store}"]) == 0
    assert capsys.readouterr().out.startswith("4 complete stage runs; 1 of an older version of Relay, not")


def test_a_child_is_not_trained_on_a_parent_s_other_weights(
    trained: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A valid file of the same shapes: of the other seed."""
    runs_dir = Path(shutil.copytree(trained, tmp_path / "runs"))
    child = target(runs_dir)
    parent = Store(runs_dir).folder("natural", json.loads(child.record.read_text())["parent"])
    (other,) = {path.parent for path in runs_dir.glob("natural/*/model.ckpt")} - {parent.path}
    shutil.copyfile(other / "model.ckpt", parent.weights)
    shutil.rmtree(child.path)
    more = ("data.domains.dld.train_images=420", "data.domains.dld.val_images=140", "test_fraction=0.2")
    done = run(
        *("+stage=natural,dld", "-m", "seed=0"),
        runs_dir=runs_dir,
        cache_dir=tmp_path_factory.mktemp("cache"),
        last=more,
    )
    assert done.returncode == 1
    said = " ".join((done.stdout + done.stderr).split())
    assert f"{parent.weights} is not the file that its run wrote" in said
    assert "remove its folder and run the same command again" in said and "download" not in said
    assert not (child.path / "record.json").exists()
    assert hashlib.sha256(parent.weights.read_bytes()).hexdigest() != parent.weights_digest()
