"""Start a program of Relay as a user does, from a process that has loaded the libraries already.

`python train.py` spends most of a small run on loading torch, Lightning and torchmetrics. A server of
multiprocessing loads them once; each program is then a fork of it, a process with its own arguments, folder,
environment, signals and exit code. Relay's own modules are loaded by each program itself.
"""

import atexit
import gc
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        *("filelock", "hydra", "jinja2", "joblib", "pandas", "psutil", "pyarrow.parquet", "pydantic"),
        *("pytorch_lightning", "rich.progress", "scipy.ndimage", "scipy.spatial", "scipy.stats"),
        *("sklearn.linear_model", "torchmetrics.functional.classification", __name__),
    ]
)


def environment() -> dict[str, str]:
    """One thread a process, and no W&B account of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    return {**kept, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "COLUMNS": "200"}


class Program:
    """A started program, with the methods of `subprocess.Popen` that tests use.

    Args:
        arguments: what follows `python`: a script, `-m` and a module, or `-c` and code; then their arguments.
        cwd: the folder it is started in.
        before: called in the new process before the program.
        merged: whether standard error goes where standard output goes.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path = PROJECT,
        before: Callable[[], None] | None = None,
        merged: bool = False,
    ) -> None:
        self.args = list(arguments)
        self._folder = Path(tempfile.mkdtemp(prefix="relay-program-"))
        self._outputs = [self._folder / name for name in ("stdout", "stdout" if merged else "stderr")]
        start = (self.args, cwd, environment(), self._outputs, before)
        self._process = _SERVER.Process(target=_run, args=start)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int:
        assert self._process.exitcode is not None, "it still runs"
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """Wait for its end, and read standard output and standard error (empty if merged).

        Raises:
            subprocess.TimeoutExpired: it did not end in time, and was killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise subprocess.TimeoutExpired(self.args, timeout)
        stdout, stderr = (path.read_text() if path.exists() else "" for path in self._outputs)
        shutil.rmtree(self._folder)
        return stdout, "" if self._outputs[0] == self._outputs[1] else stderr


def run_program(
    arguments: Sequence[str], cwd: Path = PROJECT, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; see `Program` for the arguments."""
    program = Program(arguments, cwd, before)
    stdout, stderr = program.communicate()
    return subprocess.CompletedProcess(program.args, program.returncode, stdout, stderr)


def _run(
    arguments: list[str],
    cwd: Path,
    env: Mapping[str, str],
    outputs: Sequence[Path],
    before: Callable[[], None] | None,
) -> None:
    gc.freeze()  # what the server loaded; see tests/conftest.py
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for stream, path in enumerate(outputs, start=1):
        with open(path, "ab") as file:
            os.dup2(file.fileno(), stream)
    kind = arguments[0]
    if kind in ("-m", "-c"):
        sys.argv, first = [kind, *arguments[2:]], str(cwd)
    else:
        sys.argv, first = arguments, str(Path(kind).resolve().parent)
    sys.path[:] = [first, *(entry for entry in sys.path if entry not in ("", str(PROJECT)))]
    if before is not None:
        before()
    try:
        if kind == "-m":
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            exec(arguments[1], {"__name__": "__main__"})
        else:
            runpy.run_path(kind, run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends without them
