"""Rows of a CSV file by the names of their columns, however a spreadsheet wrote it."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike

from datamodules.files.names import normalised
from stages.errors import RelayError

_OTHER_SEPARATORS = ((";", "semicolons"), ("\t", "tabs"))


def read_rows(
    location: str | PathLike[str], needed: Sequence[str], optional: Sequence[str] = (), *, what: str
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows of a CSV file in UTF-8 with commas.

    A byte order mark, headers in any case, other columns and rows without any value, as spreadsheets leave
    them at the end, do not matter. Values are stripped, and in Unicode's NFC.

    Args:
        location: The file.
        needed: Columns that it must have.
        optional: Columns that it may have.
        what: What messages call the file. They hold none of its values, which may name a patient.

    Yields:
        The line's number, and its values by column; without those of optional columns that are not there.

    Raises:
        RelayError: The file cannot be read, lacks a column, or has one twice.
    """
    wanted = (*needed, *optional)
    try:
        with open(location, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            places = {name: header.index(name) for name in wanted if name in header}
            absent = [name for name in needed if name not in places]
            if absent:
                other = [name for sign, name in _OTHER_SEPARATORS if len(header) == 1 and sign in header[0]]
                raise RelayError(
                    f"{what}: the column {', '.join(absent)} is missing; the first line must name "
                    f"{','.join(needed)}, other columns are ignored."
                    + "".join(f" It has {name} for commas: export it with commas." for name in other)
                )
            twice = [name for name in places if header.count(name) > 1]
            if twice:
                raise RelayError(f"{what}: the column {twice[0]} is there twice; keep one of them.")
            for row in reader:
                cells = [normalised(cell.strip()) for cell in row]
                if any(cells):
                    filled = cells + [""] * (len(header) - len(cells))
                    yield reader.line_num, {name: filled[place] for name, place in places.items()}
    except OSError as error:
        raise RelayError(f"{what} cannot be read: {error.strerror}; set it to a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RelayError(f"{what} is not a CSV file in UTF-8: {error}; export it again.") from error
