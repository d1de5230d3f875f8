"""The report's sentences, numbers, tables and calibration."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.report import sentences
from analysis.report.study_tables import slope_test_table
from analysis.report.tables import Table, file_name, number, p_text, rounded, text
from analysis.runs.details import Reliability, read_details
from analysis.runs.load import load_runs
from analysis.runs.study import find_studies
from analysis.statistics.comparison import pairwise
from lightning_modules.metrics import evaluate
from stages.metrics import CALIBRATION_BINS
from tests.helpers.report_helpers import small_study


def _runs(**values: list[float]) -> pd.DataFrame:
    rows = [
        {"process": process, "seed": seed, "data_ratio": 1.0, "stage": "dld", "accuracy_p75": value}
        for process, of_process in values.items()
        for seed, value in enumerate(of_process)
    ]
    return pd.DataFrame(rows)


def test_a_difference_is_told_from_its_process_whichever_stands_first() -> None:
    runs = _runs(scratch=[0.5, 0.6, 0.7], two_stage=[0.6, 0.8, 0.8])
    pairs = pairwise(runs, "accuracy")
    there, back = (
        sentences.pair_of(pairs, "scratch", "two_stage"),
        sentences.pair_of(pairs, "two_stage", "scratch"),
    )
    # differences -0.1, -0.2, -0.1: mean -0.4 / 3
    assert there.difference == pytest.approx(-0.4 / 3)
    assert back.difference == pytest.approx(0.4 / 3)
    assert (back.low, back.high) == (-there.high, -there.low)
    assert back.low < back.difference < back.high
    assert there.n == 3 and there.tests == 1
    with pytest.raises(KeyError):
        sentences.pair_of(pairs, "scratch", "texture")


@pytest.mark.parametrize(
    ("n", "tests", "p_holm", "said"),
    [
        (12, 15, 0.002, ": a difference at the 1% level"),
        (12, 15, 0.2, ": no difference is shown"),
        (12, 15, 0.03, ": below 0.05, not below 0.01"),
        (
            10,
            15,
            0.03,
            "below 0.05, not below 0.01; not enough seeds for p < 0.01 in 15 tests (12 are needed",
        ),
        (6, 15, 0.47, ": not enough seeds for p < 0.01, or even 0.05, in 15 tests (12 are needed for 0.01)"),
        (5, 1, 0.0625, "not enough seeds for p < 0.01, or even 0.05, in 1 test (8 are needed for 0.01)"),
    ],
)
def test_what_a_test_supports_depends_on_what_it_could_have_shown(
    n: int, tests: int, p_holm: float, said: str
) -> None:
    # 2^(1 - n) is the smallest p of n pairs; Holm multiplies it by the number of tests
    pair = sentences.Pair(n, 0.02, 0.01, 0.03, p_holm / tests, p_holm, 2.0 ** (1 - n), tests)
    text = sentences.difference_text(pair)
    assert text.endswith(said) or said in text
    assert text.startswith("+2.0 percentage points (95% interval +1.0 to +3.0 percentage points;")


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
    reliability.add(logits.numpy(), labels.numpy())
    assert reliability.errors == pytest.approx([evaluate(logits, labels).metrics["calibration_error"]])
    assert reliability.counts.sum() == 500
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
    rest = dict.fromkeys(("stderr", "p", "p_holm", "ci_low", "ci_high"), 0.5)
    tests = pd.DataFrame([pair | rest, without | rest])
    shown = slope_test_table(tests, {name: name.upper() for name in "abc"}).rows()
    assert [[cell.text for cell in row][1:3] for row in shown] == [["A", "B"]]
