"""Start a program of Relay as a user does, from a process that has loaded the libraries already.

`python train.py` spends most of a small run on loading torch, Lightning and torchmetrics. A server of
multiprocessing loads them and Relay once (`tests/helpers/warm.py`); each program is then a fork of it, a
process with its own arguments, folder, environment, signals and exit code. A copy of the program loads its
own modules.
"""

import atexit
import gc
import json
import multiprocessing
import os
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton

PROJECT = Path(__file__).resolve().parents[2]
_ROOMS = ("analysis", "callbacks", "datamodules", "hydra_plugins", "lightning_modules", "stages", "train")

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        *("filelock", "hydra.main", "jinja2", "joblib", "pandas", "psutil", "pyarrow.parquet"),
        *(
            "PIL.JpegImagePlugin",
            "PIL.TiffImagePlugin",
            "pydantic.json_schema",
            "pydicom",
            "pytorch_lightning",
        ),
        *(
            "rich.progress",
            "safetensors.torch",
            "scipy.ndimage",
            "scipy.spatial",
            "scipy.stats",
            "simplejpeg",
        ),
        *("sklearn.linear_model", "torchmetrics.functional.classification", "tests.helpers.warm"),
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
        python: what it starts its own processes with, such as that of `forking_python`; else Python.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path = PROJECT,
        before: Callable[[], None] | None = None,
        merged: bool = False,
        python: Path | None = None,
    ) -> None:
        self.args = list(arguments)
        self._folder = Path(tempfile.mkdtemp(prefix="relay-program-"))
        self._outputs = [self._folder / name for name in ("stdout", "stdout" if merged else "stderr")]
        streams = [Path(os.devnull), *self._outputs]
        self._process = _started(self.args, cwd, environment(), streams, before, python)

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
    arguments: Sequence[str],
    cwd: Path = PROJECT,
    before: Callable[[], None] | None = None,
    python: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; see `Program` for the arguments."""
    program = Program(arguments, cwd, before, python=python)
    stdout, stderr = program.communicate()
    return subprocess.CompletedProcess(program.args, program.returncode, stdout, stderr)


def _started(*start: object) -> ForkServerProcess:
    process = _SERVER.Process(target=_run, args=start)
    process.start()
    # Else a start in another thread asks for its end, too, and takes the answer away.
    multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]
    return process


_INTERPRETER = """#!{python} -S
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server, server.makefile("rw") as file:
    server.connect({address!r})
    print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ), os.getpid()]), file=file, flush=True)
    started = json.loads(file.readline())
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: os.kill(started, number))
    code = json.loads(file.readline())
sys.exit(code if code >= 0 else 128 - code)
"""


@contextmanager
def forking_python() -> Iterator[Path]:
    """A Python for a script of the shell or a program: what it is asked to run is a fork of the server."""
    with tempfile.TemporaryDirectory(prefix="relay-") as folder, socket.socket(socket.AF_UNIX) as server:
        path, address = Path(folder, "python"), f"{folder}/socket"
        path.write_text(_INTERPRETER.format(python=sys.executable, address=address))
        path.chmod(0o700)
        server.bind(address)
        server.listen()
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield path


def _serve(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # it was closed
            return
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, connection.makefile("rw") as file:
        arguments, cwd, env, asking = json.loads(file.readline())
        streams = [Path(f"/proc/{asking}/fd/{stream}") for stream in range(3)]
        if not streams[0].is_fifo():
            streams[0] = Path(os.devnull)
        process = _started(arguments, Path(cwd), env, streams, None, None)
        print(process.pid, file=file, flush=True)
        process.join()
        print(process.exitcode, file=file, flush=True)


def _run(
    arguments: list[str],
    cwd: Path,
    env: Mapping[str, str],
    streams: Sequence[Path],
    before: Callable[[], None] | None,
    python: Path | None,
) -> None:
    gc.freeze()  # what the server loaded; see tests/conftest.py
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for stream, path in enumerate(streams):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND if stream else os.O_RDONLY, 0o600)
        os.dup2(opened, stream)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # it stays open
    if python is not None:
        sys.executable = str(python)
    isolated = arguments[0] == "-P"
    arguments = arguments[isolated:]
    kind = arguments[0]
    if kind in ("-m", "-c"):
        sys.argv, first = [kind, *arguments[2:]], str(cwd)
    else:
        sys.argv, first = arguments, str(Path(kind).resolve().parent)
    given = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    others = (entry for entry in sys.path if entry not in ("", str(PROJECT)))
    sys.path[:] = [*([] if isolated else [first]), *given, *others]
    if Path(first) != PROJECT and Path(first, "stages").is_dir():  # a copy of the program uses its own
        Singleton._instances.pop(Plugins, None)  # Hydra finds the copy's
        for name in [each for each in sys.modules if each.split(".")[0] in _ROOMS]:
            del sys.modules[name]
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
        # As Python ends: joblib's workers wait for the first, and multiprocessing for them
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
