"""A domain: images with labels, groups and names, on a training and an evaluation side."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

SideName = Literal["train", "val"]
SIDES: tuple[SideName, SideName] = ("train", "val")


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
        samples: N names, stable between machines (a relative path or a generator's name).
    """

    images: npt.NDArray[Any] | StoredImages
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    samples: tuple[str, ...]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)


@dataclass(frozen=True)
class Domain:
    """A labelled image set, as a generator draws it or as it was loaded for training.

    Attributes:
        classes: Names of the classes.
        train: Training side, all of it; a data ratio is applied later.
        val: Evaluation side.
        digest: The data's identity; empty for a domain fresh from a generator.
        histogram_accuracy: Accuracy on the evaluation side of a linear classifier on grey-level histograms,
            which shows what the classes give away without any structure; None where it is not known.
        crossing_groups: Groups on both sides, where the person who made the set allowed them.
        crossing_pictures: Pictures, equal or nearly so, on both sides; likewise.
    """

    classes: tuple[str, ...]
    train: Side
    val: Side
    _: KW_ONLY
    digest: str = ""
    histogram_accuracy: float | None = None
    crossing_groups: int = 0
    crossing_pictures: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image: (H, W) or (H, W, 3)."""
        images = self.train.images
        return images.shape[1:] if isinstance(images, np.ndarray) else images.shape

    @property
    def size(self) -> int:
        """Bytes of both sides' images as uint8."""
        return (len(self.train) + len(self.val)) * int(np.prod(self.shape))

    def side(self, name: SideName) -> Side:
        """One side by its name."""
        return self.train if name == "train" else self.val

    @property
    def in_memory(self) -> bool:
        """Whether the images of both sides are in memory."""
        return isinstance(self.train.images, np.ndarray)
