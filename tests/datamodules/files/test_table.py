"""Rows of CSV files, as spreadsheets write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.files.groups import read_groups
from datamodules.files.table import read_rows
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
        'path,group\n"a.png",p1\nb.png,p2,more\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_however_a_spreadsheet_wrote_it(tmp_path: Path, text: str, encoding: str) -> None:
    assert read_groups(written(tmp_path / "g.csv", text, encoding)) == {"a.png": "p1", "b.png": "p2"}


def test_lines_are_numbered_and_optional_columns_may_be_missing(tmp_path: Path) -> None:
    file = written(tmp_path / "t.csv", "a,B\n1,2\n\n3\n")
    assert list(read_rows(file, ["a"], ["b", "c"], what="it")) == [
        (2, {"a": "1", "b": "2"}),
        (4, {"a": "3", "b": ""}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the column path, group is missing; the first line must name path,group"),
        ("path;group\nSECRET;1\n", "is missing; .* It has semicolons for commas: export it with commas"),
        ("path\tgroup\nSECRET\t1\n", "is missing; .* It has tabs for commas"),
        ("path,patient\nSECRET,1\n", "the column group is missing"),
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
