"""Which images an epoch draws where each class shall come equally often."""

import numpy as np
import numpy.typing as npt

from stages.balance import images_of_each_class
from stages.errors import RelayError
from stages.seeds import derive_seed, seeded_order


class BalancedDraw:
    """As many images of each class, in every epoch.

    An epoch draws ceil(N / C) images of each of C classes, N being the number of samples. Each class is gone
    through in one random order after another, over the borders of epochs: an image is drawn again only when
    all others of its class have been drawn as often. So a large class shows all its images over some epochs,
    and the images of a small one come several times in an epoch, as evenly as can be.

    Args:
        labels: Class of each of N samples, int64 (N,); every class of 0..labels.max() has one.
        seed: Seed of the orders, non-negative.

    Raises:
        RelayError: A class has no samples.
    """

    def __init__(self, labels: npt.NDArray[np.int64], seed: int) -> None:
        counts = np.bincount(labels).tolist()
        if not all(counts):
            raise RelayError(f"class {counts.index(0)} has no samples, so it cannot be drawn.")
        self._members = [np.flatnonzero(labels == label) for label in range(len(counts))]
        self._of_class = images_of_each_class(counts)
        self._samples = len(labels)
        self._seed = seed
        self.images = self._of_class * len(counts)

    def epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        """The samples of an epoch, class by class.

        Args:
            epoch: Counted from 0.

        Returns:
            int64, shape (`images`,): position + N * (how often the epoch has drawn this sample before).
        """
        return np.concatenate([self._of(label, epoch) for label in range(len(self._members))])

    def _of(self, label: int, epoch: int) -> npt.NDArray[np.int64]:
        members = self._members[label]
        first, last = epoch * self._of_class, (epoch + 1) * self._of_class
        rounds = range(first // len(members), -(-last // len(members)))
        order = np.concatenate(
            [seeded_order(len(members), derive_seed(self._seed, "class", label, number)) for number in rounds]
        )
        skipped = first - rounds.start * len(members)
        order = order[skipped : skipped + self._of_class]
        return np.asarray(members[order] + self._samples * _before(order), dtype=np.int64)


def _before(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often each value stands before its place: [7, 5, 7, 7] gives [0, 0, 1, 2]."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(values)])
    before = np.empty(len(values), dtype=np.int64)
    before[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return before
