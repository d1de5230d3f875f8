"""Files are there whole or not at all, whatever ends their writer."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.machine import atomic
from stages.machine.atomic import atomic_file, remove_partial_files, write_bytes, write_text
from tests.helpers.stage_helpers import PROJECT

OLD, NEW = b"old", b"new" * 100_000


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, OLD)
    assert path.read_bytes() == OLD
    write_bytes(path, NEW)
    assert path.read_bytes() == NEW
    write_text(path, "Lungenbläschen\n")
    assert path.read_bytes() == "Lungenbläschen\n".encode()
    assert names(tmp_path) == ["file"]


def test_the_old_content_is_there_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with atomic_file(path) as file:
        file.write(NEW)
        file.flush()
        assert path.read_bytes() == OLD
    assert path.read_bytes() == NEW


def test_file_and_folder_are_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut leaves an empty file under the name: the order is the whole point."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def logged_fsync(descriptor: int) -> None:
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor).st_size))
        fsync(descriptor)

    def logged_replace(source: Path, target: Path) -> None:
        calls.append(("replace", str(source), source.stat().st_size))
        replace(source, target)

    monkeypatch.setattr(atomic.os, "fsync", logged_fsync)
    monkeypatch.setattr(atomic.os, "replace", logged_replace)
    write_bytes(tmp_path / "file", OLD)  # so short that it stays in Python's buffer
    (sync, temporary, written), (rename, renamed, _), (last, folder, _) = calls
    assert (sync, rename, last) == ("fsync", "replace", "fsync")
    assert written == len(OLD), "all of it had left Python's buffer"
    assert temporary == renamed
    assert Path(temporary).parent == tmp_path
    assert folder == str(tmp_path)


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("existed", [True, False])
def test_an_exception_in_the_block_leaves_the_old_file(
    tmp_path: Path, error: BaseException, existed: bool
) -> None:
    path = tmp_path / "file"
    if existed:
        path.write_bytes(OLD)

    def write() -> None:
        with atomic_file(path) as file:
            file.write(NEW)
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == (["file"] if existed else [])
    assert not existed or path.read_bytes() == OLD


KILLED = """
import os, signal, sys
from pathlib import Path
from stages.machine.atomic import atomic_file
path, moment = Path(sys.argv[1]), sys.argv[2]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "before the rename":
    os.replace = die
with atomic_file(path) as file:
    file.write(b"new" * 100_000)
    file.flush()
    if moment == "while writing":
        die()
die()
"""


@pytest.mark.parametrize(
    ("moment", "left"),
    [("while writing", OLD), ("before the rename", OLD), ("after", NEW)],
    ids=["while writing", "before the rename", "after"],  # not the bytes
)
def test_a_killed_writer(tmp_path: Path, moment: str, left: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    result = subprocess.run([sys.executable, "-c", KILLED, str(path), moment], cwd=PROJECT, check=False)
    assert result.returncode == -signal.SIGKILL
    assert path.read_bytes() == left
    assert len(names(tmp_path)) == (1 if moment == "after" else 2), "the leftover of the killed writer"
    remove_partial_files(tmp_path)
    assert names(tmp_path) == ["file"]


def test_only_leftovers_are_removed(tmp_path: Path) -> None:
    kept = [".holder.json", ".lock", "a.partial", "last.ckpt"]
    for name in (*kept, ".last.ckpt.12.ab12cd34.partial", ".record.json.7.00000000.partial"):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    assert names(tmp_path) == kept


FULL = """
import resource, signal, sys
from pathlib import Path
from stages.machine.atomic import write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), b"new" * int(sys.argv[2]))
except OSError as error:
    sys.exit(error.errno)
"""


@pytest.mark.parametrize("thousands", [1, 100])  # in Python's buffer until it is flushed; written at once
def test_a_full_disk(tmp_path: Path, thousands: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    command = [sys.executable, "-c", FULL, str(path), str(thousands * 1000)]
    result = subprocess.run(command, cwd=PROJECT, check=False)
    assert result.returncode == errno.EFBIG
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["file"]


def test_a_rename_that_fails(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write_bytes(tmp_path / "taken", NEW)
    assert names(tmp_path) == ["taken"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "absent" / "file", NEW)
    assert names(tmp_path) == []
