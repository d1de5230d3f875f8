"""The page of a study in folds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis.report.build import build_report
from analysis.runs import load_runs
from analysis.runs.details import read_details
from stages.errors import RelayError
from tests.helpers.report_helpers import caveat, small_study, table

pytestmark = pytest.mark.slow  # each builds a page


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
    unreached = [each for each in report.caveats if "did not reach the plateau" in each.title]
    assert all(", fold " in item for each in unreached for item in each.items)
    means = table(report, "table1").data.set_index("process")
    assert means.loc[["scratch", "two_stage"], ["seeds", "plateaus_reached"]].to_numpy().tolist() == [
        [2] * 2,
        [3] * 2,
    ]
    assert table(report, "runs").data["fold"].nunique() == 3
    classes = table(report, "classes").data.set_index("process")
    for process, seeds in (("scratch", 2), ("two_stage", 3)):
        of_process = classes.loc[process]
        assert set(of_process["sensitivity_n"]) == {seeds}, "folds are no seeds"
        assert of_process["images"].sum() == 70, "of all folds"
        counts = table(report, f"confusion_{process}").data.filter(like="predicted").to_numpy()
        assert counts.sum() == 70 * seeds
    (grid,) = [section.grid for section in report.sections if section.name == "confusion"]
    assert "the sum over 2 seeds" in grid[0].caption and "the sum over 3 seeds" in grid[1].caption
    runs = load_runs(tmp_path)
    details = read_details(runs[runs["process"].notna()])
    assert {process: len(each.errors) for process, each in details.reliability.items()} == {
        "scratch": 2,
        "two_stage": 3,
    }
    assert (sum(details.evaluation_images), details.evaluation_groups) == (70, 12), "of all folds"


@pytest.mark.parametrize("of", ["scratch", None])
def test_no_seed_has_all_folds_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str | None) -> None:
    """As while the sweep runs: of one process, or of all of them."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))
    small_study(folds=3, ratios=(1.0,)).write(tmp_path)
    runs = load_runs(tmp_path)
    chosen = runs["process"] == of if of else runs["process"].notna()
    for lost in runs.loc[chosen & (runs["fold"] == 1), "folder"]:
        shutil.rmtree(lost)
    report = build_report(tmp_path)
    assert report.complete == (of is not None)
    assert "without all folds" in " ".join(each.title for each in report.caveats)
    if of is None:
        assert "No seed of dld has all of its 3 folds yet" in report.summary[0]
        with pytest.raises(RelayError, match="has a test set"):
            build_report(tmp_path, test="open")
