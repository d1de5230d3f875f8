"""Text that is typed for `train.py`, made literal for Hydra's grammar."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from stages.config import Config
from stages.job_overrides import quoted
from stages.parameters import parameters

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.\-]*")  # what the grammar takes for itself
_GROUPS = ("stage", "process")  # whose files people name
_HYDRAS = re.compile(r"""['"\[{].*|\w+\(.*\)|.*\$\{.*""", re.DOTALL)  # quoted, lists, functions, references


def literal(argument: str, *, sweep: bool) -> str:
    """An argument with its value quoted where its parameter is a text and the grammar would not take it so.

    Paths and names hold blanks, umlauts, brackets, `=`, `#` and `~`; `1e3` and `007` are no numbers there.

    Args:
        argument: KEY=VALUE, or anything else, which is handed on.
        sweep: whether a comma separates values; otherwise it is part of a text.
    """
    key, equals, value = argument.partition("=")
    if not equals or not value or not _is_text(key.lstrip("+~")):
        return argument
    if value == "null" or (_HYDRAS.fullmatch(value) and not Path(value).exists()):
        return argument
    if key.lstrip("+~") in _GROUPS and "," in value and not sweep:  # several, which need -m
        return argument
    return f"{key}={_quoted_each(value.split(',') if sweep else [value])}"


def _quoted_each(values: Iterable[str]) -> str:
    return ",".join(each if _PLAIN.fullmatch(each) else quoted(_at_home(each)) for each in values)


def _at_home(text: str) -> str:
    """`~/d`, which a shell leaves as it is behind `KEY=`."""
    return str(Path(text).expanduser()) if text == "~" or text.startswith("~/") else text


@cache
def _texts() -> tuple[re.Pattern[str], ...]:
    found = parameters(Config)
    names = [
        name for name, of in found.items() if of is not None and re.match("text|a path|a name", of.allowed)
    ]
    return tuple(re.compile(re.escape(name).replace(r"\*", "[^.]+")) for name in names)


def _is_text(key: str) -> bool:
    return key in _GROUPS or any(pattern.fullmatch(key) for pattern in _texts())
