"""A loaded domain with the sides that a stage run uses.

The one place where a loaded domain is divided; `datamodules.splits.sides` decides which image goes where.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from datamodules.domain import SIDES, Domain, Side, StoredImages
from datamodules.splits import Division, Names, divided_sides
from stages.source import Source


def divide(domain: Domain, source: Source, division: Division) -> Domain:
    """The sides that a stage run uses. Copies pixels of images in memory where sides change.

    Args:
        domain: As loaded.
        source: Where it comes from.
        division: What the run says of its sides.

    Raises:
        RelayError: As `divided_sides`.
    """
    if len(domain.val) and division.test_fraction is None and division.folds is None:
        return domain
    sides = divided_sides(names_of(domain), source, division)
    pool = [domain.side(name) for name in SIDES]
    train, val, test = (_gathered(pool, np.flatnonzero(sides == name)) for name in SIDES)
    divided = domain.with_sides(train, val, test)
    return divided if division.folds is None else replace(divided, crossing_groups=0)


def names_of(domain: Domain) -> Names:
    """The names of a loaded domain's images: of its training, then its evaluation, then its test side."""
    pool = [domain.side(name) for name in SIDES]
    return Names(
        domain.classes,
        np.concatenate([side.labels for side in pool]),
        np.asarray([group for side in pool for group in side.groups]),
        np.repeat(SIDES, [len(side) for side in pool]),
    )


def _gathered(pool: Sequence[Side], places: npt.NDArray[np.int64]) -> Side:
    """Some images of several sides as one, in the order of their names."""
    samples = [sample for side in pool for sample in side.samples]
    groups = [group for side in pool for group in side.groups]
    places = np.asarray(sorted(places.tolist(), key=lambda place: samples[place]), dtype=np.int64)
    ends = np.cumsum([len(side) for side in pool])
    part = np.searchsorted(ends, places, side="right")
    row = places - (ends - [len(side) for side in pool])[part]
    chosen = Chosen(tuple(side.images for side in pool), part, row)
    in_memory = isinstance(pool[0].images, np.ndarray)
    return Side(
        chosen.gather(range(len(chosen))) if in_memory else chosen,
        np.concatenate([side.labels for side in pool])[places],
        tuple(groups[place] for place in places),
        tuple(samples[place] for place in places),
    )


@dataclass(frozen=True)
class Chosen:
    """Some images of several sets as one; small enough for workers where these stay on disk.

    Attributes:
        sets: The sets.
        part: The set of each image, int64, (N,).
        row: Its place there, int64, (N,).
    """

    sets: tuple[npt.NDArray[np.uint8] | StoredImages, ...]
    part: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image: (H, W) or (H, W, 3)."""
        first = self.sets[0]
        return first.shape[1:] if isinstance(first, np.ndarray) else first.shape

    def __len__(self) -> int:
        """Number of images."""
        return len(self.row)

    def gather(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Read some images: uint8, (len(indices), *shape).

        Raises:
            RelayError: Images cannot be read.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        images = np.empty((len(chosen), *self.shape), dtype=np.uint8)
        for number in np.unique(self.part[chosen]).tolist():
            here = np.flatnonzero(self.part[chosen] == number)
            rows, images_of = self.row[chosen[here]], self.sets[number]
            images[here] = (
                images_of[rows] if isinstance(images_of, np.ndarray) else images_of.gather(rows.tolist())
            )
        return images
