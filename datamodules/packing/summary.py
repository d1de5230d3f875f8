"""What `python -m datamodules.prepare` prints of a finished set."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.table import Table

from datamodules.domain import SIDES
from datamodules.faults import Problem
from datamodules.packing.finish import PackedSet
from datamodules.packing.layout import SHEET, SKIPPED
from datamodules.packing.reader import Counts
from datamodules.values.notes import value_notes
from stages.console.output import output

_MOST_CLASSES = 40
_MOST_CAUSES = 10


def print_summary(packed: PackedSet, notes_on_counts: Callable[[Counts], tuple[str, ...]]) -> None:
    """Print classes by sides and groups, what was left out and why, and where the set lies.

    Args:
        packed: The set.
        notes_on_counts: The reader's, see `Reader`.
    """
    console, description = output(), packed.description
    console.print(_table(packed))
    for line in _split(description["split"], tested=bool(description["samples"]["test"])):
        console.print(line)
    crossing = description["crossing"]
    if crossing["groups"] or crossing["duplicates"]:
        console.print(
            f"crossing the split, as allowed: {crossing['groups']} groups, "
            f"{crossing['duplicates']} pictures, equal or nearly so",
            style="red",
        )
    console.print(f"values: {packed.values}")
    on_values = value_notes(packed.values, description["classes"])
    for note in (*description["notes"], *on_values, *notes_on_counts(_counts(packed))):
        console.print(f"note: {note}")
    if packed.problems:
        console.print(f"left out: {len(packed.problems)}; all of them are in {SKIPPED}")
        for line in _causes(packed.problems):
            console.print(f"  {line}", soft_wrap=True)
    console.print(f"set: {packed.folder}", soft_wrap=True)
    console.print(f"look at: {packed.folder / SHEET}", soft_wrap=True)


def _table(packed: PackedSet) -> Table:
    description = packed.description
    table = Table(title=f"{description['domain']}: {len(packed.manifest)} samples of {description['shape']}")
    sides = [side for side in SIDES if description["samples"][side]]
    for column in ("class", *sides, *(f"groups {side}" for side in sides), "share val"):
        table.add_column(column, justify="left" if column == "class" else "right")
    cells_of = packed.manifest.groupby(["class", "split"])["group"]
    samples, groups = cells_of.size(), cells_of.nunique()
    counts = _counts(packed)
    for name, (train, val) in list(counts.items())[:_MOST_CLASSES]:
        cells = [int(of.get((name, side), 0)) for of in (samples, groups) for side in sides]
        table.add_row(name, *map(str, cells), f"{100 * val / max(train + val, 1):.1f}%")
    if len(counts) > _MOST_CLASSES:
        table.add_row(f"and {len(counts) - _MOST_CLASSES} more")
    return table


def _split(split: Mapping[str, Any], *, tested: bool) -> Iterator[str]:
    """Where the sides come from."""
    drawn = f"by group, asked {split['fraction']:g}, seed {split['seed']}" if split["fraction"] else ""
    if not drawn:
        yield "split: the provider's own"
    elif not split["provided"]:
        yield f"split: {drawn}"
    else:
        yield f"split: the provider's test side stays locked; val is drawn from train {drawn}"
        yield "to evaluate on the provider's test side instead, name its folder val"
    if tested and not drawn:
        yield "the provider's test side stays locked"


def _counts(packed: PackedSet) -> Counts:
    sizes = packed.manifest.groupby(["class", "split"]).size()
    names = sorted(set(packed.manifest["class"]))
    return {
        str(name): (int(sizes.get((name, "train"), 0)), int(sizes.get((name, "val"), 0))) for name in names
    }


def _causes(problems: list[Problem]) -> list[str]:
    """The most frequent causes with an example; those that differ in numbers only are one."""
    causes: dict[str, list[Problem]] = {}
    for problem in problems:
        causes.setdefault(re.sub(r"\d+", "N", problem.why), []).append(problem)
    lines = []
    for alike in sorted(causes.values(), key=len, reverse=True)[:_MOST_CAUSES]:
        many = f"{len(alike)}, for instance " if len(alike) > 1 else ""
        lines.append(f"{many}{alike[0].what}: {alike[0].why}")
    return lines
