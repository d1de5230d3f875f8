"""A file of the user's that says which group (patient, object) each path shows."""

from os import PathLike

from datamodules.files.table import read_rows
from stages.errors import RelayError

_WHAT = "the file that groups names"


def read_groups(location: str | PathLike[str], what: str = _WHAT) -> dict[str, str]:
    """Group by path, from a CSV file with the columns path and group; see `read_rows`.

    No message holds a path of its rows or a group: either may name a patient.

    Args:
        location: the file.
        what: what messages call it.

    Raises:
        RelayError: The file cannot be read, has no rows, or gives a path no group or two.
    """
    groups: dict[str, str] = {}
    for line, row in read_rows(location, ("path", "group"), what=what):
        if not row["path"] or not row["group"]:
            raise RelayError(f"{what} has no path or no group in line {line}; fill it.")
        if groups.setdefault(row["path"], row["group"]) != row["group"]:
            raise RelayError(f"{what} gives the path of line {line} two groups; keep one of them.")
    if not groups:
        raise RelayError(f"{what} has no rows; write the columns path and group, one row per path.")
    return groups
