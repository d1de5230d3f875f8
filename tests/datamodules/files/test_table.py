"""Rows of CSV files, as spreadsheets write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datamodules.files.groups import read_groups
from datamodules.files.table import decimal_mark, read_table
from stages.errors import RelayError


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding, newline="")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "path,group\na.png,p1\nb.png,p2\n",
        "Path,GROUP\na.png,p1\nb.png,p2",
        " PATH , Group \r\n a.png , p1 \r\nb.png,p2\r\n",
        "path,group\na.png,p1\nb.png,p2\n\n\n",
        "path,group\na.png,p1\nb.png,p2\n,\n,,,\n",
        "note,group,path\nx,p1,a.png\n,p2,b.png\n",
        ",,\n,path,group\n,a.png,p1\n,b.png,p2\n",
        "# path,group\ra.png,p1\rb.png,p2\r",
        "\u00a0path,group,,,\na.png\u00a0,p1,,,\nb.png,p2,,,\n",
        'path,group\n"a.png",p1\nb.png,p2,,\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_however_a_spreadsheet_wrote_it(tmp_path: Path, text: str, separator: str, encoding: str) -> None:
    text = text.replace(",", separator)
    assert read_groups(written(tmp_path / "g.csv", text, encoding)).of == {"a.png": "p1", "b.png": "p2"}


def test_lines_are_numbered_and_optional_columns_may_be_missing(tmp_path: Path) -> None:
    file = written(tmp_path / "t.csv", "a,B\n1,2\n\n3\n")
    assert list(read_table(file, ["a"], ["b", "c"], what="it").rows()) == [
        (2, {"a": "1", "b": "2"}),
        (4, {"a": "3", "b": ""}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the column path, group is missing; the first line must name path,group"),
        ("path,patient\nSECRET,1\n", "the column group is missing.*call its column patient group"),
        ("path,group\na.png,1\nb,c.png,SECRET\n", "line 3 has 3 values, the header 2 columns"),
        ("path,Group,group\nSECRET,1,2\n", "the column group is there twice"),
        ("path,group\n", "has no rows"),
        ("path,group\nSECRET,\n", "has no path or no group in line 2"),
        ("path,group\n\n,SECRET\n", "has no path or no group in line 3"),
        ("path,group\nSECRET,1\nSECRET,2\n", "gives the path of line 3 two groups"),
        ('path,group\n"SECRET,1\n', "is not a CSV file in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_said_without_a_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RelayError, match=message) as caught:
        read_groups(written(tmp_path / "g.csv", text))
    assert "SECRET" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="cannot be read: No such file or directory; set it to a CSV file"):
        read_groups(tmp_path / "g.csv")


def test_excels_own_first_line_says_the_separator(tmp_path: Path) -> None:
    file = written(tmp_path / "g.csv", "sep=;\r\npath;group\r\na,b.png;1\r\n", "utf-8-sig")
    assert list(read_table(file, ["path", "group"], what="it").rows()) == [
        (3, {"path": "a,b.png", "group": "1"})
    ]


def test_the_separator_is_that_of_the_header_whatever_is_more_frequent(tmp_path: Path) -> None:
    file = written(tmp_path / "g.csv", "path;group;note\na;p1;1,2,3,4\nb;p2;5,6,7,8\n")
    assert read_groups(file).of == {"a": "p1", "b": "p2"}


def test_values_stay_as_they_are_written(tmp_path: Path) -> None:
    file = written(
        tmp_path / "g.csv", 'path,group\na,007\nb,7\nc,1.0\nd,"two\nlines, ""q"""\ne,TRUE\n\nf,x\n'
    )
    table = read_table(file, ["path", "group"], what="it")
    assert [(line, values["group"]) for line, values in table.rows()] == [
        (2, "007"), (3, "7"), (4, "1.0"), (5, 'two\nlines, "q"'), (7, "TRUE"), (9, "x"),
    ]  # fmt: skip
    assert read_groups(written(tmp_path / "h.csv", "path,group\na,007\nb,7\nc,8\n")).notes == (
        "the groups file: 2 groups differ from another in capitals, blanks, signs, leading zeros or a "
        "`.0` alone, and count as different patients; give a patient one spelling.",
    )
    signs = read_groups(written(tmp_path / "s.csv", "path,group\na,MRN-12\nb,mrn12\nc,1-23\nd,12-3\n"))
    assert [note.split(" differ")[0] for note in signs.notes] == ["the groups file: 2 groups"]
    pandas = read_groups(written(tmp_path / "i.csv", "path,group\na,12.0\nb,12\nc,1.20\nd,1.2\n"))
    assert [note.split(" differ")[0] for note in pandas.notes] == ["the groups file: 2 groups"]


def test_windows_1252_is_read_and_noted(tmp_path: Path) -> None:
    table = read_table(
        written(tmp_path / "g.csv", "path;group\nä.png;Müller\n", "cp1252"), ["path", "group"], what="it"
    )
    assert [values for _, values in table.rows()] == [{"path": "ä.png", "group": "Müller"}]
    assert ["line 2" in note and "Windows-1252" in note for note in table.notes] == [True]


def test_what_looks_like_a_column_of_another_name_and_like_dates_is_noted(tmp_path: Path) -> None:
    file = written(tmp_path / "g.csv", "path,group,Set\na,1-Mar,train\nb,02. Jan,val\nc,2011-02-03,val\n")
    table = read_table(file, ["path", "group"], ["split"], what="it")
    assert len(list(table.rows())) == 3
    assert len(table.notes) == 2
    assert "its column set is not read; where it means split, call it so" in table.notes[0]
    assert table.notes[1].startswith("2 values look like days of a month")


def test_fastais_column_of_the_split_is_noted(tmp_path: Path) -> None:
    file = written(tmp_path / "g.csv", "path,group,is_valid\na,1,False\n")
    (note,) = read_table(file, ["path", "group"], ["split"], what="it").notes
    assert "its column is_valid is not read; where it means split, call it so" in note


@pytest.mark.parametrize("value", ["1.23457E+11", "1,23457E+11", "1E+12", "#NAME?", "#REF!", "########"])
def test_what_excel_damaged_is_refused(tmp_path: Path, value: str) -> None:
    file = written(tmp_path / "g.csv", f"path;group\na;{value}\n")
    with pytest.raises(RelayError, match="group of line 2 is what Excel leaves of a long number or a failed"):
        read_groups(file)
    table = read_table(file, ["path", "group"], what="it", numbers=["group"])
    if "E+" in value:
        assert [values["group"] for _, values in table.rows()] == [value]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "is an Excel or OpenDocument workbook, whatever its name says; save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1", "is an old Excel workbook"),
        (b"\x1f\x8b\x08", "is compressed with gzip"),
        ("path,group\na,1\n".encode("utf-16-le"), "is UTF-16 without its mark"),
        (b"path,group\na,1\nb,\x81\n", r"is not a CSV file in UTF-8 \(line 3\)"),
        (b"\xff\xfep\x00a", "is not a CSV file in UTF-8"),
    ],
)
def test_what_is_no_csv_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "g.csv").write_bytes(content)
    with pytest.raises(RelayError, match=message):
        read_groups(tmp_path / "g.csv")


def test_a_pipe_and_a_folder_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("pipe.csv", "."):
        with pytest.raises(RelayError, match="cannot be read: it is not an ordinary file"):
            read_groups(tmp_path / name)


@pytest.mark.parametrize(
    ("numbers", "mark"),
    [(["1", "2.5"], "."), (["1.234"], "."), (["1,5", "2"], ","), (["0,125"], ","), (["1,234", "2,5"], ",")],
)
def test_decimal_mark(numbers: list[str], mark: str) -> None:
    assert decimal_mark(numbers) == mark


@pytest.mark.parametrize("numbers", [["1,5", "2.5"], ["1.234,5"], ["1,234"], ["12", "1,234,567"]])
def test_marks_that_may_mean_two_things_are_refused(numbers: list[str]) -> None:
    with pytest.raises(ValueError, match="thousands"):
        decimal_mark(numbers)


def test_a_point_may_mark_thousands_where_semicolons_separate() -> None:
    with pytest.raises(ValueError, match="thousands"):
        decimal_mark(["1.234", "7"], ";")
    assert decimal_mark(["1.234", "2.5"], ";") == "."
