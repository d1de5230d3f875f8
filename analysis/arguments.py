"""KEY=VALUE arguments of the commands in `analysis`, as train.py takes them."""

from collections.abc import Sequence

from stages.errors import RelayError


def key_values(arguments: Sequence[str], keys: Sequence[str], example: str) -> dict[str, str]:
    """The arguments by key, `runs_dir` among them.

    Args:
        arguments: as typed.
        keys: those that the command takes.
        example: a command that is right.

    Raises:
        RelayError: for an unknown key, a key given twice or without a value, or without runs_dir.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key not in keys or not equals or not value:
            raise RelayError(f"{argument!r} is not one of {', '.join(f'{known}=VALUE' for known in keys)}")
        if key in given:
            raise RelayError(f"{key} is given twice")
        given[key] = value
    if "runs_dir" not in given:
        raise RelayError(f"give the store: {example}")
    return given
