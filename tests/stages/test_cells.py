"""Names in CSV files, as a spreadsheet reads them: LibreOffice and Excel take = + - @ for formulas."""

import io

import numpy as np
import pandas as pd
import pytest

from stages.machine.cells import neutral, original, to_csv


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+49 30", "'+49 30"),
        ("-cmd", "'-cmd"),
        ("\t=1", "'\t=1"),
        ("'quoted", "''quoted"),
        ("-0.5", "-0.5"),
        ("1e-5", "1e-5"),
        ("CON", "CON"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_name_is_no_formula_and_is_read_back(name: str, cell: str) -> None:
    assert neutral(name) == cell
    assert original(cell) == name


def test_numbers_stay_numbers_and_missing_values_empty() -> None:
    table = pd.DataFrame({"class": ["=A", "B"], "=score": [-0.1, np.nan]})
    text = to_csv(table)
    assert text == "class,'=score\n'=A,-0.1\nB,\n"
    assert pd.read_csv(io.StringIO(text))["'=score"].tolist()[0] == -0.1
