"""Judge an ensemble on a labelled set, and its networks at home."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from analysis.prediction.calibration import Calibration, HeldOut, held_out
from analysis.prediction.ensemble import Ensemble
from analysis.prediction.evaluation.answers import Answers, Integers, seed_numbers
from analysis.prediction.evaluation.class_names import match, parsed
from analysis.prediction.evaluation.home import Home, home_of
from analysis.prediction.evaluation.judged import Judged
from analysis.prediction.evaluation.labelled import Labelled
from analysis.prediction.evaluation.measures import table_of
from analysis.prediction.evaluation.overlap import Overlap, overlap_of
from analysis.prediction.evaluation.source_stages import with_source_stages
from analysis.prediction.finished import unfinished
from stages.console.words import counted
from stages.errors import RelayError

Floats = npt.NDArray[np.float64]


def judge(
    ensemble: Ensemble,
    found: Labelled,
    *,
    title: str,
    classes: str | None = None,
    calibration: Calibration | None = None,
    batch_size: int = 256,
) -> Judged:
    """What an ensemble reaches on a labelled set, beside what its networks reach at home.

    Args:
        ensemble: the networks.
        found: the set.
        title: of the networks, such as the process.
        classes: THEIRS:OURS,... as typed.
        calibration: the temperature of the networks; None without.
        batch_size: images at once on the device.

    Raises:
        RelayError: its classes cannot be matched, every image of it was trained on, one is of the locked
            test set, or no temperature can be fitted on other images than those that are judged.
    """
    records = [member.record for member in ensemble.members]
    folders = [member.folder for member in ensemble.members]
    matched = match(found.classes, ensemble.classes, parsed(classes), found.where)
    held, why_no_home = (calibration.held_out, "") if calibration else _held_out(ensemble)
    overlap = with_source_stages(overlap_of(found, folders, records, held), found, folders, records)
    if locked := int(overlap.locked.sum()):
        raise RelayError(
            f"{counted(locked, 'image')} of {found.where} are of the locked test set of the networks' runs, "
            "whose openings are counted. Leave them out; or open it with python -m analysis.report test=open"
        )
    if overlap.trained.all():
        raise RelayError(
            f"every image of {found.where} is one that the networks were trained on ({overlap.how}), so "
            "that it says nothing of elsewhere. Give images that no run has seen; of a set with sides, "
            "side=val judges those that the runs were evaluated on"
        )
    labels = np.array([-1 if label is None else label for label in matched.label_of.values()])[found.labels]
    logits = torch.cat(
        [ensemble.logits(torch.from_numpy(pixels), batch_size) for pixels in found.batches()], dim=1
    )
    seeds = seed_numbers(records)
    everything = Answers(labels, found.groups, logits.numpy(), seeds)
    kept = labels >= 0
    raw = everything.only(kept)
    overlap = overlap.only(kept)
    of_images = np.ones(len(raw.labels)) if calibration is None else _temperatures(calibration, overlap)
    answers = replace(raw, logits=raw.logits / of_images[None, :, None])
    home, raw_home = _at_home(held, calibration, seeds, raw.present)
    if held is not None and home is None:
        why_no_home = "the seeds' runs were evaluated on different images"
    present_groups = np.unique(found.groups[kept])
    judged = Judged(
        title=title,
        classes=ensemble.classes,
        answers=answers,
        raw=None if calibration is None else raw,
        samples=tuple(np.asarray(found.samples, dtype=object)[kept]),
        group_names=tuple(found.group_names[group] for group in present_groups),
        sides=found.sides,
        side=found.side,
        home=home,
        why_no_home=why_no_home,
        raw_home=raw_home,
        calibration=calibration,
        temperatures=of_images,
        overlap=overlap,
        notes=(*found.notes, *matched.notes, *ensemble.notes),
        unlike=found.unlike,
        left_out=int((~kept).sum()),
        members=(len(records), len({record.seed for record in records})),
        digest=found.listing.digest,
        unfinished=tuple(unfinished(records)),
    )
    return replace(judged, metrics=table_of(answers))


def _held_out(ensemble: Ensemble) -> tuple[HeldOut | None, str]:
    try:
        return held_out([member.folder for member in ensemble.members]), ""
    except RelayError as error:
        return None, str(error).rstrip(".")


def _at_home(
    held: HeldOut | None, calibration: Calibration | None, seeds: Integers, present: Integers
) -> tuple[Home | None, Home | None]:
    """The networks at home, calibrated where they can be without being judged on what that was fitted on."""
    if held is None:
        return None, None
    raw = home_of(held, seeds, present)
    if calibration is None or calibration.cross_fitted is None:
        return raw, None
    of_rows = np.repeat(calibration.cross_fitted, held.networks)
    return home_of(replace(held, logits=held.logits / of_rows[:, None]), seeds, present), raw


def _temperatures(calibration: Calibration, overlap: Overlap) -> Floats:
    """A temperature of each image: where it is one of home, the one that other groups gave.

    Raises:
        RelayError: there is none for such an image.
    """
    found = np.full(len(overlap.trained), calibration.temperature)
    places = {name: place for place, name in enumerate(calibration.held_out.samples)}
    rows = [(row, places[name]) for row, name in enumerate(overlap.home_names) if name in places]
    if rows and calibration.cross_fitted is None:
        raise RelayError(
            "calibration=temperature is fitted on the runs' own evaluation images, and this set holds "
            f"{len(rows)} of them, of which no others can be told apart: {calibration.why_not}. Leave it out"
        )
    for row, place in rows:
        assert calibration.cross_fitted is not None
        found[row] = calibration.cross_fitted[place]
    return found
