"""Names of image files: which suffixes are known, one form for all machines, and short lists for messages."""

import hmac
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

_DIGITS = 16
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def normalised(name: str) -> str:
    """The name in Unicode's NFC: macOS gives another form of "é" than Linux."""
    return unicodedata.normalize("NFC", name)


def one_spelling(name: str) -> str:
    """What names share that differ in capitals, blanks, underscores, dots at the end or Unicode forms."""
    return re.sub(r"[\s_]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip(" .")


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that share a spelling: a tuple for each that several have, sorted."""
    spelled: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        spelled[one_spelling(name)].add(name)
    return sorted(tuple(sorted(found)) for found in spelled.values() if len(found) > 1)


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


def name_hash(name: str, key: bytes) -> str:
    """What is written in place of a patient's name: HMAC-SHA256 under a key that is not kept."""
    return hmac.digest(key, name.encode("utf-8", "surrogateescape"), "sha256").hex()[:_DIGITS]
