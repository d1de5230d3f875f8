"""Time and memory of planning many stage runs, as a user types it: `train.py -m ... plan=true`.

    python -m benchmarks.plan                    # about 10,000 stage runs
    python -m benchmarks.plan --seeds 30 --runs-dir runs

Six learning processes at five data ratios are 33 stage runs a seed. `--runs-dir` is a store of yours, whose
finished runs are then found and read for their speed too. Each round is a process of its own; its time is
wall time from start to end, imports included, and its memory the most that it held (maximum resident set
size).
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    print(rounds[0][2])
    print(f"seconds: {statistics.median(seconds for seconds, _, _ in rounds):.1f}", end=" ")
    print(f"({min(rounds)[0]:.1f} to {max(rounds)[0]:.1f})")
    print(f"peak memory: {max(memory for _, memory, _ in rounds) / 1024**2:.0f} MiB")


def _plan(seeds: int, runs_dir: Path) -> tuple[float, int, str]:
    """Seconds, bytes and the first lines of a plan."""
    began = time.perf_counter()
    command = [sys.executable, str(_PROJECT / "train.py"), "-m", _PROCESSES, _RATIOS]
    process = subprocess.Popen(
        [*command, f"seed=range({seeds})", "plan=true", f"paths.runs_dir={runs_dir}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, said
    lines = said.splitlines()[:3]
    return time.perf_counter() - began, usage.ru_maxrss * 1024, "\n".join(lines)


if __name__ == "__main__":
    main()
