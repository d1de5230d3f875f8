"""Equal and nearly equal images of a prepared set that stand on both sides of its split."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from datamodules.decode import window_to_uint8
from datamodules.duplicates import crossing, find_duplicates
from datamodules.packing.layout import part_name

_OPEN_PARTS = 64


@dataclass(frozen=True)
class Crossing:
    """What crosses.

    Attributes:
        looked: whether anyone looked.
        pictures: names of the samples that show one picture, a tuple for each picture that is on both sides.
    """

    looked: bool
    pictures: tuple[tuple[str, ...], ...]

    @property
    def first(self) -> str:
        """The first of them, for a message."""
        return " and ".join(self.pictures[0][:3]) if self.pictures else ""


def find_crossing(folder: Path, manifest: pd.DataFrame, *, enabled: bool) -> Crossing:
    """Look for pictures on both sides of a set's split.

    Args:
        folder: the set's.
        manifest: with the columns sample, split, part and place.
        enabled: whether to look.
    """
    if not enabled:
        return Crossing(looked=False, pictures=())
    images = _Images(folder, manifest["part"].to_numpy(), manifest["place"].to_numpy())
    names = manifest["sample"].to_numpy()
    found = crossing(find_duplicates(images), manifest["split"].to_numpy())
    return Crossing(looked=True, pictures=tuple(tuple(map(str, names[list(each)])) for each in found))


class _Images:
    """A set's images by number, as the eye sees them, mapped from their parts."""

    def __init__(self, folder: Path, parts: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> None:
        self._folder = folder
        self._parts = parts
        self._rows = rows
        self._open: OrderedDict[int, npt.NDArray[np.generic]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int, /) -> npt.NDArray[np.uint8]:
        part = int(self._parts[index])
        if part not in self._open:
            self._open[part] = np.load(self._folder / part_name(part), mmap_mode="r", allow_pickle=False)
            if len(self._open) > _OPEN_PARTS:  # a system allows some thousand open files only
                self._open.popitem(last=False)
        return window_to_uint8(np.asarray(self._open[part][self._rows[index]]), None)
