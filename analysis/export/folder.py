"""The folder that is handed over: written whole or not at all, never over something else."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stages.errors import RelayError
from stages.machine.atomic import TEMPORARY_SUFFIX, sync_folder, write_text
from stages.machine.digest import file_digest
from stages.stored import read_stored

CONFIG, SUMS = "config.json", "SHA256SUMS"

CHECK = "check"
"""What `config.json` says of the comparison: the only part that is not known before."""


def is_exported(out: Path, config: Mapping[str, object]) -> bool:
    """Whether a folder holds this export already, whole.

    Args:
        out: the folder; it need not exist.
        config: what its `config.json` is to say, but for `CHECK`.

    Raises:
        RelayError: if it holds something else.
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = json.loads(read_stored(out / CONFIG))
        sums = dict(line.split("  ", 1)[::-1] for line in read_stored(out / SUMS).splitlines())
        found.pop(CHECK, None)
        same = found == json.loads(json.dumps(config)) and sums == _sums(out)
    except (OSError, ValueError, AttributeError):
        same = False
    if not same:
        raise RelayError(
            f"out={out} holds something else, another export, or one that was changed; give a new folder or "
            "remove it"
        )
    return True


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that becomes `out`, with its sums, when the block succeeds, and is removed otherwise.

    Raises:
        RelayError: if it cannot be made, filled or renamed.
    """
    try:
        parent = out.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(TEMPORARY_SUFFIX, f".{out.name}.", parent) as beside:
            folder = Path(beside) / "export"  # of the permissions that folders of this user have
            folder.mkdir()
            yield folder
            sums = _sums(folder).items()
            write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums))
            os.replace(folder, out)  # takes the place of an empty folder only
        sync_folder(parent)
    except OSError as error:
        raise RelayError(f"out={out} cannot be written: {error.strerror or error}") from None


def _sums(folder: Path) -> dict[str, str]:
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    return {name: file_digest(folder / name) for name in names}
