"""A file of the user's that says which group (patient, object) each path shows."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike

from datamodules.files.spelling import spelled_alike
from datamodules.files.table import read_table
from stages.errors import RelayError

_WHAT = "the file that groups names"


@dataclass(frozen=True)
class Groups:
    """Which group each path shows.

    Attributes:
        of: Group by path; with forward slashes, and without a leading `./`.
        notes: What a person should know of the file; no path or group is in them: either may name a patient.
    """

    of: dict[str, str]
    notes: tuple[str, ...] = ()


def read_groups(location: str | PathLike[str], what: str = _WHAT) -> Groups:
    """Group by path, from a CSV file with the columns path and group; see `read_table`.

    No message holds a path of its rows or a group: either may name a patient.

    Args:
        location: the file.
        what: what messages call it.

    Raises:
        RelayError: The file cannot be read, has no rows, or gives a path no group or two.
    """
    groups: dict[str, str] = {}
    table = read_table(location, ("path", "group"), what=what)
    for line, row in table.rows():
        if not row["path"] or not row["group"]:
            raise RelayError(f"{what} has no path or no group in line {line}; fill it.")
        path = posixpath.normpath(row["path"].replace("\\", "/"))
        if groups.setdefault(path, row["group"]) != row["group"]:
            raise RelayError(f"{what} gives the path of line {line} two groups; keep one of them.")
    if not groups:
        raise RelayError(f"{what} has no rows; write the columns path and group, one row per path.")
    notes = (*table.notes, *notes_on_spelling(groups.values()))
    return Groups(groups, tuple(f"the groups file: {note}" for note in notes))


def notes_on_spelling(groups: Iterable[str]) -> tuple[str, ...]:
    """A note where groups may be one patient's, spelled in several ways."""
    spelled = sum(len(names) for names in spelled_alike(groups).values() if len(names) > 1)
    if not spelled:
        return ()
    return (
        f"{spelled} groups differ from another in capitals, blanks, signs, leading zeros or a `.0` alone, "
        "and count as different patients; give a patient one spelling.",
    )
