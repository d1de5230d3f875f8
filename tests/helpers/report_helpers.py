"""What the tests of the report share: small fake studies, and looking things up in a report."""

from __future__ import annotations

import importlib
import inspect
import sys
from pkgutil import walk_packages
from typing import Any

import pytest

import analysis.report
from analysis.report.figures import Picture
from analysis.report.page import Caveat, Report
from analysis.report.tables import Table
from tests.helpers.fake_study import FakeStudy

SMALL = FakeStudy(
    processes=("scratch", "two_stage"), seeds=range(3), ratios=(0.2, 1.0), samples=70, patients=12
)


def small_study(**changes: Any) -> FakeStudy:
    return FakeStudy(**{**SMALL.__dict__, **changes})


def caveat(report: Report, beginning: str) -> Caveat:
    (found,) = [each for each in report.caveats if beginning in each.title]
    return found


def table(report: Report, name: str) -> Table:
    (found,) = [each for each in report.tables if each.name == name]
    return found


def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the figures of a study's report empty: they take longer than all the rest of it."""
    empty = Picture("none", "", "", "", svg=b"-", png=b"-", width=1, height=1)
    for found in walk_packages(analysis.report.__path__, "analysis.report."):
        if not found.name.endswith("__main__"):  # one loaded later would keep the empty ones
            importlib.import_module(found.name)
    for path, module in list(sys.modules.items()):
        if path.startswith("analysis.report."):
            for name, function in inspect.getmembers(module, inspect.isfunction):
                if function.__annotations__.get("return") in (Picture, Picture | None):
                    monkeypatch.setattr(module, name, lambda *_, **__: empty)
