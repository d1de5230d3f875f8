"""What does a domain look like once it is ready to be trained on?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datamodules.decode import ImageFiles
from datamodules.packing.read import PackedImages


@dataclass(frozen=True)
class PreparedSplit:
    """One side of a prepared domain.

    Attributes:
        images: uint8, (N, H, W) or (N, H, W, 3), in memory; or N on disk, decoded or mapped when asked for.
        labels: int64, (N,), indices into the domain's classes.
        groups: N patients or physical objects; none stands on both sides.
        samples: N stable names.
    """

    images: npt.NDArray[np.uint8] | ImageFiles | PackedImages
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    samples: tuple[str, ...]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)


@dataclass(frozen=True)
class PreparedDomain:
    """A domain ready for training.

    Attributes:
        classes: Names of the classes.
        train: Training side, all of it; a data ratio is applied later.
        val: Evaluation side.
        shape: Of an image: (H, W) or (H, W, 3).
        digest: The data's identity.
        histogram_accuracy: Accuracy on the evaluation side of a linear classifier on grey-level histograms,
            what the classes give away without any structure; None for a domain that streams from disk.
        crossing_groups: Groups on both sides, where whoever prepared the set allowed them.
        crossing_pictures: Pictures, equal or nearly so, on both sides; likewise.
    """

    classes: tuple[str, ...]
    train: PreparedSplit
    val: PreparedSplit
    shape: tuple[int, ...]
    digest: str
    histogram_accuracy: float | None
    crossing_groups: int = 0
    crossing_pictures: int = 0

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are in memory, on both sides."""
        return isinstance(self.train.images, np.ndarray)
