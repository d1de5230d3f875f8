"""KEY=VALUE arguments of the commands that read a store."""

from collections.abc import Sequence

from stages.console.arguments import key_values as arguments_by_key
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
    given = arguments_by_key(arguments, keys)
    if "runs_dir" not in given:
        raise RelayError(f"give the store: {example}")
    return given
