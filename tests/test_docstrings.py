"""Docstrings: their examples run, and those of docs/api.md say all that a caller must know."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pkgutil import resolve_name
from textwrap import dedent
from typing import Any, get_type_hints

import pytest

from stages.errors import RelayError, unknown_key
from tests.helpers.stage_helpers import PROJECT
from tests.test_docs import FOLDERS

PUBLIC = re.findall(r"^::: ([\w.]+)$", (PROJECT / "docs" / "api.md").read_text(), re.MULTILINE)
WITH_EXAMPLES = [
    ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    for folder in sorted(FOLDERS - {"tests"})
    for path in sorted((PROJECT / folder).rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0 and found.attempted > 0


def section(documented: Any, *titles: str) -> str:
    """What stands below a title of a Google-style docstring."""
    below = rf"^(?:{'|'.join(titles)}):\n(.*?)(?=^\S|\Z)"
    return "".join(re.findall(below, inspect.getdoc(documented) or "", re.MULTILINE | re.DOTALL))


def names_in(documented: Any, *titles: str) -> set[str]:
    return set(re.findall(r"^    (\w+): ", section(documented, *titles), re.MULTILINE))


def raised(function: Callable[..., Any], seen: set[str]) -> Iterator[str]:
    """The exceptions that a function makes, itself or in functions of its module that it calls."""
    seen.add(function.__name__)
    around = vars(builtins) | vars(inspect.getmodule(function))
    for node in ast.walk(ast.parse(dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            made = around[ast.unparse(node.exc.func)]
            yield (made if isinstance(made, type) else get_type_hints(made)["return"]).__name__
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in seen:
            called = around.get(node.func.id)
            if inspect.isfunction(called) and called.__module__ == function.__module__:
                yield from raised(called, seen)


def arguments(documented: Any) -> set[str]:
    """Those that a docstring must explain; of a group of settings each has its meaning beside it."""
    if isinstance(documented, type) and is_dataclass(documented):
        return {each.name for each in fields(documented) if "meaning" not in each.metadata}
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(documented).parameters.values()
    return {each.name for each in found if each.kind not in several}


def faults(documented: Any) -> list[str]:
    """What a docstring leaves out."""
    left = arguments(documented) - names_in(documented, "Args", "Attributes")
    if inspect.isfunction(documented):
        if not section(documented, "Returns"):
            left.add("Returns")
        left |= set(raised(documented, set())) - names_in(documented, "Raises")
    return sorted(left)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_docstring_is_complete(name: str) -> None:
    assert faults(resolve_name(name)) == []


def _incomplete(given: int, other: int) -> int:
    """Nothing is said of `other`.

    Args:
        given: A number.
    """
    _refuse(given)
    return other


def _refuse(given: int) -> None:
    if given < 0:
        raise RelayError("below 0")
    if given > 9:
        raise unknown_key("given", ["other"])
    if given > 8:
        raise ValueError("above 8")


def test_what_a_docstring_leaves_out_is_found() -> None:
    assert faults(_incomplete) == ["RelayError", "Returns", "ValueError", "other"]
