"""The report's sentences, numbers, tables and calibration."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.report.study_tables import slope_test_table
from analysis.report.tables import Table, file_name, number, p_text, rounded, text
from analysis.runs.details import Reliability, read_details
from analysis.runs.load import load_runs
from analysis.runs.study import find_studies
from lightning_modules.metrics import evaluate
from stages.metrics import CALIBRATION_BINS
from tests.helpers.report_helpers import small_study


def test_numbers_are_written_as_in_print() -> None:
    assert rounded(-0.04, 1) == "0.0"
    assert rounded(-1.25, 1) == "\N{MINUS SIGN}1.2"
    assert rounded(1.5, 0, sign=True) == "+2"
    assert rounded(12345.0, 0) == "12,345"
    assert (p_text(0.00002), p_text(0.0312), p_text(1.0)) == ("< 0.001", "0.031", "1")


def test_a_table_escapes_latex_and_leaves_csv_in_full() -> None:
    data = pd.DataFrame({"name": ["50% & a_b", "c\n\nd"], "value": [1 / 3, np.nan]})
    table = Table(
        "t", "T_1", "100% of it", [text("name", "name"), number("value", "v (%)", 1, scale=100)], data
    )
    latex = table.to_latex()
    assert r"50\% \& a\_b & 33.3 \\" in latex
    assert r"c d & -- \\" in latex  # an empty line would end a paragraph inside the row
    assert r"\toprule" in latex and r"\bottomrule" in latex
    assert r"\caption{T\_1. 100\% of it}" in latex
    assert table.to_csv() == 'name,value\n50% & a_b,0.3333333333333333\n"c\n\nd",\n'


def test_no_two_processes_share_a_file() -> None:
    assert file_name("two_stage") == "two_stage"
    names = {file_name(process) for process in ("a b", "a_b", "a > b", "a/b", "a: b")}
    assert len(names) == 5
    assert all(re.fullmatch(r"[\w+.-]+", name) for name in names)


def test_calibration_is_that_of_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(500, 4, generator=generator) * 3
    logits[:20] = torch.tensor([60.0, 0.0, 0.0, 0.0])  # a confidence of exactly 1
    labels = torch.randint(4, (500,), generator=generator)
    reliability = Reliability()
    for fold in (slice(0, 200), slice(200, 500)):  # the folds of seed 3 are one set
        reliability.add(3, logits[fold].numpy(), labels[fold].numpy())
    assert reliability.errors == pytest.approx([evaluate(logits, labels).metrics["calibration_error"]])
    reliability.add(0, logits[:50].numpy(), labels[:50].numpy())
    assert len(reliability.errors) == 2
    assert reliability.counts.sum() == 550
    assert len(reliability.counts) == CALIBRATION_BINS == 15


def test_details_sum_confusion_over_seeds_and_keep_all_curves(tmp_path: Path) -> None:
    folders = small_study().write(tmp_path)
    details = read_details(find_studies(load_runs(tmp_path))[0].runs)
    records = [folder.read_record() for folder in folders]
    whole = [record for record in records if record.data_ratio == 1.0 and len(record.chain) == 1]
    expected = np.sum([record.confusion_matrix for record in whole], axis=0)
    assert details.confusion["scratch"].tolist() == expected.tolist()
    assert {cell: len(curves) for cell, curves in details.curves.items()} == {
        (process, ratio): 3 for process in ("scratch", "two_stage") for ratio in (0.2, 1.0)
    }
    for curve in details.curves["scratch", 1.0]:
        (record,) = [each for each in whole if each.seed == curve.seed]
        last = curve.values["accuracy"][-1]
        assert last == pytest.approx(record.metrics["accuracy"].last)
        assert len(curve.values["accuracy"]) == record.epochs


def test_slopes_of_processes_that_share_no_seed_at_two_ratios_are_left_out() -> None:
    pair = {"process_a": "a", "process_b": "b", "metric": "accuracy", "difference": 1.0, "n": 3}
    without = pair | {"process_b": "c", "difference": np.nan, "n": 0}
    rest = dict.fromkeys(("p_max_t", "all_low", "all_high"), 0.5)
    tests = pd.DataFrame([pair | rest, without | rest])
    shown = slope_test_table(tests, {name: name.upper() for name in "abc"}).rows()
    assert [[cell.text for cell in row][1:3] for row in shown] == [["A", "B"]]
