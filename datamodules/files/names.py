"""Names of image files: which suffixes are known, one form for all machines, and short lists for messages."""

import os
import unicodedata
from collections.abc import Sequence

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def normalised(name: str) -> str:
    """The name in Unicode's NFC: macOS gives another form of "é" than Linux."""
    return unicodedata.normalize("NFC", name)


def is_image(name: str) -> bool:
    """Whether the file's suffix is one of a known image format, in any case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def leaves_folder(name: str) -> bool:
    """Whether a path in an archive is absolute or leaves the archive's folder, on any system."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or (len(name) > 1 and name[1] == ":")


def first_and_more(names: Sequence[str], limit: int = 1) -> str:
    """The first names, and how many there are besides: `a.png and 3 more`."""
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
