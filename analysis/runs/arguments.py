"""KEY=VALUE arguments of the commands that read a store, declared as fields of dataclasses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from stages.console.arguments import key_values as arguments_by_key
from stages.errors import RelayError
from stages.parameters import checked, shown, typed


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

    The field's type says which values are taken, with bounds or `Says` beside the key where it has some.

    Attributes:
        meaning: One line of the command's help.
        value: What the help shows as the value, such as FOLDER; the field's default if None.
    """

    meaning: str
    value: str | Callable[[], str] | None = None


@dataclass(frozen=True)
class StudyArguments:
    """Keys of every command that reads one study; each says what it writes to `out`."""

    runs_dir: Annotated[Path, Key("the store, paths.runs_dir of the training", "FOLDER")]
    out: Annotated[Path | None, Key("where files go", "FOLDER")] = None
    study: Annotated[
        str | None,
        Key(
            "which study, if the store holds several; the one with more runs than any other if left out",
            "NAME",
        ),
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
        RelayError: If a value is not one of its type.
    """
    hints = {name: hint for name, (hint, _) in _declared(group).items()}
    values = typed(group, {name: text for name, text in given.items() if name in hints})
    return {name: checked(name, hints[name], value) for name, value in values.items()}


def help_lines(*groups: type) -> str:
    """A line for each key: KEY=VALUE and its meaning."""
    lines: dict[str, tuple[str, str]] = {}
    for group in groups:
        for name, (_, key) in _declared(group).items():
            value = key.value() if callable(key.value) else key.value
            if value is None:
                default = getattr(group, name)
                value = default if isinstance(default, str) else shown(default)
            lines.setdefault(name, (f"{name}={value}", key.meaning))
    width = max(len(left) for left, _ in lines.values())
    return "\n".join(f"{left:{width}}  {meaning}" for left, meaning in lines.values())


def _declared(group: type) -> dict[str, tuple[Any, Key]]:
    """The fields that are keys, each with its type."""
    hints = get_type_hints(group, include_extras=True)
    parts = {each.name: get_args(hints[each.name]) for each in fields(group)}
    return {
        name: (hints[name], part[-1]) for name, part in parts.items() if part and isinstance(part[-1], Key)
    }
