"""Makes a packed set of a surveyed source; can be stopped and started again."""

import errno
import json
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from datamodules.faults import OnError
from datamodules.packing.finish import PackedSet, SplitRule, finish_set
from datamodules.packing.layout import DESCRIPTION
from datamodules.packing.parts import WORK, settings_digest, tasks
from datamodules.packing.units import Survey
from datamodules.packing.workers import OnProgress, read_parts
from stages.errors import CompleteError, RelayError
from stages.machine.atomic import remove_partial_files
from stages.store import make_folder


def pack(
    survey: Survey,
    folder: Path,
    rule: SplitRule,
    *,
    on_error: OnError,
    workers: int,
    on_progress: OnProgress = lambda done, total: None,
) -> PackedSet:
    """Prepare a surveyed source; goes on where an earlier, killed preparation stopped.

    Args:
        survey: Of the source.
        folder: The set's; made if it is not there.
        rule: Of the split.
        on_error: Whether a file that cannot be used ends the preparation or is left out.
        workers: Processes, at least 1; one reads in this process.
        on_progress: Called after each unit.

    Raises:
        CompleteError: The folder holds this set already.
        RelayError: A file cannot be used and is not to be skipped, nothing is left, groups or duplicates
            cross the split, the folder holds another set, or another process prepares it.
    """
    if not survey.units:
        raise RelayError("there is nothing to prepare: the source has no images")
    if folder.exists() and not folder.is_dir():
        raise RelayError(f"{folder} is a file; choose another out=FOLDER")
    _check_folder(folder, survey, rule)
    make_folder(folder / WORK, "out")
    try:
        with FileLock(folder / WORK / "lock", timeout=0):
            remove_partial_files(folder)
            remove_partial_files(folder / WORK)
            parts = read_parts(tasks(survey, folder, on_error), workers, on_progress)
            finished = finish_set(survey, parts, folder, rule)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise RelayError(
            f"the disk of {folder} is full; what was read is kept, and the same command goes on from there "
            "when there is room"
        ) from None
    except Timeout:
        raise RelayError(
            f"another process prepares {folder}; wait for it, or choose another out=FOLDER"
        ) from None
    shutil.rmtree(folder / WORK)
    return finished


def _check_folder(folder: Path, survey: Survey, rule: SplitRule) -> None:
    description = folder / DESCRIPTION
    if not description.is_file():
        return
    try:
        stored = json.loads(description.read_text())
        split = stored["split"]
        same = stored["settings_digest"] == settings_digest(survey)
        same &= stored.get("reader", survey.reader) == survey.reader  # sets made before it was kept have none
        same &= (split["fraction"], split["seed"]) in ((None, None), (rule.fraction, rule.seed))
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise RelayError(
            f"{folder} holds a set made with other settings; choose another out=FOLDER or remove it"
        )
    raise CompleteError(f"{folder} is complete; remove it to prepare it again")
