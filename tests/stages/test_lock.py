"""The lock: one process at a time, never for ever, and nobody writes after losing it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from stages.errors import RelayError
from stages.machine import lock as lock_module
from stages.machine.lock import LockKind, RunLock
from tests.helpers.stage_helpers import PROJECT

HOLDER = """
import sys
from pathlib import Path
from stages.machine.lock import RunLock
with RunLock(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
    (Path(sys.argv[1]) / "done").touch()
"""


@pytest.fixture(params=get_args(LockKind))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def holder(tmp_path: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock on `tmp_path` until its input is closed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path), kind]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_next_waits_for_the_holder_to_end(
    tmp_path: Path, kind: str, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = []

    def on_wait(message: str) -> None:
        messages.append(message)
        assert holder.stdin is not None
        # The holder ends some time after this process began to wait.
        threading.Timer(0.1, holder.stdin.close).start()

    with RunLock(tmp_path, kind, on_wait, poll_seconds=0.01) as lock:
        assert (tmp_path / "done").exists(), "not before the holder's block ended"
        assert lock.still_held()
        lock.check()
    (message,) = messages
    assert re.search(rf"\bprocess {holder.pid}\b", message)
    assert str(tmp_path) in message
    assert str(tmp_path / ".lock") in message, "what to remove if the holder is dead"


def test_a_killed_holder_does_not_block(tmp_path: Path, kind: str, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    waited: list[str] = []
    finished = threading.Event()

    def take() -> None:
        with RunLock(tmp_path, kind, waited.append, poll_seconds=0.01) as lock:
            lock.check()
            finished.set()

    threading.Thread(target=take, daemon=True).start()
    assert finished.wait(20)
    assert not (tmp_path / "done").exists()


def test_a_living_holder_is_not_broken(tmp_path: Path, holder: subprocess.Popen[str], kind: str) -> None:
    started, taken = threading.Event(), threading.Event()

    def take() -> None:
        with RunLock(tmp_path, kind, lambda _: started.set(), poll_seconds=0.01):
            taken.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    assert started.wait(20)
    assert not taken.wait(0.3)
    assert holder.stdin is not None
    holder.stdin.close()
    assert taken.wait(20)
    thread.join(20)


def test_free_again_after_the_block(tmp_path: Path, kind: str) -> None:
    for _ in range(2):
        with RunLock(tmp_path, kind, on_wait=pytest.fail):
            assert (tmp_path / ".holder.json").exists()
        assert not (tmp_path / ".holder.json").exists()


def test_free_again_after_an_exception(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match="broken"), RunLock(tmp_path, kind):
        raise ValueError("broken")
    with RunLock(tmp_path, kind, on_wait=pytest.fail):
        pass


def test_what_the_holders_file_says(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    with RunLock(tmp_path, kind):
        said = json.loads((tmp_path / ".holder.json").read_text())
    assert said["pid"] == os.getpid()
    assert (said["slurm_job"], said["slurm_restart"]) == ("4711", "2")
    assert {"token", "host", "boot", "started", "taken"} < set(said)


def test_a_lost_lock_is_noticed(tmp_path: Path, kind: str) -> None:
    """A process asleep for so long that another was let in finds the other's token."""
    with RunLock(tmp_path, kind) as lock:
        other = {"token": "another", "pid": 99, "host": "elsewhere", "slurm_job": "4711"}
        (tmp_path / ".holder.json").write_text(json.dumps(other))
        assert not lock.still_held()
        with pytest.raises(RelayError, match="process 99 on elsewhere, Slurm job 4711") as refusal:
            lock.check()
        assert str(tmp_path) in str(refusal.value)
    assert json.loads((tmp_path / ".holder.json").read_text()) == other, "the other's file is left alone"


def test_the_successors_soft_lock_is_left_alone(tmp_path: Path) -> None:
    with RunLock(tmp_path, "soft"):
        (tmp_path / ".lock").unlink()  # broken by hand, and taken by another
        (tmp_path / ".lock").write_text("another's\n")
        (tmp_path / ".holder.json").write_text('{"token": "another"}')
    assert (tmp_path / ".lock").read_text() == "another's\n"


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"token": null}', "\xff"])
def test_a_damaged_holders_file_is_not_ours(tmp_path: Path, content: str | None) -> None:
    with RunLock(tmp_path) as lock:
        path = tmp_path / ".holder.json"
        path.unlink() if content is None else path.write_bytes(content.encode("latin-1"))
        assert not lock.still_held()
        with pytest.raises(RelayError, match="nothing more is written"):
            lock.check()


def test_a_lock_whose_holders_file_cannot_be_written_is_released(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lock_module, "write_text", full)
        refused = RunLock(tmp_path, kind)  # kept, so that no destructor releases it
        with pytest.raises(OSError, match="No space"), refused:
            pass
    with RunLock(tmp_path, kind, on_wait=pytest.fail):
        pass


def test_flock_is_the_kernels_and_soft_is_a_files(tmp_path: Path, kind: str) -> None:
    """On NFS and Lustre the kernel's lock is not to be trusted, so `soft` must not rest on it."""
    with RunLock(tmp_path, kind), open(tmp_path / ".lock") as file:
        if kind == "flock":
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert file.readline() == f"{os.getpid()}\n"
    assert kind == "flock" or not (tmp_path / ".lock").exists()


def test_a_soft_lock_of_another_container_with_the_same_name_is_not_broken(
    tmp_path: Path,
) -> None:
    """Docker numbers the processes of each container from 1, and compose files give them one host name."""
    own, (name, token) = tmp_path / ".lock", ("?pidns-f0000001", "1")
    with RunLock(tmp_path, "soft"):
        written = own.read_text().split()
    (tmp_path / "other").mkdir()
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    host = written[1].partition("?pidns-")[0]
    (tmp_path / "other" / ".lock").write_text(f"{dead.stdout.strip()}\n{host}{name}\n{token}\n")
    taken = threading.Event()

    def take() -> None:
        with RunLock(tmp_path / "other", "soft", poll_seconds=0.01):
            taken.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    assert not taken.wait(0.5), "whether its holder lives cannot be seen from here"
    (tmp_path / "other" / ".lock").unlink()
    assert taken.wait(20)
    thread.join(20)


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """filelock 6: NFS mounted with nolock."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    lock = RunLock(tmp_path, "flock")
    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(RelayError, match=r"knows no locks \(No locks available\): add paths\.lock=soft"),
        lock,
    ):
        pass


def test_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match=r"the kind of lock is 'nfs'.*flock, soft"):
        RunLock(tmp_path, "nfs")
