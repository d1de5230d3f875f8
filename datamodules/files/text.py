"""The text of a file that a person made, whatever program wrote it."""

import os
import stat
from os import PathLike

from stages.errors import RelayError

_MOST_BYTES = 1 << 30

# How a file begins that is no text, whatever its name says.
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "an Excel or OpenDocument workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite", "an SQLite database"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "an RTF document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
)
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def read_text(location: str | PathLike[str], what: str, notes: list[str]) -> str:
    """Read a text file: UTF-8, UTF-16 or -32 with their mark, or Windows-1252, which is noted.

    Args:
        location: The file; an ordinary one of at most 1 GiB.
        what: What messages call it.
        notes: Takes what a person should know.

    Raises:
        RelayError: It cannot be read or is no text.
    """
    try:
        status = os.stat(location)  # before it is opened: a pipe would wait for ever
        if not stat.S_ISREG(status.st_mode):
            raise RelayError(f"{what} cannot be read: it is not an ordinary file; set it to a CSV file.")
        if status.st_size > _MOST_BYTES:
            raise RelayError(f"{what} has {status.st_size} bytes, more than a table of names has; check it.")
        with open(location, "rb") as file:
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise RelayError(f"{what} cannot be read: {error.strerror}; set it to a CSV file.") from error
    for mark, kind in _OTHERS:
        if content.startswith(mark):
            raise RelayError(
                f"{what} is {kind}, whatever its name says; save it as CSV (in Excel: `CSV UTF-8`)."
            )
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:4096]:
        raise RelayError(f"{what} is not a text, or is UTF-16 without its mark; save it as CSV in UTF-8.")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        damaged = f"{what} is not a CSV file in UTF-8 (line {line}); save it as `CSV UTF-8`."
        if encoding != "utf-8":
            raise RelayError(damaged) from None
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        raise RelayError(damaged) from None
    notes.append(
        f"it is not in UTF-8 (line {line}), and was read as Windows-1252, as Excel saves CSV; save it as "
        "`CSV UTF-8` if letters in names come out wrong."
    )
    return text
