"""The folder that results go to: of one source and one choice of networks, gone on with after a stop."""

import errno
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from analysis.prediction.task import Task
from stages.environment import package_versions
from stages.errors import CompleteError, RelayError
from stages.machine.atomic import remove_partial_files, write_text
from stages.store import make_folder
from stages.stored import read_stored

SETTINGS = "settings.json"
"""Says what made the results; written last: there exactly when they are complete."""

WORK = ".partial"
"""Folder in `out` of what is not finished yet."""


@dataclass(frozen=True)
class Out:
    """A folder for results, locked.

    Attributes:
        folder: where finished files go.
        work: where unfinished ones are; found again by the same command, removed at the end.
        new: whether `folder` was not there before.
    """

    folder: Path
    work: Path
    new: bool = False

    def abandon(self) -> None:
        """Leave the folder as it was: for a refusal before there is anything to keep."""
        shutil.rmtree(self.work)
        if self.new and not any(self.folder.iterdir()):
            self.folder.rmdir()


def settings_of(task: Task, source_digest: str, **more: Any) -> dict[str, Any]:
    """What made results: networks, source and keys, without a path or a name.

    Args:
        task: what is done.
        source_digest: SHA-256 of what the source is, such as the sorted names and sizes of its files.
        more: keys that change the results.
    """
    members = task.ensemble.members
    return {
        "networks": {member.name: member.record.files[member.folder.weights.name] for member in members},
        "classes": list(task.ensemble.classes),
        "temperature": task.ensemble.temperature,
        "precision": sorted({member.precision for member in members}),
        "source": source_digest,
        **more,
    }


@contextmanager
def opened_out(folder: Path, settings: dict[str, Any], files: Sequence[str]) -> Iterator[Out]:
    """A folder to put results in; when the block ends well, they are complete.

    Args:
        folder: made if it is not there.
        settings: see `settings_of`.
        files: names of what the block writes.

    Raises:
        CompleteError: these results are there already.
        RelayError: the folder holds other results or files of these names, cannot be written, is full, or
            another process writes there.
    """
    folder = folder.expanduser()
    if folder.exists() and not folder.is_dir():
        raise RelayError(f"out={folder} is a file; choose a folder")
    _check_same(folder / SETTINGS, settings)
    if (folder / SETTINGS).exists():
        raise CompleteError(f"{folder} is complete; remove it to compute it again")
    work = folder / WORK
    _check_same(work / SETTINGS, settings)
    if not work.exists() and (found := [name for name in files if (folder / name).exists()]):
        raise RelayError(f"out={folder} holds {found[0]}, which this command did not write; choose another")
    new = not folder.exists()
    make_folder(work, "out")
    try:
        with FileLock(work / "lock", timeout=0):
            remove_partial_files(folder)
            remove_partial_files(work)
            write_text(work / SETTINGS, _document(settings))
            yield Out(folder, work, new)
            write_text(folder / SETTINGS, _document(settings | {"versions": package_versions()}))
        shutil.rmtree(work)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        why = f"the disk of {folder} is full"
        if error.errno == errno.EFBIG:
            why = f"a file of {folder} is larger than the disk or a limit (ulimit -f) lets it be"
        raise RelayError(
            f"{why}; what is done is kept, and the same command goes on when there is room"
        ) from None
    except Timeout:
        raise RelayError(f"another process writes to out={folder}; wait for it, or choose another") from None


def _document(settings: dict[str, Any]) -> str:
    return json.dumps(settings, indent=1, allow_nan=False) + "\n"


def _check_same(path: Path, settings: dict[str, Any]) -> None:
    """Refuse results that something else made; says what differs."""
    if not path.exists():
        return
    try:
        found = json.loads(read_stored(path))
        differs = [key for key, value in settings.items() if found.get(key) != value]
    except (OSError, ValueError, AttributeError):
        differs = ["settings.json cannot be read"]
    if differs:
        folder = path.parents[1] if path.parent.name == WORK else path.parent
        raise RelayError(
            f"out={folder} holds other results (differing in: {', '.join(differs)}); choose "
            "another folder, or remove it"
        )
