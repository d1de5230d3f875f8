"""Time and memory of planning many stage runs, as a user types it: `train.py -m ... plan=true`.

    python -m benchmarks.plan                    # about 10,000 stage runs
    python -m benchmarks.plan --seeds 30 --runs-dir runs

Six learning processes at five data ratios are 33 stage runs a seed. `--runs-dir` is a store of yours, whose
finished runs are then found and read for their speed too. Each round is a process of its own; its time is
wall time from start to end, imports included, and its memory the most that it held (maximum resident set
size).
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.processes import Measured, measure

_PROJECT = Path(__file__).resolve().parent.parent
_PROCESSES = "process=scratch,texture,natural,two_stage,finetune_natural,finetune_texture"
_RATIOS = "data_ratio=0.2,0.4,0.6,0.8,1.0"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=303)
    parser.add_argument("--runs-dir", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs_dir = arguments.runs_dir or Path(folder)
        rounds = [_plan(arguments.seeds, runs_dir.absolute()) for _ in range(arguments.rounds)]
    print("\n".join(rounds[0].printed.splitlines()[:3]))
    seconds = [each.seconds for each in rounds]
    print(f"seconds: {statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})")
    print(f"peak memory: {max(each.bytes for each in rounds) / 1024**2:.0f} MiB")


def _plan(seeds: int, runs_dir: Path) -> Measured:
    command = [sys.executable, str(_PROJECT / "train.py"), "-m", _PROCESSES, _RATIOS]
    return measure([*command, f"seed=range({seeds})", "plan=true", f"paths.runs_dir={runs_dir}"])


if __name__ == "__main__":
    main()
