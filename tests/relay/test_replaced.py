"""Images that are replaced by others of the same names and sizes are not the same data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.runs import find_studies, load_runs
from tests.helpers.fake_images import split_folders
from tests.helpers.relay import run, run_until

pytestmark = pytest.mark.slow


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Images whose files' sizes do not depend on their pixels."""
    root = split_folders(tmp_path / "own", train=8, val=4)
    for file in root.rglob("*.png"):
        Image.open(file).resize((32, 32)).save(file.with_suffix(".bmp"))
        file.unlink()
    return root


def replace_one(root: Path) -> bytes:
    file = root / "train" / "brick" / "000.bmp"
    before = file.read_bytes()
    Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    return before


def options(root: Path, folder: Path, *more: str) -> dict[str, Any]:
    """Where a run is kept, and its source, in the place of the generator."""
    generator = ("generator", "classes", "train_images", "val_images", "size", "seed")
    source = [f"data.domains.dld.{key}=null" for key in generator]
    source += ["data.domains.dld.kind=folder", f"+data.domains.dld.root={root}"]
    return {"runs_dir": folder / "runs", "cache_dir": folder / "cache", "last": (*source, *more)}


def test_replaced_between_runs(own: Path, tmp_path: Path) -> None:
    def train(seed: int) -> str:
        done = run("process=scratch", "-m", f"seed={seed}", **options(own, tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "were replaced" not in train(0) + train(0)
    before = replace_one(own)
    for seed in (0, 1, 0):  # behind the last one, the newest run is one of the new images
        printed = " ".join(train(seed).split())
        assert "the images of dld were replaced by others of the same names" in printed
        assert ("(1 complete run of those asked for)" in printed) is (seed == 0)
    (own / "train" / "brick" / "000.bmp").write_bytes(before)
    assert "were replaced" in train(1) and "(1 complete run of" not in train(0)
    runs = load_runs(tmp_path / "runs")
    assert len(runs) == 2 and runs["data_digest"].nunique() == 1 and runs["content"].nunique() == 2
    assert [len(study.runs) for study in find_studies(runs)] == [1, 1]


def test_replaced_while_a_run_was_stopped(own: Path, tmp_path: Path) -> None:
    """It is not gone on with; with the images put back it is."""
    runs, typed = tmp_path / "runs", ("process=scratch", "-m")
    long = ("callbacks.plateau.patience=4", "callbacks.plateau.max_epochs=5", "trainer.checkpoint_seconds=0")
    more = options(own, tmp_path, *long)
    run_until(lambda: any(runs.glob("dld/*/previous.ckpt")), *typed, **more)
    assert not list(runs.glob("dld/*/record.json")), "it ended before it could be killed"
    before = replace_one(own)
    refused = run(*typed, **more)
    assert refused.returncode == 1
    assert ".ckpt is of a training that began on other images" in refused.stdout
    assert not list(runs.glob("dld/*/record.json"))
    (own / "train" / "brick" / "000.bmp").write_bytes(before)
    done = run(*typed, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = runs.glob("dld/*/record.json")
    assert len(json.loads(record.read_text())["attempts"]) == 2
