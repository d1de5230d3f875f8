"""The report's warnings, from stores that deserve them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from analysis.report.__main__ import main
from analysis.report.build import build_report
from analysis.report.page import Report
from stages.store import RunFolder
from tests.helpers.report_helpers import caveat, small_study, table, without_figures
from tests.helpers.stage_helpers import seal

pytestmark = pytest.mark.slow  # each builds a page

PATIENTS = re.compile(r"PATIENT|slice-")


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    without_figures(monkeypatch)


def test_a_whole_study_has_no_serious_warning_but_few_seeds(tmp_path: Path) -> None:
    small_study(seeds=range(8), samples=400).write(tmp_path)
    assert [each for each in build_report(tmp_path).caveats if each.serious] == []


def _dirty(content: dict[str, Any]) -> None:
    content["origin"]["git_dirty"] = content["seed"] == 1


def _other_torch(content: dict[str, Any]) -> None:
    if content["seed"] == 2:
        content["origin"]["versions"]["torch"] = "2.15.0"


def _other_commit(content: dict[str, Any]) -> None:
    if content["seed"] == 2:
        content["origin"]["git_commit"] = "f" * 40


def _other_machine(content: dict[str, Any]) -> None:
    if content["seed"] == 2:
        content["origin"]["machine"]["host"] = "node2"


def _not_flat(content: dict[str, Any]) -> None:
    if content["seed"] == 2 and content["data_ratio"] == 0.2 and len(content["chain"]) == 1:
        content["plateau"]["reached"] = False


def _not_learning(content: dict[str, Any]) -> None:
    if content["seed"] == 2 and content["data_ratio"] == 0.2 and len(content["chain"]) == 1:
        content["plateau"] |= {"reached": False, "learning": False}


def _once_crossed(content: dict[str, Any]) -> None:
    if content["seed"] == 0 and content["data_ratio"] == 0.2:
        content["data"]["crossing_groups"] = 2


def _once_few(content: dict[str, Any]) -> None:
    if content["seed"] == 0 and content["data_ratio"] == 0.2 and content["stage"] == "dld":
        content["data"]["val_groups"] = 4


def _without_accuracy(content: dict[str, Any]) -> None:
    if content["seed"] == 1 and content["data_ratio"] == 1.0 and content["chain"] == ["dld"]:
        del content["metrics"]["accuracy"]


def _good_histograms(content: dict[str, Any]) -> None:
    content["data"]["histogram_accuracy"] = 1.0


def _no_patients(content: dict[str, Any]) -> None:
    content["data"] |= {"val_groups": sum(content["data"]["val_counts"]), "grouped": False}


def _crossed(content: dict[str, Any]) -> None:
    content["data"] |= {
        "crossing_groups": 2,
        "crossing_pictures": 3,
        "notes": ["3 pictures under two classes"],
    }


_CHANGES = {
    "several": (
        *(_other_torch, _other_commit, _other_machine),
        *(_once_crossed, _once_few, _without_accuracy, _not_flat),
    ),
    "crossed": (_crossed, _good_histograms),
    "images": (_no_patients, _dirty),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """Of stores whose records say several things at once, none of which hides another."""

    def report(name: str) -> Report:
        def change(content: dict[str, Any]) -> None:
            for each in _CHANGES[name]:
                each(content)

        folder = tmp_path_factory.mktemp(name)
        small_study(change=change).write(folder)
        return build_report(folder)

    with pytest.MonkeyPatch.context() as monkeypatch:
        without_figures(monkeypatch)
        return {name: report(name) for name in _CHANGES}


@pytest.mark.parametrize(
    ("store", "title", "item"),
    [
        ("crossed", "The split is crossed", None),
        ("crossed", "Notes on how the images were read", "3 pictures under two classes"),
        ("images", "4 of 18 runs with uncommitted changes", None),
        ("several", "Mixed versions", "torch: 2.14.1 (14 runs); 2.15.0 (4 runs)"),
        ("several", "Mixed commits", f"commit: {'c' * 12} (14 runs); {'f' * 12} (4 runs)"),
        ("several", "Mixed machines", "node2"),
        ("several", "The split is crossed", None),
        ("several", "Only 4 patients", None),
        ("several", "1 run without accuracy", "dld/"),
        ("several", "1 of 12 runs did not reach the plateau", "(1) scratch, seed 2, 20%: dld/"),
        ("crossed", "2 processes not above grey-level histograms", "(1) scratch: "),
        ("images", "Patients are not known", None),
    ],
)
def test_what_the_records_say_is_warned_of(
    reports: dict[str, Report], store: str, title: str, item: str | None
) -> None:
    found = caveat(reports[store], title)
    assert item is None or any(item in each for each in found.items)


def test_a_plateau_that_was_not_reached_marks_its_numbers(tmp_path: Path) -> None:
    small_study(change=_not_flat).write(tmp_path)
    report = build_report(tmp_path)
    marked = [row[:3] for row in table(report, "ratios").rows() if "*" in row[2].text]
    assert [(row[0].text, row[1].text) for row in marked] == [("(1) scratch", "20")]
    assert [row[0].text for row in table(report, "table1").rows() if "*" in row[1].text] == []
    assert sum("*" in cell.text for row in table(report, "runs").rows() for cell in row) == 1


def test_a_run_that_did_not_learn_is_marked_and_is_no_plateau_that_was_ended_early(tmp_path: Path) -> None:
    small_study(change=_not_learning).write(tmp_path)
    report = build_report(tmp_path)
    found = caveat(report, "1 of 12 runs did not learn (not learning)")
    assert found.serious and "(1) scratch, seed 2, 20%: dld/" in found.items[0]
    assert not [each for each in report.caveats if "did not reach the plateau" in each.title]
    cells = [cell.text for row in table(report, "runs").rows() for cell in row]
    assert sum(cell.endswith(" *, not learning") for cell in cells) == 1
    assert [row[0].text for row in table(report, "ratios").rows() if "*" in row[2].text] == ["(1) scratch"]


def test_few_patients_are_fewer_than_ten_and_warned_of(tmp_path: Path) -> None:
    for count, few in ((9, True), (10, False)):
        store = tmp_path / str(count)
        small_study(patients=count).write(store)
        titles = [each.title for each in build_report(store).caveats]
        assert (f"Only {count} patients (groups) in the evaluation set" in titles) is few


def test_missing_cells_are_named_and_cells_never_tried_only_noted(tmp_path: Path) -> None:
    def skip(process: str, seed: int, ratio: float) -> bool:
        return (process, seed, ratio) == ("scratch", 1, 1.0) or (process == "two_stage" and ratio == 0.2)

    small_study(skip=skip).write(tmp_path)
    report = build_report(tmp_path)
    missing = caveat(report, "1 run of the grid is missing")
    assert missing.items == ("(1) scratch at 100%: seed 1",) and missing.serious
    untried = caveat(report, "Some processes were not run at every amount of data")
    assert untried.items == ("(4) two_stage at 20%",) and not untried.serious
    assert table(report, "pairwise_accuracy").data["n"].tolist() == [2]


def test_failed_and_unfinished_runs_are_counted_without_the_name_of_an_image(tmp_path: Path) -> None:
    folders = small_study().write(tmp_path)
    folders[0].record.unlink()
    folders[0].failure.write_text(
        "Traceback ...\nstages.errors.RelayError: /data/PATIENT-0003^DOE/slice-1.png cannot be read\n"
    )
    folders[1].record.unlink()
    report = build_report(tmp_path)
    failed = caveat(report, "1 stage run of this store failed")
    folder = folders[0].path.relative_to(tmp_path)
    assert failed.items == (f"dld, seed 0, 20%: RelayError ({folder})",)
    assert failed.serious
    waiting = caveat(report, "1 stage run of this store is not finished")
    assert not waiting.serious
    assert PATIENTS.search(repr(report.caveats)) is None


def test_too_few_seeds_for_the_level_are_said_with_how_many_it_takes(tmp_path: Path) -> None:
    small_study(seeds=range(5)).write(tmp_path)
    report = build_report(tmp_path)
    # 2 / 2^5 = 0.0625; 2 / 2^6 = 0.031 is the first below 0.05, 2 / 2^8 = 0.0078 below 0.01
    found = caveat(report, "Too few seeds for p < 0.05")
    assert (
        "0.062" in found.text and "takes 6 seeds with max-T" in found.text and "0.01, 8 and 8" in found.text
    )
    assert "5 seeds cannot give a p below 0.062" in report.summary[1]


def test_missing_files_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    folders = small_study().write(tmp_path)
    folders[0].history.unlink()
    folders[1].predictions.unlink()  # all data: ratios alternate
    folders[3].history.write_text("")
    folders[5].predictions.write_bytes(b"PAR1")
    for folder in (folders[3], folders[5]):  # as a run would have written them
        seal(folder)
    report = build_report(tmp_path)
    assert len(caveat(report, "history.csv is missing or damaged in 2 runs").items) == 2
    assert len(caveat(report, "predictions.parquet is missing or damaged in 2 runs").items) == 2
    assert table(report, "levels").data["accuracy_n"].tolist() == [1, 3]
    assert table(report, "table1").data["seeds"].tolist() == [3, 3]


def test_nothing_but_records_still_gives_a_page(tmp_path: Path) -> None:
    for folder in small_study().write(tmp_path):
        for path in (folder.history, folder.predictions):
            path.unlink()
    main([f"runs_dir={tmp_path}"])
    page = (tmp_path / "report" / "report.html").read_text()
    assert "No history could be read." in page
    assert "No predictions could be read." in page


def test_what_the_sources_records_say_is_warned_of(tmp_path: Path) -> None:
    """A process inherits its sources."""
    small_study().write(tmp_path)
    for place in tmp_path.glob("natural/*/record.json"):
        content = json.loads(place.read_text())
        content["plateau"]["reached"] = content["seed"] != 2
        content["origin"] |= {"git_dirty": True, "versions": content["origin"]["versions"] | {"torch": "0.1"}}
        seal(RunFolder(place.parent), content)
    report = build_report(tmp_path)
    found = caveat(report, "1 of 6 source runs did not reach the plateau")
    assert any("natural, seed 2: natural/" in item for item in found.items)
    assert any("0.1 (3 runs)" in item for item in caveat(report, "Mixed versions").items)
    caveat(report, "3 of 18 runs with uncommitted changes")


def test_runs_of_no_known_process_are_counted(tmp_path: Path) -> None:
    """As those of a process whose file was removed."""

    def unknown(content: dict[str, Any]) -> None:
        if content["chain"] == ["natural", "texture", "dld"]:
            content["chain"] = ["texture", "natural", "dld"]

    small_study(change=unknown).write(tmp_path)
    found = caveat(build_report(tmp_path), "6 finished runs of dld of no known process")
    assert found.serious and any("texture > natural > dld" in item for item in found.items)


def _jagged(content: dict[str, Any]) -> None:
    content["confusion_matrix"][0].append(1)


def _small(content: dict[str, Any]) -> None:
    content["confusion_matrix"] = [[1, 2], [3, 4]]


def _huge(content: dict[str, Any]) -> None:
    content["confusion_matrix"][0][0] = 10**30


def _one_count_less(content: dict[str, Any]) -> None:
    content["data"]["val_counts"].pop()


@pytest.mark.parametrize("change", [_jagged, _small, _huge, _one_count_less])
def test_a_record_that_contradicts_itself_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    damaged = small_study().write(tmp_path)[0]
    content = json.loads(damaged.record.read_text())
    change(content)
    damaged.record.write_text(json.dumps(content))
    found = caveat(build_report(tmp_path), "1 finished stage run of this store is damaged")
    (item,) = found.items
    assert item.startswith(f"dld/{damaged.path.name}/record.json is not a valid record: ")
    assert "remove its folder and run the same command again" in item and found.serious


def test_damaged_runs_are_in_no_table(tmp_path: Path) -> None:
    folders = small_study().write(tmp_path)
    whole = [folder for folder in folders if folder.read_record().data_ratio == 1.0]
    for folder, name in zip(whole, ("record", "recipe", "history", "predictions"), strict=False):
        path: Path = getattr(folder, name)
        path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    report = build_report(tmp_path)
    items = caveat(report, "4 finished stage runs of this store are damaged").items
    assert {item.split(" ")[0] for item in items} == {
        f"dld/{folder.path.name}/{file}"
        for folder, file in zip(
            whole, ("record.json", "recipe.yaml", "history.csv", "predictions.parquet"), strict=False
        )
    }
    assert sum(table(report, "table1").data["seeds"]) == len(whole) - 4


def test_damaged_histories_and_predictions_are_counted(tmp_path: Path) -> None:
    """Those that a run wrote itself."""
    folders = [folder for folder in small_study().write(tmp_path) if folder.path.parent.name == "dld"]
    folders[0].history.write_text("epoch,train_loss,accuracy,cross_entropy\n0,2.0\n")
    folders[1].history.write_text("epoch,accuracy\n0," + "1" * 140_000 + "\n")
    whole = next(folder for folder in folders if folder.read_record().data_ratio == 1.0)
    predictions = pq.read_table(whole.predictions).to_pandas()
    predictions.iloc[3, predictions.columns.str.startswith("logit_").argmax()] = float("nan")
    predictions.to_parquet(whole.predictions)
    for folder in {folder.path: folder for folder in (*folders[:2], whole)}.values():
        seal(folder)
    titles = [each.title for each in build_report(tmp_path).caveats]
    assert "history.csv is missing or damaged in 2 runs" in titles
    assert "predictions.parquet is missing or damaged in 1 run" in titles
