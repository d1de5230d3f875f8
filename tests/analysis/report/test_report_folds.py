"""The page of a study in folds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis.report.build import build_report
from analysis.runs import load_runs
from analysis.runs.details import read_details
from tests.helpers.report_helpers import caveat, small_study, table


def test_a_seed_without_all_folds_is_said_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))  # drawing takes long
    small_study(folds=3, ratios=(1.0,)).write(tmp_path)
    runs = load_runs(tmp_path)
    (lost,) = runs.loc[(runs["process"] == "scratch") & (runs["fold"] == 1) & (runs["seed"] == 2), "folder"]
    shutil.rmtree(lost)
    report = build_report(tmp_path)
    found = caveat(report, "1 seed without all folds")
    assert "(1) scratch, data ratio 1, seed 2: 1 fold not trained: 1" in str(found)
    means = table(report, "table1").data.set_index("process")
    assert means.loc[["scratch", "two_stage"], ["seeds", "plateaus_reached"]].to_numpy().tolist() == [
        [2] * 2,
        [3] * 2,
    ]
    assert table(report, "runs").data["fold"].nunique() == 3
    runs = load_runs(tmp_path)
    details = read_details(runs[runs["process"].notna()])
    assert (sum(details.evaluation_images), details.evaluation_groups) == (70, 12), "of all folds"
