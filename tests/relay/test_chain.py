"""The main job: a chain is trained, its weights are passed on, and nothing is trained twice."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from analysis.runs.load import load_runs
from tests.helpers.relay import folders, only_folder, run

CHAIN = ("+stage=natural,texture,dld", "-m")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A store in which the chain has been trained, its cache, and what was printed."""
    runs_dir = tmp_path_factory.mktemp("runs")
    cache_dir = tmp_path_factory.mktemp("cache")
    done = run(*CHAIN, runs_dir=runs_dir, cache_dir=cache_dir, fresh=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return runs_dir, cache_dir, done.stdout + done.stderr


def test_ends_with_a_table_and_no_warning(store: tuple[Path, Path, str]) -> None:
    runs_dir, _, printed = store
    table = printed[printed.index("3 stage runs: 3 trained") :]
    for column in ("classes", "images", "epochs", "plateau", "accuracy", "macro", "seconds"):
        assert column in table
    for stage in ("natural", "texture", "dld"):
        assert f"{stage}/{only_folder(runs_dir, stage).name}" in table
    assert "natural > texture > dld" in table
    assert str(runs_dir) in table
    assert "stage run 2 of 3, at most" in printed
    assert "Warning" not in printed
    assert "deprecated" not in printed


def test_leaves_the_files_of_the_design(store: tuple[Path, Path, str]) -> None:
    runs_dir, _, _ = store
    for stage in ("natural", "texture", "dld"):
        folder = only_folder(runs_dir, stage)
        present = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        assert present == {
            "recipe.yaml",
            "config.yaml",
            "last.ckpt",
            "model.ckpt",
            "history.csv",
            "predictions.parquet",
            "samples.jpg",
            "record.json",
        }
        recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
        assert recipe["id"].startswith(folder.name)
        assert recipe["stage"] == stage
        history = pd.read_csv(folder / "history.csv")
        assert list(history["epoch"]) == list(range(len(history)))


def test_passes_the_weights_on(store: tuple[Path, Path, str]) -> None:
    runs_dir, _, _ = store
    records = {
        s: json.loads((only_folder(runs_dir, s) / "record.json").read_text())
        for s in ("natural", "texture", "dld")
    }
    assert records["natural"]["parent"] is None
    assert records["texture"]["parent"] == records["natural"]["id"]
    assert records["dld"]["parent"] == records["texture"]["id"]
    assert records["natural"]["transfer"]["rule"] == "none"
    assert records["natural"]["starting_point"] == "scratch"
    transfer = records["dld"]["transfer"]
    assert records["dld"]["starting_point"] == "parent"
    assert transfer["rule"] == "feature"
    assert set(transfer["reinitialised"]) == {"fc7.weight", "fc7.bias", "fc8.weight", "fc8.bias"}
    assert "conv1.weight" in transfer["kept"]
    # What a stage learned has moved its kept layers, but not made them new.
    parent = torch.load(only_folder(runs_dir, "texture") / "model.ckpt", weights_only=True)["conv1.weight"]
    child = torch.load(only_folder(runs_dir, "dld") / "model.ckpt", weights_only=True)["conv1.weight"]
    assert not torch.equal(parent, child)
    assert torch.nn.functional.cosine_similarity(parent.flatten(), child.flatten(), dim=0) > 0.9


def test_predictions_give_the_last_accuracy_again(store: tuple[Path, Path, str]) -> None:
    runs_dir, _, _ = store
    folder = only_folder(runs_dir, "dld")
    predictions = pd.read_parquet(folder / "predictions.parquet")
    record = json.loads((folder / "record.json").read_text())
    assert list(predictions.columns[:3]) == ["sample", "group", "label"]
    assert predictions["sample"].is_unique
    logits = predictions[[f"logit_{name}" for name in record["data"]["classes"]]].to_numpy()
    accuracy = float((logits.argmax(axis=1) == predictions["label"]).mean())
    assert accuracy == pytest.approx(record["metrics"]["accuracy"]["last"], abs=1e-12)
    history = pd.read_csv(folder / "history.csv")
    assert history["accuracy"].iloc[-1] == record["metrics"]["accuracy"]["last"]
    counts = pd.crosstab(predictions["label"], logits.argmax(axis=1))
    matrix = pd.DataFrame(record["confusion_matrix"])
    for true in counts.index:
        for predicted in counts.columns:
            assert matrix.loc[true, predicted] == counts.loc[true, predicted]


def test_representative_values_are_percentiles_of_the_history(store: tuple[Path, Path, str]) -> None:
    runs_dir, _, _ = store
    for _, row in load_runs(runs_dir).iterrows():
        history = pd.read_csv(Path(row["folder"]) / "history.csv")
        first, length = row["plateau_onset"], row["plateau_length"]
        for metric in ("accuracy", "f1_score_macro", "cross_entropy", "train_loss"):
            expected = history[metric].iloc[first : first + length].quantile(0.75, interpolation="linear")
            assert row[f"{metric}_p75"] == pytest.approx(expected, rel=1e-12)


def test_again_trains_nothing(store: tuple[Path, Path, str], tmp_path: Path) -> None:
    runs_dir, cache_dir, _ = store
    before = {path: path.stat().st_mtime_ns for path in runs_dir.glob("*/*/*")}
    # another folder, the flag in another place
    done = run("-m", CHAIN[0], runs_dir=runs_dir, cache_dir=cache_dir, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 stage runs: 3 were complete" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in runs_dir.glob("*/*/*")} == before


def test_other_chains_share_what_is_there(store: tuple[Path, Path, str]) -> None:
    runs_dir, cache_dir, _ = store
    for arguments, summary in (
        (("+stage=natural,texture", "-m"), "2 stage runs: 2 done, 0 to train"),
        (("process=two_stage", "-m"), "3 stage runs: 3 done, 0 to train"),
        (("+stage=natural,dld", "-m"), "2 stage runs: 1 done, 1 to train"),
    ):
        done = run(*arguments, "plan=true", runs_dir=runs_dir, cache_dir=cache_dir)
        assert done.returncode == 0, done.stderr
        assert summary in done.stdout
    assert len(folders(runs_dir, "dld")) == 1, "a plan trains nothing"


def test_load_runs(store: tuple[Path, Path, str]) -> None:
    runs_dir, _, _ = store
    runs = load_runs(runs_dir).set_index("stage")
    assert list(runs.loc[["natural", "texture", "dld"], "chain"]) == [
        "natural",
        "natural>texture",
        "natural>texture>dld",
    ]
    assert runs.loc["dld", "process"] == "two_stage"
    assert pd.isna(runs.loc["natural", "process"])
    assert runs.loc["dld", "parent"] == runs.loc["texture", "id"]
    assert runs.loc["dld", "data_ratio"] == 1.0
    assert runs.loc["dld", "seed"] == 0
    assert isinstance(bool(runs.loc["dld", "plateau_reached"]), bool)
    assert 0.0 <= runs.loc["dld", "accuracy_p75"] <= 1.0
    assert not [path for path in runs["folder"] if not Path(path).is_dir()]
