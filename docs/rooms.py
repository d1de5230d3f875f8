"""Lists the rooms of the project and the arrows between them: `python docs/rooms.py` writes docs/rooms.md.

An arrow is an import of any kind, also one inside a function. It is read from the source, so the page is the
code's; a test compares the committed page with what the code gives.
"""

import ast
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "rooms.md"

# Rooms with rooms of their own, each listed by itself below the whole.
HOUSES = ("", "analysis", "datamodules", "datamodules.readers.hrct", "stages")

# A namespace of Hydra's, which must not have an `__init__.py` that could say it.
_PLUGINS = "Hydra's side of a sweep: the sweeper that plans stage runs, and launchers for several at once."

_TOP = (
    "relay_transfer",
    "train",
    "predict",
    "hydra_plugins",
    "callbacks",
    "datamodules",
    "lightning_modules",
    "analysis",
    "stages",
)


def modules(project: Path = PROJECT) -> dict[str, Path]:
    """Every module of the program by its dotted name; tests, benchmarks and docs are not part of it."""
    found = {}
    for top in _TOP:  # and not the whole folder, which may hold environments
        for path in sorted([*project.glob(f"{top}.py"), *(project / top).rglob("*.py")]):
            parts = path.relative_to(project).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(name: str, path: Path, known: Collection[str]) -> set[str]:
    """Modules of the program that a module imports.

    Args:
        name: its dotted name.
        path: its file.
        known: the program's modules.
    """
    found = {full if full in known else module for module, full in _written(path)}
    return {module for module in found if module in known} - {name}


@cache
def _written(path: Path) -> frozenset[tuple[str, str]]:
    """Each import of a file as (module, module.name): `name` may be a module of a package, or not."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {(alias.name, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {(node.module, f"{node.module}.{alias.name}") for alias in node.names}
    return frozenset(found)


def ground(house: str, every: Mapping[str, Path]) -> set[str]:
    """Modules beside a house's rooms that import nothing of the house but each other: what all build on."""
    beside = {name for name in every if _place(name, house) == house and name != house}
    while True:
        stays = {
            name
            for name in beside
            if not {
                other
                for other in imports(name, every[name], every)
                if _place(other, house) is not None and other not in beside and other != house
            }
        }
        if stays == beside:
            return beside
        beside = stays


@cache
def arrows(house: str) -> set[tuple[str, str]]:
    """Which room of a house imports which other one; its ground and its other modules are rooms too."""
    every = modules()
    below = ground(house, every) if house else set()

    def room(name: str) -> str | None:
        place = _place(name, house)
        return f"{house}, ground" if name in below else place

    found = set()
    for name, path in every.items():
        first = room(name)
        for target in imports(name, path, every) if first is not None and name != house else ():
            second = room(target)
            if first is not None and second is not None and first != second and target != house:
                found.add((first, second))
    return found


def _place(module: str, house: str) -> str | None:
    """The room of a house that a module lies in, the house itself if beside its rooms, None if elsewhere."""
    if house == "":
        return module.partition(".")[0]
    if module != house and not module.startswith(f"{house}."):
        return None
    first = module.removeprefix(house).lstrip(".").partition(".")[0]
    return f"{house}.{first}" if first and (PROJECT / house.replace(".", "/") / first).is_dir() else house


def purpose(room: str) -> str:
    """The first line of a room's docstring."""
    base = PROJECT / room.replace(".", "/")
    path = base / "__init__.py" if (base / "__init__.py").is_file() else base.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text())) if path.is_file() else _PLUGINS
    return (text or "").partition("\n")[0]


def page() -> str:
    """The whole page."""
    number = sum(len(rooms(house)) for house in HOUSES)
    total = sum(len(arrows(house)) for house in HOUSES)
    lines = [
        "# The rooms",
        f"Made by `python docs/rooms.py`: {number} rooms, {total} imports among them and the modules beside.",
        "Which are allowed stands in `pyproject.toml` under `tool.importlinter`.",
    ]
    for house in HOUSES:
        lines += ["", f"## {house or 'The whole'}", "", "| room | for | imports |", "|---|---|---|"]
        lines += [
            f"| `{room}` | {purpose(room)} | {', '.join(imported(room, house))} |" for room in rooms(house)
        ]
    return "\n".join(lines) + "\n"


def imported(room: str, house: str) -> list[str]:
    """The rooms of a house that one of them imports, by their short names; all import its other modules."""
    found = {second for first, second in arrows(house) if first == room} & set(rooms(house))
    return sorted(f"`{second.removeprefix(f'{house}.')}`" for second in found)


def rooms(house: str) -> Sequence[str]:
    """The rooms of a house, by their dotted names."""
    if house == "":
        return _TOP
    folder = PROJECT / house.replace(".", "/")
    return sorted(f"{house}.{path.parent.name}" for path in folder.glob("*/__init__.py"))


if __name__ == "__main__":
    PAGE.write_text(page())
