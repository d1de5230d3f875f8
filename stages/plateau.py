"""The plateau of the training loss, and the representative value of a metric over it.

The paper (section 6) trains "until obtaining training loss plateaus" and takes "the 75th percentile values
of the learning process" as representative, without saying how either is found; this is our reading.
`benchmarks/plateau.py` measures how well the plateau is found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import numpy as np
from annotated_types import Ge, Lt

from stages.parameters import Number, group, recipe

BEGUN = 0.05
"""The fall has begun where the smoothed loss is below the loss of chance by more than this share of it."""

_RESTLESS = 2.0  # standard errors of the smoothed loss that may hide in a fall that does not count
_FIRST = 3.0  # standard deviations by which a first loss may be above the loss of chance
_MOST_PATIENCE = 3  # times the rule's: so far a restless loss is waited for
_QUARTILE = 0.6745  # the median of absolute values of a standard normal variable


@group
class PlateauRule:
    """When a stage has been trained long enough (the paper says "until obtaining training loss plateaus")."""

    min_delta: Annotated[Number, Ge(0), Lt(1)] = recipe(
        "Least fall of the smoothed loss that counts, as a share of its whole fall so far, which is from the "
        "loss of predicting the class frequencies."
    )
    patience: Annotated[int, Ge(1)] | None = recipe(
        "Epochs without such a fall after which the plateau has begun; up to three times as many if the loss "
        "is restless. null looks for none: a stage trains for `max_epochs`, and the last `length` stand for "
        "its plateau, as always with optim.schedule=cosine.",
        unit="epochs",
    )
    length: Annotated[int, Ge(1)] = recipe("Epochs trained and evaluated from then on.", unit="epochs")
    smoothing: Annotated[int, Ge(1)] = recipe(
        "Epochs in the moving average of the loss; 1 is none.", unit="epochs"
    )
    max_epochs: Annotated[int, Ge(1)] = recipe(
        "Epochs after which training ends in any case, at least `length`.", unit="epochs"
    )
    start_from_epoch: Annotated[int, Ge(0)] = recipe(
        "First epoch, from 0, whose loss is looked at; with optim.unfreeze_epochs not before all layers are "
        "trained.",
        unit="epochs",
    )

    def __post_init__(self) -> None:
        if self.max_epochs < self.length:
            raise ValueError(
                f"max_epochs ({self.max_epochs}) is less than the plateau's length ({self.length})"
            )
        if self.max_epochs < self.start_from_epoch + self.length:
            raise ValueError(
                f"max_epochs ({self.max_epochs}) leaves no room for a plateau of length {self.length} after "
                f"start_from_epoch ({self.start_from_epoch})"
            )


@dataclass(frozen=True)
class Plateau:
    """The epochs over which metrics are summarised.

    Attributes:
        onset: first epoch of the plateau, counted from 0.
        length: number of its epochs.
        reached: False if `max_epochs` ended the training first; then these are its last epochs. Where the
            rule looks for no plateau, they stand for it as soon as all epochs are trained.
        learning: False if the mean loss of these epochs is not below the loss of chance by more than `BEGUN`
            of it: the network has learned nothing, or has lost what it had learned. Such a plateau is never
            reached.
    """

    onset: int
    length: int
    reached: bool
    learning: bool

    @property
    def epochs(self) -> range:
        """The plateau's epochs."""
        return range(self.onset, self.onset + self.length)


def chance_loss(counts: Sequence[float]) -> float:
    """Cross-entropy of predicting the class frequencies for every image, in nats: -sum_c p_c log p_c.

    With class weights, give the sums of the weights: balanced weights make it the logarithm of the number of
    classes.

    Args:
        counts: training images of each class, or the sums of their weights; 0 or more.

    Returns:
        Nats, 0 or more.

    Raises:
        ValueError: if there is no image, or a count is negative or not finite.

    Examples:
        >>> round(chance_loss([50, 50]), 4)
        0.6931
    """
    total = math.fsum(counts)
    if not (math.isfinite(total) and total > 0 and min(counts) >= 0):
        raise ValueError(f"the counts {list(counts)} are not those of classes with images")
    return -math.fsum(count / total * math.log(count / total) for count in counts if count > 0)


def smoothed(losses: Sequence[float], window: int) -> list[float]:
    """Mean of the last `window` losses at each epoch (of fewer at the beginning)."""
    return [
        math.fsum(losses[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(losses))
    ]


def plateau_onset(losses: Sequence[float], rule: PlateauRule, *, chance: float | None = None) -> int | None:
    """First epoch of the plateau, or None as long as the loss falls or has not begun to.

    The epoch after the one at which the smoothed loss has, for `patience` epochs running, not fallen below
    the best before by more than `min_delta` of its whole fall so far, which is the fall from the loss of
    chance. Epochs at which the fall has not begun (`BEGUN`) do not count, so that neither a start without
    learning nor a collapse to chance is a plateau.

    A restless loss is waited for longer, because by chance it may not fall for some epochs: for
    patience * 2 e / (min_delta * fall) epochs if that is more, at most 3 times the patience. e is the
    standard error of the smoothed loss, from the second differences of the last 2 * patience losses: a
    straight line has none, and those of independent noise have 6 times its variance. Their median is taken,
    as one steep fall is no unrest.

    All of it is relative to the fall: multiplying losses and chance by a number changes nothing. The onset
    depends on losses up to it only: a later improvement does not undo it.

    Args:
        losses: training loss of each epoch, finite.
        rule: what counts as flat.
        chance: loss of predicting the class frequencies (`chance_loss`). Without it the first loss is taken
            for it, and the fall must exceed `BEGUN` by 3 standard deviations of the noise. That calls a
            network that starts near its floor `not learning`: give chance where it is known.

    Returns:
        The epoch, counted from 0.

    Raises:
        ValueError: if a loss is not finite, or the loss of chance not a finite number above 0.

    Examples:
        >>> rule = PlateauRule(
        ...     min_delta=0.02, patience=2, length=3, smoothing=1, max_epochs=50, start_from_epoch=0
        ... )
        >>> falling, flat = [2.0, 1.2, 0.8], [0.6, 0.6, 0.6, 0.6]
        >>> plateau_onset(falling, rule, chance=2.0)
        >>> plateau_onset(falling + flat, rule, chance=2.0)
        7
    """
    losses = _numbers(losses)
    start = _start(losses, chance)
    if rule.patience is None:
        return None
    best, waited = math.inf, 0
    for epoch, value in enumerate(smoothed(losses, rule.smoothing)):
        fall = start - value
        so_far = losses[: epoch + 1]
        if epoch < rule.start_from_epoch or fall <= _least_fall(so_far, rule, start, chance):
            best, waited = math.inf, 0
        elif best == math.inf or value < best - rule.min_delta * fall:
            best, waited = value, 0
        else:
            waited += 1
            if waited >= rule.patience * _more_patience(so_far, rule, fall):
                return epoch + 1
    return None


def judged(losses: Sequence[float], rule: PlateauRule, *, chance: float) -> tuple[float, float] | None:
    """The smoothed loss of the last epoch, and the least fall of it that counts.

    None as long as the loss is not looked at, or its fall has not begun. Arguments as `plateau_onset`.
    """
    losses = _numbers(losses)
    value = smoothed(losses, rule.smoothing)[-1]
    fall = chance - value
    if len(losses) <= rule.start_from_epoch or fall <= _least_fall(losses, rule, chance, chance):
        return None
    return value, rule.min_delta * fall


def should_stop(losses: Sequence[float], rule: PlateauRule, *, chance: float | None = None) -> bool:
    """Whether training ends after the epochs whose losses are given; arguments as `plateau_onset`."""
    onset = plateau_onset(losses, rule, chance=chance)
    return len(losses) >= rule.max_epochs or (onset is not None and len(losses) >= onset + rule.length)


def find_plateau(losses: Sequence[float], rule: PlateauRule, *, chance: float | None = None) -> Plateau:
    """The plateau of a finished training.

    Args:
        losses: training loss of each epoch, finite.
        rule: what counts as flat.
        chance: loss of predicting the class frequencies; without it as in `plateau_onset`.

    Returns:
        Its epochs, and whether it was reached and the network is learning.

    Raises:
        ValueError: if there is no epoch, or as `plateau_onset`.

    Examples:
        >>> rule = PlateauRule(
        ...     min_delta=0.02, patience=2, length=3, smoothing=1, max_epochs=50, start_from_epoch=0
        ... )
        >>> find_plateau([2.0, 1.2, 0.8, *[0.6] * 7], rule, chance=2.0)
        Plateau(onset=7, length=3, reached=True, learning=True)
    """
    losses = _numbers(losses)
    if not losses:
        raise ValueError("no epoch was trained, so there is no plateau")
    onset = plateau_onset(losses, rule, chance=chance)
    full = onset is not None and len(losses) >= onset + rule.length
    if rule.patience is None:
        full = len(losses) >= rule.max_epochs
    length = min(rule.length, len(losses))
    first = onset if full and onset is not None else len(losses) - length
    start = _start(losses, chance)
    mean = math.fsum(losses[first : first + length]) / length
    learning = start - mean > _least_fall(losses, rule, start, chance)
    return Plateau(onset=first, length=length, reached=full and learning, learning=learning)


def representative_value(values: Sequence[float], percentile: float = 75.0) -> float:
    """The percentile of a metric over the plateau's epochs, linearly interpolated (paper, section 6).

    Args:
        values: of the plateau's epochs, in any unit.
        percentile: which, from 0 to 100.

    Returns:
        In the values' unit.

    Raises:
        ValueError: if there are no values or the percentile is outside of [0, 100].

    Examples:
        >>> representative_value([0.80, 0.81, 0.84])
        0.825
    """
    if len(values) == 0:
        raise ValueError("no values to take a percentile of")
    return float(np.percentile(np.asarray(values, dtype=np.float64), percentile, method="linear"))


def _numbers(losses: Sequence[float]) -> list[float]:
    """The losses as a list: of numpy and pandas, places and truth values mean something else."""
    return [float(loss) for loss in losses]


def _start(losses: Sequence[float], chance: float | None) -> float:
    """The loss from which the fall is measured; 0 where there is no loss yet."""
    if not all(math.isfinite(loss) for loss in losses):
        raise ValueError("a training loss is not finite")
    if chance is None:
        return losses[0] if losses else 0.0
    if not (math.isfinite(chance) and chance > 0):
        raise ValueError(f"the loss of chance is {chance}; it must be a finite number above 0")
    return chance


def _least_fall(losses: Sequence[float], rule: PlateauRule, start: float, chance: float | None) -> float:
    """The fall that must be exceeded for the network to be learning.

    A first loss, if it stands for the loss of chance, may be above that by chance.
    """
    return BEGUN * start + (0.0 if chance is not None else _FIRST * _unrest(losses, rule))


def _more_patience(losses: Sequence[float], rule: PlateauRule, fall: float) -> float:
    """By what the patience grows while the loss is restless; 1 where it is not."""
    hidden, counts = _RESTLESS * _unrest(losses, rule) / math.sqrt(rule.smoothing), rule.min_delta * fall
    if hidden <= counts:
        return 1.0
    return min(_MOST_PATIENCE, hidden / counts) if counts > 0 else _MOST_PATIENCE


def _unrest(losses: Sequence[float], rule: PlateauRule) -> float:
    """Standard deviation of the noise in the last losses, without smoothing; 0 with fewer than three."""
    recent = losses[-max(3, 2 * (rule.patience or rule.length)) :]
    triples = zip(recent, recent[1:], recent[2:], strict=False)
    bends = [abs(after - 2 * here + before) for before, here, after in triples]
    return median(bends) / _QUARTILE / math.sqrt(6) if bends else 0.0
