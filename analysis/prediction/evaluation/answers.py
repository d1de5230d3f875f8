"""What networks said of labelled images, and which of them are of one seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from stages.record import Record

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """What M networks said of N images whose class is known.

    Attributes:
        labels: int64, (N,), in 0..C-1: the networks' classes.
        groups: patient or object of each image as a number from 0, int64, (N,).
        logits: float, (M, N, C), already divided by the temperature, if there is one.
        seeds: which of the networks vary together, (M,): a number for each seed. One number for all: the
            networks are what they are, and nothing is said of others.
    """

    labels: Integers
    groups: Integers
    logits: npt.NDArray[np.floating]
    seeds: Integers

    @cached_property
    def each(self) -> Floats:
        """Logarithm of each network's probabilities, (M, N, C)."""
        return np.asarray(special.log_softmax(self.logits.astype(np.float64), axis=2))

    @cached_property
    def together(self) -> Floats:
        """Logarithm of the networks' mean probabilities, (1, N, C)."""
        total = special.logsumexp(self.each, axis=0, keepdims=True)
        return np.asarray(total - np.log(len(self.logits)), dtype=np.float64)

    @property
    def present(self) -> Integers:
        """The classes that have images, ascending."""
        return np.unique(self.labels)

    @property
    def groups_are_images(self) -> bool:
        """Whether no two images share a group."""
        return int(self.groups.max()) + 1 == len(self.groups)

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Answers":
        """Some of the images, chosen by bool (N,)."""
        groups = np.unique(self.groups[chosen], return_inverse=True)[1]
        return replace(self, labels=self.labels[chosen], groups=groups, logits=self.logits[:, chosen])

    def by_seed(self, values: Floats) -> Floats:
        """The mean over the networks of each seed: (M, ...) -> (seeds, ...)."""
        return np.stack([values[self.seeds == seed].mean(axis=0) for seed in np.unique(self.seeds)])


def seed_numbers(records: Sequence[Record]) -> Integers:
    """A number for each seed, if the runs are alike but for seed and fold; else one for all.

    The folds of a seed share training patients: a seed is what varies independently.
    """
    kinds = {
        (record.stage, tuple(record.chain), record.transfer.rule, record.data_ratio, record.data.digest)
        for record in records
    }
    seeds = [record.seed if len(kinds) == 1 else 0 for record in records]
    return np.unique(np.asarray(seeds, dtype=np.int64), return_inverse=True)[1].astype(np.int64)
