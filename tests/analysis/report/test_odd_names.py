"""Classes under names that would act: in figures, on the page, in tables."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from analysis.report.__main__ import main
from analysis.report.figures import process_styles
from analysis.report.figures_evaluation import confusion_matrix
from tests.helpers.report_helpers import small_study

NAMES = (
    *(
        "a $\\frac$ b",
        "$x$",
        "_hidden",
        "100% {{7*7}} {% x %}",
        "<script>alert(1)</script>&amp;",
        "--> <!-- ]]>",
    ),
    *(
        "=cmd|' /C calc'!A0",
        "long " * 40,
        "\u202eRTL \u05d0",
        "[red]:smile:",
        "中文 \U0001f600",
        "x\x1b[31my",
        "a\nb",
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_shows_the_name_and_is_a_whole_file(name: str) -> None:
    """matplotlib writes each text of a figure into its SVG as a comment."""
    style = process_styles([("scratch", f"(1) {name}")])["scratch"]
    picture = confusion_matrix("scratch", style, np.eye(2, dtype=np.int64), [name, "other"], "One run")
    ElementTree.fromstring(picture.svg)
    drawn = picture.svg.decode().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    if name.isprintable() and len(name) <= 32 and "--" not in name:
        assert f"<!-- {name} -->" in drawn


@pytest.mark.slow
def test_the_page_and_its_tables_say_names_as_they_are(tmp_path: Path) -> None:
    small_study(classes=NAMES, samples=150).write(tmp_path)
    main([f"runs_dir={tmp_path}"])
    report = tmp_path / "report"
    page = (report / "report.html").read_text()
    assert "<script>alert" not in page
    for literal in (
        "a $\\frac$ b",
        "{{7*7}}",
        "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;",
        "[red]:smile:",
    ):
        assert literal in page
    cells = [
        cell.strip('"')
        for table in report.glob("tables/*.csv")
        for line in table.read_text().splitlines()
        for cell in line.split(",")
    ]
    assert "'=cmd|' /C calc'!A0" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]
