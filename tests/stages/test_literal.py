"""What is typed is what is meant: text and paths reach Hydra, and the commands, as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from stages.console.arguments import for_hydra
from stages.errors import RelayError
from stages.parameters import Number, group, recipe, typed

KEYS = ("paths.runs_dir", "init_from", "stage.source.root", "data.domains.dld.groups", "stage.name")


def parsed(argument: str, *flags: str) -> Any:
    (text,) = for_hydra([argument, *flags])[len(flags) :]
    return OverridesParser.create().parse_override(text).value()


@pytest.mark.parametrize(
    "text",
    ["/d/set #2", "/d/set: neu", "2011-02-03", "007", "1e3", "no", "/x/Läufe", "epoch=12-step=3400.ckpt",
     "alexnet (1).pth", "/x/a,b", "C:\\data\\", "/x/{1}", "/d/a's", 'a "b"', "/d/[x]", "a&b;c!%@^", "-x",
     "ü"],
)  # fmt: skip
@pytest.mark.parametrize("key", KEYS)
def test_text_is_literal(key: str, text: str) -> None:
    assert str(parsed(f"{key}={text}")) == text


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1))
def test_any_path_is_literal(name: str) -> None:
    if "${" not in name:
        assert parsed(f"paths.data_dir=/d/{name}") == f"/d/{name}"


def test_what_hydra_means_stays_hydras() -> None:
    home = str(Path.home())
    assert parsed("paths.runs_dir=~/d") == f"{home}/d"
    assert parsed("stage.source.manifest=null") is None
    assert parsed("paths.data_dir=${oc.env:HOME}/x") == "${oc.env:HOME}/x"
    assert parsed("paths.runs_dir='/x/a b'") == "/x/a b"
    assert parsed("optim.lr_scratch=0.1") == 0.1
    sweep = parsed("init_from=a=1.ckpt,b c.ckpt", "-m")
    assert [each.text for each in sweep.list] == ["a=1.ckpt", "b c.ckpt"]
    assert for_hydra(["stage.source.val_fraction=0.2", "+stage=a,b"]) == [
        "stage.source.val_fraction=0.2",
        "+stage=a,b",
    ]


@group
class Things:
    """One parameter of each kind."""

    text: str = recipe("Text.", default="")
    path: Path | None = recipe("A path.", default=None)
    whole: int = recipe("A number.", default=1)
    part: Number | None = recipe("A number.", default=None)
    on: bool = recipe("A switch.", default=False)
    names: tuple[str, ...] = recipe("Names.", default=())
    pair: Annotated[tuple[Number, Number], "low, high"] | None = recipe("Numbers.", default=None)
    classes: dict[int | str, str | None] | None = recipe("Classes.", default=None)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("text", "/d/set #2", "/d/set #2"), ("text", "set: neu", "set: neu"), ("text", "[a]", "[a]"),
        ("text", "007", "007"), ("text", "null", "null"), ("text", "2011-02-03", "2011-02-03"),
        ("path", "/d/set #2.csv", Path("/d/set #2.csv")), ("path", "null", None),
        ("whole", "7", 7), ("whole", "-1", -1), ("part", "1e-3", 0.001), ("part", "2", 2),
        ("part", "~", None),
        ("on", "true", True), ("names", "[007, no, 'a, b', 2011-02-03]", ("007", "no", "a, b", "2011-02-03")),
        ("names", "[]", ()), ("pair", "[-1000, 400.5]", (-1000, 400.5)), ("pair", "null", None),
        ("classes", "{1: GGO, 007: NOR, no: NO, '2': CON, 3: null}",
         {1: "GGO", "007": "NOR", "no": "NO", "2": "CON", 3: None}),
    ],
)  # fmt: skip
def test_a_value_has_its_parameters_type(key: str, text: str, value: Any) -> None:
    found = typed(Things, {key: text})[key]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("whole", "010", "whole is '010'; it must be a whole number"),
        ("on", "yes", "on is 'yes'; it must be true or false"),
        ("part", "0,2", "part is '0,2'; it must be a number"),
        ("names", "[a", r"names is '\[a', which cannot be read"),
        ("classes", "{1: A, 1: B}", "1 stands in it twice"),
        ("classes", "{1: NOR #2, 2: GGO}", "put a text with signs such as # or : in it in quotes"),
        ("pair", "[1, 2, 3]", "pair is .*it must be a list of 2"),
    ],
)
def test_what_is_none_is_refused(key: str, text: str, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        Things(**typed(Things, {key: text}))
