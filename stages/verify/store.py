"""The checks of a whole store."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stages.errors import RelayError
from stages.machine.archive import archive_fault
from stages.machine.atomic import TEMPORARY_SUFFIX
from stages.machine.lock import HOLDER, is_held
from stages.machine.resources import available_cores
from stages.store import RunFolder, Store
from stages.verify.finding import Finding
from stages.verify.run import is_older, run_findings

_EXPLANATIONS = ".explanations"  # as `analysis.explain.cached_network` names it

_KILLED = "was left by a process that was killed"


@dataclass(frozen=True)
class Verified:
    """What was checked, and what was found.

    Attributes:
        complete: finished stage runs.
        unfinished: stage runs without a record.
        older: stage runs of an older version, which were not checked.
        findings: what is wrong, in the order of the folders.
    """

    complete: int
    unfinished: int
    older: int
    findings: list[Finding]


def verify_store(runs_dir: Path, on_progress: Callable[[int, int], None] = lambda done, of: None) -> Verified:
    """Check every file of every stage run; nothing is written.

    Args:
        runs_dir: the store.
        on_progress: called with how many runs were checked, of how many.

    Raises:
        RelayError: if it is not a folder that can be read.
    """
    if not runs_dir.is_dir():
        raise RelayError(f"there is no folder {runs_dir}; give the store, paths.runs_dir of the training")
    store, folders = Store(runs_dir), run_folders(runs_dir)
    runs = [run for run in folders if not is_older(run)]
    findings: list[Finding] = []
    with ThreadPoolExecutor(available_cores()) as pool:  # hashing and reading leave the interpreter free
        for done, found in enumerate(pool.map(lambda run: run_findings(run, store), runs), start=1):
            findings += found
            on_progress(done, len(runs))
    findings += [*_leftovers(runs_dir, folders), *_explanations(runs_dir)]
    complete = sum(run.is_complete() for run in runs)
    return Verified(complete, len(runs) - complete, len(folders) - len(runs), findings)


def run_folders(runs_dir: Path) -> list[RunFolder]:
    """The folders in which something of a stage run lies, in the order of their names.

    Raises:
        RelayError: if the store cannot be read.
    """
    try:
        found = [RunFolder(path) for path in sorted(runs_dir.glob("[!.]*/[!.]*")) if path.is_dir()]
        return [run for run in found if any(path.exists() for path in _of_a_run(run)) or run.is_complete()]
    except OSError as error:
        raise RelayError(f"{error.filename or runs_dir} cannot be read: {error.strerror}") from None


def _of_a_run(run: RunFolder) -> tuple[Path, ...]:
    return (*run.kept, run.last_checkpoint, run.previous_checkpoint, run.failure)


def _leftovers(runs_dir: Path, folders: list[RunFolder]) -> Iterator[Finding]:
    """Temporary files, and locks without a holder."""
    for run in folders:
        if is_held(run.path):
            continue
        for path in sorted(run.path.glob(f".*{TEMPORARY_SUFFIX}")):
            yield Finding.of(run, path, _KILLED, "remove it; the run's next start does")
        if (run.path / HOLDER).exists():
            remedy = "remove it, and .lock beside it: with paths.lock=soft other processes wait for it"
            yield Finding.of(run, run.path / HOLDER, "is of a lock whose holder is gone", remedy)
    for folder in (runs_dir, *runs_dir.glob("[!.]*/"), *runs_dir.glob(f"{_EXPLANATIONS}/**/")):
        for path in sorted(folder.glob(f".*{TEMPORARY_SUFFIX}")):
            yield Finding(None, str(path.relative_to(runs_dir)), _KILLED, "remove it")


def _explanations(runs_dir: Path) -> Iterator[Finding]:
    """What analysis.visualize keeps, by the checksums in the files."""
    for path in sorted(runs_dir.glob(f"{_EXPLANATIONS}/**/*.npz")):
        if why := archive_fault(path):
            remedy = "remove it; analysis.visualize makes it again"
            yield Finding(None, str(path.relative_to(runs_dir)), why, remedy)
