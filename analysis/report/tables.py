"""A table of the report: shown on the page, written as CSV (numbers in full) and as LaTeX (booktabs)."""

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stages.machine.cells import to_csv

MISSING = "\N{EN DASH}"

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A cell as it is shown.

    Attributes:
        text: what is read.
        below: a second, smaller line, or empty.
        value: what the column is sorted by; empty if there is no value, which is sorted last.
    """

    text: str
    below: str
    value: str


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        cell: makes the cell of a row.
        number: whether it is aligned to the right and sorted by value.
        code: whether it is set in a fixed-width font and may break anywhere.
    """

    title: str
    cell: Callable[[Row], Cell]
    number: bool = True
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its heading and caption.

    Attributes:
        name: of its files.
        title: a short heading.
        caption: what the numbers are.
        columns: the first one names the row.
        data: one row per row of the table, in full precision: the CSV file.
        shown: how many rows at most are on the page; the CSV file has all.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    data: pd.DataFrame
    shown: int = 1000

    @property
    def explanation(self) -> str:
        """The caption, and how much of the table is not shown."""
        if len(self.data) <= self.shown:
            return self.caption
        return f"{self.caption} The first {self.shown:,} of {len(self.data):,} rows; the CSV file has all."

    def rows(self) -> list[list[Cell]]:
        """The cells of the rows that are shown on the page."""
        records: list[Row] = self.data.head(self.shown).to_dict("records")  # type: ignore[assignment]
        return [[column.cell(row) for column in self.columns] for row in records]

    def to_csv(self) -> str:
        """All rows, as `stages.machine.cells.to_csv`."""
        return to_csv(self.data)

    def to_latex(self) -> str:
        """The table as on the page; a document that includes it must load the package booktabs."""
        shown = pd.DataFrame(
            [
                [f"{cell.text} ({cell.below})" if cell.below else cell.text for cell in row]
                for row in self.rows()
            ],
            columns=[column.title for column in self.columns],
        )
        # A class's name may have several lines, and an empty line would end a paragraph inside the row.
        shown = shown.map(_on_one_line).rename(columns=_on_one_line)
        styler = shown.style.hide(axis="index")
        styler = styler.format(escape="latex").format_index(escape="latex", axis="columns")
        latex: str = styler.to_latex(
            hrules=True,
            column_format="".join("r" if column.number else "l" for column in self.columns),
            caption=_escaped(_on_one_line(f"{self.title}. {self.explanation}")),
            label=f"tab:{self.name}",
            position_float="centering",
        )
        for character, command in ((MISSING, "--"), ("±", r"$\pm$"), ("\N{MINUS SIGN}", "$-$")):
            latex = latex.replace(character, command)
        return latex


def text(
    key: str,
    title: str,
    *,
    code: bool = False,
    name: Callable[[str], str] = lambda word: word,
    below: Callable[[str], str] = lambda word: "",
) -> Column:
    """A column of words, each shown as its `name` and, in a smaller line, what is to be said `below`."""

    def cell(row: Row) -> Cell:
        word = "" if _is_missing(row[key]) else str(row[key])
        content = name(word)
        return Cell(content or MISSING, below(word), content)

    return Column(title, cell, number=False, code=code)


def number(name: str, title: str, digits: int, *, scale: float = 1.0, sign: bool = False) -> Column:
    """A column of numbers, multiplied by `scale`."""

    def cell(row: Row) -> Cell:
        value = row[name]
        if _is_missing(value):
            return Cell(MISSING, "", "")
        return Cell(rounded(value * scale, digits, sign=sign), "", repr(float(value)))

    return Column(title, cell)


def p_value(name: str, title: str) -> Column:
    """A column of probabilities."""

    def cell(row: Row) -> Cell:
        value = row[name]
        return Cell(MISSING, "", "") if _is_missing(value) else Cell(p_text(value), "", repr(float(value)))

    return Column(title, cell)


def estimate(
    title: str,
    digits: int,
    *,
    scale: float | Callable[[Row], float] = 1.0,
    mean: str = "mean",
    error: str | None = "std",
    low: str = "ci_low",
    high: str = "ci_high",
    mark: str | None = None,
) -> Column:
    """A column of means, each with its error after a plus-minus sign and its interval below.

    Args:
        title: the column's heading.
        digits: decimal places.
        scale: what all four are multiplied by, or a function of the row that gives it.
        mean: name of the mean.
        error: name of the deviation or standard error, or None.
        low: name of the interval's lower end.
        high: name of the interval's upper end.
        mark: name of what is written after the mean, such as an asterisk.
    """

    def cell(row: Row) -> Cell:
        value = row[mean]
        if _is_missing(value):
            return Cell(MISSING, "", "")
        factor = scale(row) if callable(scale) else scale
        shown = rounded(value * factor, digits)
        if error is not None and not _is_missing(row[error]):
            shown += f" ± {rounded(row[error] * factor, digits)}"
        if mark is not None:
            shown += str(row[mark])
        below = ""
        if not _is_missing(row[low]):
            below = f"{rounded(row[low] * factor, digits)} to {rounded(row[high] * factor, digits)}"
        return Cell(shown, below, repr(float(value)))

    return Column(title, cell)


def interval(title: str, digits: int, low: str, high: str, *, scale: float = 1.0) -> Column:
    """A column of intervals, sorted by their lower ends."""

    def cell(row: Row) -> Cell:
        if _is_missing(row[low]):
            return Cell(MISSING, "", "")
        shown = f"{rounded(row[low] * scale, digits)} to {rounded(row[high] * scale, digits)}"
        return Cell(shown, "", repr(float(row[low])))

    return Column(title, cell)


def rounded(value: float, digits: int, *, sign: bool = False) -> str:
    """A number with a fixed number of decimal places, a true minus sign, and no minus before zero."""
    content = f"{value:{'+' if sign else ''},.{digits}f}"
    if float(content.replace(",", "")) == 0.0:
        content = content.lstrip("+-")
    return content.replace("-", "\N{MINUS SIGN}")


def file_name(process: str) -> str:
    """A process's name as a part of file names and anchors; two processes never share one."""
    name = re.sub(r"[^\w+.-]+", "_", process)
    if name == process:
        return name
    return f"{name}-{hashlib.sha256(process.encode()).hexdigest()[:6]}"


def p_text(p: float) -> str:
    """A probability with three decimal places, or `< 0.001`."""
    if p < 0.001:
        return "< 0.001"
    return "1" if p >= 0.9995 else f"{p:.3f}"


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _on_one_line(content: str) -> str:
    return " ".join(content.split())


def _escaped(content: str) -> str:
    return "".join(_LATEX.get(character, character) for character in content)
