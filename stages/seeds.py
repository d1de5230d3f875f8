"""Independent streams of random numbers from one seed, and orders that are the same everywhere."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt


def derive_seed(seed: int, *path: str | int) -> int:
    """An integer in [0, 2^63) for one named stream of `seed`, through numpy's SeedSequence.

    Names in `path` are hashed with CRC-32, which is the same on every machine and Python.

    Examples:
        >>> derive_seed(0, "order") == derive_seed(0, "order") != derive_seed(0, "dropout")
        True
    """
    key = tuple(crc32(step.encode()) if isinstance(step, str) else step for step in path)
    state = np.random.SeedSequence(entropy=seed, spawn_key=key).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seeded_order(count: int, *entropy: int) -> npt.NDArray[np.int64]:
    """A permutation of 0..count-1 that depends on `entropy` alone.

    Random 64-bit words are sorted, instead of `Generator.permutation`: numpy keeps the words of a bit
    generator the same between versions, but not the streams of a Generator (NEP 19).

    Args:
        count: Length of the permutation.
        entropy: Non-negative integers for numpy's SeedSequence, such as (seed, epoch).

    Returns:
        int64, shape (count,).
    """
    words = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.int64)


def seeded_word(*entropy: int) -> int:
    """A 64-bit word that depends on `entropy` alone, such as the seed of an epoch from (seed, epoch)."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


@dataclass(frozen=True)
class Seeds:
    """The streams of one stage run. Processes of equal seed share them, so that they are paired."""

    initialisation: int
    order: int
    dropout: int
    subset: int
    augmentation: int

    @classmethod
    def of(cls, seed: int) -> "Seeds":
        """The streams of a stage run's seed."""
        return cls(**{name: derive_seed(seed, name) for name in cls.__dataclass_fields__})
