"""Wall time and peak memory of a command, imports included."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple


class Measured(NamedTuple):
    """Wall seconds from start to end, peak resident bytes, and what was printed to standard output."""

    seconds: float
    bytes: int
    printed: str


def measure(command: Sequence[str]) -> Measured:
    """Run a command to its end.

    Raises:
        RuntimeError: if it ends with another code than 0.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with code {process.returncode}: {printed}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(time.perf_counter() - began, usage.ru_maxrss * unit, printed)
