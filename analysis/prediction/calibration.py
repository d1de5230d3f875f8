"""One temperature for an ensemble, fitted on images that its networks were not trained on.

Temperature scaling (Guo et al. 2017, section 4.2): logits are divided by T > 0, which changes no predicted
class of a single network and makes its probabilities more even (T > 1) or less. T minimises the cross-entropy
of the networks' mean probability. It is fitted on what the runs themselves said of images they had not seen:
out of fold where there are folds, else on their evaluation set. The locked test set is not read. No image is
new to the networks of all folds: T is then of the mean of those that had not seen it, and the note says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from analysis.statistics.by_seed import group_numbers
from stages.errors import RelayError
from stages.metrics import METRICS, Outputs
from stages.predictions import read_predictions
from stages.store import RunFolder

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEAST_IMAGES = 50
"""Fewer images say too little: the deviation of ln T is then above about 0.2 for usual networks."""

LOWEST, HIGHEST = 0.05, 20.0
"""Where T is looked for; at an end there is no minimum."""

_PARTS = 5  # of the groups, when T is judged on the images that it is fitted on
_STEPS = 49  # of the coarse search, so that the fine one starts beside the lowest minimum


@dataclass(frozen=True)
class HeldOut:
    """What networks said of N images that they were not trained on; each image has one network or more.

    Attributes:
        samples: N names of images, as in `predictions.parquet`.
        labels: int64, (N,), in 0..C-1.
        groups: the patient or object of each image as a number from 0, int64, (N,).
        logits: float64, (R, C), a row for each image and network, the rows of an image together.
        starts: the first row of each image, int64, (N,).
        runs: the run of each row, by its place, int64, (R,).
        out_of_fold: whether the images were held out as folds; else they are the runs' evaluation set.
    """

    samples: tuple[str, ...]
    labels: Integers
    groups: Integers
    logits: Floats
    starts: Integers
    runs: Integers
    out_of_fold: bool

    @cached_property
    def networks(self) -> Integers:
        """How many networks each image has, (N,)."""
        return np.diff(np.append(self.starts, len(self.logits)))

    @property
    def all_networks(self) -> int:
        """How many networks there are."""
        return int(self.runs.max()) + 1

    @property
    def name(self) -> str:
        """What these predictions are, in words."""
        return "out-of-fold predictions" if self.out_of_fold else "predictions of the runs' evaluation set"

    def log_probabilities(self, temperature: Floats | float = 1.0) -> Floats:
        """Logarithm of the networks' mean probability, (N, C).

        Args:
            temperature: one, or one of each image, (N,).
        """
        of_rows = np.repeat(np.broadcast_to(temperature, len(self.labels)), self.networks)
        rows = special.log_softmax(self.logits / of_rows[:, None], axis=1)
        total = np.logaddexp.reduceat(rows, self.starts, axis=0)
        return np.asarray(total - np.log(self.networks)[:, None], dtype=np.float64)

    def cross_entropy(self, temperature: Floats | float = 1.0) -> float:
        """Of the networks' mean probability, the mean over images."""
        of_label = self.log_probabilities(temperature)[np.arange(len(self.labels)), self.labels]
        return -float(of_label.mean())

    def error(self, temperature: Floats | float = 1.0) -> float:
        """Expected calibration error of the networks' mean probability."""
        import torch

        compute = METRICS["calibration_error"].compute
        assert compute is not None
        outputs = Outputs(
            torch.from_numpy(self.log_probabilities(temperature)), torch.from_numpy(self.labels)
        )
        return float(compute(outputs) or 0.0)

    def only(self, chosen: npt.NDArray[np.bool_]) -> "HeldOut":
        """Some of the images, chosen by bool (N,)."""
        counts = self.networks[chosen]
        rows = np.repeat(chosen, self.networks)
        return HeldOut(
            tuple(np.asarray(self.samples, dtype=object)[chosen]),
            self.labels[chosen],
            self.groups[chosen],
            self.logits[rows],
            np.cumsum(counts) - counts,
            self.runs[rows],
            self.out_of_fold,
        )


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it was fitted on.

    Attributes:
        temperature: T.
        held_out: the predictions that it was fitted on.
        cross_fitted: a temperature of each of their images, fitted on the images of other groups, (N,): with
            these it is judged on the same images. None where that cannot be done; `why_not` says why.
        why_not: see there.
    """

    temperature: float
    held_out: HeldOut
    cross_fitted: Floats | None
    why_not: str = ""

    def document(self) -> dict[str, Any]:
        """What `settings.json` says of it."""
        held, fair = self.held_out, self.cross_fitted
        return {
            "method": "temperature",
            "temperature": self.temperature,
            "fitted_on": held.name,
            "images": len(held.labels),
            "groups": int(held.groups.max()) + 1,
            "networks": held.all_networks,
            "networks_of_an_image": int(held.networks.max()),
            "cross_entropy_before": held.cross_entropy(),
            "cross_entropy_after": None if fair is None else held.cross_entropy(fair),
            "calibration_error_before": held.error(),
            "calibration_error_after": None if fair is None else held.error(fair),
        }

    @property
    def note(self) -> str:
        """What a person should know, in a few sentences."""
        held = self.held_out
        said = (
            f"Probabilities are calibrated: logits are divided by a temperature of {self.temperature:.3g}, "
            f"fitted on {len(held.labels)} images ({held.name})."
        )
        if (most := int(held.networks.max())) < held.all_networks:
            said += (
                f" Each of these has {most} of the {held.all_networks} networks, those that had not seen it. "
                f"The temperature is that of a mean of {most}; the mean of all is a little less sure, so "
                "that its probabilities come out somewhat too even."
            )
        if self.cross_fitted is None:
            return f"{said} What it changes could not be judged: {self.why_not}."
        before, after = 100 * held.error(), 100 * held.error(self.cross_fitted)
        worse = " It does not become better: calibration=none is as good." if after >= before else ""
        return (
            f"{said} Their calibration error goes from {before:.1f}% to {after:.1f}%, each image judged with "
            f"a temperature of other groups.{worse}"
        )


def calibrate(folders: Sequence[RunFolder]) -> Calibration:
    """Fit the temperature of an ensemble on its runs' own predictions.

    Args:
        folders: of its networks' runs.

    Raises:
        RelayError: as `held_out` and `fit_temperature`.
    """
    held = held_out(folders)
    temperature = fit_temperature(held)
    try:
        return Calibration(temperature, held, cross_fit(held))
    except RelayError as error:
        return Calibration(temperature, held, None, str(error))


def held_out(folders: Sequence[RunFolder]) -> HeldOut:
    """What runs said of the images that they were evaluated on, after their last epoch.

    Args:
        folders: of the runs; of each `predictions.parquet` is read.

    Raises:
        RelayError: predictions are missing, damaged or not those of the record, runs have other classes, or
            an image has two labels.
    """
    names: list[str] = []
    groups: list[str | None] = []
    labels, logits, folds = [], [], []
    for folder in folders:
        record = folder.read_record()
        folder.check_files(record, folder.predictions)
        read = read_predictions(folder.predictions, classes=record.data.classes, samples=True, groups=True)
        names += read.samples
        groups += read.groups
        labels.append(read.labels)
        logits.append(read.logits.astype(np.float64))
        folds.append(record.folds is not None)
    if len({each.shape[1] for each in logits}) != 1:
        raise RelayError("a temperature needs runs of the same classes; choose those of one process")
    samples, first, image, counts = np.unique(
        np.asarray(names), return_index=True, return_inverse=True, return_counts=True
    )
    of_rows = np.concatenate(labels)
    order = np.argsort(image, kind="stable")
    if (of_rows != of_rows[first][image]).any():
        raise RelayError(
            "the runs' predictions give one image two labels: they are of different data sets under equal "
            "names. Choose the runs of one study"
        )
    return HeldOut(
        tuple(samples.tolist()),
        of_rows[first],
        group_numbers([groups[row] for row in first])[0],
        np.concatenate(logits)[order],
        np.cumsum(counts) - counts,
        np.repeat(np.arange(len(folders)), [len(each) for each in labels])[order],
        all(folds),
    )


def fit_temperature(held: HeldOut) -> float:
    """The temperature that minimises the cross-entropy of the networks' mean probability.

    A coarse search over ln T, then Brent's bounded method beside its lowest point.

    Raises:
        RelayError: there are too few images or one class only, or there is no minimum between `LOWEST` and
            `HIGHEST`.
    """
    images = len(held.labels)
    if images < LEAST_IMAGES:
        raise RelayError(
            f"calibration=temperature needs {LEAST_IMAGES} images that the networks were not trained on; "
            f"there are {images} ({held.name}). Leave it out"
        )
    if len(np.unique(held.labels)) < 2:
        raise RelayError(
            "calibration=temperature: all images that the networks were not trained on are of one class, so "
            "that no temperature can be fitted. Leave it out"
        )
    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), _STEPS)
    values = [held.cross_entropy(float(np.exp(point))) for point in grid]
    lowest = int(np.argmin(values))
    if lowest in (0, _STEPS - 1):
        end, why = (
            (LOWEST, "they are nearly always right")
            if lowest == 0
            else (HIGHEST, "their probabilities say nothing of the classes")
        )
        raise RelayError(
            f"calibration=temperature: the cross-entropy falls as far as a temperature of {end:g}, so that "
            f"none holds: on {images} images ({held.name}) {why}. Leave it out"
        )
    found = optimize.minimize_scalar(
        lambda point: held.cross_entropy(float(np.exp(point))),
        bounds=(grid[lowest - 1], grid[lowest + 1]),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def cross_fit(held: HeldOut) -> Floats:
    """A temperature of each image, fitted on the images of other groups, (N,).

    Groups are divided into five parts of about equal size; each part has the temperature of the others.

    Raises:
        RelayError: there is one group only, or a temperature cannot be fitted on a part's others.
    """
    sizes = np.bincount(held.groups)
    if len(sizes) < 2:
        raise RelayError("all images are of one group, and it takes two to fit on one and judge on another")
    part_of, filled = np.zeros(len(sizes), np.int64), np.zeros(min(_PARTS, len(sizes)))
    for group in np.argsort(-sizes, kind="stable"):
        part_of[group] = filled.argmin()
        filled[part_of[group]] += sizes[group]
    parts = part_of[held.groups]
    try:
        of_part = [fit_temperature(held.only(parts != part)) for part in range(len(filled))]
    except RelayError:
        raise RelayError("without a part of the groups no temperature holds") from None
    return np.asarray(of_part, dtype=np.float64)[parts]
