"""A group of parameters checks itself, and says what is wrong by the parameter's dotted name."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Annotated, Any, Literal, get_type_hints

import cloudpickle
import pytest
from annotated_types import Ge, Gt, Le, Lt
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, ValidationError

from stages.config import Config
from stages.errors import RelayError
from stages.parameters import Number, Says, execution, group, parameters, recipe, reporting, schema, tuples
from tests.helpers.stage_helpers import PROJECT, composed, with_value


@group
class Inner:
    """Some numbers."""

    low: Annotated[Number, Ge(0), Lt(1)] = recipe("The lower one.", unit="px")
    high: Annotated[Number, Gt(0), Le(2)] | None = recipe("The higher one.", default=None)
    side: Literal["left", "right"] = execution("Which side.", default="left")

    def __post_init__(self) -> None:
        if self.high is not None and self.high < self.low:
            raise ValueError(f"high ({self.high}) is less than low ({self.low})")


@group
class Outer:
    """Groups in a group."""

    one: Inner
    many: dict[str, Inner]
    count: Annotated[int, Ge(1)] = recipe("How many.")
    flag: bool = reporting("Whether.")
    pair: tuple[Number, Number] | None = recipe("Two.", default=None)
    name: Annotated[str, Says("a name")] = execution("Its name.", default="x")


GOOD: dict[str, Any] = {"one": {"low": 0}, "many": {"a": {"low": 0.5, "high": 1}}, "count": 2, "flag": True}


def test_a_group_is_made_of_nested_values() -> None:
    made = Outer(**GOOD)
    assert made.one == Inner(low=0.0, high=None, side="left")
    assert made.many == {"a": Inner(low=0.5, high=1.0)}
    assert [type(value) for value in (made.one.low, made.many["a"].high)] == [float, float]
    assert math.copysign(1.0, Inner(low=-0.0).low) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count is 0; it must be a whole number, 1 or more"),
        ({"count": True}, "count is true; it must be a whole number, 1 or more"),
        ({"count": 2.0}, "count is 2.0; it must be a whole number, 1 or more"),
        ({"flag": 1}, "flag is 1; it must be true or false"),
        ({"name": 3}, "name is 3; it must be a name"),
        ({"pair": (1, "2")}, "pair is [1, '2']; it must be a list of 2, each a number, or null"),
        ({"pair": (1, 2, 3)}, "pair is [1, 2, 3]; it must be a list of 2, each a number, or null"),
        ({"one": {"low": 1}}, "one.low is 1; it must be a number in [0, 1)"),
        ({"one": {"low": "1e-5"}}, "one.low is '1e-5'; it must be a number in [0, 1)"),
        ({"one": {"low": math.nan}}, "one.low is nan; it must be finite: a number in [0, 1)"),
        ({"one": {"low": 0, "high": 3}}, "one.high is 3; it must be a number in (0, 2], or null"),
        ({"one": {"low": 0.5, "high": 0.25}}, "one: high (0.25) is less than low (0.5)"),
        ({"one": {}}, "one.low is missing; it must be a number in [0, 1)"),
        ({"many": {"b": {"low": 1}}}, "many.b.low is 1; it must be a number in [0, 1)"),
        ({"many": {"b": {"low": 0.5, "high": 0.25}}}, "many.b: high (0.25) is less than low (0.5)"),
        ({"one": {"low": 0, "side": "rihgt"}},
         "one.side is 'rihgt'; did you mean right? It must be one of left, right"),
        ({"one": {"low": 0, "side": "up"}}, "one.side is 'up'; it must be one of left, right"),
        ({"one": {"low": True}}, "one.low is true; it must be a number in [0, 1)"),
        ({"one": {"low": None}}, "one.low is null; it must be a number in [0, 1)"),
        ({"one": {"low": 0, "hihg": 1}}, "one.hihg is not a setting; did you mean one.high?"),
        ({"many": {"b": {"low": 0, "zz": 1}}}, "many.b.zz is not a setting; many.b has low, high, side"),
        ({"zz": 1}, "zz is not a setting; the configuration has one, many, count, flag, pair, name"),
        ({"count": 0, "one": {"low": 1}},
         "one.low is 1; it must be a number in [0, 1)\ncount is 0; it must be a whole number, 1 or more"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RelayError) as refusal:
        Outer(**{**GOOD, **changes})
    assert str(refusal.value) == message


def test_a_changed_copy_is_checked_too() -> None:
    with pytest.raises(RelayError, match=r"^seed is -1; it must be a whole number, 0 or more$"):
        replace(composed("+stage=dld"), seed=-1)
    with pytest.raises(RelayError, match=r"^momentum is 1.0; it must be a number in \[0, 1\)$"):
        with_value(composed("+stage=dld"), "optim.momentum", 1.0)


def test_a_group_cannot_be_changed() -> None:
    made = Outer(**GOOD)
    with pytest.raises(FrozenInstanceError):
        made.one.low = 0.25  # type: ignore[misc]


def test_lists_become_tuples_at_every_depth() -> None:
    assert tuples({"a": [1, [2]], "b": {"c": [3]}}) == {"a": (1, (2,)), "b": {"c": (3,)}}
    assert Outer(**tuples({**GOOD, "pair": [1, 2]})).pair == (1.0, 2.0)


def test_what_is_declared_can_be_read() -> None:
    found = parameters(Outer)
    assert set(found) == {
        *(f"{part}.{name}" for part in ("one", "many.*") for name in ("low", "high", "side")),
        "count", "flag", "pair", "name",
    }  # fmt: skip
    low = found["one.low"]
    assert low is not None
    assert (low.role, low.meaning, low.unit, low.allowed) == (
        "recipe", "The lower one.", "px", "a number in [0, 1)",
    )  # fmt: skip


def test_hydra_gets_a_schema_that_omegaconf_knows() -> None:
    assert get_type_hints(schema(Outer))["pair"] == list[float] | None
    empty = OmegaConf.structured(schema(Outer))
    merged = OmegaConf.merge(empty, {**GOOD, "one": {"low": "0.25"}, "pair": [1, 2]})
    assert Outer(**tuples(OmegaConf.to_container(merged))).one == Inner(low=0.25)
    with pytest.raises(MissingMandatoryValue, match="count"):
        OmegaConf.to_container(
            OmegaConf.merge(empty, {name: GOOD[name] for name in ("one", "many", "flag")}),
            throw_on_missing=True,
        )
    with pytest.raises(ConfigKeyError, match=r"lwo.*not in 'Inner'"):
        OmegaConf.merge(empty, {"one": {"lwo": 1}})
    with pytest.raises(ValidationError, match="'two' of type 'str' could not be converted to Integer"):
        OmegaConf.merge(empty, {"count": "two"})


def test_a_schema_is_the_same_class_in_another_process() -> None:
    """A launcher pickles it; a copy by value would lose `dataclasses.MISSING`, which is known by identity."""
    for pickled in (pickle.dumps(schema(Config)), cloudpickle.dumps(schema(Config))):
        assert pickle.loads(pickled) is schema(Config)
    code = (
        "import pickle, sys; from dataclasses import MISSING, fields; made = pickle.load(sys.stdin.buffer); "
        "assert next(entry for entry in fields(made) if entry.name == 'seed').default is MISSING"
    )
    subprocess.run(
        [sys.executable, "-c", code], input=cloudpickle.dumps(schema(Config)), cwd=PROJECT, check=True
    )
