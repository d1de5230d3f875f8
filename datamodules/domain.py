"""A domain: images with labels, groups and names, on a training, an evaluation and a test side."""

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from stages.values import Values

SideName = Literal["train", "val", "test"]
SIDES: tuple[SideName, SideName, SideName] = ("train", "val", "test")

_SIDE_OF: dict[str, SideName] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "evaluation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}


_OF_A_SET = re.compile(r"[ _-]?(?:set|data|dataset|split)$")


def side_named(name: str) -> SideName | None:
    """The side that people and providers call so, in any case, such as `val` or `training_set`, or None."""
    return _SIDE_OF.get(_OF_A_SET.sub("", name.strip().lower()))


def side_within(name: str) -> SideName | None:
    """The side whose word stands in a longer name, such as `seg_train` or `Test Data`, else None."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    sides = {side for word in re.findall(r"[a-z]+", spaced.lower()) if (side := side_named(word)) is not None}
    return sides.pop() if len(sides) == 1 else None


class StoredImages(Protocol):
    """Images that stay on disk and are read when asked for; small enough to be sent to workers.

    Attributes:
        shape: Of one image: (H, W) or (H, W, 3).
    """

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def gather(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Read some images: uint8, (len(indices), *shape).

        Raises:
            RelayError: Images cannot be read.
        """
        ...


@dataclass(frozen=True)
class Side:
    """One side of a domain.

    Attributes:
        images: In memory, (N, H, W) or (N, H, W, 3): uint8, and from a generator also int16 (Hounsfield
            units) or uint16. Or N images on disk, which are read as uint8.
        labels: int64, (N,), indices into the domain's classes.
        groups: N names of what must not be on both sides: a patient, a physical object.
        samples: N names, stable between machines: a relative path or a generator's name; in the domain of a
            run a path's digest, see `datamodules.listing.hidden`. Groups likewise.
    """

    images: npt.NDArray[Any] | StoredImages
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    samples: tuple[str, ...]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)


NO_IMAGES = Side(np.empty((0, 1, 1), np.uint8), np.empty(0, np.int64), (), ())
"""A side that a domain does not have."""


@dataclass(frozen=True)
class Domain:
    """A labelled image set, as a generator draws it, as it was loaded, or as a run divides it.

    Attributes:
        classes: Names of the classes.
        train: Training side, all of it; a data ratio is applied later. As loaded, all images of a source
            that does not say which are for evaluation; see `datamodules.division`.
        val: Evaluation side.
        test: Test side, empty in most domains. It is not trained on, not chosen by, and not shown: a run
            predicts it once, at its end.
        digest: The data's identity; empty for a domain fresh from a generator.
        content: SHA-256 of what the pixels come from: the bytes of all image files in the order of their
            paths, of a packed set's parts, or a generator's pixels. Equal on every machine, whatever the data
            ratio, the fold and where the images are kept; empty for a domain fresh from a generator. Images
            of one digest and several contents were replaced by others of the same names and sizes.
        crossing_groups: Groups on both sides, where the person who made the set allowed them.
        crossing_pictures: Pictures, equal or nearly so, on both sides; likewise.
        copies: Names of the samples that are equal, a tuple for each picture that several show; see
            `datamodules.copies`.
        notes: What a person should know of how the images were read, a line each.
        values: What the images' values are; None for a domain fresh from a generator.
    """

    classes: tuple[str, ...]
    train: Side
    val: Side
    test: Side = NO_IMAGES
    _: KW_ONLY
    digest: str = ""
    content: str = ""
    crossing_groups: int = 0
    crossing_pictures: int = 0
    copies: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    values: Values | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image: (H, W) or (H, W, 3)."""
        images = self.train.images
        return images.shape[1:] if isinstance(images, np.ndarray) else images.shape

    @property
    def size(self) -> int:
        """Bytes of all sides' images as uint8."""
        return sum(len(self.side(name)) for name in SIDES) * int(np.prod(self.shape))

    def side(self, name: SideName) -> Side:
        """One side by its name."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    @property
    def named_sides(self) -> list[tuple[SideName, Side]]:
        """All sides with their names."""
        return [(name, self.side(name)) for name in SIDES]

    def with_sides(self, train: Side, val: Side, test: Side) -> "Domain":
        """The domain with other sides."""
        return replace(self, train=train, val=val, test=test)

    @property
    def grouped(self) -> bool:
        """Whether images share a group; if none do, nothing can be said of patients."""
        groups = [group for name in SIDES for group in self.side(name).groups]
        return len(set(groups)) < len(groups)

    @property
    def in_memory(self) -> bool:
        """Whether the images of all sides are in memory."""
        return isinstance(self.train.images, np.ndarray)
