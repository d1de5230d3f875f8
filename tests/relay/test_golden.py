"""The losses of a tiny embedded chain, committed at full precision.

They are compared exactly on processors of the maker that they were recorded on, and to 1e-6 on others: values
recorded on an AMD once differed by 1e-9 from the second epoch on.

A change of any bit on the way from the generators to the optimiser moves them. So that the bits do not depend
on the machine, the libraries are held to instructions that every x86-64 processor has, and convolutions are
plain matrix products (`tests/helpers/plain_train.py`).

Shown, on one Intel processor (Sapphire Rapids, glibc 2.36) that answered CPUID falsely: the same bits with
L1 caches of 12 to 48 KiB, L2 caches of 16 KiB to 4 MiB, as a processor of AMD, and without AVX and FMA, in
glibc's mathematics too. oneDNN's bits moved with the L2 cache. Not shown: a real processor of another maker.
Assumed: another glibc gives these bits too.

After a change that is meant to move them, `python -m tests.relay.test_golden REASON` writes them anew; the
reason stays in the file.
"""

import csv
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__ as numpy_dispatch

from tests.helpers.relay import PROJECT, command, environment, only_folder

GOLDEN = Path(__file__).parent / "golden" / "chain.json"
LOCK = PROJECT / ".ci" / "constraints.txt"
PINNED = ("torch", "numpy", "scipy")
STAGES = ("natural", "texture", "dld")
COMMON_INSTRUCTIONS = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENBLAS_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": " ".join(numpy_dispatch),
}


def train(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Train the chain and read every stage's history as it is written, digit for digit."""
    done = subprocess.run(
        command(
            *("+stage=natural,texture,dld", "-m"),
            runs_dir=folder / "runs",
            cache_dir=folder / "cache",
            script=PROJECT / "tests" / "helpers" / "plain_train.py",
        ),
        cwd=PROJECT,
        env={**environment(), **COMMON_INSTRUCTIONS},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    losses = {}
    for stage in STAGES:
        with open(only_folder(folder / "runs", stage) / "history.csv") as file:
            rows = list(csv.DictReader(file))
        losses[stage] = [
            {key: row[key] for key in ("train_loss", "cross_entropy", "accuracy")} for row in rows
        ]
    return losses


def versions() -> dict[str, str]:
    """Without the build, as +cpu, which the lock leaves to the machine."""
    return {name: version(name).partition("+")[0] for name in PINNED}


def processors_maker() -> str:
    found = re.search(r"^vendor_id\s*:\s*(\S+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def numbers(losses: dict[str, list[dict[str, str]]]) -> dict[str, list[dict[str, float]]]:
    return {
        stage: [{key: float(value) for key, value in row.items()} for row in rows]
        for stage, rows in losses.items()
    }


def test_the_lock_has_the_versions_of_the_losses() -> None:
    """Without it, a new lock would make every run in CI skip or fail for a reason that is not the code."""
    locked = dict(re.findall(r"^([\w-]+)==(\S+)$", LOCK.read_text(), re.MULTILINE))
    assert {name: locked[name] for name in PINNED} == json.loads(GOLDEN.read_text())["versions"]


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.system() != "Linux",
    reason="the losses are those of x86-64 on Linux",
)
def test_losses_are_the_committed_ones(tmp_path: Path) -> None:
    golden: dict[str, Any] = json.loads(GOLDEN.read_text())
    if golden["versions"] != versions():
        reason = f"the losses are those of {golden['versions']}, here is {versions()}"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}: install the locked ones, pip install -c {LOCK.relative_to(PROJECT)}")
        pytest.skip(reason)
    found = train(tmp_path)
    if golden["processor"] == processors_maker():
        assert found == golden["losses"]
    assert numbers(found) == {
        stage: [pytest.approx(row, rel=1e-6) for row in rows]
        for stage, rows in numbers(golden["losses"]).items()
    }


if __name__ == "__main__":
    (reason,) = sys.argv[1:]
    os.chdir(PROJECT)
    with tempfile.TemporaryDirectory() as scratch:
        content = {
            "reason": reason,
            "versions": versions(),
            "processor": processors_maker(),
            "losses": train(Path(scratch)),
        }
    GOLDEN.write_text(json.dumps(content, indent=1) + "\n")
