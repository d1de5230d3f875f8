"""A domain in memory: a labelled image set with its training and evaluation sides."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Split:
    """One side of a domain.

    Attributes:
        images: uint8, int16 (Hounsfield units) or uint16, shape (N, H, W) or (N, H, W, 3).
        labels: int64, shape (N,), indices into the domain's classes.
        groups: N names of what must not cross sides: a patient, a physical object.
        samples: N names, stable between machines (a relative path or a generator's name).
    """

    images: npt.NDArray[np.generic]
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    samples: tuple[str, ...]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)


@dataclass(frozen=True)
class Domain:
    """A labelled image set; no group stands on both sides."""

    classes: tuple[str, ...]
    train: Split
    val: Split
