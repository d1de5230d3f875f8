"""The drawing of the rooms is the code's, and its arrows go one way."""

from graphlib import TopologicalSorter
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from tests.helpers.relay import PROJECT


@pytest.fixture(scope="module")
def rooms() -> ModuleType:
    spec = spec_from_file_location("rooms", PROJECT / "docs" / "rooms.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_gives(rooms: ModuleType) -> None:
    assert rooms.PAGE.read_text() == rooms.page(), "run python docs/rooms.py"


def test_no_arrows_make_a_circle(rooms: ModuleType) -> None:
    for house in rooms.HOUSES:
        found: dict[str, set[str]] = {}
        for first, second in rooms.arrows(house):
            found.setdefault(first, set()).add(second)
        TopologicalSorter(found).prepare()  # raises CycleError


def test_no_modules_import_each_other(rooms: ModuleType) -> None:
    every = rooms.modules()
    packages = {name for name, path in every.items() if path.name == "__init__.py"}
    graph = {
        name: rooms.imports(name, path, every) - packages
        for name, path in every.items()
        if name not in packages
    }
    TopologicalSorter(graph).prepare()


def test_every_room_says_what_it_is_for(rooms: ModuleType) -> None:
    purposes = {room: rooms.purpose(room) for house in rooms.HOUSES for room in rooms.rooms(house)}
    assert len(purposes) > 15
    assert [room for room, purpose in purposes.items() if not purpose.endswith(".")] == []


def test_imports_are_found_however_they_are_written(rooms: ModuleType) -> None:
    every = rooms.modules()
    assert "callbacks" in rooms.imports("train", every["train"], every)
    assert "stages.errors" in rooms.imports("stages.recipe_user", every["stages.planner"], every)
    assert ("analysis.report", "analysis.runs") in rooms.arrows("analysis")
