"""What people look at and hand on: the DICOM segmentation, overlays, and the page."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from analysis.prediction.arguments import Arguments
from analysis.prediction.ensemble import Ensemble
from analysis.prediction.series.dicom_seg import SEGMENTATION, Maker, write_segmentation
from analysis.prediction.series.measure import Measurement
from analysis.prediction.series.overlays import (
    LUNG_WINDOW,
    OVERLAYS,
    chosen_slices,
    draw_overlays,
    draw_strip,
    most_of_each,
)
from analysis.prediction.series.overview import look_through
from analysis.prediction.series.page import PAGE, Result, Shown, series_page
from analysis.prediction.series.pattern_map import PatternMap, room_on_disk
from analysis.prediction.series.unlike import find_unlike
from analysis.prediction.task import Task
from analysis.report.page import relay_version
from stages.console.output import bar
from stages.machine.atomic import remove_partial_files, write_bytes, write_text
from stages.store import make_folder

OUTPUTS = (SEGMENTATION, OVERLAYS, PAGE)
"""Names of what is written."""

_PATHS = ("runs_dir", "source", "out", "mask")


def write_outputs(
    found: PatternMap,
    rows: Sequence[Measurement],
    task: Task,
    folder: Path,
    how: Sequence[tuple[str, str]],
    notes: Sequence[str] = (),
) -> list[str]:
    """Write the segmentation (of DICOM alone), the overlays, and the page last.

    Args:
        found: The map, done.
        rows: Its measurements.
        task: What was asked for.
        folder: Of the results.
        how: Names and values of what else decides the map: the stride, where the lungs are from.
        notes: What a person should know of the series and its lungs, for the page, a sentence each.

    Returns:
        Warnings and notes, a line each.

    Raises:
        RelayError: A slice cannot be decoded, or the folder cannot be written.
    """
    window = task.ensemble.input.window
    overview = look_through(found, None if window is None else (window[0], window[1]), LUNG_WINDOW)
    lost = []
    if found.volume.scan.kind == "DICOM":
        why = _write_segmentation(found, task.ensemble, folder / SEGMENTATION, how)
        lost += [f"no {SEGMENTATION}: {why}"] if why else []
    numbers = chosen_slices(overview, task.arguments.overlays == "all")
    shown = set(most_of_each(overview).values())
    kept = []
    make_folder(folder / OVERLAYS, "out")
    remove_partial_files(folder / OVERLAYS)
    with room_on_disk(folder / OVERLAYS), bar() as progress:
        for overlay in progress.track(
            draw_overlays(found, overview, numbers), total=len(numbers), description="overlays"
        ):
            write_bytes(folder / OVERLAYS / overlay.name, overlay.png)
            kept += [overlay] if overlay.number in shown else []
    caveats = find_unlike(overview, found.volume, [member.record for member in task.ensemble.members])
    page = series_page(
        Result(found, overview, rows, task.ensemble),
        Shown(kept, draw_strip(found, overview), len(numbers)),
        caveats,
        how,
        notes,
        shown_command(task.arguments),
    )
    write_text(folder / PAGE, page)
    return [f"{caveat.title}: {caveat.text}" for caveat in caveats if caveat.serious] + lost


def shown_command(arguments: Arguments) -> str:
    """The command without paths, which can name a patient: `python predict.py ... source=SOURCE out=OUT`."""
    words = ["python predict.py"]
    for one in fields(arguments):
        value = getattr(arguments, one.name)
        if value == one.default:
            continue
        if one.name in _PATHS:
            value = one.name.upper()
        words.append(f"{one.name}={str(value).lower() if isinstance(value, bool) else value}")
    return " ".join(words)


def _write_segmentation(
    found: PatternMap, ensemble: Ensemble, path: Path, how: Sequence[tuple[str, str]]
) -> str:
    records = [member.record for member in ensemble.members]
    finished = max(record.origin.finished for record in records)
    parameters = {name: value for name, value in how}
    maker = Maker(
        chain=" > ".join(records[0].chain),
        version=relay_version(),
        finished=finished[:10].replace("-", ""),
        parameters={"networks": ", ".join(record.id[:12] for record in records), **parameters},
    )
    patterns = np.stack([found.pattern(number) for number in range(found.volume.shape[0])])
    return write_segmentation(path, found.volume.files, patterns, found.classes, maker)
