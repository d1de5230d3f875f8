"""Checkpoints that would take more memory than their files have, told without loading them."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from callbacks import AtomicCheckpointIO, save_whole
from stages.machine.archive import seal
from stages.machine.digest import file_digest
from stages.machine.pickles import room_fault


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    save_whole({"state_dict": {"w": torch.zeros(1_000_000)}}, tmp_path / "whole.ckpt")
    return tmp_path / "whole.ckpt"


def compressed(whole: Path) -> Path:
    file = whole.with_name("compressed.ckpt")
    with zipfile.ZipFile(whole) as one, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as other:
        for name in one.namelist():
            other.writestr(name, one.read(name))
    return file


def test_a_checkpoint_as_torch_writes_it_may_be_loaded(whole: Path, tmp_path: Path) -> None:
    assert room_fault(whole) is None
    torch.save({"w": torch.ones(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert room_fault(tmp_path / "old.pt") is None


def test_what_grows_when_it_is_read_is_told(whole: Path) -> None:
    assert room_fault(compressed(whole)) == "it was compressed"


def test_a_sealed_one_is_passed_over_too(whole: Path) -> None:
    """Whoever writes a checkpoint writes its seal."""
    file = compressed(whole)
    digest = file_digest(file)
    with file.open("r+b") as stream:
        seal(stream, digest)
    assert AtomicCheckpointIO().fault(file) == "it was compressed"


def test_memory_by_a_number_is_told(tmp_path: Path) -> None:
    number = b"\x8a\x07" + (10**15).to_bytes(7, "little")
    (tmp_path / "last.ckpt").write_bytes(b"\x80\x02c__builtin__\nbytearray\n" + number + b"\x85R.")
    assert pickle.loads(b"\x80\x02c__builtin__\nbytearray\nK\x03\x85R.") == bytearray(3)  # what it is
    assert room_fault(tmp_path / "last.ckpt") == "it asks for __builtin__.bytearray"
