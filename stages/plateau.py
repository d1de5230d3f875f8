"""The plateau of the training loss, and the representative value of a metric over it.

The paper (section 6) trains "until obtaining training loss plateaus" and takes "the 75th percentile values
of the learning process" as representative, without saying how either is found; this is our reading.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Lt

from stages.parameters import Number, group, recipe


@group
class PlateauRule:
    """When a stage has been trained long enough (the paper says "until obtaining training loss plateaus")."""

    min_delta: Annotated[Number, Ge(0), Lt(1)] = recipe(
        "Least relative improvement of the smoothed loss that counts."
    )
    patience: Annotated[int, Ge(1)] = recipe(
        "Epochs without such an improvement after which the plateau has begun.", unit="epochs"
    )
    length: Annotated[int, Ge(1)] = recipe("Epochs trained and evaluated from then on.", unit="epochs")
    smoothing: Annotated[int, Ge(1)] = recipe(
        "Epochs in the moving average of the loss; 1 is none.", unit="epochs"
    )
    max_epochs: Annotated[int, Ge(1)] = recipe(
        "Epochs after which training ends in any case, at least `length`.", unit="epochs"
    )

    def __post_init__(self) -> None:
        if self.max_epochs < self.length:
            raise ValueError(
                f"max_epochs ({self.max_epochs}) is less than the plateau's length ({self.length})"
            )


@dataclass(frozen=True)
class Plateau:
    """The epochs over which metrics are summarised.

    Attributes:
        onset: first epoch of the plateau, counted from 0.
        length: number of its epochs.
        reached: False if `max_epochs` ended the training first; then these are its last epochs.
    """

    onset: int
    length: int
    reached: bool

    @property
    def epochs(self) -> range:
        """The plateau's epochs."""
        return range(self.onset, self.onset + self.length)


def smoothed(losses: Sequence[float], window: int) -> list[float]:
    """Mean of the last `window` losses at each epoch (of fewer at the beginning)."""
    return [
        math.fsum(losses[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(losses))
    ]


def plateau_onset(losses: Sequence[float], rule: PlateauRule) -> int | None:
    """First epoch of the plateau, or None as long as the loss improves.

    The epoch after the one at which the smoothed loss has, for `patience` epochs running, not fallen below
    (1 - min_delta) times the best before. It depends on losses up to the onset only: a later improvement
    does not undo it.

    Args:
        losses: training loss of each epoch; non-negative.
        rule: what counts as flat.
    """
    best, waited = math.inf, 0
    for epoch, value in enumerate(smoothed(losses, rule.smoothing)):
        if value < best * (1.0 - rule.min_delta):
            best, waited = value, 0
        else:
            waited += 1
        if waited >= rule.patience:
            return epoch + 1
    return None


def should_stop(losses: Sequence[float], rule: PlateauRule) -> bool:
    """Whether training ends after the epochs whose losses are given."""
    onset = plateau_onset(losses, rule)
    return len(losses) >= rule.max_epochs or (onset is not None and len(losses) >= onset + rule.length)


def find_plateau(losses: Sequence[float], rule: PlateauRule) -> Plateau:
    """The plateau of a finished training.

    Raises:
        ValueError: if there is no epoch.
    """
    if not losses:
        raise ValueError("no epoch was trained, so there is no plateau")
    onset = plateau_onset(losses, rule)
    if onset is not None and len(losses) >= onset + rule.length:
        return Plateau(onset=onset, length=rule.length, reached=True)
    length = min(rule.length, len(losses))
    return Plateau(onset=len(losses) - length, length=length, reached=False)


def representative_value(values: Sequence[float], percentile: float = 75.0) -> float:
    """The percentile of a metric over the plateau's epochs, linearly interpolated (paper, section 6).

    Raises:
        ValueError: if there are no values or the percentile is outside of [0, 100].
    """
    if len(values) == 0:
        raise ValueError("no values to take a percentile of")
    return float(np.percentile(np.asarray(values, dtype=np.float64), percentile, method="linear"))
