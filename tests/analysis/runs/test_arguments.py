"""Keys of commands, declared as fields of dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

import pytest
from annotated_types import Ge, Gt, Le

from analysis.report.explained_study import all_explanations
from analysis.runs.arguments import Key, help_lines, key_values, keys_of, settings_from
from stages.errors import RelayError
from stages.parameters import Number, Says


@dataclass(frozen=True)
class _Base:
    layer: Annotated[str | None, Key("whose features", lambda: "pool5")] = None


@dataclass(frozen=True)
class _One(_Base):
    runs_dir: Annotated[Path, Key("the store", "FOLDER")] = Path()
    rule: Annotated[Literal["mask", "switch"], Key("of the way back")] = "mask"
    tiles: int = 14


@dataclass(frozen=True)
class _Other(_Base):
    window: Annotated[int, Ge(1), Says("an odd number"), Key("in frequencies")] = 11
    images: Annotated[Path | None, Key("your own", "FOLDER")] = None
    share: Annotated[Number, Gt(0), Le(1), Key("of the range")] = 0.5
    overwrite: Annotated[bool, Key("what is there")] = False


def test_each_key_stands_once_and_fields_without_one_are_not_keys() -> None:
    assert keys_of(_One, _Other) == ["layer", "runs_dir", "rule", "window", "images", "share", "overwrite"]


def test_values_have_the_types_of_their_fields() -> None:
    given = key_values(
        [
            "runs_dir=~/runs",
            "rule=switch",
            "window=5",
            "layer=007",
            "images=null",
            "share=1",
            "overwrite=true",
        ],
        keys_of(_One, _Other),
        "",
    )
    one, other = _One(**settings_from(given, _One)), _Other(**settings_from(given, _Other))
    assert one == _One(layer="007", runs_dir=Path("~/runs").expanduser(), rule="switch")
    assert other == _Other(layer="007", window=5, share=1.0, overwrite=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "gradcam"}, r"rule is 'gradcam'; it must be one of mask, switch"),
        ({"window": "wide"}, r"window is 'wide'; it must be an odd number$"),
        ({"window": "-3"}, r"window is -3; it must be an odd number$"),
        ({"window": "2.5"}, r"window is '2.5'; it must be an odd number$"),
        ({"share": "1.5"}, r"share is 1.5; it must be a number in \(0, 1\]$"),
        ({"share": "nan"}, r"share is 'nan'; it must be a number in \(0, 1\]$"),
        ({"overwrite": "yes"}, r"overwrite is 'yes'; it must be true or false$"),
    ],
)
def test_values_that_do_not_fit_are_refused(given: dict[str, str], message: str) -> None:
    for group in (_One, _Other):
        if given.keys() & set(keys_of(group)):
            with pytest.raises(RelayError, match=message):
                settings_from(given, group)


def test_help_shows_the_default_or_what_stands_for_it() -> None:
    assert help_lines(_One, _Other).splitlines() == [
        "layer=pool5      whose features",
        "runs_dir=FOLDER  the store",
        "rule=mask        of the way back",
        "window=11        in frequencies",
        "images=FOLDER    your own",
        "share=0.5        of the range",
        "overwrite=false  what is there",
    ]


def test_a_key_of_several_analyses_is_declared_alike() -> None:
    declared: dict[str, set[str]] = {}
    for analysis in all_explanations():
        hints = get_type_hints(analysis.settings, include_extras=True)
        for name in keys_of(analysis.settings):
            (default,) = (each.default for each in fields(analysis.settings) if each.name == name)
            declared.setdefault(name, set()).add(f"{hints[name]} {default!r}")
    assert {name: found for name, found in declared.items() if len(found) > 1} == {}
