"""Metrics on the page: a new one by its declaration alone, records without some, names not declared."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.metrics import precision_score, recall_score

from analysis.report.build import build_report
from analysis.report.page import render, write_report
from analysis.runs import load_runs
from analysis.statistics import compare
from lightning_modules.metrics import evaluate
from stages.epochs import summarise, to_csv
from stages.metrics import METRICS, Metric, Outputs, shown_in
from stages.plateau import Plateau
from stages.predictions import read_predictions
from stages.store import RunFolder
from tests.helpers.report_helpers import small_study, table
from tests.helpers.stage_helpers import seal

pytestmark = pytest.mark.slow  # each builds a page

NEW = ("balanced_accuracy", "auroc_macro", "brier_score")


@pytest.fixture
def axes_labels(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Labels of the axes of each figure by its title; figures are made and not drawn."""
    found: dict[str, set[str]] = {}

    def savefig(figure: Figure, file: Any, **settings: Any) -> None:
        file.write(b"-")
        labels = found.setdefault(settings["metadata"]["Title"], set())
        for axes in figure.axes:
            labels |= {axes.get_xlabel(), axes.get_ylabel(), axes.get_title()}

    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


def _hesitation(outputs: Outputs) -> float:
    """Entropy of the probabilities, averaged over images."""
    return float(torch.special.entr(outputs.probabilities).sum(dim=1).mean())


DUMMY = Metric(
    name="hesitation", title="hesitation", unit="bananas", better="lower",
    compute=_hesitation, places=("robustness",),
)  # fmt: skip


def _train_again(folder: RunFolder) -> None:
    """What training writes of a run: epochs evaluated for real, the history and the record's summary."""
    predictions = read_predictions(folder.predictions)
    logits, labels = torch.from_numpy(predictions.logits), torch.from_numpy(predictions.labels)
    rows = [
        {"epoch": epoch, "train_loss": 2.0 / (1 + epoch), **evaluate(logits * epoch, labels).metrics}
        for epoch in range(4)
    ]
    plateau = Plateau(onset=1, length=3, reached=True, learning=True)
    content = json.loads(folder.record.read_text())
    content["metrics"] = {name: each.model_dump() for name, each in summarise(rows, plateau).items()}
    content |= {"epochs": 4, "plateau": asdict(plateau)}
    folder.history.write_text(to_csv(rows))
    seal(folder, content)


def test_a_metric_is_added_by_its_declaration_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axes_labels: dict[str, set[str]]
) -> None:
    monkeypatch.setitem(METRICS, DUMMY.name, DUMMY)
    folders = small_study().write(tmp_path)
    for folder in folders:
        _train_again(folder)
    # the record and the history
    record, predictions = folders[1].read_record(), read_predictions(folders[1].predictions)
    logits = predictions.logits.astype(np.float64) * np.array([1.0, 2.0, 3.0])[:, None, None]
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))
    shares = powers / powers.sum(axis=2, keepdims=True)
    expected = [float(-(each * np.log(each)).sum(axis=1).mean()) for each in shares]
    assert record.metrics["hesitation"].p75 == pytest.approx(np.percentile(expected, 75))
    assert record.metrics["hesitation"].best == pytest.approx(min(expected))  # lower is better
    assert "hesitation" in folders[1].history.read_text().splitlines()[0].split(",")
    # the table of runs and the statistics
    runs = load_runs(tmp_path)
    assert record.metrics["hesitation"].p75 in runs["hesitation_p75"].tolist()
    assert record.metrics["hesitation"].mean == pytest.approx(np.mean(expected))
    rows = compare(runs).set_index(["process", "metric"])
    means = runs[runs["data_ratio"] == 1.0].groupby("process")["hesitation_p75"].mean()
    assert rows.loc[("scratch", "hesitation"), "mean"] == pytest.approx(means["scratch"])
    # a table with unit and direction, and the axes of figures
    report = build_report(tmp_path)
    cells = [row[1] for row in table(report, "metrics").rows()]
    assert {(cell.text, cell.below) for cell in cells} >= {
        ("hesitation", "bananas, lower is better"),
        ("accuracy", "fraction, higher is better"),
    }
    assert "hesitation (bananas)" in [column.title for column in table(report, "ratios").columns]
    assert "hesitation (bananas)" in [row[1].text for row in table(report, "table2").rows()]
    for figure in ("Figure 6", "Figure 7"):
        (labels,) = [labels for title, labels in axes_labels.items() if figure in title]
        assert "hesitation (bananas)" in labels
    assert METRICS["hesitation"] in shown_in("robustness")


def test_records_and_histories_from_before_a_metric_still_give_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axes_labels: dict[str, set[str]]
) -> None:
    """The metrics of today are not in them, nor is one that the figures would show."""

    def old(content: dict[str, Any]) -> None:
        content["metrics"] = {name: each for name, each in content["metrics"].items() if name not in NEW}

    small_study(change=old).write(tmp_path)
    monkeypatch.setitem(METRICS, DUMMY.name, DUMMY)
    runs = load_runs(tmp_path)
    assert runs[runs["stage"] == "dld"][[METRICS[name].column for name in NEW]].isna().all(axis=None)
    report = build_report(tmp_path)
    shown = {row[1].text for row in table(report, "metrics").rows()}
    assert "macro F1" in shown and not {METRICS[name].title for name in NEW} & shown
    assert table(report, "table1").data["accuracy_mean"].notna().all()
    assert table(report, "classes").data["specificity_mean"].notna().all()
    (labels,) = [labels for title, labels in axes_labels.items() if "Figure 6" in title]
    assert {"accuracy (%)", "cross-entropy (nats)"} < labels and "hesitation (bananas)" not in labels


def test_some_runs_without_a_metric_are_left_out_of_its_mean(
    tmp_path: Path, axes_labels: dict[str, set[str]]
) -> None:
    def old(content: dict[str, Any]) -> None:
        if content["seed"] == 0:
            del content["metrics"]["auroc_macro"]

    small_study(change=old).write(tmp_path)
    rows = table(build_report(tmp_path), "metrics").data.set_index(["process", "metric"])
    assert rows.loc[("scratch", "auroc_macro"), "n"] == 2 and rows.loc[("scratch", "accuracy"), "n"] == 3


def test_a_metric_that_no_one_declared_is_shown_as_it_is_stored_and_said_to_be_unknown(
    tmp_path: Path, axes_labels: dict[str, set[str]]
) -> None:
    def foreign(content: dict[str, Any]) -> None:
        content["metrics"]["recall_of_the_future"] = dict(content["metrics"]["accuracy"])

    small_study(change=foreign).write(tmp_path)
    report = build_report(tmp_path)
    rows = [row for row in table(report, "metrics").rows() if row[1].text == "recall_of_the_future"]
    assert [row[1].below for row in rows] == ["unit and direction not known"] * 2
    accuracy = [row for row in table(report, "metrics").rows() if row[1].text == "accuracy"]
    assert [row[2].text for row in rows] == [row[2].text for row in accuracy]  # in [0, 1], unscaled
    assert "unit and direction not known" in render(report)
    assert all("recall_of_the_future" not in text for labels in axes_labels.values() for text in labels)


def test_the_table_of_classes_is_scikit_learns_over_seeds(
    tmp_path: Path, axes_labels: dict[str, set[str]]
) -> None:
    folders = small_study().write(tmp_path / "runs")
    report = build_report(tmp_path / "runs")
    found = table(report, "classes")
    (section,) = [section for section in report.sections if found in section.all_tables]
    assert section.name == "confusion"
    data = found.data.set_index(["process", "class"])
    of_seeds: dict[str, list[list[float]]] = {"sensitivity": [], "specificity": [], "precision": []}
    for folder in folders:
        record = folder.read_record()
        if record.data_ratio != 1.0 or len(record.chain) > 1:
            continue
        predictions = read_predictions(folder.predictions)
        labels, predicted = predictions.labels, predictions.predicted
        every = {"average": None, "zero_division": 0}
        of_seeds["sensitivity"].append(recall_score(labels, predicted, **every))
        of_seeds["precision"].append(precision_score(labels, predicted, **every))
        of_seeds["specificity"].append(
            [recall_score(labels != label, predicted != label) for label in range(len(record.data.classes))]
        )
    for metric, values in of_seeds.items():
        assert len(values) == 3
        assert data.loc["scratch", f"{metric}_mean"].tolist() == pytest.approx(np.mean(values, axis=0))
        assert data.loc["scratch", f"{metric}_std"].tolist() == pytest.approx(np.std(values, axis=0, ddof=1))
    record = folders[0].read_record()
    assert data.loc["scratch", "images"].tolist() == record.data.val_counts
    assert [column.title for column in found.columns] == [
        "process", "class", "images", "sensitivity (%)", "specificity (%)", "precision (%)",
    ]  # fmt: skip
    write_report(report, tmp_path / "out")
    assert (tmp_path / "out" / "tables" / "classes.csv").is_file()
    latex = (tmp_path / "out" / "tables" / "classes.tex").read_text()
    assert r"sensitivity (\%)" in latex
    assert data["sensitivity_ci_high"].max() <= 1.0
