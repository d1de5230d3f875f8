"""The exception for mistakes that a user can fix."""

from collections.abc import Collection
from difflib import get_close_matches


class RelayError(Exception):
    """A mistake in the configuration, the data or the files, with what to do about it.

    A command prints its message without a traceback, and exits with code 2.
    """


class CompleteError(RelayError):
    """There is nothing to do: what was asked for is there. A command says so, and ends well."""


def unknown_name(key: str, value: str, known: Collection[str]) -> RelayError:
    """The error for a name that is not known: the key, the value, and what is allowed, similar names first.

    Args:
        key: What the name was given for, such as "model.name".
        value: The name.
        known: The names that are allowed.
    """
    similar = get_close_matches(value, known, n=3)
    question = f"did you mean {' or '.join(similar)}? It" if similar else "it"
    return RelayError(f"{key} is {value!r}; {question} must be one of {', '.join(known)}")


def unknown_key(key: str, known: Collection[str], owner: str = "the configuration") -> RelayError:
    """The error for a key that is not known: the most similar one, or all.

    Args:
        key: As typed, such as "optim.batchsize".
        known: The keys of its group, without the group's name.
        owner: What has the keys, where `key` names no group.
    """
    group, dot, name = key.rpartition(".")
    if similar := get_close_matches(name, known, n=1):
        return RelayError(f"{key} is not a setting; did you mean {group}{dot}{similar[0]}?")
    return RelayError(f"{key} is not a setting; {group or owner} has {', '.join(known)}")
