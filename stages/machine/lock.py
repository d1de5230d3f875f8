"""The lock on the folder of a stage run: one process at a time works in it."""

import errno
import json
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import psutil
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from stages.errors import RelayError, unknown_name
from stages.machine.atomic import write_text
from stages.stored import read_stored

LockKind = Literal["flock", "soft"]

HOLDER = ".holder.json"
"""Says who holds the lock of its folder."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # NFS without its lock service, FUSE, Lustre


class RunLock:
    """An exclusive lock on a folder, for a `with` block.

    `flock` is the kernel's lock: it ends with its holder, so a killed run never blocks the next one. It is
    not reliable on NFS and Lustre. There, `soft` creates a file exclusively; filelock breaks this lock only
    if it is certain that the holder is dead: on the same host and in the same container, and its process is
    gone. Any other holder counts as alive; the message says which file to remove if it is dead.

    Beside the lock, `.holder.json` names host, boot, process, its namespace and Slurm job. It tells people
    who holds the lock, and `still_held` whether the lock was lost: a process that was suspended for long may
    find another token.

    Args:
        folder: an existing folder.
        kind: flock or soft.
        on_wait: called once with a sentence that names the holder, if another process has the lock.
        poll_seconds: time between two tries.

    Raises:
        RelayError: for another kind.
    """

    def __init__(
        self,
        folder: Path,
        kind: str = "flock",
        on_wait: Callable[[str], None] | None = None,
        poll_seconds: float = 0.5,
    ) -> None:
        if kind not in get_args(LockKind):
            raise unknown_name("the kind of lock", kind, get_args(LockKind))
        self._folder = folder
        self._path = folder / ".lock"
        self._holder = folder / HOLDER
        self._lock: BaseFileLock = (FileLock if kind == "flock" else SoftFileLock)(str(self._path))
        self._on_wait = on_wait
        self._poll_seconds = poll_seconds
        self._token = secrets.token_hex(8)

    def __enter__(self) -> "RunLock":
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            if self._on_wait is not None:
                self._on_wait(f"{self._folder} is being trained by {self._describe_holder()}; waiting for it")
            self._lock.acquire(poll_interval=self._poll_seconds)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise RelayError(
                f"the file system of {self._folder} knows no locks ({error.strerror}): add paths.lock=soft"
            ) from None
        try:
            write_text(self._holder, json.dumps(self._identity(), indent=1) + "\n")
        except BaseException:  # a full disk: `__exit__` is not called
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.still_held():
            self._holder.unlink(missing_ok=True)
        self._lock.release()

    def still_held(self) -> bool:
        """Whether the holder's file still carries this lock's token."""
        return _read_holder(self._holder).get("token") == self._token

    def check(self) -> None:
        """Refuse to write after the lock was lost.

        Raises:
            RelayError: if another process has taken the folder.
        """
        if not self.still_held():
            raise RelayError(
                f"the lock on {self._folder} was taken over by {self._describe_holder()}; nothing more "
                "is written"
            )

    def _identity(self) -> dict[str, Any]:
        process = psutil.Process()
        return {
            "token": self._token,
            "host": socket.gethostname(),
            "boot": psutil.boot_time(),
            "pid": process.pid,
            "namespace": _namespace(),
            "started": process.create_time(),
            "taken": time.time(),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "slurm_restart": os.environ.get("SLURM_RESTART_COUNT"),
        }

    def _describe_holder(self) -> str:
        holder = _read_holder(self._holder)
        if not holder:
            return f"another process (if none is alive, remove {self._path})"
        job = f", Slurm job {holder['slurm_job']}" if holder.get("slurm_job") else ""
        return (
            f"process {holder.get('pid')} on {holder.get('host')}{job} "
            f"(if that one is dead, remove {self._path})"
        )


def is_held(folder: Path) -> bool:
    """Whether a process works in the folder of a stage run, by the file that the holder of its lock writes.

    A holder on this machine must be alive. One on another machine counts as alive, and so does one in another
    container: these may have one name, and number their processes anew.
    """
    holder = _read_holder(folder / HOLDER)
    try:
        if (holder["host"], holder["namespace"]) != (socket.gethostname(), _namespace()):
            return True
        return abs(psutil.Process(holder["pid"]).create_time() - float(holder["started"])) < 1.0
    except (ValueError, KeyError, TypeError, psutil.Error):
        return False


def _namespace() -> int | None:
    """Which numbering of processes this one is in; None where the system does not say."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def _read_holder(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_stored(path))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
