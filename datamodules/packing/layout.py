"""Names of a packed set's files."""

FORMAT = 2
"""The format of `set.json`; raised when the layout changes. Format 1 had no test side."""

DESCRIPTION = "set.json"
"""Written last: there exactly when the set is complete."""

MANIFEST = "manifest.csv"
COLUMNS = ("sample", "class", "group", "split", "part", "place")
"""Columns of the manifest, before those of the reader; `place` is the image's row in its part."""

SKIPPED = "skipped.csv"
SPLIT = "split.csv"
SHEET = "contact_sheet.png"


def part_name(number: int) -> str:
    """The file of a part's pixels."""
    return f"part-{number:05d}.npy"
