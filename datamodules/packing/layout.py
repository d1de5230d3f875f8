"""Names of a packed set's files, and its identity."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 3
"""The format of `set.json`; raised when the layout changes.

Format 2 had no digest of `set.json` itself, format 1 no test side.
"""

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


def set_digest(manifest: "pd.DataFrame", parts: Sequence[Mapping[str, Any]]) -> str:
    """A set's identity: pixels, names, classes, groups and sides; not the reader's own columns.

    Args:
        manifest: One row per sample.
        parts: Number and SHA-256 of each array file.
    """
    content = hashlib.sha256()
    for each in parts:
        content.update(f"{each['number']} {each['sha256']}\n".encode())
    columns = [map(str, manifest[name].tolist()) for name in COLUMNS]
    rows = map("\x1f".join, zip(*columns, strict=True))
    content.update("".join(f"{row}\n" for row in rows).encode())
    return content.hexdigest()
