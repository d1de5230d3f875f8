"""The sides of a stage run: a test set is taken out first, then evaluation images are drawn from the rest.

The one place where a loaded domain is divided. What the source itself says of an image's side is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datamodules.domain import SIDES, Domain, Side, StoredImages
from datamodules.files.names import first_and_more
from datamodules.rounding import share
from datamodules.splits import split_by_group
from stages.errors import RelayError
from stages.source import Source

# A constant: the test set is the same for every seed, fold, data ratio and process, and must not be drawn
# again until one is liked.
_TEST_SEED = 20

_Names = npt.NDArray[np.str_]


def divide(domain: Domain, source: Source, *, test_fraction: float | None = None) -> Domain:
    """The sides that a stage run uses.

    A test set that is drawn depends on the groups' names and classes and on `test_fraction` alone, whatever
    else the source says. Copies pixels of images in memory where sides change.

    Args:
        domain: As loaded.
        source: Where it comes from; `val_fraction` and `split_seed` say which images are for evaluation,
            where the source keeps none.
        test_fraction: Share of the images to lock away as a test set, by whole groups, stratified.

    Raises:
        RelayError: The fraction keeps no group or leaves none, or a side would lack a class.
    """
    if test_fraction is None and len(domain.val):
        return domain
    pool = [domain.side(name) for name in SIDES]
    sides: _Names = np.repeat(SIDES, [len(side) for side in pool])
    labels = np.concatenate([side.labels for side in pool])
    groups = np.asarray([group for side in pool for group in side.groups])
    if test_fraction is not None:
        evaluated = np.unique(domain.val.labels)
        sides[_test_set(domain, labels, groups, test_fraction)] = "test"
        _check_classes(domain, labels, sides, evaluated, f"test_fraction={test_fraction:g}")
    if not (sides == "val").any():
        assert source.val_fraction is not None, "the plan refuses a source without evaluation images"
        rest = np.flatnonzero(sides == "train")
        drawn = split_by_group(labels[rest], groups[rest], source.val_fraction, source.split_seed or 0)
        sides[rest[drawn]] = "val"
        _check_classes(domain, labels, sides, np.unique(labels), f"val_fraction={source.val_fraction:g}")
    train, val, test = (_gathered(pool, np.flatnonzero(sides == name)) for name in SIDES)
    return domain.with_sides(train, val, test)


def _test_set(
    domain: Domain, labels: npt.NDArray[np.int64], groups: _Names, fraction: float
) -> npt.NDArray[np.bool_]:
    """Which images of the pool are the test set that is drawn, bool (N,)."""
    assert not len(domain.test), "the plan refuses to draw a second test set"
    count = len(np.unique(groups))
    for kept, what in ((fraction, "falls into the test set"), (1 - fraction, "is left to train on")):
        if share(kept, count) == 0:
            raise RelayError(
                f"test_fraction={fraction:g} of {count} groups: none {what}; choose between {1 / count:.2g} "
                f"and {1 - 1 / count:.2g}"
            )
    try:
        return split_by_group(labels, groups, fraction, _TEST_SEED)
    except RelayError as error:
        raise RelayError(f"test_fraction={fraction:g}: {error}") from None


def _check_classes(
    domain: Domain,
    labels: npt.NDArray[np.int64],
    sides: _Names,
    evaluated: npt.NDArray[np.int64],
    drawn: str,
) -> None:
    """Refuse a division that leaves a side without a class.

    Args:
        domain: Names the classes.
        labels: Of the pool.
        sides: Of the pool.
        evaluated: Classes that the evaluation side must have.
        drawn: What was drawn, for the message.

    Raises:
        RelayError: naming the classes.
    """
    for side, word, needed in (
        ("train", "training", np.unique(labels)),
        ("val", "evaluation", evaluated),
        ("test", "test", np.unique(labels if "test" in sides else labels[:0])),
    ):
        absent = np.setdiff1d(needed, labels[sides == side])
        if len(absent):
            names = first_and_more([domain.classes[label] for label in absent.tolist()])
            raise RelayError(
                f"{drawn} leaves no {word} images of class {names}; every side needs whole groups of every "
                "class. Give another share, add groups, or leave the class out"
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
