"""Rows of a table that a person wrote, by the names of their columns, however a spreadsheet saved it.

The one reader of manifests, groups and boxes. `datamodules.files.text` brings the bytes to text, the csv
module splits the lines; which sign separates values is seen from the header, which must name the columns
that are needed, so that nothing is guessed.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

from datamodules.files.names import normalised
from datamodules.files.text import read_text
from stages.errors import RelayError

_SEPARATORS = (",", ";", "\t", "|")
_SEP_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE | re.DOTALL)  # Excel's own first line
_BLANKS = re.compile(r"[\u00a0\u2007\u202f]")
_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff]")
# What Excel makes of an id of twelve digits, and what it writes for a formula that failed.
_SHORTENED = re.compile(r"[+-]?\d([.,]\d+)?E\+\d{2,3}", re.IGNORECASE)
_LONGEST_DAMAGE = 16  # characters; paths are mostly longer
_FAILED = re.compile(r"#(NAME\?|REF!|N/A|VALUE!|DIV/0!|NUM!|NULL!|#+)")
_MONTH = r"(jan|feb|mar|m\u00e4r|mrz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez)"
_DATE = re.compile(rf"\d{{1,2}}[-. ]+{_MONTH}\.?|{_MONTH}\.?[- ]\d{{2}}", re.IGNORECASE)
# Headers that people give to the columns; a message may print these, and no other word of a file.
_ALSO_CALLED = {
    "path": ("file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "name"),
    "class": ("label", "labels", "class_name", "category", "target", "diagnosis"),
    "group": ("patient", "patient_id", "patientid", "subject", "subject_id", "case", "object"),
    "split": ("set", "side", "subset", "partition", "fold", "phase", "dataset", "is_valid"),
    "label": ("class", "category", "name"),
    "slice": ("slice_number", "z", "image"),
}

Row = tuple[int, Mapping[str, str]]
"""The number of the line that a row begins on, and its values by column."""


@dataclass(frozen=True)
class Table:
    """A table whose header has been read.

    Attributes:
        what: What messages call the file. They hold none of its values, which may name a patient.
        notes: What a person should know of how it was read, and of its rows once these have been read. They
            name neither the file nor a value.
        separator: What separates values.
    """

    what: str
    notes: list[str]
    separator: str
    _text: str = field(repr=False)
    _places: Mapping[str, int]
    _width: int
    _begin: int
    _names: tuple[str, ...]

    def rows(self) -> Iterator[Row]:
        """The rows that have a value, of the columns that were asked for.

        Values are stripped and in Unicode's NFC; blanks that do not break are plain ones. They stay text: 007
        is not 7.

        Raises:
            RelayError: A row has more values than the header has columns, a quote is left open, or a value is
                what Excel leaves of another.
        """
        dates = 0
        lines = _lines(self._text, self.separator, self._begin, self.what)
        next(lines)  # the header
        for line, cells in lines:
            if any(cells[self._width :]):
                raise RelayError(
                    f"{self.what}: line {line} has {len(cells)} values, the header {self._width} columns; "
                    'put a value that holds the separator between quotes, as in "a,b".'
                )
            filled = cells + [""] * (self._width - len(cells))
            values = {name: filled[place] for name, place in self._places.items()}
            for name in self._names:
                value = values[name]
                if len(value) > _LONGEST_DAMAGE:
                    continue
                if _SHORTENED.fullmatch(value) or _FAILED.fullmatch(value):
                    raise RelayError(
                        f"{self.what}: {name} of line {line} is what Excel leaves of a long number or a "
                        "failed formula; make the column text there, enter the values again and save it."
                    )
                dates += _DATE.fullmatch(value) is not None
            yield line, values
        if dates:
            self.notes.append(
                f"{dates} values look like days of a month, which Excel makes of names such as 1-2; check "
                "them."
            )


def read_table(
    location: str | PathLike[str],
    needed: Sequence[str],
    optional: Sequence[str] = (),
    *,
    what: str,
    numbers: Sequence[str] = (),
) -> Table:
    """Read a CSV file and its header.

    Commas, semicolons, tabs or bars separate values; Excel's first line `sep=;` is followed. A byte order
    mark, UTF-16, any ends of lines, headers in any case, other columns, and empty rows and columns at the end
    do not matter. What is not UTF-8 is read as Windows-1252, Excel's own, with a note.

    Args:
        location: The file.
        needed: Columns that it must have.
        optional: Columns that it may have.
        what: What messages call the file.
        numbers: Those of the columns that hold numbers, where 1.2E+03 is one.

    Raises:
        RelayError: The file cannot be read or is no text, lacks a column, or has one twice.
    """
    notes: list[str] = []
    text = read_text(location, what, notes)
    begin, given = 0, ""
    if found := _SEP_LINE.match(text.split("\n", 1)[0].split("\r", 1)[0]):
        begin, given = 1, found[1]
    separators = [given] if given else _SEPARATORS
    headers = {sign: _header(text, sign, begin, what) for sign in separators}
    separator = max(separators, key=lambda sign: sum(name in headers[sign] for name in (*needed, *optional)))
    header = headers[separator]
    absent = [name for name in needed if name not in header]
    if absent:
        raise _lacks(what, absent, header, needed)
    places = {name: header.index(name) for name in (*needed, *optional) if name in header}
    twice = [name for name in places if header.count(name) > 1]
    if twice:
        raise RelayError(f"{what}: the column {twice[0]} is there twice; keep one of them.")
    for name in optional:
        other = [] if name in places else _also(name, header)
        if other:
            notes.append(f"its column {other[0]} is not read; where it means {name}, call it so.")
    names = tuple(name for name in places if name not in numbers)
    return Table(what, notes, separator, text, places, len(header), begin, names)


def decimal_mark(numbers: Sequence[str], separator: str = ",") -> str:
    """The sign before the decimals of a column of numbers: a point, or the comma of many languages.

    Args:
        numbers: Texts.
        separator: Of the table. Beside semicolons, 1.234 may be a thousand and more, as 1,234 may anywhere.

    Raises:
        ValueError: There are both signs, or every number may have one between thousands; says so.
    """
    marked = [text for text in numbers if "," in text or "." in text]
    marks = {mark for text in marked for mark in ",." if mark in text}
    if len(marks) > 1:
        raise ValueError("its numbers have commas and points; write them without thousands separators")
    may_be_thousands = all(re.fullmatch(r"[+-]?[1-9]\d{0,2}([,.]\d{3})+", text) for text in marked)
    if marked and may_be_thousands and (marks == {","} or separator == ";"):
        raise ValueError(
            "its numbers may have marks of thousands or of decimals, as 1,234 and 1.234; write them without "
            "thousands separators, and with another number of decimals than three"
        )
    return marks.pop() if marks else "."


def _header(text: str, separator: str, begin: int, what: str) -> list[str]:
    _, cells = next(_lines(text, separator, begin, what, strict=False), (0, []))
    names = [cell.lstrip("#").strip().lower() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


def _lines(
    text: str, separator: str, begin: int, what: str, *, strict: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Lines with a value after the first `begin`: the number of each and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=strict)
    line = 1
    try:
        for raw in reader:
            cells = [_plain(cell) for cell in raw]
            if line > begin and any(cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise RelayError(
            f"{what} is not a CSV file in UTF-8, from line {line} on: {error}; export it again."
        ) from None


def _plain(cell: str) -> str:
    if cell.isascii():
        return cell.strip()
    return normalised(_BLANKS.sub(" ", _INVISIBLE.sub("", cell)).strip())


def _also(name: str, header: Sequence[str]) -> list[str]:
    return [other for other in _ALSO_CALLED.get(name, ()) if other in header]


def _lacks(what: str, absent: Sequence[str], header: Sequence[str], needed: Sequence[str]) -> RelayError:
    renamed = [f"call its column {other} {name}" for name in absent for other in _also(name, header)[:1]]
    hint = f" Perhaps {' and '.join(renamed)}." if renamed else ""
    empty = "" if header else " is empty"
    return RelayError(
        f"{what}{empty}: the column {', '.join(absent)} is missing; the first line must name "
        f"{','.join(needed)}, separated by commas, semicolons or tabs. Other columns are ignored.{hint}"
    )
