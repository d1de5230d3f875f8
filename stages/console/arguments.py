"""Arguments of the commands: KEY=VALUE as train.py takes them, and the place of its `-m`."""

import re
from collections.abc import Sequence

from stages.console.literal import literal
from stages.errors import RelayError, unknown_key

# Keys of Hydra's overrides that have another name now.
_RENAMED = {"transfer.rule": "transfer"}


def key_values(arguments: Sequence[str], keys: Sequence[str] | None = None) -> dict[str, str]:
    """The arguments by key.

    Args:
        arguments: as typed.
        keys: those that the command takes; any if None.

    Raises:
        RelayError: for an unknown key, or a key given twice or without a value.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if keys is not None and key not in keys:
            raise unknown_key(key, keys, "the command")
        if not equals or not value:
            raise RelayError(f"{argument!r} is not KEY=VALUE")
        if key in given:
            raise RelayError(f"{key} is given twice")
        given[key] = value
    return given


def for_hydra(arguments: Sequence[str]) -> list[str]:
    """What was typed, as Hydra takes it.

    Values that are text are made literal (`stages.console.literal`). `-m` stands first: argparse refuses
    overrides after a flag that itself follows overrides. In a sweep the rules of a process are written as a
    choice of one: all that is no choice Hydra applies before it asks the sweeper, to a configuration without
    a process.

    Raises:
        RelayError: for a key that has another name now.
    """
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in _RENAMED:
            raise RelayError(f"{argument}: {key} has gone; type {_RENAMED[key]}={value}")
    flags = [argument for argument in arguments if argument in ("-m", "--multirun")]
    others = [literal(argument, sweep=bool(flags)) for argument in arguments if argument not in flags]
    if flags:
        others = [re.sub(r"^(process\.\w+)=([^,()]+)$", r"\1=choice(\2)", argument) for argument in others]
    return [*flags[:1], *others]
