"""The page's section on the images, and the baseline in tables and figures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from analysis.report import figures_curves, figures_study
from analysis.report.baseline_section import baseline_level, baseline_section
from analysis.report.data_section import data_section
from analysis.report.figures_samples import sample_images
from analysis.report.judgement import Words
from analysis.report.page import Section
from analysis.report.processes import process_labels, styles_of
from analysis.report.tables import Table
from analysis.runs import find_studies, load_runs, pool_folds
from analysis.runs.details import read_details
from analysis.statistics import at_ratios, two_way_difference
from analysis.statistics.inference import infer
from stages.metrics import METRICS
from tests.helpers.fake_study import write_sample_sheet
from tests.helpers.report_helpers import small_study
from tests.helpers.stage_helpers import VALUES

pytestmark = pytest.mark.slow  # most write a study

LABELS = process_labels(["scratch", "two_stage"])


def _tested(content: dict[str, Any]) -> None:
    """Counts that differ between seeds, and a test side."""
    seed = content["seed"]
    content["data"] |= {
        "classes": ["CON", "GGO"],
        "train_counts": [10 + seed, 20],
        "train_groups": 9,
        "train_class_groups": [4, 6],
        "test_counts": [5, 7],
        "test_groups": 4,
    }


def section_of(tmp_path: Path, **changes: Any) -> Section:
    small_study(classes=("CON", "GGO"), **changes).write(tmp_path)
    runs = load_runs(tmp_path)
    (study,) = find_studies(runs)
    return data_section(study, runs[runs["process"].isna()])


def shown(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows()]


def test_classes_by_sides_and_patients(tmp_path: Path) -> None:
    section = section_of(tmp_path, change=_tested)
    sides, training = section.tables
    assert [column.title for column in sides.columns][-2:] == ["test images", "test patients"]
    rows = {row[0]: row[1:] for row in shown(sides)}
    assert rows["CON"][:2] == ["10 to 12", "4"]
    assert rows["GGO"][:2] == ["20", "6"]
    assert rows["all classes"][:2] == ["30 to 32", "9"]
    assert [rows[name][-2] for name in ("CON", "GGO", "all classes")] == ["5", "7", "12"]
    assert rows["all classes"][-1] == "4"
    assert int(rows["all classes"][2]) == 70
    assert [row[:2] for row in shown(training)] == [["20", "30 to 32"], ["100", "30 to 32"]]
    assert "test side are in no training" in section.text[0]
    assert "fixed sides" in section.text[0]
    assert "nothing balances them" in section.text[1]


def test_the_values_of_the_images_stand_there(tmp_path: Path) -> None:
    section = section_of(tmp_path, change=lambda content: content["data"].update(values=VALUES))
    assert section.text[1] == (
        "Values of all images of a stage: dld: -1024 to 200 HU, 86% of the range from -1000 to 400 used; "
        "1.0% of the pixels clipped to black and 0.0% to white; 25.0% below -900 HU (air) and 0.0% above "
        "1000 HU."
    )


def test_without_a_test_side_there_is_no_such_column(tmp_path: Path) -> None:
    section = section_of(tmp_path)
    assert "test images" not in [column.title for column in section.tables[0].columns]
    assert "no test side" in section.text[0]


def test_weighted_classes_are_said(tmp_path: Path) -> None:
    section = section_of(tmp_path, class_weights="balanced")  # of the target alone, in a chain too
    assert "weighs each class by N / (C n)" in section.text[1]
    assert "not calibrated again" in section.text[1]


def test_folds_are_pooled_for_evaluation_and_listed(tmp_path: Path) -> None:
    section = section_of(tmp_path, folds=2, ratios=(1.0,))
    rows = {row[0]: row for row in shown(section.tables[0])}
    assert rows["all classes"][3] == "70", "each image once a seed"
    assert rows["all classes"][4] == "12", "each patient in one fold"
    assert "2 folds by whole patients" in section.text[0]
    (by_fold,) = section.folded
    assert [row[1:3] for row in shown(by_fold)] == [
        [str(seed), str(fold)] for seed in range(3) for fold in (0, 1)
    ]


def test_sample_images_stay_what_they_were(tmp_path: Path) -> None:
    sheet = tmp_path / "samples.jpg"
    write_sample_sheet(sheet, 3)
    picture = sample_images("dld", sheet, ["CON", "GGO", "HCM"])
    assert picture is not None
    assert b"image/jpeg" in picture.svg and b"image/png" not in picture.svg
    drawn = np.asarray(Image.open(io.BytesIO(picture.png)).convert("L")).astype(int)
    with Image.open(sheet) as opened:
        pixels = np.asarray(opened).astype(int)
    right = drawn[:, -pixels.shape[1] * drawn.shape[0] // pixels.shape[0] :]  # the sheet without its labels
    for row in range(3):
        for column in range(6):
            y, x = (row * 50 + 24) / pixels.shape[0], (column * 50 + 24) / pixels.shape[1]
            found = right[int(y * right.shape[0]), int(x * right.shape[1])]
            assert abs(found - pixels[row * 50 + 24, column * 50 + 24]) < 6


def test_no_sheet_no_picture(tmp_path: Path) -> None:
    assert sample_images("dld", tmp_path / "samples.jpg", ["CON"]) is None


def test_the_baseline_has_a_two_way_interval(tmp_path: Path) -> None:
    small_study(folds=2).write(tmp_path)
    runs = load_runs(tmp_path)
    runs = runs[runs["process"].notna()]
    pooled = pool_folds(runs[runs["data_ratio"] == 1.0])
    section = baseline_section(pooled, LABELS)
    assert section is not None
    (found,) = section.tables
    data = found.data.set_index("label")
    # the fake baseline is right for 41 of 100 images, those whose number says so, at every seed
    right = {f"{group}/slice-{i}.png": i * 37 % 100 < 41
             for i, group in ((i, f"PATIENT-{i * 7 % 12:04d}^DOE") for i in range(70))}  # fmt: skip
    baseline = np.array([[right[sample] for sample in pooled.samples]] * 3, dtype=float)
    assert data.loc["grey-level histograms", "mean"] == pytest.approx(baseline.mean())
    expected = two_way_difference(pooled.correctness(("two_stage", 1.0)), baseline, pooled.groups)
    row = data.loc[LABELS["two_stage"]]
    assert [row["difference"], row["difference_low"], row["difference_high"]] == pytest.approx(
        [expected.estimate, expected.low, expected.high]
    )
    predicted = pooled.histogram[1.0][0]  # the same at every seed
    assert baseline_level(METRICS["f1_score_macro"], pooled) == pytest.approx(
        f1_score(pooled.labels, predicted, average="macro")
    )
    assert baseline_level(METRICS["accuracy"], pooled) == pytest.approx(baseline.mean())
    assert baseline_level(METRICS["cross_entropy"], pooled) is None, "it has no probabilities"
    assert baseline_level(METRICS["accuracy"], None) is None


def _worse_than_nothing(content: dict[str, Any]) -> None:
    content["data"]["histogram_accuracy"] = 0.001


def test_the_baseline_is_inside_the_axis_of_every_accuracy_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_study(change=_worse_than_nothing).write(tmp_path)
    runs = load_runs(tmp_path)
    runs = runs[runs["process"].notna()]
    details, styles = read_details(runs), styles_of(LABELS)
    assert details.baseline == pytest.approx({0.2: 0.001, 1.0: 0.001})
    drawn: list[Any] = []
    for module in (figures_study, figures_curves):
        save = module.save  # type: ignore[attr-defined]

        def keep(figure: Any, *arguments: Any, save: Any = save) -> Any:
            drawn.append(figure)
            return save(figure, *arguments)

        monkeypatch.setattr(module, "save", keep)
    means = at_ratios(runs, "accuracy").assign(metric="accuracy")
    metric = METRICS["accuracy"]
    words = Words(infer(runs, pool_folds(runs), [metric]), metric, None, LABELS)
    pictures = [
        figures_study.performance_points(words, styles, details.baseline[1.0]),
        figures_study.ratio_bars(means, styles, details.baseline, set()),
        figures_curves.learning_curves(details.curves, styles, details.baseline),
        figures_curves.run_curves(details.curves, "scratch", styles["scratch"], details.baseline),
    ]
    for picture, figure in zip(pictures, drawn, strict=True):
        assert "linear classifier on the grey-level histograms" in picture.caption, picture.name
        found = 0
        for axes in figure.axes:
            for line in axes.get_lines():
                x, y = (np.unique(np.asarray(values, dtype=float)) for values in line.get_data())
                if len(x) == 1 and x[0] == pytest.approx(0.1):  # percent
                    assert axes.get_xlim()[0] <= 0.1 <= axes.get_xlim()[1]
                    found += 1
                elif len(y) == 1 and y[0] == pytest.approx(0.1):
                    assert axes.get_ylim()[0] <= 0.1 <= axes.get_ylim()[1]
                    found += 1
        assert found, picture.name
    loss = METRICS["cross_entropy"]
    words = Words(infer(runs, None, [loss]), loss, None, LABELS)
    caption = figures_study.performance_points(words, styles).caption
    assert "There is no cross-entropy of the classifier on grey-level histograms: it says" in caption
