"""Making a packed set: units read side by side, resumable, and the set's description written last."""

import errno
import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock, Timeout

from datamodules.faults import OnError, Problem
from datamodules.packing.crossing import Crossing, find_crossing
from datamodules.packing.layout import COLUMNS, DESCRIPTION, FORMAT, MANIFEST, SHEET, SKIPPED, SPLIT
from datamodules.packing.parts import (
    WORK,
    Part,
    Placed,
    Task,
    finished_part,
    place_parts,
    run_task,
    settings_digest,
    tasks,
)
from datamodules.packing.sheet import sheet_of_set
from datamodules.packing.units import Survey
from datamodules.splits import check_split, split_by_group, split_report
from stages.errors import RelayError
from stages.machine.atomic import atomic_file, remove_partial_files, write_text
from stages.store import make_folder

OnProgress = Callable[[int, int], None]
"""Units done, of all."""


class CompleteError(RelayError):
    """There is nothing to do: the set is there."""


@dataclass(frozen=True)
class SplitRule:
    """How a set without a provider's split is divided, and what may cross.

    Attributes:
        fraction: share of the samples for evaluation, in (0, 1).
        seed: which of the possible splits.
        allow_crossing: take groups and duplicates that stand on both sides; every report says so.
        duplicates: look for equal and nearly equal images on both sides.
    """

    fraction: float = 0.2
    seed: int = 0
    allow_crossing: bool = False
    duplicates: bool = True


@dataclass(frozen=True)
class PackedSet:
    """A finished set.

    Attributes:
        folder: where it lies.
        description: what `set.json` holds.
        manifest: a row a sample.
        problems: what was left out.
        crossing: duplicates on both sides.
        reached: of `datamodules.splits.split_report`.
    """

    folder: Path
    description: dict[str, Any]
    manifest: pd.DataFrame
    problems: list[Problem]
    crossing: Crossing
    reached: pd.DataFrame


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
        survey: of the source.
        folder: the set's; made if it is not there.
        rule: of the split.
        on_error: whether a file that cannot be used ends the preparation or is left out.
        workers: processes, at least 1; one reads in this process.
        on_progress: called after each unit.

    Raises:
        CompleteError: if the folder holds this set already.
        RelayError: if a file cannot be used and is not to be skipped, nothing is left, groups or duplicates
            cross the split, the folder holds another set, or another process prepares it.
    """
    if not survey.units:
        raise RelayError("there is nothing to prepare: the source has no images")
    if folder.exists() and not folder.is_dir():
        raise RelayError(f"{folder} is a file; choose another out=FOLDER")
    _check_folder(folder, survey, rule)
    make_folder(folder / WORK)
    try:
        with FileLock(folder / WORK / "lock", timeout=0):
            remove_partial_files(folder)
            remove_partial_files(folder / WORK)
            parts = _parts(tasks(survey, folder, on_error), workers, on_progress)
            finished = _finish(survey, parts, folder, rule)
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
        same &= split["provided"] or (split["fraction"], split["seed"]) == (rule.fraction, rule.seed)
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise RelayError(
            f"{folder} holds a set made with other settings; choose another out=FOLDER or remove it"
        )
    raise CompleteError(f"{folder} is complete; remove it to prepare it again")


def _parts(todo: Sequence[Task], workers: int, on_progress: OnProgress) -> list[Part]:
    """All parts in order; what is there is not read again."""
    found: dict[int, Part] = {}
    missing: list[Task] = []
    for task in todo:
        part = finished_part(task)
        if part is None:
            missing.append(task)
        else:
            found[task.number] = part
    on_progress(len(found), len(todo))
    for number, part in _run(missing, workers):
        found[number] = part
        on_progress(len(found), len(todo))
    return [found[task.number] for task in todo]


def _run(todo: Sequence[Task], workers: int) -> Iterator[tuple[int, Part]]:
    if workers <= 1 or len(todo) <= 1:
        for task in todo:
            yield task.number, run_task(task)
        return
    # spawn: a fork would copy locks that threads of this process may hold
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context, initializer=_begin_worker) as pool:
        left = iter(todo)
        # Some more than run at once: the rest waits here, where Ctrl-C can drop it.
        with _interrupts_held():  # the first submission starts the workers
            waiting = {pool.submit(run_task, task): task.number for task in islice(left, 2 * workers)}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
                    waiting |= {pool.submit(run_task, task): task.number for task in islice(left, 1)}
        except BrokenProcessPool:
            raise RelayError(
                "a worker process was killed, perhaps because memory ran out; what was read is kept, and the "
                "same command goes on from there, with workers=1 if it needs less memory"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits; processes that are started meanwhile hold it until they ask for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    """Ctrl-C, which a terminal sends to workers too, ends them without a word; they share the cores."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    import torch

    torch.set_num_threads(1)


def _finish(survey: Survey, parts: Sequence[Part], folder: Path, rule: SplitRule) -> PackedSet:
    """Merge the parts, split them, look for what crosses, and write the manifest and the description."""
    problems = [*survey.problems, *(Problem(**each) for part in parts for each in part.problems)]
    filled = [(number, part) for number, part in enumerate(parts) if len(part)]
    if not filled:
        raise RelayError(
            f"no image is left of the source: {len(problems)} were left out, the first: {_first(problems)}"
        )
    shapes = {(tuple(part.shape or ()), part.dtype) for _, part in filled}
    if len(shapes) > 1:
        listed = ", ".join(f"{shape} {dtype}" for shape, dtype in sorted(shapes, key=str))
        raise RelayError(f"images of the source come out in several shapes: {listed}; a set has one")
    taken = sorted({name for _, part in filled for name in part.columns} & {*COLUMNS, "provided"})
    if taken:
        raise RelayError(f"the reader has columns of the manifest's own names: {', '.join(taken)}")
    manifest = _manifest([part for _, part in filled])
    repeated = int(manifest["sample"].duplicated().sum())
    if repeated:
        raise RelayError(f"{repeated} samples have the name of another; this is a mistake in the reader")
    labels, groups = manifest["class"].to_numpy(), manifest["group"].to_numpy()
    evaluation, own = _sides(manifest, rule)
    manifest["split"] = np.where(evaluation, "val", "train")
    missing = sorted(set(survey.classes) - set(labels))
    if missing:
        raise RelayError(f"{len(missing)} of the classes have no image: {', '.join(missing[:10])}")
    placed = place_parts(filled, folder)
    lengths = [each.samples for each in placed]
    manifest["part"] = np.repeat([each.number for each in placed], lengths)
    manifest["place"] = np.concatenate([np.arange(length) for length in lengths])
    crossing = find_crossing(folder, manifest, survey.wholes, enabled=rule.duplicates)
    if crossing.pictures and not rule.allow_crossing:
        raise RelayError(
            f"{len(crossing.pictures)} pictures stand, equal or nearly so, on both sides of the "
            f"split, for instance {crossing.first}; take them out of the source, or allow them with "
            "allow_crossing=true, and every report will say so"
        )
    reached = split_report(labels, groups, evaluation, asked=None if own else rule.fraction)
    description = _description(survey, placed, manifest, rule, own=own, crossing=crossing, problems=problems)
    description |= {"shape": filled[0][1].shape, "dtype": filled[0][1].dtype}
    manifest = manifest[[*COLUMNS, *(name for name in manifest if name not in COLUMNS)]]
    write_text(folder / MANIFEST, manifest.to_csv(index=False, lineterminator="\n"))
    write_text(folder / SPLIT, reached.to_csv(index=False, lineterminator="\n"))
    skipped = pd.DataFrame([(problem.what, problem.why) for problem in problems], columns=["what", "why"])
    write_text(folder / SKIPPED, skipped.to_csv(index=False, lineterminator="\n"))
    sheet = sheet_of_set(folder, manifest, survey.window)
    with atomic_file(folder / SHEET) as file:
        sheet.save(file, format="PNG", optimize=True)
    write_text(folder / DESCRIPTION, json.dumps(description, indent=1, allow_nan=False) + "\n")
    return PackedSet(folder, description, manifest, problems, crossing, reached)


def _manifest(parts: Sequence[Part]) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "sample": part.names,
                "class": part.labels,
                "group": part.groups,
                "provided": part.splits,
                **part.columns,
            }
        )
        for part in parts
    ]
    return pd.concat(frames, ignore_index=True)


def _sides(manifest: pd.DataFrame, rule: SplitRule) -> tuple[npt.NDArray[np.bool_], bool]:
    """Which samples are for evaluation, and whether that is the provider's own split."""
    provided = manifest.pop("provided")
    known = provided.notna()
    labels, groups = manifest["class"].to_numpy(), manifest["group"].to_numpy()
    if not known.any():
        return split_by_group(labels, groups, rule.fraction, rule.seed), False
    if not known.all():
        raise RelayError(
            f"{int((~known).sum())} samples are on no side of the provider's split, and others are"
        )
    check_split(labels, groups, provided.to_numpy(), allow_crossing=rule.allow_crossing)
    return np.asarray(provided == "val"), True


def _description(
    survey: Survey,
    placed: Sequence[Placed],
    manifest: pd.DataFrame,
    rule: SplitRule,
    *,
    own: bool,
    crossing: Crossing,
    problems: Sequence[Problem],
) -> dict[str, Any]:
    sides = manifest.groupby("group")["split"].nunique()
    return {
        "format": FORMAT,
        "domain": survey.domain,
        "reader": survey.reader,
        "classes": sorted(survey.classes),
        "samples": {side: int((manifest["split"] == side).sum()) for side in ("train", "val")},
        "groups": {
            side: int(manifest.loc[manifest["split"] == side, "group"].nunique()) for side in ("train", "val")
        },
        "split": {
            "provided": own,
            "fraction": None if own else rule.fraction,
            "seed": None if own else rule.seed,
        },
        "crossing": {
            "groups": int((sides > 1).sum()),
            "duplicates": len(crossing.pictures),
            "looked": crossing.looked,
        },
        "left_out": len(problems),
        "notes": [*survey.notes, *_notes_on_alike(crossing)],
        "settings": dict(survey.settings),
        "settings_digest": settings_digest(survey),
        "parts": [asdict(each) for each in placed],
        "digest": _digest(manifest, placed),
    }


def _notes_on_alike(crossing: Crossing) -> list[str]:
    return [
        f"{' and '.join(titles)} show the same picture; their samples are not on both sides of the split."
        for titles in crossing.alike
    ]


def _digest(manifest: pd.DataFrame, placed: Sequence[Placed]) -> str:
    """The set's identity: pixels, names, classes, groups and sides; not its other columns."""
    content = hashlib.sha256()
    for each in placed:
        content.update(f"{each.number} {each.sha256}\n".encode())
    for row in manifest[list(COLUMNS)].itertuples(index=False):
        content.update(("\x1f".join(map(str, row)) + "\n").encode())
    return content.hexdigest()


def _first(problems: Sequence[Problem]) -> str:
    return f"{problems[0].what}: {problems[0].why}" if problems else "none"
