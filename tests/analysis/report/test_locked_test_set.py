"""The locked test set on the page: that it is there, closed unless asked for, its numbers and openings."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.report import __main__ as command
from analysis.report.build import build_report
from analysis.report.page import Report, render
from analysis.runs import find_studies, load_runs
from analysis.runs.openings import OPENINGS, read_openings
from analysis.statistics import two_way_difference, two_way_level
from stages.errors import RelayError
from stages.store import RunFolder
from tests.helpers.fake_study import FakeStudy
from tests.helpers.fake_test_set import add_test_set

pytestmark = pytest.mark.slow

TWO = ("scratch", "two_stage")


def study(runs_dir: Path, **fields: Any) -> Any:
    folders = FakeStudy(TWO, range(3), (0.5, 1.0), samples=60, **fields).write(runs_dir)
    return add_test_set(folders)


def test_a_closed_test_set_is_on_the_page_with_its_size_alone(tmp_path: Path) -> None:
    study(tmp_path)
    for file in tmp_path.rglob("test_predictions.parquet"):
        file.write_bytes(b"garbage")  # nobody reads it
    report = build_report(tmp_path)
    said = "60 images of 12 patients (groups), locked; never opened in this store"
    assert dict(report.facts)["test set"] == said
    assert "test-set" not in [section.name for section in report.sections]
    assert said in render(report)
    assert not (tmp_path / OPENINGS).exists()


def test_a_study_without_a_test_set_says_nothing_of_one(tmp_path: Path) -> None:
    FakeStudy(TWO, range(2), (1.0,), samples=60).write(tmp_path)
    assert "test set" not in dict(build_report(tmp_path).facts)
    with pytest.raises(RelayError, match=r"no run of .* has a test set"):
        build_report(tmp_path, test="open")


@pytest.mark.parametrize("folds", [None, 2])
def test_an_opened_test_set_has_two_way_intervals_over_seeds_and_patients(
    tmp_path: Path, folds: int | None
) -> None:
    labels, groups, predicted = study(tmp_path, folds=folds)
    report = build_report(tmp_path, test="open", command="typed")
    runs = load_runs(tmp_path)
    whole = runs[(runs["data_ratio"] == 1.0) & runs["process"].notna()]

    def correct(process: str) -> Any:
        of_seed = whole[whole["process"] == process].groupby("seed")["id"]
        return np.asarray([np.mean([predicted[run] == labels for run in of], axis=0) for _, of in of_seed])

    (section,) = [section for section in report.sections if section.name == "test-set"]
    levels, differences = (table.data for table in section.tables)
    assert levels["process"].tolist() == list(TWO)
    for row in levels.to_dict("records"):
        expected = two_way_level(correct(row["process"]), groups)
        found = (row["accuracy"], row["accuracy_low"], row["accuracy_high"])
        assert found == pytest.approx((expected.estimate, expected.low, expected.high))
        assert row["f1_low"] < row["f1"] < row["f1_high"] and row["n"] == 3
    (pair,) = differences.to_dict("records")
    expected = two_way_difference(correct(pair["process_a"]), correct(pair["process_b"]), groups)
    assert (pair["process_a"], pair["process_b"]) == ("two_stage", "scratch")
    found = (pair["difference"], pair["difference_low"], pair["difference_high"])
    assert found == pytest.approx((expected.estimate, expected.low, expected.high))
    assert [(opening.command, opening.runs) for opening in read_openings(tmp_path)] == [
        ("typed", len(runs[runs["process"].notna()]))
    ]


def test_the_page_says_which_opening_it_was(tmp_path: Path) -> None:
    study(tmp_path)
    first_page = text(build_report(tmp_path, test="open"))
    assert "This is the first opening of the test sets" in first_page and "Before that" not in first_page
    load_runs(tmp_path, test="open")
    load_runs(tmp_path, test="open")
    fourth = build_report(tmp_path, test="open")
    assert "This is the fourth opening of the test sets" in text(fourth)
    first, *_, last = read_openings(tmp_path)
    assert f"Before that they were opened 3 times in this store, first on {first.time[:10]}" in text(fourth)
    closed = dict(build_report(tmp_path).facts)["test set"]
    assert "locked; opened 4 times in this store, first on " in closed and last.time[:10] in closed
    assert "TEST-PATIENT" not in render(fourth), "no name of a patient"


def text(report: Report) -> str:
    return " ".join(paragraph for section in report.sections for paragraph in section.text)


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    add_test_set(FakeStudy(TWO, range(1), (1.0,), samples=60).write(tmp_path))
    (section,) = [each for each in build_report(tmp_path, test="open").sections if each.name == "test-set"]
    (levels,) = section.tables
    assert levels.data["accuracy"].notna().all() and levels.data["accuracy_low"].isna().all()


@pytest.mark.parametrize("folds", [None, 2])
def test_a_test_set_is_not_opened_for_nothing(tmp_path: Path, folds: int | None) -> None:
    """Without a seed that has all of its runs at data ratio 1 there is nothing to show."""
    ratios = (0.5,) if folds is None else (1.0,)
    folders = FakeStudy(TWO, range(2), ratios, samples=60, folds=folds).write(tmp_path)
    add_test_set(folders)
    if folds is not None:
        for folder in (RunFolder(Path(each)) for each in load_runs(tmp_path)["folder"]):
            if folder.read_record().fold == 1:
                shutil.rmtree(folder.path)
    with pytest.raises(RelayError, match=r"no seed has all of its runs .* Nothing was opened"):
        build_report(tmp_path, test="open")
    assert not (tmp_path / OPENINGS).exists()


def test_the_command_opens_and_writes_down_what_was_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study(tmp_path / "runs")
    typed = [f"runs_dir={tmp_path / 'runs'}", "test=open", f"out={tmp_path / 'out'}"]
    command.main(typed)
    assert "Locked test set" in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "tables" / "test-levels.csv").is_file()
    (opening,) = read_openings(tmp_path / "runs")
    assert opening.command == f"python -m analysis.report {' '.join(typed)}"
    with pytest.raises(SystemExit):
        command.main([typed[0], "test=close"])
    assert "test=close is not known" in capsys.readouterr().err
    assert len(find_studies(load_runs(tmp_path / "runs"))) == 1
