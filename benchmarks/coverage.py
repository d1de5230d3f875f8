"""How often intervals cover what is true, and tests find what is not: every interval and p of the page.

    python -m benchmarks.coverage > benchmarks/coverage.md      # some 15 minutes on one core
    python -m benchmarks.coverage --quick                       # seconds; a test runs it

Simulated studies of known truth (`benchmarks.simulated_study`): seeds, patients of unequal size, images,
classes of unequal size, and epochs, with effects on a logit scale.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks import coverage_of_seeds as of_seeds
from benchmarks import coverage_of_studies as of_studies
from benchmarks.coverage_of_studies import WORLDS, Cell

PATIENTS = (10, 20, 40, 100)
SEEDS = (3, 5, 10, 20)
AIM = (93.5, 96.5)
"""Percent of the intervals that should cover: 95 +- 1.5."""

_PROJECT = Path(__file__).resolve().parent.parent
_TESTS = ("false", "p <", "excludes")  # rows that count errors: aim 5 +- 1
_OTHER = ("power", "disagrees")  # rows without an aim

Section = tuple[str, str, Callable[[int], Iterable[Cell]], int]

SECTIONS: dict[str, Section] = {
    "seeds-and-patients": (
        "New seeds and new patients",
        "Of the plateau's mean correctness (4 epochs). Columns: seeds; rows: patients.",
        lambda replicates: of_studies.seeds_and_patients(WORLDS, PATIENTS, SEEDS, replicates, compared=True),
        4000,
    ),
    "two-way-pairs": (
        "New seeds and new patients: all pairs of 6 equal processes",
        "The interval of a pair, by itself and corrected for 15 pairs. Columns: seeds; rows: patients.",
        lambda replicates: of_studies.all_pairs(
            dict(list(WORLDS.items())[:3]), PATIENTS[::2], SEEDS[:3], replicates
        ),
        1000,
    ),
    "metrics": (
        "New seeds and new patients: macro F1 and balanced accuracy",
        "Over 4 classes of 50, 30, 12 and 8%. Columns: seeds; rows: patients.",
        lambda replicates: of_studies.metrics_for_seeds_and_patients(
            dict(list(WORLDS.items())[:3]), PATIENTS, SEEDS[:3], replicates
        ),
        2000,
    ),
    "patients": (
        "New patients, networks fixed",
        "Columns: patients.",
        lambda replicates: of_studies.patients_only(
            {name: world for name, world in WORLDS.items() if "seeds" not in name and "folds" not in name},
            PATIENTS,
            replicates,
        ),
        4000,
    ),
    "seeds": (
        "New seeds, patients fixed",
        "Columns: seeds.",
        lambda replicates: of_seeds.levels(SEEDS, replicates),
        4000,
    ),
    "slopes": (
        "Slopes over data ratios",
        "Ratios 0.2 to 1.0, a curve that bends. Columns: seeds.",
        lambda replicates: of_seeds.slopes(SEEDS, replicates),
        4000,
    ),
    "tests": (
        "Tests of one pair of equal processes",
        "Columns: seeds. Below 6 seeds no exact test can give p < 0.05.",
        lambda replicates: of_seeds.single_tests((*SEEDS[:2], 6, 8, *SEEDS[2:]), replicates),
        4000,
    ),
    "pairs": (
        "All pairs of 4 or 6 processes",
        "Columns: seeds. Intervals of `simultaneous_intervals` agree with p always.",
        lambda replicates: of_seeds.many_pairs(list(of_seeds.PAIRS), (3, 5, 6, 8, 10, 20), replicates),
        1000,
    ),
}
"""Title, remark, simulation, and studies of each combination."""


def quick(replicates: int = 200) -> list[Cell]:
    """A part of the table in seconds, without methods that are only compared."""
    usual = dict(list(WORLDS.items())[:2])
    cells = list(of_studies.seeds_and_patients(usual, (10, 40), (5, 10), replicates, compared=False))
    cells += of_studies.patients_only(usual, (20, 40), replicates)
    cells += of_studies.all_pairs(dict(list(usual.items())[:1]), (20,), (5,), replicates // 2)
    cells += of_studies.metrics_for_seeds_and_patients(dict(list(usual.items())[:1]), (20,), (5,), replicates)
    cells += of_seeds.levels((5, 10), replicates)
    cells += of_seeds.slopes((5, 10), replicates)
    cells += of_seeds.single_tests((10,), replicates)
    cells += of_seeds.many_pairs(
        ["6 equal processes, normal", "3 equal, 3 better by 2 sd"], (8,), replicates // 2
    )
    return cells


def table(cells: Iterable[Cell]) -> str:
    """A Markdown table, a row for each interval, world and number of patients.

    Numbers outside of the aim are bold. In brackets: percent of studies without an interval, where 1 or more.
    """
    rows: dict[tuple[str, str, str], dict[int, str]] = {}
    for each in cells:
        text = f"{each.percent:.1f}"
        low, high = (4.0, 6.0) if any(word in each.what for word in _TESTS) else AIM
        if not any(word in each.what for word in _OTHER) and not low <= round(each.percent, 1) <= high:
            text = f"**{text}**"
        if each.none >= 1:
            text += f" ({each.none:.0f})"
        rows.setdefault((each.what, each.world, each.row), {})[each.column] = text
    columns = sorted({column for row in rows.values() for column in row})
    with_rows = any(row for _, _, row in rows)
    head = ["what", "world", *(["patients"] if with_rows else []), *map(str, columns)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for (what, world, row), found in sorted(rows.items(), key=lambda item: _order(item[0], list(rows))):
        cells_of_row = [found.get(column, "") for column in columns]
        lines.append("| " + " | ".join([what, world, *([row] if with_rows else []), *cells_of_row]) + " |")
    return "\n".join(lines)


def _order(key: tuple[str, str, str], keys: list[tuple[str, str, str]]) -> tuple[int, int]:
    """Rows of one interval together, in the order of their first appearance."""
    return [what for what, _, _ in keys].index(key[0]), keys.index(key)


def _commit() -> str:
    command = ["git", "-C", str(_PROJECT), "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a part of the table, from few studies")
    parser.add_argument("--sections", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--share", type=float, default=1.0, help="of the studies to simulate")
    options = parser.parse_args(arguments)
    if options.quick:
        print(table(quick()))
        return
    typed = " ".join(["python -m benchmarks.coverage", *(sys.argv[1:] if arguments is None else arguments)])
    print("# Coverage of intervals, errors of tests\n")
    print(
        f"Written by `{typed}`, commit {_commit()}.\n\n"
        "Percent of simulated studies. Aim: 95 +- 1.5 of the intervals cover, 5 +- 1 of the tests are\n"
        "positive where nothing differs. **Bold**: outside of the aim. (n): n% of the studies have no\n"
        "interval, and the number is of the others."
    )
    for name in options.sections:
        title, remark, simulation, replicates = SECTIONS[name]
        start, studies = time.monotonic(), max(20, int(replicates * options.share))
        found = table(simulation(studies))
        error = 100 * (0.05 * 0.95 / studies) ** 0.5
        print(f"\n## {title}\n\n{remark} {studies} studies each, standard error {error:.1f}", end="; ")
        print(f"{time.monotonic() - start:.0f} s.\n\n{found}", flush=True)


if __name__ == "__main__":
    main()
