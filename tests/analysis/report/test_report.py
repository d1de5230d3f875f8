"""The report as a whole: its files, small and broken stores, the command. In a browser: test_report_page."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.report.__main__ import main
from analysis.runs.arguments import key_values
from stages.errors import RelayError
from tests.helpers.programs import PROJECT
from tests.helpers.report_helpers import small_study

pytestmark = pytest.mark.slow

PATIENTS = re.compile(r"PATIENT|slice-")


@pytest.fixture(autouse=True, scope="module")
def _few_dots() -> Iterator[None]:
    """What the figures look like is looked at, not tested."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("analysis.report.figures.PNG_DPI", 40)
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: that takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("whole") / "runs"
    small_study(seeds=range(4), ratios=(0.2, 0.6, 1.0)).write(store)
    main([f"runs_dir={store}"])
    return store / "report"


def test_the_page_and_its_files_lie_in_the_store(written: Path) -> None:
    assert (written / "report.html").is_file()
    names = {path.stem for path in (written / "tables").glob("*.csv")}
    assert names >= {
        "table1",
        "table2",
        "pairwise",
        "pairwise_accuracy",
        "ratios",
        "recall",
        "levels",
        "runs",
    }
    assert {path.stem for path in (written / "tables").glob("*.tex")} == names
    svg = {path.stem for path in (written / "figures").glob("*.svg")}
    assert svg == {path.stem for path in (written / "figures").glob("*.png")}
    assert svg == {
        *("accuracy", "figure6", "figure7", "recall", "calibration", "samples_dld"),
        *(f"{kind}_{name}" for kind in ("confusion", "runs") for name in ("scratch", "two_stage")),
    }


def test_the_reporting_statements_list_leads_to_sections_of_the_page(written: Path) -> None:
    listed = (PROJECT / "docs" / "statistics.md").read_text().split("## What reporting statements ask")[1]
    named = set(re.findall(r"`#(\w+)`", listed))
    there = set(re.findall(r'id="(\w+)"', (written / "report.html").read_text()))
    only_where_analysed = {"frequencies", "layers"}
    assert len(named) > 10
    assert named - only_where_analysed <= there | {"warnings"}


def test_no_patient_is_named_anywhere(written: Path) -> None:
    assert PATIENTS.search((written / "report.html").read_text()) is None
    for path in [*(written / "tables").iterdir(), *(written / "figures").glob("*.svg")]:
        assert PATIENTS.search(path.read_text()) is None, path


def test_table_1_has_the_means_of_the_records(written: Path) -> None:
    rows = {
        row["process"]: row
        for row in csv.DictReader((written / "tables" / "table1.csv").read_text().splitlines())
    }
    values: dict[str, list[float]] = {"scratch": [], "two_stage": []}
    for path in written.parent.glob("dld/*/record.json"):
        record = json.loads(path.read_text())
        if record["data_ratio"] == 1.0:
            name = "scratch" if len(record["chain"]) == 1 else "two_stage"
            values[name].append(record["metrics"]["accuracy"]["p75"])
    for name, of_process in values.items():
        assert len(of_process) == 4
        assert float(rows[name]["accuracy_mean"]) == pytest.approx(np.mean(of_process))
        assert float(rows[name]["accuracy_std"]) == pytest.approx(np.std(of_process, ddof=1))
        assert rows[name]["seeds"] == "4"


class _Structure(HTMLParser):
    """Ids, references to them, headings, images and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.headings: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.files: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        for name in ("aria-labelledby", "data-copies"):
            if values.get(name):
                self.references.append(str(values[name]))
        link = values.get("href") or ""
        if tag == "a":
            (self.references if link.startswith("#") else self.files).append(link.lstrip("#"))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(values)
        assert "src" not in values or str(values["src"]).startswith("data:")


def test_the_page_is_well_formed_for_those_who_do_not_see_it(written: Path) -> None:
    page = _Structure()
    page.feed((written / "report.html").read_text())
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert page.images and all(len(str(image["alt"])) > 20 for image in page.images)
    for landmark in ("header", "nav", "main", "footer"):
        assert page.tags.count(landmark) == 1
    assert page.tags.count("caption") == page.tags.count("table")
    for file in page.files:
        assert (written / file).is_file(), file


def test_the_same_store_gives_the_same_page(written: Path, tmp_path: Path) -> None:
    main([f"runs_dir={written.parent}", f"out={tmp_path}"])
    for path in written.rglob("*.*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(written)).read_bytes() == path.read_bytes(), path.name


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    main([f"runs_dir={tmp_path}"])
    assert "no finished stage run in this store" in (tmp_path / "report" / "report.html").read_text()


def test_sources_alone_say_so(tmp_path: Path) -> None:
    for folder in small_study(processes=("two_stage",)).write(tmp_path):
        folder.record.unlink()
    main([f"runs_dir={tmp_path}"])
    page = (tmp_path / "report" / "report.html").read_text()
    assert "finished runs of stages (3 of natural, 3 of texture), but none whose chain" in page
    assert "6 stage runs of this store are not finished" in page


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"processes": ("scratch",)}, "there is no other process to compare it with"),
        ({"seeds": [7]}, "one seed)"),
        ({"ratios": (1.0,)}, "There is only one amount of training data, so there are no slopes."),
        ({"ratios": (0.2, 0.4)}, "No run of this study used all training data."),
    ],
    ids=["one process", "one seed", "one ratio", "no whole set"],
)
def test_a_small_study_gives_a_page_that_says_what_is_missing(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    small_study(**changes).write(tmp_path)
    main([f"runs_dir={tmp_path}"])
    assert said in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"processes": ("scratch",), "seeds": [7], "ratios": (0.4,)}, "so there is no comparison"),
        ({"processes": ("scratch",), "seeds": [7], "ratios": (1.0,)}, "one seed"),
        ({"classes": [f"a.b class <{index}>" for index in range(25)], "samples": 150}, "&lt;24&gt;"),
    ],
    ids=["one run", "one whole run", "many classes"],
)
def test_figures_of_unusual_studies_are_drawn(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    small_study(**changes).write(tmp_path)
    main([f"runs_dir={tmp_path}"])
    assert said in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the store"),
        (["runs_dir"], "'runs_dir' is not KEY=VALUE"),
        (["runs=x"], "runs is not a setting; did you mean runs_dir?"),
        (["where=x"], "where is not a setting; the command has runs_dir, out, study"),
        (["runs_dir="], "'runs_dir=' is not KEY=VALUE"),
        (["runs_dir=a", "runs_dir=b"], "runs_dir is given twice"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(RelayError, match=re.escape(message)):
        key_values(arguments, ("runs_dir", "out", "study"), example="python -m analysis.report")


@pytest.mark.parametrize("arguments", [["runs_dir=/no/such/store"], ["runsdir=x"]])
def test_a_mistake_is_one_message_and_code_1(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error:") and message.count("\n") == 1


def test_a_store_of_damaged_records_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_study(seeds=[0]).write(tmp_path)
    for record in tmp_path.glob("*/*/record.json"):
        record.write_text("{")
    with pytest.raises(SystemExit):
        main([f"runs_dir={tmp_path}"])
    assert "cannot be read as JSON" in capsys.readouterr().err


def test_the_command_as_typed(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    command = [
        sys.executable,
        "-m",
        "analysis.report",
        f"runs_dir={tmp_path / 'runs'}",
        f"out={tmp_path / 'out'}",
    ]
    project = Path(__file__).resolve().parents[3]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"report: {tmp_path / 'out' / 'report.html'}"
    assert done.stderr == ""


def test_a_report_without_maps_loads_no_torch() -> None:
    """It is seconds at every start."""
    program = (
        "import sys, analysis.report.__main__; "
        "print([m for m in ('torch', 'datamodules') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
