"""A locked test set, end to end: a run is the same without its images, and nothing reads them unasked."""

import csv
import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from datamodules.names import names
from datamodules.of_run import listing_of_run
from stages.store import RunFolder
from tests.helpers.fake_images import write_image
from tests.helpers.programs import run_program
from tests.helpers.relay import folders, only_folder, run, same_tensors
from tests.helpers.wandb_files import read_tracked

pytestmark = pytest.mark.slow

UNSET = ("generator", "classes", "train_images", "val_images", "size", "seed")
PATIENTS, CLASSES = 20, ("CON", "GGO")
Rows = list[tuple[str, str, str, str]]


def images(root: Path) -> Rows:
    """Three images of each patient; two of three patients are for training."""
    rows = []
    for patient in range(PATIENTS):
        for number in range(3):
            path = f"{patient:02d}-{number}.png"
            write_image(root / path, 10 * patient + number, (32, 32))
            side = "val" if patient % 3 == 0 else "train"
            rows.append((path, CLASSES[(patient + number) % 2], f"p{patient}", side))
    return rows


def listed(root: Path, rows: Rows, name: str) -> tuple[str, ...]:
    """The configuration of a target whose images are those of a manifest."""
    with (root / name).open("w", newline="") as file:
        csv.writer(file).writerows([("path", "class", "group", "split"), *rows])
    dld = "data.domains.dld"
    return (
        *(f"{dld}.kind=manifest", f"{dld}.root={root}", f"{dld}.manifest={name}"),
        *(f"{dld}.{key}=null" for key in UNSET),
    )


def started(tmp_path: Path, name: str, *settings: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    return run(
        *("-m", "process=scratch", f"seed={seed}"),
        runs_dir=tmp_path / name,
        cache_dir=tmp_path / "cache",
        last=settings,
    )


def trained(tmp_path: Path, name: str, *settings: str, seed: str = "0") -> Path:
    done = started(tmp_path, name, *settings, seed=seed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test" not in done.stdout.replace(str(tmp_path), "")
    return tmp_path / name


def evaluated(folder: Path) -> pd.DataFrame:
    """Predictions with paths: a set without test images is another one, with other digests."""
    table = pd.read_parquet(folder / "predictions.parquet")
    path_of = names(listing_of_run(RunFolder(folder))[1]).set_index("sample")["path"]
    return table.assign(sample=table["sample"].map(path_of)).drop(columns="group")


def test_a_run_is_the_same_bits_as_without_its_test_images(tmp_path: Path) -> None:
    """Drawn or the source's own: weights, history and evaluation never saw the test images."""
    root = tmp_path / "images"
    rows = images(root)
    settings = (*listed(root, rows, "all.csv"), "test_fraction=0.2")
    drawn = only_folder(trained(tmp_path, "drawn", *settings), "dld")
    path_of = names(listing_of_run(RunFolder(drawn))[1]).set_index("sample")["path"]
    locked = {path_of[sample] for sample in pd.read_parquet(drawn / "test_predictions.parquet")["sample"]}
    assert len(locked) == 12 and len({sample[:2] for sample in locked}) == 4, "whole patients"
    without = [row for row in rows if row[0] not in locked]
    named = [(*row[:3], "test") if row[0] in locked else row for row in rows]
    others = [
        only_folder(trained(tmp_path, name, *listed(root, content, f"{name}.csv")), "dld")
        for name, content in (("without", without), ("named", named))
    ]
    for other in others:
        assert same_tensors(drawn / "model.ckpt", other / "model.ckpt")
        for file in ("history.csv", "samples.jpg"):
            assert (drawn / file).read_bytes() == (other / file).read_bytes(), file
        pd.testing.assert_frame_equal(evaluated(drawn), evaluated(other), check_exact=True)
    record, *records = (json.loads((folder / "record.json").read_text()) for folder in (drawn, *others))
    assert (record["data"]["test_counts"], record["data"]["test_groups"]) == ([6, 6], 4)
    assert [of["data"]["test_groups"] for of in records] == [None, 4]
    for of in records:
        same = ("metrics", "confusion_matrix", "plateau")
        assert [of[key] for key in same] == [record[key] for key in same]
    assert not (others[0] / "test_predictions.parquet").exists()
    test = "test_predictions.parquet"
    assert (drawn / test).read_bytes() == (others[1] / test).read_bytes()


def test_nothing_reads_the_test_set_unasked(tmp_path: Path) -> None:
    """With garbage in its place every analysis still runs; test=open reads it and is written down."""
    root = tmp_path / "images"
    target = (*listed(root, images(root), "all.csv"), "test_fraction=0.2", "logger.wandb=offline")
    runs_dir = trained(tmp_path, "runs", *target, seed="0,1")
    first, second = (folder / "test_predictions.parquet" for folder in folders(runs_dir, "dld"))
    assert pd.read_parquet(first)["sample"].tolist() == pd.read_parquet(second)["sample"].tolist()
    tracked = read_tracked(first.parent)
    assert not [
        key for key in (*tracked.summary, *tracked.history[0]) if "test_" in key.replace("latest_", "")
    ]
    kept = {file: file.read_bytes() for file in (first, second)}
    for file in kept:
        file.write_bytes(b"garbage")
    store = f"runs_dir={runs_dir}"
    for module, *arguments in (
        ("analysis.visualize", store, "wandb=offline"),
        ("analysis.report", store),
        ("analysis.wandb_dashboard", "entity=team", "dry_run=true", f"out={tmp_path / 'view.json'}"),
    ):
        done = run_program(["-m", module, *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
    page = (runs_dir / "report" / "report.html").read_text()
    assert "12 images of 4 patients (groups), locked; never opened in this store" in page
    assert not (runs_dir / "test_openings.jsonl").exists()
    again = started(tmp_path, "runs", *target, seed="0,1")
    assert "2 were complete" in again.stdout
    opening = run_program(["-m", "analysis.report", store, "test=open"])
    assert opening.returncode != 0 and "its SHA-256 is not the one in record.json" in opening.stderr
    assert not (runs_dir / "test_openings.jsonl").exists(), "nothing was seen"
    for file, content in kept.items():
        file.write_bytes(content)
    opening = run_program(["-m", "analysis.report", store, "test=open"])
    assert opening.returncode == 0, opening.stderr
    page = (runs_dir / "report" / "report.html").read_text()
    assert "This is the first opening of the test sets of this store" in page
    lines = (runs_dir / "test_openings.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1]


def test_a_test_set_that_cannot_be_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    root = tmp_path / "images"
    rows = images(root)
    own = [(*row[:3], "test") if row[2] in ("p0", "p1") else row for row in rows]
    no_val = [(*row[:3], "test" if row[3] == "val" else "train") for row in rows]
    everything = listed(root, rows, "all.csv")
    for settings, message in (
        ((*listed(root, own, "own.csv"), "test_fraction=0.2"), "have a test set of their own, 6 images"),
        ((*everything, "test_fraction=0.001"), "none falls into the test set"),
        ((*everything, "test_fraction=0.99"), "none is left to train on"),
        (listed(root, no_val, "no_val.csv"), "which are for evaluation; the test set stays locked"),
    ):
        done = started(tmp_path, "runs", *settings)
        assert done.returncode != 0 and message in " ".join((done.stdout + done.stderr).split())
    assert not list(tmp_path.glob("runs/dld/*"))
