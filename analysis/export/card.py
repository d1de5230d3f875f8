"""`card.md`: a model card in the form of Hugging Face, filled from the records."""

from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.export.check import TOLERANCE, Checked
from analysis.export.evaluation import Evaluation
from analysis.export.facts import Stage, class_rows, network_name, settings_of
from analysis.export.front_matter import card_title, front_matter
from analysis.export.network import RawInput
from analysis.export.programs import OPSET
from analysis.prediction.calibration import Calibration
from analysis.prediction.ensemble import Ensemble
from stages.console.words import counted
from stages.metrics import CALIBRATION_BINS, METRICS

TEMPLATES = Path(__file__).with_name("templates")


def card(
    ensemble: Ensemble,
    raw: RawInput,
    chain: Sequence[Stage],
    calibration: Calibration | None,
    evaluation: Evaluation,
    checked: Checked,
) -> str:
    """The card as Markdown. It names no patient, no file and no path.

    Args:
        ensemble: the networks.
        raw: what the programs take.
        chain: of the first network.
        calibration: of their temperature; None without.
        evaluation: of the networks.
        checked: what the programs were compared on.

    Raises:
        RelayError: if a recipe cannot be read.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown
    )
    environment.filters["cell"] = _cell
    first = ensemble.members[0]
    data, several = first.record.data, len(ensemble.members) > 1
    return environment.get_template("card.md.jinja").render(
        front_matter=front_matter(chain, evaluation),
        title=card_title(chain),
        version=version("relay-transfer"),
        torch=torch.__version__,
        opset=OPSET,
        classes=[_cell(name) for name in ensemble.classes],
        chain=chain,
        members=ensemble.members,
        several=several,
        networks=_networks(ensemble),
        network=network_name(first.folder),
        parameters=f"{first.record.parameters:,}",
        temperature=_temperature(ensemble),
        height=raw.height,
        width=raw.width,
        color=raw.color,
        window=None if raw.window is None else [f"{end:g}" for end in raw.window],
        unit=_unit(ensemble),
        shape=", ".join(map(str, raw.shape)),
        dtype=str(raw.dtype).removeprefix("torch."),
        input=_input(raw),
        image_size=data.image_size,
        resizes=(raw.height, raw.width) != (data.image_size, data.image_size),
        decode_size=ensemble.input.decode_size,
        plateau=_plateau(ensemble),
        class_rows=class_rows(ensemble),
        grouped=data.grouped,
        about_images=_about_images(ensemble),
        settings=settings_of(first.folder),
        evaluation=evaluation,
        evaluated_on=_evaluated_on(ensemble, evaluation),
        others="images" if evaluation.groups is None else "patients",
        calibration=_calibration(calibration, evaluation),
        limits=_limits(ensemble),
        checked=_checked(checked),
        origins=_origins(ensemble),
    )


def _networks(ensemble: Ensemble) -> str:
    records = [member.record for member in ensemble.members]
    seeds = sorted({record.seed for record in records})
    words = f"{counted(len(records), 'network')} of {counted(len(seeds), 'seed')} ({_ranges(seeds)})"
    folds = sorted({record.fold for record in records if record.fold is not None})
    return f"{words} and {counted(len(folds), 'fold')}" if folds else words


def _ranges(numbers: Sequence[int]) -> str:
    """`0 to 4, 7` of 0, 1, 2, 3, 4, 7."""
    runs: list[list[int]] = [[numbers[0], numbers[0]]]
    for before, number in pairwise(numbers):
        if number == before + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in runs)


def _temperature(ensemble: Ensemble) -> str:
    if ensemble.temperature == 1.0:
        return "1 (probabilities are the softmax of the logits as trained)"
    return f"{ensemble.temperature:.4g}: logits are divided by it, inside the network"


def _input(raw: RawInput) -> str:
    shape = ", ".join(map(str, ("N", *raw.shape)))
    values = "uint8, 8-bit " + ("red, green, blue" if raw.color else "grey levels")
    if raw.window is not None:
        low, high = raw.window
        values = f"float32, grey values before the window of {low:g} to {high:g}"
    return f"{values}, ({shape}), for any N"


def _unit(ensemble: Ensemble) -> str:
    window = ensemble.input.window
    return " in Hounsfield units" if window is not None and window[0] < 0 else ""


def _plateau(ensemble: Ensemble) -> str:
    records = [member.record for member in ensemble.members]
    dull = sum(not record.plateau.learning for record in records)
    early = sum(record.plateau.learning and not record.plateau.reached for record in records)
    said = "Weights are those after the last epoch of the plateau of the training loss."
    if early:
        said += f" {counted(early, 'network')} had not reached it when training ended."
    if dull:
        said += f" **{counted(dull, 'network')} did not learn: the training loss is about that of chance.**"
    return said


def _about_images(ensemble: Ensemble) -> list[str]:
    data = ensemble.members[0].record.data
    found = [] if data.values is None else [f"Values of the target's images: {data.values}."]
    if data.crossing_groups or data.crossing_pictures:
        found.append(
            f"{counted(data.crossing_groups, 'group')} and {counted(data.crossing_pictures, 'picture')} "
            "stand on both sides of the split: the evaluation flatters."
        )
    if data.test_counts is not None:
        found.append(f"A test set of {sum(data.test_counts)} images was kept back; nothing here is about it.")
    return found


def _evaluated_on(ensemble: Ensemble, evaluation: Evaluation) -> str:
    record = ensemble.members[0].record
    if not evaluation.images:
        return "The predictions of the runs are not known."
    said = f"On {evaluation.images} images"
    if evaluation.groups is not None:
        said += f" of {evaluation.groups} patients (groups)"
    if record.folds is not None:
        return (
            f"{said}, each predicted by networks that had no image of its patient in training "
            f"({record.folds} folds). Together: the mean of these, one of each seed; the program takes the "
            "mean of all networks."
        )
    if len(ensemble.members) == 1:
        return f"{said} of the evaluation set, in no training."
    shared = ", the same for all networks and" if evaluation.together else " of some of these networks,"
    return f"{said} of the evaluation set{shared} in no training."


def _calibration(calibration: Calibration | None, evaluation: Evaluation) -> str:
    title = METRICS["calibration_error"].title
    found = [
        f"{whose} {levels[title].text}"
        for whose, levels in (("together", evaluation.together), ("single", evaluation.singly))
        if title in levels
    ]
    note = "Probabilities were not calibrated." if calibration is None else calibration.note
    errors = "; ".join(found) or "not known"
    return f"{note} Expected calibration error in {CALIBRATION_BINS} bins of confidence: {errors}."


def _limits(ensemble: Ensemble) -> list[str]:
    found, acquisition = [], ensemble.input.acquisition
    if ensemble.input.window is None:
        found.append("Window: not known; images had 8 bits, or said themselves what is white.")
    else:
        low, high = ensemble.input.window
        found.append(f"Window: {low:g} to {high:g}; what lies outside is not told apart.")
    if acquisition is None:
        found.append(
            "Spacing, slice thickness and kernels of the training images are not known: find them out."
        )
    else:
        for name, of_set in (
            ("Spacing", acquisition.spacing_mm),
            ("Slice thickness", acquisition.thickness_mm),
        ):
            if of_set is None:
                found.append(f"{name} of the training images is not known.")
            else:
                low, median, high = of_set
                found.append(f"{name}: {low:g} to {high:g} mm, median {median:g} mm.")
        kernels = ", ".join(f"{_cell(name)} ({count})" for name, count in sorted(acquisition.kernels.items()))
        found.append(f"Reconstruction kernels (series): {kernels or 'not known'}.")
    smallest = min(min(member.record.data.train_counts) for member in ensemble.members)
    found.append(f"The smallest class had {smallest} training images.")
    return found


def _checked(checked: Checked) -> str:
    each = ", ".join(f"{value:.0e} by {name}" for name, value in checked.differences.items())
    rounding = (
        ""
        if checked.rounding is None
        else " Rounded as in training (predict.py with precision=training) the networks differ "
        f"from that by up to {checked.rounding:.0e}."
    )
    return (
        "When they were written, both programs were compared with the networks as predict.py computes them "
        f"in float32, on {checked.images}, in batches of 1, 7 and 64. Largest difference of a probability: "
        f"{each}; {TOLERANCE:g} was allowed.{rounding}"
    )


def _origins(ensemble: Ensemble) -> str:
    found = {
        f"{name} {number}"
        for member in ensemble.members
        for name, number in member.record.origin.versions.items()
        if name in ("python", "torch", "torchvision")
    }
    precisions = sorted({each.input.precision for each in ensemble.members})
    commits = sorted({(each.record.origin.git_commit or "unknown")[:12] for each in ensemble.members})
    return f"{', '.join(sorted(found))}, in {', '.join(precisions)}, by Relay's commit {', '.join(commits)}"


def _cell(value: object) -> str:
    """Text that stays in its cell of a table and is no markup."""
    text = " ".join(str(value).split())
    for sign in ("\\", "|", "*", "_", "`", "<", "[", "]"):
        text = text.replace(sign, f"\\{sign}")
    return text
