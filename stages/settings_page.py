"""Writes docs/settings.md, the page of all settings, from their declarations and the values in conf/."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from stages.config import Config
from stages.parameters import inner_group, parameters
from stages.source import Source

PROJECT = Path(__file__).resolve().parent.parent
CONF = PROJECT / "conf"
PAGE = PROJECT / "docs" / "settings.md"

_INTRODUCTION = """\
# Settings

Every key of the configuration. This page is generated from the declarations in `stages/` and the values in
`conf/`; after a change write it again with `python -m stages.settings_page`.

Type `KEY=VALUE` behind `python train.py`, or put it into a file of `conf/`. A key's role:

- recipe: it can change the result and is part of a stage run's id;
- execution: how and where it is computed;
- reporting: what is shown or logged.

Where a group has several files, a value stands behind the name of its file. `experiment=NAME` marks what an
experiment sets instead.
"""
_SOURCE = "data.domains.*."


def page() -> str:
    """The page as it should be."""
    return "\n".join([_INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    hints = get_type_hints(Config)
    groups = {entry.name: inner_group(hints[entry.name]) for entry in fields(Config)}
    yield _section("A stage run", Config, _table([name for name, group in groups.items() if group is None]))
    for name, group in groups.items():
        if group is not None:
            keys = [key for key in parameters(Config) if key.startswith(f"{name}.")]
            keys = [key for key in keys if not key.startswith((_SOURCE, "stage.source."))]
            yield _section(name, group, _table(keys))
    keys = [key for key in parameters(Config) if key.startswith(_SOURCE)]
    yield _section("data.domains.NAME and stage.source", Source, _table(keys))


def _section(title: str, group: type, table: list[str]) -> str:
    return "\n".join([f"## {title}", "", inspect.getdoc(group) or "", "", *table, ""])


def _table(keys: list[str]) -> list[str]:
    declared, values = parameters(Config), _values()
    rows = ["| key | value | unit | in conf/ | role | meaning |", "|---|---|---|---|---|---|"]
    for key in keys:
        parameter = declared[key]
        assert parameter is not None, f"{key} is not declared as a parameter"
        shown = f"`{key.replace('*', 'NAME')}`"
        cells = (shown, parameter.allowed, parameter.unit, _in_conf(key, values.get(key, {})), parameter.role)
        rows.append(f"| {' | '.join(cells)} | {parameter.meaning} |")
    return rows


def _in_conf(key: str, values: Mapping[str, Any]) -> str:
    """The values of a key by the file that gives them; once where all files of its group give the same."""
    shown = {file: f"`{_flow(value)}`" for file, value in values.items()}
    own = {file: text for file, text in shown.items() if not file.startswith("experiment=")}
    files = len(list((CONF / key.split(".", maxsplit=1)[0]).glob("*.yaml"))) or 1  # 1: conf/train.yaml
    if len(own) == files and len(set(own.values())) == 1:
        shown = {"": next(iter(own.values()))} | {file: shown[file] for file in shown if file not in own}
    return "<br>".join(f"{file}: {text}".removeprefix(": ") for file, text in shown.items())


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


def _values() -> dict[str, dict[str, Any]]:
    """Values by key and by file: its name without suffix, or `experiment=NAME`."""
    values: dict[str, dict[str, Any]] = {}
    for path in (CONF / "train.yaml", *sorted(CONF.glob("*/*.yaml"))):
        folder = path.parent.name
        prefix = "" if folder in ("conf", "experiment") else f"{folder}."
        file = f"experiment={path.stem}" if folder == "experiment" else path.stem
        for key, value in _leaves(yaml.safe_load(path.read_text()), prefix):
            values.setdefault(key, {})[file] = value
    return values


def _leaves(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


if __name__ == "__main__":
    PAGE.write_text(page())
