"""Names that ILSVRC2012's provider gives to classes and images."""

import re
from collections.abc import Sequence

_WNID = re.compile(r"n\d{8}")
_TRAINING = re.compile(r"n\d{8}_\d+")
_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})")
_SUFFIX = ".JPEG"


def is_wnid(name: str) -> bool:
    """Whether it is a WordNet id as ILSVRC2012 writes them, such as n01440764."""
    return _WNID.fullmatch(name) is not None


def validation_number(image: str) -> int | None:
    """The number of a validation image, by its name without suffix; None for any other name."""
    match = _VALIDATION.fullmatch(image)
    return None if match is None else int(match[1])


def named_class(file: str, truth: Sequence[str]) -> str | None:
    """The WNID that the provider's name of an image says, None for a name of someone else's.

    Args:
        file: Its name.
        truth: WNID of each validation image, by its number from 1; may be empty.
    """
    name = stem(file)
    if _TRAINING.fullmatch(name):
        return name.partition("_")[0]
    number = validation_number(name) or 0
    return truth[number - 1] if 1 <= number <= len(truth) else None


def stem(file: str) -> str:
    """A file's name without the provider's suffix; empty for a file with another suffix."""
    return file.removesuffix(_SUFFIX) if file.endswith(_SUFFIX) else ""


def is_official(file: str) -> bool:
    """Whether a file has a name of the provider's, which tells nothing but a WNID and a number."""
    return _TRAINING.fullmatch(stem(file)) is not None or validation_number(stem(file)) is not None
