"""How far the plateau's onset that a rule finds lies from the true one, and how often it is false.

    python -m benchmarks.plateau                    # the tables of benchmarks/plateau.md, a minute
    python -m benchmarks.plateau --curves 100       # coarser

Simulated training losses, from the loss of chance (the logarithm of 2 to 24 classes) to a floor, with time
constants of 1 to 15 epochs and independent noise in proportion to the loss. The true onset is the first epoch
at which at most 5% of the whole fall, without noise, is still to come. An onset is false if more than 10% is,
or if the network does not learn at all. Old is the rule of commit 9c37c46: no improvement of the loss by
`min_delta` of itself for `patience` epochs. The new one is told the loss of chance, and once more is not.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.plateau import PlateauRule, plateau_onset, smoothed

EPOCHS = 120
NOISES = (0.0, 0.005, 0.02, 0.05)


def _rule(min_delta: float, patience: int, smoothing: int) -> PlateauRule:
    return PlateauRule(
        min_delta=min_delta,
        patience=patience,
        length=1,
        smoothing=smoothing,
        max_epochs=EPOCHS,
        start_from_epoch=0,
    )


RULES = {
    f"min_delta {min_delta}, patience {patience}, smoothing {smoothing}": _rule(
        min_delta, patience, smoothing
    )
    for min_delta, patience, smoothing in [
        (0.01, 5, 3),
        (0.02, 6, 3),
        (0.03, 7, 4),
        (0.05, 10, 5),
        (0.02, 3, 2),
    ]
}

_Curve = npt.NDArray[np.float64]
_EPOCH = np.arange(EPOCHS, dtype=np.float64)


@dataclass(frozen=True)
class Truth:
    """A loss without noise, its floor, and the loss of chance.

    Attributes:
        losses: of each epoch, shape (EPOCHS,).
        chance: where the fall begins.
        floor: where it ends; equal to chance for a network that does not learn.
    """

    losses: _Curve
    chance: float
    floor: float

    @property
    def to_come(self) -> _Curve:
        """Share of the whole fall that is still to come, 1 for a network that does not learn."""
        fall = self.chance - self.floor
        return (self.losses - self.floor) / fall if fall > 0 else np.ones(EPOCHS)

    @property
    def onset(self) -> int:
        """First epoch with at most 5% to come, EPOCHS if there is none."""
        settled = np.flatnonzero(self.to_come <= 0.05)
        return int(settled[0]) if len(settled) else EPOCHS


def exponential(chance: float, floor: float, constant: float, generator: np.random.Generator) -> _Curve:
    """Falls from the first epoch on."""
    return floor + (chance - floor) * np.exp(-(_EPOCH + 1) / constant)


def delayed(chance: float, floor: float, constant: float, generator: np.random.Generator) -> _Curve:
    """Stays at chance for 1 to 24 epochs, then falls, slowly at first."""
    since = np.maximum(_EPOCH - generator.integers(1, 25), 0) / constant
    return floor + (chance - floor) * np.exp(-since) * (1 + since)


def overshooting(chance: float, floor: float, constant: float, generator: np.random.Generator) -> _Curve:
    """As `delayed`, starting above chance."""
    return delayed(chance, floor, constant, generator) + 0.02 * chance * np.exp(-_EPOCH / 2)


def steps(chance: float, floor: float, constant: float, generator: np.random.Generator) -> _Curve:
    """Falls in two steps; the second begins 1 to 3 epochs after the first is nearly flat."""
    constant = min(constant, 4.0)
    first, second = generator.uniform(0.3, 0.7), int(3 * constant) + generator.integers(1, 4)
    later = np.exp(-np.maximum(_EPOCH - second, 0) / constant)
    return floor + (chance - floor) * (first * np.exp(-(_EPOCH + 1) / constant) + (1 - first) * later)


def never(chance: float, floor: float, constant: float, generator: np.random.Generator) -> _Curve:
    """Falls to chance from 2% above, and no further."""
    return chance * (1 + 0.02 * np.exp(-_EPOCH / constant))


def power(chance: float, floor: float, constant: float, generator: np.random.Generator) -> _Curve:
    """Falls by a power of time, with a tail longer than any training."""
    return floor + (chance - floor) * (1 + _EPOCH / 2) ** -generator.uniform(0.5, 1.5)


Family = Callable[[float, float, float, np.random.Generator], _Curve]
FAMILIES: dict[str, tuple[Family, tuple[float, float]]] = {
    "to a floor": (exponential, (0.05, 0.7)),
    "to zero": (exponential, (0.0, 0.0)),
    "delayed start": (delayed, (0.05, 0.7)),
    "delayed, from above chance": (overshooting, (0.05, 0.7)),
    "two steps": (steps, (0.05, 0.7)),
    "a weak fall, to 85 to 93%": (exponential, (0.85, 0.93)),
    "never learns": (never, (1.0, 1.0)),
    "power law (outside the aim)": (power, (0.05, 0.7)),
}
"""Curves, and the range of their floor as a share of chance."""


def draw(family: str, generator: np.random.Generator) -> Truth:
    """A curve of a family."""
    shape, floors = FAMILIES[family]
    chance = float(np.log(generator.choice([2, 3, 7, 10, 24])))
    floor = chance * generator.uniform(*floors)
    constant = float(generator.choice([1, 2, 4, 8, 15]))
    return Truth(shape(chance, floor, constant, generator), chance, floor)


@dataclass(frozen=True)
class Found:
    """What a rule found on many curves.

    Attributes:
        false: share of the curves with a false onset.
        missed: share of the learning curves without an onset.
        late: epochs from the true onset to that found: 10th, 50th and 90th percentile; empty without any.
    """

    false: float
    missed: float
    late: tuple[float, ...]


Onset = Callable[[Sequence[float], PlateauRule, float], int | None]


def old(losses: Sequence[float], rule: PlateauRule, chance: float) -> int | None:
    """The old rule; it does not know chance."""
    best, waited = math.inf, 0
    for epoch, value in enumerate(smoothed(losses, rule.smoothing)):
        best, waited = (value, 0) if value < best * (1.0 - rule.min_delta) else (best, waited + 1)
        if rule.patience is not None and waited >= rule.patience:
            return epoch + 1
    return None


def new_alone(losses: Sequence[float], rule: PlateauRule, chance: float) -> int | None:
    """The new rule, which is not told chance."""
    return plateau_onset(losses, rule)


def new(losses: Sequence[float], rule: PlateauRule, chance: float) -> int | None:
    """The new rule."""
    return plateau_onset(losses, rule, chance=chance)


def judge(family: str, noise: float, curves: int, onset: Onset, rule: PlateauRule) -> Found:
    """Let a rule find the onset in `curves` drawn curves; the same curves for every rule.

    Args:
        family: of `FAMILIES`.
        noise: standard deviation, as a share of the loss.
        curves: how many.
        onset: `old`, `new` or `new_alone`.
        rule: its settings.
    """
    generator = np.random.default_rng([7, list(FAMILIES).index(family), int(noise * 1000)])
    false, missed, late = 0, 0, []
    for _ in range(curves):
        truth = draw(family, generator)
        losses = np.maximum(truth.losses * (1 + noise * generator.standard_normal(EPOCHS)), 0.0)
        found = onset(losses.tolist(), rule, truth.chance)
        if found is None:
            missed += truth.floor < truth.chance
            continue
        false += found < EPOCHS and truth.to_come[found] > 0.1
        late.append(found - truth.onset)
    learns = FAMILIES[family][0] is not never
    spread = tuple(float(each) for each in np.percentile(late, [10, 50, 90])) if late and learns else ()
    return Found(false / curves, missed / curves, spread)


def _cell(found: Found) -> str:
    late = "{1:+.0f} ({0:+.0f} to {2:+.0f})".format(*found.late) if found.late else "-"
    return f"{100 * found.false:.1f} | {100 * found.missed:.0f} | {late}"


def table(rule: PlateauRule, curves: int, noises: Sequence[float] = NOISES) -> str:
    """A Markdown table of a rule's settings: a row per family and noise, the old rule beside the new."""
    lines = [
        "| curve | noise % | old: false % | missed % | epochs late | new: false % | missed % | epochs late "
        "| chance unknown: false % | missed % | epochs late |",
        "|---" * 11 + "|",
    ]
    for family in FAMILIES:
        for noise in noises:
            cells = " | ".join(
                _cell(judge(family, noise, curves, onset, rule)) for onset in (old, new, new_alone)
            )
            lines.append(f"| {family} | {100 * noise:g} | {cells} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each setting of the rule."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--curves", type=int, default=500, help="of each family and noise")
    options = parser.parse_args(arguments)
    for name, rule in RULES.items():
        print(f"\n## {name}\n\n{table(rule, options.curves)}", flush=True)


if __name__ == "__main__":
    main()
