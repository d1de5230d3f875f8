"""How a parameter is declared: once, with its name, type, choices or bounds, unit, meaning and role.

A group of parameters is a class under `@group`, a field each:

    momentum: Annotated[Number, Ge(0), Lt(1)] = recipe("Momentum of the gradient's running sum.")

A group checks itself whenever it is made, by `dataclasses.replace` too. The schema that Hydra merges `conf/`
into, the recipe and docs/settings.md come from the same fields. No value stands with them: values are in
`conf/`. A parameter's role decides whether it enters a stage run's id (see `stages.recipe`):

- recipe: it can change the result;
- execution: how and where it is computed;
- reporting: what is shown or logged.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform, get_origin, get_type_hints

import pydantic
from pydantic import (
    AfterValidator,
    AllowInfNan,
    ConfigDict,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema

from stages.errors import RelayError
from stages.parameters.schema import SCHEMA, Schema
from stages.parameters.words import allowed, inner_group, refusal, value_refusal

Role = Literal["recipe", "execution", "reporting"]

# A finite number. -0.0 is 0.0, so that equal numbers have one id.
Number = Annotated[float, AllowInfNan(False), AfterValidator(lambda value: 0.0 if value == 0.0 else value)]


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
    setattr(made, SCHEMA, Schema())
    return made  # type: ignore[no-any-return]


def checked(key: str, hint: Any, value: Any) -> Any:
    """One value, checked as a group checks its parameters.

    Args:
        key: What it was given for.
        hint: The parameter's type.
        value: As `typed` gives it.

    Raises:
        RelayError: it is not allowed.
    """
    try:
        return TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError:
        raise RelayError(value_refusal(key, hint, value)) from None


def _from_mapping(cls: type, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Let a strict group that stands in another be given as a mapping, too."""
    return {**handler(source), "strict": False}


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


def part_of(part: type[T], whole: object, **own: Any) -> T:
    """A group with values of its own, and all others from another group that has them, too."""
    names = [entry.name for entry in fields(cast(Any, part)) if entry.name not in own]
    return part(**{name: getattr(whole, name) for name in names}, **own)


def tuples(values: Any) -> Any:
    """Nested values as YAML gives them, with tuples for lists: a group holds nothing that can be changed."""
    if isinstance(values, Mapping):
        return {name: tuples(value) for name, value in values.items()}
    return tuple(map(tuples, values)) if isinstance(values, list) else values
