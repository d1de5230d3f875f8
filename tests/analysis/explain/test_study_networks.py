"""Which networks of a study are explained."""

from __future__ import annotations

import shutil
from pathlib import Path

from analysis.explain.study_networks import rows_to_explain
from analysis.runs import find_studies, load_runs
from stages.predictions import read_predictions
from stages.store import RunFolder
from tests.helpers.fake_study import FakeStudy


def test_explained_networks_of_folds_share_their_evaluation_images(tmp_path: Path) -> None:
    """Each seed is divided in another way, so that one seed's networks are explained."""
    FakeStudy(("scratch", "two_stage"), range(3), (0.5, 1.0), samples=60, folds=2).write(tmp_path)
    (study,) = find_studies(load_runs(tmp_path))
    rows = rows_to_explain(study.runs)
    assert rows[["process", "seed", "fold"]].to_numpy().tolist() == [["scratch", 0, 0], ["two_stage", 0, 0]]
    read = [read_predictions(RunFolder(Path(each)).predictions, samples=True) for each in rows["folder"]]
    assert read[0].samples == read[1].samples
    (lost,) = rows.loc[rows["process"] == "scratch", "folder"]
    shutil.rmtree(lost)
    (study,) = find_studies(load_runs(tmp_path))
    assert set(rows_to_explain(study.runs)["seed"]) == {1}, "the first seed with the most processes"
    assert rows_to_explain(study.runs[study.runs["fold"] == 1]).empty


def test_without_folds_all_seeds_are_explained(tmp_path: Path) -> None:
    FakeStudy(("scratch", "two_stage"), range(3), (0.5, 1.0), samples=60).write(tmp_path)
    (study,) = find_studies(load_runs(tmp_path))
    assert len(rows_to_explain(study.runs)) == 6
