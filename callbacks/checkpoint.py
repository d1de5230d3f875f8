"""Resume checkpoints: written whole, checked and read once, without unpickling; two of them."""

import hashlib
import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from stages.errors import RelayError
from stages.machine.archive import seal
from stages.machine.atomic import atomic_file
from stages.machine.signals import held_back
from stages.resume import IDENTITY, read_checkpoint

_CONTENT = "content"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints, written atomically beside their final place and read with weights_only.

    A checkpoint in which `fault` found none is kept for Lightning, which asks for it next: half a gigabyte is
    loaded once.

    Args:
        identity: of which training the checkpoints are, such as `Job.identity`. It is written into each, and
            a checkpoint with another one is not used.
        content: of the images that are trained on; a checkpoint with another one is refused.
    """

    def __init__(
        self, identity: Mapping[str, str | None] = MappingProxyType({}), content: str | None = None
    ) -> None:
        super().__init__()
        self._identity = dict(identity)
        self._content = content
        self._kept: tuple[Path, dict[str, Any]] | None = None

    def fault(self, path: Path) -> str | None:
        """Why a resume checkpoint cannot be used; None if it can, and then it is kept.

        Raises:
            RelayError: if its training began on other images.
        """
        content, why = read_checkpoint(path, self._identity)
        if why is not None:
            return why
        if content.pop(IDENTITY).get(_CONTENT) != self._content:
            raise RelayError(
                f"{path} is of a training that began on other images: files were replaced since by others of "
                f"the same names and sizes. Put them back to go on, or remove {path.parent} to train on the "
                "new ones from the start"
            )
        self._kept = path, content
        return None

    @property
    def kept(self) -> Mapping[str, Any]:
        """What the kept checkpoint holds; empty where none is kept, such as once Lightning has it."""
        return {} if self._kept is None else self._kept[1]

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint whole or not at all."""
        identity = {**self._identity, _CONTENT: self._content}
        save_whole({**checkpoint, IDENTITY: identity}, Path(path), sealed=True)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> Any:
        """Read a checkpoint; nothing in it is executed, whatever `weights_only` says."""
        if self._kept is not None and self._kept[0] == Path(path):
            (_, content), self._kept = self._kept, None
            return content
        return torch.load(path, map_location=map_location, weights_only=True)


class _Remembering(io.RawIOBase):
    """A file that keeps what stopped its writing: torch reports a full disk or Ctrl-C as "unexpected pos".

    It also keeps the SHA-256 of what was written: torch writes from the beginning to the end.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: BaseException | None = None
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        try:
            self.sha256.update(data)
            return self._file.write(data)
        except BaseException as error:
            self.error = error
            raise


def save_whole(content: Any, path: Path, *, sealed: bool = False) -> str:
    """`torch.save` to a file that exists whole or not at all.

    Args:
        content: what `torch.save` takes.
        path: the file.
        sealed: whether it ends with its own SHA-256; see `stages.machine.archive`.

    Returns:
        SHA-256 of what `torch.save` wrote, which without a seal is the file.

    Raises:
        OSError: if it cannot be written, such as on a full disk.
    """
    with atomic_file(path) as file:
        remembering = _Remembering(file)
        try:
            with held_back():
                torch.save(content, cast(BinaryIO, remembering))
        except RuntimeError:
            if remembering.error is None:
                raise
            raise remembering.error from None
        digest = remembering.sha256.hexdigest()
        if sealed:
            seal(file, digest)
    return digest


class ResumeCheckpoint(Checkpoint):
    """Writes `last.ckpt` after an epoch, at most every `seconds`, and after the last epoch.

    The one before is kept as `previous.ckpt`, in case the newest cannot be loaded. The result of a run does
    not depend on when it was saved, because every random stream restarts with the epoch.

    Args:
        last: where to write.
        previous: where the one before is kept.
        seconds: least time between two checkpoints.
        before_writing: called after each epoch; raises if the run must not write any more or has diverged.
        resumed: the checkpoint that the training goes on from, or None. A newest one that could not be used
            is written over, and takes no sound one's place.
        written: called when a checkpoint has been written.
    """

    def __init__(
        self,
        last: Path,
        previous: Path,
        seconds: float,
        before_writing: Callable[[], None],
        resumed: Path | None = None,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self._last = last
        self._previous = previous
        self._seconds = seconds
        self._before_writing = before_writing
        self._sound = resumed == last
        self._after_writing = written
        self._written = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write if it is time."""
        self._before_writing()
        if trainer.should_stop or time.monotonic() - self._written >= self._seconds:
            if trainer.is_global_zero and self._sound and self._last.exists():
                os.replace(self._last, self._previous)
            before = _file(self._last)
            try:
                trainer.save_checkpoint(self._last)
            finally:  # Ctrl-C may come when it is there already
                if _file(self._last) != before:
                    self._sound = True
                    self._after_writing()
            self._written = time.monotonic()


def _file(path: Path) -> tuple[int, int] | None:
    """Which file has this name now, and when it was written; None without one."""
    if not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns
