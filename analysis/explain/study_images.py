"""The images that a study's networks are explained with. Loads no torch itself."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.explain.sample_choice import choose_samples, true_class_probability

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.explain.target_images import TargetImages


class Images:
    """Images as networks take them and as they are shown.

    Attributes:
        names: Of each image, (N,): its class, or its number. Never that of a file.
        groups: Of each image, (N,): the patient or object that it shows.
        pixels: Float, (N, C, H, W), as the networks take them.
    """

    def __init__(
        self,
        names: Sequence[str],
        groups: Sequence[str],
        pixels: "Tensor",
        to_show: Callable[[], "Tensor"],
    ) -> None:
        self.names = list(names)
        self.groups = list(groups)
        self.pixels = pixels
        self._to_show = to_show

    def to_show(self) -> "Tensor":
        """The images in [0, 1], (N, H, W) grey or (N, H, W, 3)."""
        return self._to_show()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape and pixels, under which results are kept; taken once for all networks."""
        content = self.pixels.contiguous().numpy()
        return hashlib.sha256(f"{content.shape}".encode() + content.tobytes()).hexdigest()


class StudyImages:
    """The evaluation set of a study's target, and images of the user's own.

    Args:
        targets: The evaluation set.
        folders: Stage runs that are compared; their predictions decide which images are chosen.

    Raises:
        RelayError: If predictions cannot be read or are of another evaluation set.
    """

    def __init__(self, targets: "TargetImages", folders: Sequence[Path]) -> None:
        self._targets = targets
        self._probability = true_class_probability(folders, targets.samples, targets.labels)
        self._known: dict[tuple[str, object], Images] = {}

    @property
    def size(self) -> int:
        """Height and width of the networks' input in pixels."""
        return self._targets.size

    @property
    def native_size(self) -> int:
        """The shorter side of an image in pixels, before it is enlarged to the networks' input."""
        return min(self._targets.native_size)

    @property
    def grey(self) -> bool:
        """Whether the images have one channel, copied to three."""
        return self._targets.grey

    def chosen(self, per_class: int) -> Images:
        """Some of each class, class by class; see `analysis.explain.sample_choice`."""
        labels = self._targets.labels
        return self._once(
            ("chosen", per_class), lambda: self._some(choose_samples(self._probability, labels, per_class))
        )

    def spread(self, count: int) -> Images:
        """Up to `count` images, as far apart in the evaluation set as they can be."""
        rows = evenly_spread(len(self._targets.labels), count)
        return self._once(("spread", count), lambda: self._some(rows))

    def own(self, folder: Path) -> Images:
        """Images of the user's own; see `analysis.explain.target_images.TargetImages.own_images`.

        Raises:
            RelayError: If there is none, or one cannot be read.
        """

        def read() -> Images:
            pixels, shown = self._targets.own_images(folder)
            names = [f"image {number}" for number in range(1, len(pixels) + 1)]
            return Images(names, names, pixels, lambda: shown)

        return self._once(("own", folder), read)

    def _once(self, what: tuple[str, object], make: Callable[[], Images]) -> Images:
        """The same object each time, so that pixels are read and digests taken once for all networks."""
        if what not in self._known:
            self._known[what] = make()
        return self._known[what]

    def _some(self, rows: npt.NDArray[np.int64]) -> Images:
        targets, places = self._targets, rows.tolist()
        names = [targets.classes[label] for label in targets.labels[places]]
        groups = [targets.groups[place] for place in places]
        return Images(names, groups, targets.images(places), lambda: targets.for_the_eye(places))


def evenly_spread(length: int, count: int) -> npt.NDArray[np.int64]:
    """Up to `count` places in a list, as far apart as they can be: neighbours are of one class or patient."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(np.int64))
