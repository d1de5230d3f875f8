"""`predict.py` with a CT series: a map of patterns, and how much of the lungs each takes."""

import shutil

from analysis.prediction.ensemble import Ensemble
from analysis.prediction.out import opened_out, settings_of
from analysis.prediction.series.given_mask import GivenMask
from analysis.prediction.series.lungs import notes_on_lungs, write_lungs
from analysis.prediction.series.mask_files import open_mask
from analysis.prediction.series.measure import MEASUREMENTS, Measurement, measure, write_measurements
from analysis.prediction.series.nifti import PATTERN, PROBABILITIES, write_pattern, write_probabilities
from analysis.prediction.series.outputs import OUTPUTS, write_outputs
from analysis.prediction.series.page import PAGE
from analysis.prediction.series.pattern_map import PatternMap
from analysis.prediction.series.rescale import SAME_SPACING, Rescale
from analysis.prediction.series.sliding import Sliding, check_patches, map_patterns, usual_stride
from analysis.prediction.series.volume import CTVolume, open_volume
from analysis.prediction.task import Task
from stages.console.output import output
from stages.errors import RelayError

FILES = (PATTERN, PROBABILITIES, MEASUREMENTS, *OUTPUTS)
_MIB = 1 << 20

# What is to be known of lungs without a mask.
_FOUND = (
    "Dense disease at the chest wall, the mediastinum or the diaphragm may be missing from lungs that are "
    "found by their air: look at the overlays, and give mask=FILE where it matters."
)


def predict_series(task: Task) -> list[str]:
    """Map the series of the source, and write map, numbers, pictures and page to `out`.

    Args:
        task: its source is a series.

    Returns:
        What to say at the end, a line each.

    Raises:
        RelayError: the series cannot be mapped.
    """
    typed = task.arguments
    volume = open_volume(task.source.path, typed.series, spacing_of(typed.spacing), typed.unsigned_offset)
    mask = None if typed.mask is None else open_mask(typed.mask.expanduser(), volume)
    sliding = _sliding(task, volume)
    check_patches(volume, task.ensemble, sliding)
    settings = settings_of(
        task,
        volume.digest,
        mask="found" if mask is None else mask.digest,
        stride=sliding.stride,
        spacing=list(volume.spacing),
        resampled_to=sliding.rescale.target,
        unsigned_offset=typed.unsigned_offset,
        overlays=typed.overlays,
        device=task.ensemble.device.type,
    )
    with opened_out(typed.out, settings, FILES) as out:
        made = PatternMap(out.work, volume, task.ensemble.classes, len(task.ensemble.members))
        try:
            notes = [*volume.notes, *(mask.notes if mask else ()), *_notes(task.ensemble, sliding)]
            _prepare(made, mask)
        except RelayError:  # the next command has another source or mask
            out.abandon()
            raise
        notes += notes_on_lungs(made, mask is not None)
        for note in (*notes, *([_FOUND] if mask is None else ())):
            output().print(f"note: {note}", soft_wrap=True)
        map_patterns(made, task.ensemble, sliding)
        rows = measure(made)
        write_pattern(out.folder / PATTERN, made)
        write_probabilities(out.folder / PROBABILITIES, made)
        write_measurements(out.folder / MEASUREMENTS, rows)
        how = [
            ("stride", f"{sliding.stride} px of the training images"),
            ("lungs", f"found by Relay. {_FOUND}" if mask is None else "given as a mask"),
            *([("calibration", task.calibration.note)] if task.calibration else []),
        ]
        warned = write_outputs(made, rows, task, out.folder, how, notes)
        for warning in warned:
            output().print(f"warning: {warning}", soft_wrap=True)
    return [_in_short(rows), f"Results are in {typed.out}; its page is {PAGE}."]


def spacing_of(typed: str | None) -> tuple[float, ...] | None:
    """The numbers of `spacing`.

    Raises:
        RelayError: it is none.
    """
    try:
        return None if typed is None else tuple(float(part) for part in typed.split(","))
    except ValueError:
        raise RelayError(f"spacing={typed}: give numbers in mm, such as 0.7 or 10,0.7,0.7") from None


def _sliding(task: Task, volume: CTVolume) -> Sliding:
    acquisition = task.ensemble.input.acquisition
    trained = None if acquisition is None else acquisition.spacing_mm
    _, rows, columns = volume.spacing
    (height, width), swapped = volume.scan.shape, volume.upright.transposed
    if swapped:
        height, width, rows, columns = width, height, columns, rows
    rescale = Rescale.to_training(
        (height, width),
        None if rows is None or columns is None else (rows, columns),
        None if trained is None else trained[1],
    )
    stride = task.arguments.stride or usual_stride(task.ensemble.shape)
    return Sliding(stride, task.arguments.batch_size, rescale)


def _notes(ensemble: Ensemble, sliding: Sliding) -> list[str]:
    """What is done to slices before patches are cut, and what is not known of it."""
    notes = []
    rescale = sliding.rescale
    if rescale.target is not None and rescale.spacing is not None:
        notes.append(
            f"Slices have pixels of {rescale.spacing[0]:.3g} x {rescale.spacing[1]:.3g} mm, the training "
            f"images of {rescale.target:.3g} mm: slices are resampled to these, and the map is brought back."
        )
    elif ensemble.input.acquisition is None or ensemble.input.acquisition.spacing_mm is None:
        notes.append(
            "The pixel spacing of the training images is not known: slices keep theirs, and patterns may "
            "look larger or smaller than those that the networks learned."
        )
        if rescale.spacing is not None and max(rescale.spacing) > (1 + SAME_SPACING) * min(rescale.spacing):
            sides = " x ".join(f"{side:.3g}" for side in rescale.spacing)
            notes.append(f"The pixels are not square ({sides} mm) and stay so: patterns look stretched.")
    elif rescale.spacing is None:
        notes.append(
            "The pixel spacing of the slices is not known: they are not resampled to the training's."
        )
    if ensemble.input.decode_size is not None:
        notes.append(
            f"The training images were resized to {ensemble.input.decode_size} px, and slices are not: "
            "patterns may look larger or smaller than those that the networks learned."
        )
    return notes


def _prepare(made: PatternMap, mask: GivenMask | None) -> None:
    """The lungs, and empty files for the map; what is there already is kept.

    Raises:
        RelayError: there are no lungs, or there is no room.
    """
    lungs = made.folder / "lungs.raw"
    if not lungs.exists():
        write_lungs(lungs, made.volume, mask)
    if not (made.folder / "done.raw").exists():
        _check_room(made)
        made.create()


def _check_room(made: PatternMap) -> None:
    """Refuse a disk that the map will not fit on: its slices with lungs, and the results."""
    slices = sum(bool(plane.any()) for plane in made.lungs)
    needed = int(slices * made.volume.shape[1] * made.volume.shape[2] * (2 * len(made.classes) + 2))
    free = shutil.disk_usage(made.folder).free
    if free < needed:
        raise RelayError(
            f"out={made.folder.parent}: the map needs {needed // _MIB} MiB, and {free // _MIB} MiB are free; "
            "make room, or choose another disk."
        )


def _in_short(rows: list[Measurement]) -> str:
    """The shares of both lungs in one line."""
    shares = [
        f"{row.pattern} {row.percent:.1f}%"
        for row in rows
        if row.region == "lungs" and row.percent is not None
    ]
    return f"Of the lungs: {', '.join(shares)}."
