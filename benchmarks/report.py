"""Seconds and peak memory of the report on stores of fake runs.

    python -m benchmarks.report                 # 200 and 5,000 stage runs
    python -m benchmarks.report --runs 200 --rounds 3

Timed: the whole command `python -m analysis.report`, from the start of the interpreter to the files on disk.
Not timed: writing the fake store (tests/helpers/fake_study.py): six processes at five data ratios with their
sources, 927 evaluation images in 7 classes and 20 epochs a run.
Aims: 200 runs in 20 s; 5,000 in 120 s and 2 GB.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from rich.table import Table

from benchmarks.processes import Measured, measure
from stages.console.output import output
from tests.helpers.fake_study import PAPER, RATIOS, FakeStudy

_SOURCES = 3  # natural, texture, and texture after natural
_RUNS_A_SEED = len(PAPER) * len(RATIOS) + _SOURCES


def write_store(folder: Path, runs: int) -> int:
    """Write a store of about so many stage runs, whole seeds only; returns how many."""
    seeds = max(2, runs // _RUNS_A_SEED)
    FakeStudy(seeds=range(seeds), samples=927, epochs=20).write(folder)
    return seeds * _RUNS_A_SEED


def run_report(store: Path, out: Path) -> Measured:
    """One report."""
    return measure([sys.executable, "-m", "analysis.report", f"runs_dir={store}", f"out={out}"])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[200, 5000])
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    table = Table(
        "stage runs", "seconds (median)", "range", "peak memory", "page", title="python -m analysis.report"
    )
    for runs in arguments.runs:
        with tempfile.TemporaryDirectory() as folder:
            store, out = Path(folder) / "runs", Path(folder) / "report"
            written = write_store(store, runs)
            rounds = [run_report(store, out) for _ in range(arguments.rounds)]
            seconds = [each.seconds for each in rounds]
            table.add_row(
                f"{written:,}",
                f"{statistics.median(seconds):.1f}",
                f"{min(seconds):.1f} to {max(seconds):.1f}",
                f"{max(each.bytes for each in rounds) / 2**20:,.0f} MiB",
                f"{(out / 'report.html').stat().st_size / 2**20:.1f} MiB",
            )
    output().print(table)


if __name__ == "__main__":
    main()
