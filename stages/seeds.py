"""One seed feeds named, independent streams of random numbers."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np


def derive_seed(seed: int, *path: str | int) -> int:
    """An integer in [0, 2^63) for one named stream of `seed`, through numpy's SeedSequence.

    Names in `path` are hashed with CRC-32, which is the same on every machine and Python.

    >>> derive_seed(0, "order") == derive_seed(0, "order") != derive_seed(0, "dropout")
    True
    """
    key = tuple(crc32(step.encode()) if isinstance(step, str) else step for step in path)
    state = np.random.SeedSequence(entropy=seed, spawn_key=key).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


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
