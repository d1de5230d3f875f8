"""Folds from the command line to the pooled predictions: sources once, each image evaluated once a seed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from analysis.runs import find_studies, load_runs, pool_folds
from datamodules.names import names as names_of
from datamodules.of_run import listing_of_run
from datamodules.splits import group_folds
from stages.predictions import read_predictions
from stages.store import RunFolder
from tests.helpers.relay import TINY, run
from tests.helpers.stage_helpers import CONF

CLASSES = ("bright", "dark", "noisy")
PATIENTS, EACH = 6, 2


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store, of two processes in two folds at two seeds, and of half the images at one; its cache."""
    home = tmp_path_factory.mktemp("home")
    generator, rows = np.random.default_rng(0), ["Path,Group"]
    for label, name in enumerate(CLASSES):
        (home / "images" / name).mkdir(parents=True)
        for number in range(PATIENTS * EACH):
            pixels = generator.normal(200 - 70 * label, 5 + 30 * (label == 2), (32, 32)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(home / "images" / name / f"{number}.png")
            rows.append(f"{name}/{number}.png,patient{number // EACH}")
    (home / "images" / "groups.csv").write_text("\n".join([*rows, "", ""]))
    (home / "conf" / "data").mkdir(parents=True)
    data = yaml.safe_load((CONF / "data" / "embedded.yaml").read_text())
    data["domains"]["dld"] = {"kind": "folder", "root": str(home / "images"), "groups": "groups.csv"}
    (home / "conf" / "data" / "folded.yaml").write_text(yaml.safe_dump(data | {"name": "folded"}))
    tiny = [setting for setting in TINY if not setting.startswith("data.domains.dld")]
    shared = ("-m", "folds=2", "data=folded", f"hydra.searchpath=[file://{home}/conf]")
    for asked in (("process=scratch,natural", "seed=0,1"), ("process=scratch", "data_ratio=0.5")):
        done = run(*shared, *asked, runs_dir=home / "runs", cache_dir=home / "cache", tiny=tiny)
        assert done.returncode == 0, done.stderr + done.stdout
    return home / "runs", home / "cache"


def test_sources_once_for_all_folds_and_images_decoded_once(store: tuple[Path, Path]) -> None:
    runs = load_runs(store[0])
    assert runs["stage"].value_counts().to_dict() == {"dld": 10, "natural": 2}
    assert runs.loc[runs["stage"] == "natural", "folds"].isna().all()
    assert runs.loc[runs["stage"] == "dld", "fold"].tolist().count(1) == 5
    assert len(list(store[1].glob("*/train.npy"))) == 2, "of natural and of dld"
    records = [RunFolder(Path(folder)).read_record() for folder in runs.loc[runs["stage"] == "dld", "folder"]]
    assert {record.data.digest for record in records} == {records[0].data.digest}
    assert all(record.data.grouped for record in records)


def test_each_image_is_evaluated_once_by_a_run_that_did_not_see_its_patient(store: tuple[Path, Path]) -> None:
    (study,) = find_studies(load_runs(store[0]))
    pooled = pool_folds(study.runs)
    assert len(pooled.samples) == len(CLASSES) * PATIENTS * EACH and pooled.incomplete == ()
    assert pooled.seeds(("scratch", 1.0), ("natural", 1.0)) == (0, 1)
    assert pooled.correctness(("scratch", 0.5)).shape == (1, len(pooled.samples))
    assert pooled.by_epoch["scratch", 1.0][0].shape == (len(pooled.samples), 2)
    names = [pooled.classes[label] for label in pooled.labels]
    named = names_of(listing_of_run(RunFolder(Path(study.runs["folder"].iloc[0])))[1]).set_index("group")
    patient_of = named[~named.index.duplicated()]["group_name"]
    patients = [patient_of[group] for group in pooled.groups]
    partitions = {}
    for row in study.runs.to_dict("records"):
        found = read_predictions(RunFolder(Path(row["folder"])).predictions, samples=True, groups=True)
        place = (row["seed"], row["fold"])
        assert partitions.setdefault(place, set(found.samples)) == set(found.samples), "of every process"
        fold_of = group_folds(names, patients, 2, row["seed"])
        assert {pooled.samples[n] for n in np.flatnonzero(fold_of == row["fold"])} == set(found.samples)
        record = RunFolder(Path(row["folder"])).read_record()
        assert record.data.val_groups == len(set(found.groups)) == PATIENTS / 2
        assert sum(record.data.train_counts) == 18 * row["data_ratio"]
    assert partitions[0, 0] not in (partitions[1, 0], partitions[1, 1]), "another seed, another partition"


def test_a_seed_without_all_folds_is_said_and_other_folds_are_not_mixed_in(store: tuple[Path, Path]) -> None:
    (study,) = find_studies(load_runs(store[0]))
    runs = study.runs[study.runs["data_ratio"] == 1.0]
    lacking = runs[(runs["seed"] == 0) | (runs["fold"] == 0)]
    pooled = pool_folds(lacking)
    assert {str(each).split(", ", 1)[1] for each in pooled.incomplete} == {
        "data ratio 1, seed 1: 1 fold not trained: 1"
    }
    assert pooled.seeds(("scratch", 1.0), ("natural", 1.0)) == (0,)
    assert isinstance(runs["fold"].dtype, pd.Int64Dtype)
