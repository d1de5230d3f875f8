"""Stand-ins for the classes that a pickle names: objects without behaviour, so that nothing of it is run.

A checkpoint may hold more than tensors: the command's `argparse.Namespace`, a configuration, numpy's numbers,
or a whole network. Its classes are not imported. Each is one that takes any arguments and keeps what it is
given; of a network, that is its parameters and buffers by name.
"""

import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

# The names of Python's own modules that stand for data. All others there are functions: a file that asks for
# one asks to run it.
_DATA = frozenset(
    f"{module}.{name}"
    for module, names in {
        "_codecs": "encode",  # how protocol 2 writes bytes; PyTorch has it itself
        "argparse": "Namespace",
        "builtins": "bool bytes complex dict float frozenset int list object range set slice str tuple",
        "collections": "Counter OrderedDict defaultdict",
        "copyreg": "_reconstructor",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "functools": "partial",
        "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
        "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",  # Python 3.13
        "types": "SimpleNamespace",
        "typing": "Any",
        "uuid": "UUID",
    }.items()
    for name in names.split()
)


class StandIn:
    """An object of a class that was not imported; `state` is what the file says of it."""

    state: Any = None

    def __new__(cls, *_arguments: Any, **_named: Any) -> Any:
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *_arguments: Any, **_named: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(f"items of {type(self)}")  # as some versions of torch say it: see `mappings_among`


class _MappingStandIn(StandIn):
    """Of a class that is a dictionary: torch sets items of an OrderedDict only."""

    def __new__(cls, *_arguments: Any, **_named: Any) -> Any:
        return OrderedDict()


def present_names(names: Iterable[str]) -> set[str]:
    """Names of a pickle as today's Python has them: `__builtin__.set` is `builtins.set`."""
    found = set()
    for full in names:
        module, _, name = full.rpartition(".")
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        found.add(f"{module}.{name}")
    return found


def that_run(names: Iterable[str]) -> set[str]:
    """Those of the names that are Python's own and no data: functions, which a pickle calls."""
    return {name for name in names if name not in _DATA and name.partition(".")[0] in sys.stdlib_module_names}


def stand_ins(names: Iterable[str]) -> dict[str, type]:
    """A class of its own for each name."""
    return {name: type(name, (StandIn,), {}) for name in names}


def mappings_among(classes: dict[str, type], message: str) -> dict[str, type]:
    """The classes, with those that an error names made dictionaries; empty if it names no other."""
    named = {
        name: type(name, (_MappingStandIn,), {})
        for name, made in classes.items()
        if repr(made) in message and not issubclass(made, _MappingStandIn)
    }
    return classes | named if named else {}


def members_of(thing: object) -> dict[str, object] | None:
    """Parameters, persistent buffers and modules of a network that was not made, each by its own name.

    Returns:
        None if it is not a network.
    """
    state = thing.state if isinstance(thing, StandIn) else None
    if not isinstance(state, dict) or not isinstance(state.get("_parameters"), dict):
        return None
    passing = state.get("_non_persistent_buffers_set")
    return {
        name: value
        for part in ("_parameters", "_buffers", "_modules")
        if isinstance(state.get(part), dict)
        for name, value in state[part].items()
        if value is not None and not (part == "_buffers" and isinstance(passing, set) and name in passing)
    }
