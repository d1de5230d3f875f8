"""The schema that Hydra merges `conf/` into, made from the declared groups."""

import functools
import types
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

SCHEMA = "hydra_schema"  # the attribute of a group that holds its schema


@functools.cache
def schema(declared: type) -> type:
    """A group as OmegaConf can take it: without bounds, choices as text, tuples as lists.

    OmegaConf knows no `Literal`, and it makes a frozen dataclass read-only. A parameter without a default is
    missing until a file of `conf/` gives its value. The class is pickled by its name, `GROUP.hydra_schema`: a
    copy of it in a job's process would not know a missing default (`dataclasses.MISSING` is known by
    identity).
    """
    hints = get_type_hints(declared)
    made = []
    for entry in fields(declared):
        default = () if entry.default is MISSING else (field(default=entry.default),)
        made.append((entry.name, _schema_type(hints[entry.name]), *default))
    result = make_dataclass(declared.__name__, made, kw_only=True)
    result.__module__, result.__qualname__ = declared.__module__, f"{declared.__qualname__}.{SCHEMA}"
    return result


class Schema:
    """The attribute of a group under which its schema is found, and pickled."""

    def __get__(self, group: object, owner: type) -> type:
        return schema(owner)


def _schema_type(hint: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return type(arguments[0])
    if origin is tuple:
        return list[_schema_type(arguments[0])]  # type: ignore[misc]
    if origin is dict:
        return dict[arguments[0], _schema_type(arguments[1])]  # type: ignore[misc,valid-type]
    if origin in (Union, types.UnionType):
        return functools.reduce(lambda one, other: one | other, map(_schema_type, arguments))
    return schema(hint) if isinstance(hint, type) and is_dataclass(hint) else hint
