"""How a parameter is declared: once, with its name, type, choices or bounds, unit, meaning and role.

A group of parameters is a class under `@group`, a field each:

    momentum: Annotated[Number, Ge(0), Lt(1)] = recipe("Share of the last step in the next one.")

The group checks itself whenever it is made, `dataclasses.replace` included. The schema that Hydra merges
`conf/` into (`schema`), the recipe and docs/settings.md come from the same fields. No value stands here:
values are in `conf/`. A parameter's role decides whether it enters a stage run's id (see `stages.recipe`):

- recipe: it can change the result;
- execution: how and where it is computed;
- reporting: what is shown or logged.
"""

import difflib
import functools
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import pydantic
from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, AllowInfNan, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails

from stages.errors import RelayError

Role = Literal["recipe", "execution", "reporting"]

# A finite number. -0.0 is 0.0, so that equal numbers have one id.
Number = Annotated[float, AllowInfNan(False), AfterValidator(lambda value: 0.0 if value == 0.0 else value)]


@dataclass(frozen=True)
class Says:
    """In a type's `Annotated`: what is allowed, where the type and its bounds do not say it."""

    text: str


@dataclass(frozen=True)
class Parameter:
    """A leaf of the configuration.

    Attributes:
        role: what it decides.
        meaning: what it is, as a sentence.
        unit: of its values; "" if they have none.
        allowed: its values, such as "a number in [0, 1)".
    """

    role: Role
    meaning: str
    unit: str
    allowed: str


def recipe(meaning: str, *, unit: str = "", default: Any = MISSING, **more: Any) -> Any:
    """A parameter that can change the result and is therefore part of the id."""
    return _parameter("recipe", meaning, unit, default, more)


def execution(meaning: str, *, unit: str = "", default: Any = MISSING, **more: Any) -> Any:
    """A parameter that says how and where to compute, never what comes out."""
    return _parameter("execution", meaning, unit, default, more)


def reporting(meaning: str, *, unit: str = "", default: Any = MISSING, **more: Any) -> Any:
    """A parameter that says what is shown or logged."""
    return _parameter("reporting", meaning, unit, default, more)


def _parameter(role: Role, meaning: str, unit: str, default: Any, more: Mapping[str, Any]) -> Any:
    return field(default=default, metadata={"role": role, "meaning": meaning, "unit": unit, **more})


T = TypeVar("T")


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(field, recipe, execution, reporting)
)
def group(declared: type[T]) -> type[T]:
    """Make a class a group of parameters: a frozen dataclass that checks its values when it is made.

    Types are strict: True is not 1, "1e-5" is not a number; a whole number is taken where a number stands.

    Raises:
        RelayError: when the class is called, for a value that is not allowed: its key, the value, what is.
    """
    setattr(declared, "__get_pydantic_core_schema__", classmethod(_from_mapping))  # noqa: B010
    settings = ConfigDict(strict=True, extra="forbid")
    made: Any = pydantic.dataclasses.dataclass(declared, kw_only=True, frozen=True, config=settings)
    validate: Callable[..., None] = made.__init__

    @functools.wraps(validate)
    def __init__(self: Any, **values: Any) -> None:
        try:
            validate(self, **values)
        except ValidationError as error:
            raise RelayError(refusal(error, made, values)) from None

    made.__init__ = __init__
    return made  # type: ignore[no-any-return]


def _from_mapping(cls: type, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Let a strict group that stands in another be given as a mapping, too."""
    return {**handler(source), "strict": False}


# --- what a parameter may be -------------------------------------------------------------------------------


def parameters(declared: type, prefix: str = "") -> dict[str, Parameter | None]:
    """Every parameter of a group and of those in it, by its dotted name; a dict's entries share the name `*`.

    A leaf that is not declared as a parameter maps to None, which a test refuses.
    """
    found: dict[str, Parameter | None] = {}
    hints = get_type_hints(declared, include_extras=True)
    for entry in fields(declared):
        name, hint = f"{prefix}{entry.name}", hints[entry.name]
        inner = inner_group(hint)
        if inner is not None:
            star = "*." if get_origin(hint) is dict else ""
            found |= parameters(inner, f"{name}.{star}")
        elif "role" in entry.metadata:
            about = {key: entry.metadata[key] for key in ("role", "meaning", "unit")}
            found[name] = Parameter(**about, allowed=allowed(hint))
        else:
            found[name] = None
    return found


def inner_group(hint: Any) -> type | None:
    """The group inside a type hint, if there is one."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((inner for part in get_args(hint) if (inner := inner_group(part)) is not None), None)


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


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


def refusal(error: ValidationError, declared: type, values: Mapping[str, Any]) -> str:
    """What is wrong with the values of a group, one line per mistake."""
    return "\n".join(dict.fromkeys(_mistake(detail, declared, values) for detail in error.errors()))


def _mistake(detail: ErrorDetails, declared: type, values: Any) -> str:
    """One mistake: follows its path down to the parameter, which may be above where the path ends."""
    path = list(detail["loc"])
    at: list[str] = []
    hint: Any = declared
    while path and (inner := inner_group(hint)) is not None:
        name = str(path.pop(0))
        at.append(name)
        if get_origin(hint) is dict:
            hint, values = inner, values[name]
            continue
        hints = get_type_hints(inner, include_extras=True)
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            group_name = ".".join(at[:-1]) or "the configuration"
            known = f"did you mean {near[0]}?" if near else f"{group_name} has {', '.join(hints)}"
            return f"{'.'.join(at)} is not a key; {known}"
        hint = hints[name]
        if detail["type"] == "missing" and not path:
            return f"{'.'.join(at)} is missing; it must be {allowed(hint)}"
        values = values[name] if isinstance(values, Mapping) else getattr(values, name)
    key = ".".join(at)
    if inner_group(hint) is not None:  # parameters that do not go together
        message = detail["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    finite = " and finite" if detail["type"] == "finite_number" else ""
    shown = list(values) if isinstance(values, tuple) else values
    return f"{key} is {shown!r}; it must be {allowed(hint)}{finite}"


# --- what Hydra merges conf/ into --------------------------------------------------------------------------


@functools.cache
def schema(declared: type) -> type:
    """A group as OmegaConf knows it: without bounds, choices as text, tuples as lists, values missing."""
    hints = get_type_hints(declared)
    return make_dataclass(
        declared.__name__,
        [
            (entry.name, _schema_type(hints[entry.name]))
            if entry.default is MISSING
            else (entry.name, _schema_type(hints[entry.name]), field(default=entry.default))
            for entry in fields(declared)
        ],
        kw_only=True,
    )


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
