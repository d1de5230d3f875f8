"""One patient under several spellings."""

import re
import unicodedata
from collections.abc import Iterable


def plain_patient(name: str) -> str:
    """A patient's name or number without what writers change: capitals, blanks, signs, leading zeros.

    `MRN 0012`, `mrn-12` and `Mrn12` are one; `1-23` and `12-3` are two. 12.0 is 12: pandas writes whole
    numbers so where one is missing.
    """
    plain = unicodedata.normalize("NFKC", name).casefold().strip()
    parts = re.findall(r"\d+|[^\W\d_]+", re.sub(r"^(\d+)\.0$", r"\1", plain))
    return " ".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts) or name.strip()


def spelled_alike(names: Iterable[str]) -> dict[str, list[str]]:
    """The different spellings of each patient, sorted."""
    spellings: dict[str, set[str]] = {}
    for name in names:
        spellings.setdefault(plain_patient(name), set()).add(name)
    return {plain: sorted(alike) for plain, alike in spellings.items()}
