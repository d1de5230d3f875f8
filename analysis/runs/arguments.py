"""KEY=VALUE arguments of the commands that read a store, declared as fields of dataclasses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from stages.console.arguments import key_values as arguments_by_key
from stages.errors import RelayError, unknown_name


def key_values(arguments: Sequence[str], keys: Sequence[str], example: str) -> dict[str, str]:
    """The arguments by key, `runs_dir` among them.

    Args:
        arguments: as typed.
        keys: those that the command takes.
        example: a correct command.

    Raises:
        RelayError: for an unknown key, a key given twice or without a value, or without runs_dir.
    """
    given = arguments_by_key(arguments, keys)
    if "runs_dir" not in given:
        raise RelayError(f"give the store: {example}")
    return given


@dataclass(frozen=True)
class Key:
    """Stands in the Annotated type of a dataclass's field that a command takes as KEY=VALUE.

    The field's type says which values are taken: text, a Path, a Literal's choices, or a whole number; each
    may be optional.

    Attributes:
        meaning: One line of the command's help.
        value: What the help shows as the value, such as FOLDER; the field's default if None.
        wanted: Of a whole number, the kind that is wanted, such as "an odd number, such as 11".
    """

    meaning: str
    value: str | Callable[[], str] | None = None
    wanted: str = "a whole number"


@dataclass(frozen=True)
class StudyArguments:
    """Keys of every command that reads one study; each says what it writes to `out`."""

    runs_dir: Annotated[Path, Key("the store that train.py wrote to", "FOLDER")]
    out: Annotated[Path | None, Key("where files go", "FOLDER")] = None
    study: Annotated[
        str | None,
        Key("which study, if the store holds several; the one with the most runs if left out", "ID"),
    ] = None


def keys_of(*groups: type) -> list[str]:
    """The keys of dataclasses, each once, in the order in which they are declared."""
    return list(dict.fromkeys(name for group in groups for name in _declared(group)))


def settings_from(given: dict[str, str], group: type) -> dict[str, Any]:
    """The arguments that a dataclass takes, as values of its fields' types.

    Args:
        given: See `key_values`; keys of other dataclasses are passed over.
        group: The dataclass.

    Raises:
        RelayError: If a value is not one of the choices, or not a whole number.
    """
    return {
        name: _converted(name, given[name], kind, key.wanted)
        for name, (kind, key) in _declared(group).items()
        if name in given
    }


def help_lines(*groups: type) -> str:
    """A line for each key: KEY=VALUE and its meaning."""
    lines: dict[str, tuple[str, str]] = {}
    for group in groups:
        for name, (_, key) in _declared(group).items():
            value = key.value() if callable(key.value) else key.value
            shown = getattr(group, name) if value is None else value
            lines.setdefault(name, (f"{name}={shown}", key.meaning))
    width = max(len(left) for left, _ in lines.values())
    return "\n".join(f"{left:{width}}  {meaning}" for left, meaning in lines.values())


def _declared(group: type) -> dict[str, tuple[Any, Key]]:
    """The fields that are keys, each with its type."""
    hints = get_type_hints(group, include_extras=True)
    parts = {each.name: get_args(hints[each.name]) for each in fields(group)}
    return {name: (part[0], part[-1]) for name, part in parts.items() if part and isinstance(part[-1], Key)}


def _converted(name: str, value: str, kind: Any, wanted: str) -> Any:
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise unknown_name(name, value, get_args(kind))
        return value
    if kind is int:
        if not value.isdecimal():
            raise RelayError(f"{name} is {value!r}; give {wanted}")
        return int(value)
    return Path(value).expanduser() if kind is Path else value
