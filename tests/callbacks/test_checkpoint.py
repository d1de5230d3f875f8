"""Resume checkpoints: when they are written, and what is read of them."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import callbacks.checkpoint
from callbacks import AtomicCheckpointIO, ResumeCheckpoint, save_whole
from stages.errors import RelayError
from tests.helpers.fake_training import Clock, fake_module, fake_trainer


class Checkpointed:
    """A ResumeCheckpoint and a trainer that writes the epoch's number."""

    def __init__(
        self,
        folder: Path,
        seconds: float,
        before: Callable[[], None] = lambda: None,
        resumed: str | None = None,
    ) -> None:
        self.last, self.previous = folder / "last.ckpt", folder / "previous.ckpt"
        path = None if resumed is None else folder / resumed
        self.callback = ResumeCheckpoint(self.last, self.previous, seconds, before, path)

    def end(self, epoch: int, stop: bool = False, first: bool = True) -> None:
        def save(path: Path) -> None:
            if first:
                path.write_text(str(epoch))

        trainer = fake_trainer(should_stop=stop, is_global_zero=first, save_checkpoint=save)
        self.callback.on_train_epoch_end(trainer, fake_module(1.0))

    def written(self) -> tuple[str | None, str | None]:
        last, previous = (path.read_text() if path.exists() else None for path in (self.last, self.previous))
        return last, previous


def test_the_checkpoint_before_is_kept(tmp_path: Path) -> None:
    run = Checkpointed(tmp_path, seconds=0.0)
    run.end(0)
    assert run.written() == ("0", None)
    run.end(1)
    assert run.written() == ("1", "0")
    run.end(2)
    assert run.written() == ("2", "1")


@pytest.mark.parametrize(
    ("resumed", "kept"),
    [("last.ckpt", "sound"), ("previous.ckpt", "the one before"), (None, "the one before")],
)
def test_a_newest_checkpoint_that_could_not_be_used_takes_no_other_one_s_place(
    tmp_path: Path, resumed: str | None, kept: str
) -> None:
    run = Checkpointed(tmp_path, seconds=0.0, resumed=resumed)
    run.last.write_text("sound" if resumed == "last.ckpt" else "damaged")
    run.previous.write_text("the one before")
    run.end(5)
    assert run.written() == ("5", kept)
    run.end(6)
    assert run.written() == ("6", "5")


def test_checkpoints_keep_their_distance_but_the_last_epoch_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(callbacks.checkpoint.time, "monotonic", clock)
    run = Checkpointed(tmp_path, seconds=60.0)
    written = []
    for epoch, later in enumerate((59.0, 1.0, 59.9, 0.1, 1.0)):
        clock.now += later
        run.end(epoch, stop=epoch == 4)
        written.append(run.written())
    assert written == [(None, None), ("1", None), ("1", None), ("3", "1"), ("4", "3")]


def test_what_is_called_before_writing_can_stop_it(tmp_path: Path) -> None:
    def refuse() -> None:
        raise RelayError("the lock was lost")

    good = Checkpointed(tmp_path, seconds=0.0)
    good.end(0)
    good.end(1)
    with pytest.raises(RelayError, match="lock was lost"):
        Checkpointed(tmp_path, seconds=0.0, before=refuse).end(2, stop=True)
    assert good.written() == ("1", "0")
    with pytest.raises(RelayError):  # a run that diverged ends at once, not at the next checkpoint
        Checkpointed(tmp_path, seconds=1e9, before=refuse).end(2)


def test_other_processes_move_no_checkpoint(tmp_path: Path) -> None:
    Checkpointed(tmp_path, seconds=0.0).end(0)
    Checkpointed(tmp_path, seconds=0.0, resumed="last.ckpt").end(1, first=False)
    assert Checkpointed(tmp_path, seconds=0.0).written() == ("0", None)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("weights_only", [None, False, True])
def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, weights_only: bool | None) -> None:
    path, proof = tmp_path / "last.ckpt", tmp_path / "executed"
    save_whole({"state_dict": {}, "epoch": Malicious(proof)}, path, sealed=True)
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=weights_only)
    assert AtomicCheckpointIO().fault(path) == "it cannot be read (UnpicklingError)"
    assert not proof.exists()
    torch.load(path, weights_only=False)  # it would have been
    assert proof.exists()


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    content = {"state_dict": {"weight": torch.tensor([1.5, float("-inf")])}, "epoch": 3, "rows": [{"a": 0.1}]}
    AtomicCheckpointIO().save_checkpoint(content, str(path))
    found = AtomicCheckpointIO().load_checkpoint(str(path))
    assert torch.equal(found["state_dict"].pop("weight"), torch.tensor([1.5, float("-inf")]))
    assert found == {"state_dict": {}, "epoch": 3, "rows": [{"a": 0.1}], "relay": {"content": None}}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_whole({"state_dict": {}}, path)
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        save_whole({"state_dict": {"layer": torch.zeros(9), "function": lambda: None}}, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_stops_the_writing_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    """torch calls `write` from C++, and says of whatever it raises that a position is unexpected."""

    class Stopped(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 1000:
                raise stop
            return super().write(data)

    monkeypatch.setattr(callbacks.checkpoint, "atomic_file", lambda path: nullcontext(Stopped()))
    with pytest.raises(type(stop)) as raised:
        save_whole({"state_dict": {"weight": torch.zeros(10_000)}}, tmp_path / "last.ckpt")
    assert raised.value is stop


MINE = {"stage run": "a" * 64, "parent's weights": None}


def saved(path: Path, content: Any, identity: dict[str, str | None] = MINE) -> Path:
    AtomicCheckpointIO(identity).save_checkpoint(content, path)
    return path


DAMAGED = "it is cut short or damaged (its checksum is wrong)"


def test_a_checkpoint_that_is_none_is_told(tmp_path: Path) -> None:
    path, fault = tmp_path / "last.ckpt", AtomicCheckpointIO(MINE).fault
    assert fault(path) == "it cannot be read (No such file or directory)"
    saved(path, {"state_dict": {"weight": torch.zeros(1000)}, "epoch": 1})
    assert fault(path) is None
    whole = path.read_bytes()
    for length in (0, 1, 65, 66, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert fault(path) == DAMAGED, length
    path.write_bytes(whole + b"0")
    assert fault(path) == DAMAGED
    for other in ({"weight": torch.zeros(2)}, [1, 2], torch.zeros(3)):
        save_whole(other, path)
        assert fault(path) == DAMAGED
        save_whole(other, path, sealed=True)
        assert fault(path) == "it is not a checkpoint"
    path.unlink()
    path.mkdir()
    assert fault(path) == "it cannot be read (Is a directory)"


def test_a_checkpoint_of_other_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO(MINE, "c" * 64).save_checkpoint({"state_dict": {}}, path)
    assert AtomicCheckpointIO(MINE, "c" * 64).fault(path) is None
    for content in ("d" * 64, None):
        with pytest.raises(
            RelayError, match=rf"began on other images.* Put them back .* remove {tmp_path} to"
        ):
            AtomicCheckpointIO(MINE, content).fault(path)
    # Another run's is passed over: what it began on does not matter.
    assert "another stage run" in str(AtomicCheckpointIO({"stage run": "b" * 64}, "d" * 64).fault(path))


def test_a_sealed_checkpoint_is_still_an_archive(tmp_path: Path) -> None:
    path = saved(tmp_path / "last.ckpt", {"state_dict": {"weight": torch.arange(9.0)}, "epoch": 1})
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        comment = archive.comment
    assert comment.decode() == hashlib.sha256(path.read_bytes()[:-66] + bytes(2)).hexdigest()
    for mapped in (False, True):
        found = torch.load(path, weights_only=True, mmap=mapped)
        assert torch.equal(found["state_dict"]["weight"], torch.arange(9.0))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_bit_of_a_checkpoint_can_be_flipped(tmp_path: Path, place: float, bit: int) -> None:
    path = saved(tmp_path / "last.ckpt", {"state_dict": {"weight": torch.arange(50.0)}, "epoch": 1})
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    assert AtomicCheckpointIO(MINE).fault(path) == DAMAGED


def test_a_checkpoint_of_another_training_is_told(tmp_path: Path) -> None:
    path, content = tmp_path / "last.ckpt", {"state_dict": {}}
    assert AtomicCheckpointIO(MINE).fault(saved(path, content)) is None
    saved(path, content, {**MINE, "stage run": "b" * 64})
    assert AtomicCheckpointIO(MINE).fault(path) == "it is of another stage run"
    saved(path, content, {"stage run": "b" * 64, "parent's weights": "c" * 64})
    assert AtomicCheckpointIO(MINE).fault(path) == "it is of another stage run, another parent's weights"
    save_whole(content, path, sealed=True)  # by a version that did not say it
    assert AtomicCheckpointIO(MINE).fault(path) == "it does not say of which stage run it is"


def test_a_checkpoint_that_loads_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning is handed what was read; what it does not ask for next is not kept for ever."""
    last = saved(tmp_path / "last.ckpt", {"state_dict": {"weight": torch.ones(3)}, "epoch": 7})
    other = saved(tmp_path / "previous.ckpt", {"state_dict": {}, "epoch": 6})
    read: list[Path] = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda path, **how: read.append(Path(path)) or load(path, **how))
    checkpoints = AtomicCheckpointIO(MINE)
    assert checkpoints.kept == {}
    assert checkpoints.fault(last) is None
    assert checkpoints.kept["epoch"] == 7
    assert checkpoints.load_checkpoint(str(other))["epoch"] == 6
    assert torch.equal(checkpoints.load_checkpoint(str(last))["state_dict"]["weight"], torch.ones(3))
    assert read == [last, other]
    assert checkpoints.kept == {}
    assert checkpoints.load_checkpoint(last)["epoch"] == 7
    assert read == [last, other, last]


def test_a_damaged_checkpoint_is_not_kept(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    previous = saved(tmp_path / "previous.ckpt", {"state_dict": {}, "epoch": 6})
    last.write_bytes(previous.read_bytes()[:100])
    checkpoints = AtomicCheckpointIO(MINE)
    assert checkpoints.fault(last) is not None
    assert checkpoints.kept == {}
    assert checkpoints.fault(previous) is None
    assert checkpoints.kept["epoch"] == 6


@pytest.mark.timeout(60)
def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "last.ckpt")
    assert "not a file" in (AtomicCheckpointIO().fault(tmp_path / "last.ckpt") or "")
