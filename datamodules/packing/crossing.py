"""Equal and nearly equal images of a packed set that are on several sides of its split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image

from datamodules.duplicates.find import crossing, find_duplicates
from datamodules.faults import UnusableError
from datamodules.packing.read import PackedImages
from datamodules.packing.units import Image, Whole
from datamodules.pixels.window import window_to_uint8

_LARGEST = 256  # pixels of a side; a picture is compared at 64


@dataclass(frozen=True)
class Crossing:
    """What crosses.

    Attributes:
        looked: Whether anyone looked.
        pictures: Names of the samples that show one picture, a tuple for each picture on several sides;
            titles where the samples were cut from several wholes that show one.
        alike: Titles of wholes that show one picture without being on several sides, a tuple for each.
    """

    looked: bool
    pictures: tuple[tuple[str, ...], ...]
    alike: tuple[tuple[str, ...], ...] = ()

    @property
    def first(self) -> str:
        """The first of them, for a message."""
        return " and ".join(self.pictures[0][:3]) if self.pictures else ""


def find_crossing(
    folder: Path, manifest: pd.DataFrame, shape: tuple[int, ...], wholes: Sequence[Whole], *, enabled: bool
) -> Crossing:
    """Look for pictures on several sides of a set's split.

    Args:
        folder: The set's.
        manifest: With the columns sample, split, part and place.
        shape: Of an image.
        wholes: What the samples were cut from, see `Survey`.
        enabled: Whether to look.
    """
    if not enabled:
        return Crossing(looked=False, pictures=())
    parts, places = (manifest[name].to_numpy(np.int32) for name in ("part", "place"))
    images = PackedImages(str(folder), parts, places, shape, None)
    names = manifest["sample"].to_numpy()
    found = crossing(find_duplicates(images), manifest["split"].to_numpy())
    pictures = [tuple(map(str, names[list(each)])) for each in found]
    across, alike = _alike_wholes(manifest, wholes)
    return Crossing(looked=True, pictures=(*pictures, *across), alike=alike)


def _alike_wholes(
    manifest: pd.DataFrame, wholes: Sequence[Whole]
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Titles of the wholes that show one picture: with samples on several sides, and all others."""
    shown: list[Whole] = []
    images: list[npt.NDArray[np.uint8]] = []
    for whole in wholes:
        try:
            images.append(_reduced(whole.read()))
        except UnusableError:  # its samples are left out and listed
            continue
        shown.append(whole)
    pairs = find_duplicates(images)
    names = manifest["sample"].str.partition("/")[2].str.rsplit("-", n=2).str[0]
    sides = dict(zip(names, manifest["split"], strict=True))
    across: list[tuple[str, ...]] = []
    alike: list[tuple[str, ...]] = []
    for numbers in crossing(pairs, range(len(shown))):  # every picture that several show
        crosses = len({sides.get(shown[number].name) for number in numbers} - {None}) > 1
        (across if crosses else alike).append(tuple(shown[number].title for number in numbers))
    return tuple(across), tuple(alike)


def _reduced(picture: Image) -> npt.NDArray[np.uint8]:
    """At most 256 px: all wholes of a set are in memory at once."""
    reduced = PIL.Image.fromarray(window_to_uint8(picture, None))
    reduced.thumbnail((_LARGEST, _LARGEST), PIL.Image.Resampling.BOX)
    return np.asarray(reduced)
