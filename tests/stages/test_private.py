"""Folders for files that are obeyed: nobody else can read, guess or replace them."""

import os
import stat
from pathlib import Path

import pytest

from stages.errors import RelayError
from stages.machine.private import private_folder, writable_by_others


def test_it_is_the_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = private_folder(tmp_path / "made" / "on the way")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_two_containers_with_one_name_and_equal_process_numbers_do_not_meet(tmp_path: Path) -> None:
    assert len({private_folder(tmp_path) for _ in range(20)}) == 20


def test_a_drive_without_owners_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CIFS or FAT drive shows every folder with the mode that it was mounted with."""
    monkeypatch.setattr(Path, "mkdir", lambda self, mode=0o777, **_: os.makedirs(self, 0o777, exist_ok=True))
    with pytest.raises(RelayError, match="open to other users"):
        private_folder(tmp_path)


def test_a_folder_that_another_can_replace_is_named(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    folder = private_folder(shared / "jobs")
    assert writable_by_others(folder) is None
    shared.chmod(0o777)
    assert writable_by_others(folder) == shared
    shared.chmod(0o1777)  # as /tmp: only owners rename
    assert writable_by_others(folder) is None
