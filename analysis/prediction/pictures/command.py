"""`predict.py` with pictures: a row for each, and a sheet of the most and least certain."""

import csv
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import torch

from analysis.prediction.ensemble import Ensemble
from analysis.prediction.out import Out, opened_out, settings_of
from analysis.prediction.pictures.listing import Batch, Pictures, list_pictures
from analysis.prediction.pictures.progress import PREDICTIONS, SHOWN, SKIPPED, Certainty, Progress
from analysis.prediction.pictures.sheet import Shown, certainty_sheet
from analysis.prediction.task import Task
from datamodules.pixels.image_file import quiet_pillow
from datamodules.pixels.stored import remark_notes
from stages.console.output import bar, output
from stages.console.words import counted
from stages.errors import RelayError
from stages.machine.atomic import atomic_file
from stages.machine.resources import available_cores

SHEET = "contact_sheet.png"


def predict_pictures(task: Task) -> list[str]:
    """Classify the pictures of the source; write predictions.csv, skipped.csv and contact_sheet.png.

    Args:
        task: its source is a folder, a picture, a manifest or a prepared set.

    Returns:
        What to say at the end, a line each.

    Raises:
        RelayError: none can be used, or `out` holds something else.
    """
    arguments, ensemble = task.arguments, task.ensemble
    with ExitStack() as stack:
        pictures = list_pictures(task.source, ensemble)
        settings = settings_of(task, pictures.digest, kind="pictures")
        out = stack.enter_context(opened_out(arguments.out, settings, (PREDICTIONS, SKIPPED, SHEET)))
        for note in pictures.notes:
            output().print(f"note: {note}", soft_wrap=True)
        stack.enter_context(quiet_pillow())
        pool = stack.enter_context(ThreadPoolExecutor(arguments.threads or available_cores()))
        progress = Progress.resumed(out, _header(ensemble), pictures.skipped)
        _classify(pictures, ensemble, progress, arguments.batch_size, pool)
        if not progress.classes:
            raise _none_usable(task, out)
        _write_sheet(pictures, ensemble, progress, pool)
        progress.finish()
    return _said(task, progress)


def _header(ensemble: Ensemble) -> list[str]:
    return ["path", "class", *(f"probability_{name}" for name in ensemble.classes), "spread"]


def _classify(
    pictures: Pictures, ensemble: Ensemble, progress: Progress, batch_size: int, pool: ThreadPoolExecutor
) -> None:
    """Batch by batch, from where an earlier start ended."""
    total = len(pictures.names)
    with bar() as shown:
        task = shown.add_task("classifying", total=total, completed=progress.done)
        for start in range(progress.done, total, batch_size):
            stop = min(start + batch_size, total)
            batch = pictures.read(range(start, stop), pool)
            rows, certain = _rows(pictures, ensemble, batch, batch_size)
            progress.add(rows, certain, batch.skipped, batch.remarks, stop)
            shown.update(task, completed=stop)


def _rows(
    pictures: Pictures, ensemble: Ensemble, batch: Batch, batch_size: int
) -> tuple[list[list[str]], list[Certainty]]:
    """Rows of predictions.csv: mean probabilities, and the deviation (n - 1) of that of the class."""
    found = ensemble.probabilities(torch.from_numpy(batch.pixels), batch_size).double().numpy()
    mean = found.mean(axis=0)
    named = mean.argmax(axis=1)
    every = np.arange(len(named))
    spread = found[:, every, named].std(axis=0, ddof=1) if len(found) > 1 else None
    rows, certain = [], []
    for place, label, row in zip(batch.places, named.tolist(), every.tolist(), strict=True):
        probabilities = [f"{value:.7g}" for value in mean[row].tolist()]
        deviation = "" if spread is None else f"{spread[row]:.7g}"
        rows.append([pictures.names[place], ensemble.classes[label], *probabilities, deviation])
        certain.append((float(mean[row, label]), place, label))
    return rows, certain


def _write_sheet(
    pictures: Pictures, ensemble: Ensemble, progress: Progress, pool: ThreadPoolExecutor
) -> None:
    """The two ends; where there are few pictures, each is on the sheet once."""
    total = progress.classes.total()
    most = progress.most[: min(SHOWN, -(-total // 2))]
    least = progress.least[: min(SHOWN, total // 2)]
    blocks = []
    for heading, chosen in (("most certain", most), ("least certain", least)):
        shown: list[Shown] = []
        for probability, place, label in chosen:
            read = pictures.read([place], pool)
            if len(read.places):  # it may have been removed since
                shown.append((read.pixels[0], ensemble.classes[label], probability))
        if shown:
            blocks.append((f"{heading}: {len(shown)} of {total:,}", shown))
    with atomic_file(progress.out.folder / SHEET) as file:
        certainty_sheet(blocks).save(file, format="PNG")


def _none_usable(task: Task, out: Out) -> RelayError:
    """The error where every picture was skipped; nothing is left of the attempt."""
    with (out.work / SKIPPED).open(newline="") as file:
        skipped = list(csv.reader(file))[1:]
    shutil.rmtree(out.work)
    why = f"; the first: {': '.join(skipped[0])}" if skipped else ""
    return RelayError(f"no picture of source={task.source.typed} can be used{why}")


def _said(task: Task, progress: Progress) -> list[str]:
    folder = task.arguments.out
    networks = counted(len(task.ensemble.members), "network")
    lines = [f"note: {note}" for note in remark_notes(progress.remarks)]
    if progress.skipped:
        lines.append(f"{counted(progress.skipped, 'picture')} skipped: {folder / SKIPPED} says why")
    listed = ", ".join(f"{name} {count:,}" for name, count in progress.classes.most_common(20))
    lines.append(f"{counted(progress.classes.total(), 'picture')} classified by {networks}: {listed}")
    return [*lines, f"predictions: {folder / PREDICTIONS}", f"contact sheet: {folder / SHEET}"]
