"""Names that people choose, of stages and processes: they become names of folders and files."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

from stages.parameters.words import Says

MOST_CHARACTERS = 64

# What Windows takes for a device, whatever follows a dot.
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


def check_name(name: str) -> str:
    """Refuse what is no name on some machine, or not the same one on all: a path, a hidden file, a device.

    Letters may be of any language, in the composed form that keyboards give (NFC).

    Raises:
        ValueError: if it is none.
    """
    whole = re.fullmatch(r"[^\W_](?:[\w .-]*[\w-])?", name)
    if (
        whole is None
        or len(name) > MOST_CHARACTERS
        or _DEVICES.fullmatch(name)
        or unicodedata.normalize("NFC", name) != name
    ):
        raise ValueError("it is no name")
    return name


Name = Annotated[
    str,
    AfterValidator(check_name),
    Says(
        f"a name of at most {MOST_CHARACTERS} letters, digits, blanks, '.', '_' and '-', a letter or digit "
        "first, no path, and none that Windows keeps for devices, such as con"
    ),
]
