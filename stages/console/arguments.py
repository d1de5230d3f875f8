"""Arguments of the commands: KEY=VALUE as train.py takes them, and the place of its flags."""

import re
from collections.abc import Sequence

from stages.console.literal import literal
from stages.errors import RelayError, unknown_key

# Keys of Hydra's overrides that have another name now.
_RENAMED = {"transfer.rule": "transfer"}

_SWEEP = ("-m", "--multirun")
_SHOW = ("--cfg", "--info")
_WITH_VALUE = ("--cfg", "--package", "--config-path", "--config-name", "--config-dir", "--experimental-rerun")
# argparse takes a value behind "=" from a long name only.
_LONG = {
    **{"-c": "--cfg", "-p": "--package", "-cp": "--config-path", "-cn": "--config-name"},
    **{"-cd": "--config-dir", "-i": "--info"},
}
_ALONE = (
    "--help",
    "-h",
    "--hydra-help",
    "--version",
    "--resolve",
    "--run",
    "-r",
    "-sc",
    "--shell-completion",
)
_FLAGS = frozenset((*_SWEEP, *_WITH_VALUE, *_LONG, *_LONG.values(), *_ALONE))


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

    Values that are text are made literal (`stages.console.literal`). Flags stand first: argparse refuses
    overrides after a flag that itself follows overrides. In a sweep the rules of a process are written as a
    choice of one: all that is no choice Hydra applies before it asks the sweeper, to a configuration without
    a process.

    Raises:
        RelayError: for a key that has another name now, and for flags that are none or exclude each other.
    """
    flags, settings = _flags_apart(arguments)
    for argument in settings:
        key, _, value = argument.partition("=")
        if key in _RENAMED:
            raise RelayError(f"{argument}: {key} has gone; type {_RENAMED[key]}={value}")
    sweep = any(flag in _SWEEP for flag in flags)
    shown = next((flag for flag in flags if flag.partition("=")[0] in _SHOW), None)
    if sweep and shown is not None:
        raise RelayError(f"{shown} shows the configuration of one stage run: leave -m out")
    others = [literal(argument, sweep=sweep) for argument in settings]
    if sweep:
        others = [re.sub(r"^(process\.\w+)=([^,()]+)$", r"\1=choice(\2)", argument) for argument in others]
    return [*dict.fromkeys(flags), *others]


def _flags_apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags, each with its value as one argument, and the settings, both in their order."""
    flags, settings = list[str](), list[str]()
    left = list(arguments)
    while left:
        argument = left.pop(0)
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            settings.append(argument)
            continue
        if name not in _FLAGS:
            typed = argument.lstrip("-") if equals else f"{name.lstrip('-')}=VALUE"
            raise RelayError(f"{argument} is no flag; a setting is typed without dashes: {typed}")
        name = _LONG.get(name, name)
        if not equals and name in _WITH_VALUE:
            if not left:
                raise RelayError(f"{argument} stands without its value")
            value = left.pop(0)
        elif not equals and name == "--info":
            value = left.pop(0) if left and left[0].isalpha() else "all"
        flags.append(f"{name}={value}" if value else name)
    return flags, settings
