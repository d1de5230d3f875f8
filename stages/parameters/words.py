"""What a parameter may be, in words, and what is wrong with one that is not."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stages.errors import unknown_key, unknown_name

_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Says:
    """In a type's `Annotated`: what is allowed, where the type and its bounds do not say it."""

    text: str


def allowed(hint: Any) -> str:
    """A type with its bounds or choices in words, such as "a number in [0, 1)"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        said = next((part.text for part in hint.__metadata__ if isinstance(part, Says)), None)
        return said or f"{allowed(arguments[0])}{_bounds(hint.__metadata__)}"
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (Union, types.UnionType):
        given = [allowed(part) for part in arguments if part is not type(None)]
        return " or ".join(given) + (", or null" if len(given) < len(arguments) else "")
    if origin in (list, tuple):
        some = "a list" if origin is list or arguments[-1] is Ellipsis else f"a list of {len(arguments)}"
        return f"{some}, each {allowed(arguments[0])}"
    return _NAMES[hint]


def _bounds(metadata: tuple[Any, ...]) -> str:
    low = next((part for part in metadata if isinstance(part, Ge | Gt)), None)
    high = next((part for part in metadata if isinstance(part, Le | Lt)), None)
    if low is None:
        return ""
    if high is None:
        return f", {low.ge} or more" if isinstance(low, Ge) else f" greater than {low.gt}"
    left = f"[{low.ge}" if isinstance(low, Ge) else f"({low.gt}"
    right = f"{high.le}]" if isinstance(high, Le) else f"{high.lt})"
    return f" in {left}, {right}"


def inner_group(hint: Any) -> type | None:
    """The group inside a type hint, if there is one."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((inner for part in get_args(hint) if (inner := inner_group(part)) is not None), None)


def refusal(error: ValidationError, declared: type, values: Mapping[str, Any]) -> str:
    """What is wrong with the values given for a group, one line per mistake."""
    return "\n".join(dict.fromkeys(_mistake(detail, declared, values) for detail in error.errors()))


def _mistake(detail: ErrorDetails, declared: type, values: Any) -> str:
    """One mistake. The path that pydantic gives leads to a group, to a parameter, or into its value."""
    path = [str(step) for step in detail["loc"]]
    hint: Any = declared
    at: list[str] = []
    while path and (inner := inner_group(hint)) is not None:
        at.append(name := path.pop(0))
        key = ".".join(at)
        if get_origin(hint) is dict:
            hint, values = inner, values[name]
            continue
        hints = get_type_hints(inner, include_extras=True)
        if name not in hints:
            return str(unknown_key(key, hints))
        hint = hints[name]
        if name not in (given := values if isinstance(values, Mapping) else vars(values)):
            return f"{key} is missing; it must be {allowed(hint)}"
        values = given[name]
    key = ".".join(at)
    if inner_group(hint) is not None:  # values that do not go together
        message = detail["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    return value_refusal(key, hint, values, "finite: " if detail["type"] == "finite_number" else "")


def value_refusal(key: str, hint: Any, value: Any, which: str = "") -> str:
    """That a value is not one of its parameter's type, and what is; `which` stands before that."""
    choices = tuple(_choices(hint))
    if isinstance(value, str) and choices:
        return str(unknown_name(key, value, choices))
    return f"{key} is {shown(value)}; it must be {which}{allowed(hint)}"


def shown(value: Any) -> str:
    """A value as it is typed: null, true, a list."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(shown, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return repr(value)


def _choices(hint: Any) -> Iterator[str]:
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif get_origin(hint) is Annotated:
        yield from _choices(get_args(hint)[0])
    elif get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _choices(part)
