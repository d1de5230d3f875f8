"""What is known of ILSVRC2012's images before they are decoded, packed: an object per image is too much."""

import hashlib
import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datamodules.domain import SideName
from datamodules.readers.ilsvrc.names import is_official, stem, validation_number
from stages.errors import RelayError


class ImageEntry(NamedTuple):
    """An image, not opened; those of one class are held at a time.

    Attributes:
        file: Its name, without folders.
        offset: Where its bytes begin in the archive; 0 in folders.
        size: Bytes.
        stamp: When its file was changed last, nanoseconds.
        trouble: Why it cannot be used; empty for nearly all.
    """

    file: str
    offset: int
    size: int
    stamp: int
    trouble: str = ""


@dataclass(frozen=True, eq=False)
class PackedEntries:
    """Images in sorted order, packed: one bytes object and arrays.

    Attributes:
        files: All files' names as the file system writes them, each ended by a zero byte.
        ends: int64, (N,): where each name ends in `files`, its zero byte included.
        offsets: int64, (N,), as of `ImageEntry`.
        sizes: int64, (N,), as of `ImageEntry`.
        stamps: int64, (N,), as of `ImageEntry`.
        labels: int16, (N,): index of the class.
        places: int32, (N,): place in the class's sorted listing, from 1.
    """

    files: bytes
    ends: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    stamps: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int16]
    places: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ends)

    def part(self, start: int, stop: int) -> "PackedEntries":
        """Images `start` to `stop`, in memory of their own: a slice would carry the whole to a worker."""
        first = int(self.ends[start - 1]) if start else 0
        stop = min(stop, len(self))
        return PackedEntries(
            self.files[first : int(self.ends[stop - 1])],
            self.ends[start:stop] - first,
            self.offsets[start:stop].copy(),
            self.sizes[start:stop].copy(),
            self.stamps[start:stop].copy(),
            self.labels[start:stop].copy(),
            self.places[start:stop].copy(),
        )

    def names(self) -> list[str]:
        """Each image's file name."""
        return [os.fsdecode(name) for name in self.files.split(b"\0")[:-1]]

    def content_digest(self) -> bytes:
        """SHA-256 of names and classes: equal on every machine, for archives and folders."""
        return self._digest(self.labels, self.places)

    def file_digest(self) -> bytes:
        """SHA-256 of what changes when the files do."""
        return self._digest(self.sizes, self.labels, self.places, self.offsets, self.stamps)

    def _digest(self, *columns: npt.NDArray[np.signedinteger]) -> bytes:
        digest = hashlib.sha256(self.files)
        for column in columns:
            digest.update(np.ascontiguousarray(column, dtype="<i8").data)
        return digest.digest()


class Packer:
    """Collects entries, a class at a time."""

    def __init__(self) -> None:
        self._files = bytearray()
        self._ends, self._offsets, self._sizes, self._stamps = (array("q") for _ in range(4))
        self._labels, self._places = array("h"), array("i")

    def add(self, label: int, entries: Iterable[tuple[int, ImageEntry]]) -> None:
        """Add images of a class: place in its listing, and entry."""
        for place, entry in entries:
            self._files += os.fsencode(entry.file) + b"\0"
            self._ends.append(len(self._files))
            self._offsets.append(entry.offset)
            self._sizes.append(entry.size)
            self._stamps.append(entry.stamp)
            self._labels.append(label)
            self._places.append(place)

    def packed(self) -> PackedEntries:
        """All of them."""
        return PackedEntries(
            bytes(self._files),
            np.array(self._ends, dtype=np.int64),
            np.array(self._offsets, dtype=np.int64),
            np.array(self._sizes, dtype=np.int64),
            np.array(self._stamps, dtype=np.int64),
            np.array(self._labels, dtype=np.int16),
            np.array(self._places, dtype=np.int32),
        )


def image_name(side: SideName, wnid: str, place: int, file: str) -> str:
    """What an image is called in a packed set, in messages and in lists.

    The provider's own name where it is one; else its place in the sorted listing of its class: a file's name
    that a user gave is stored nowhere.
    """
    return f"{side}/{wnid}/{file if is_official(file) else f'image-{place:05d}'}"


def by_ground_truth(
    entries: Sequence[ImageEntry], truth: tuple[str, ...], what: str
) -> tuple[dict[str, list[ImageEntry]], int]:
    """Sort validation images into classes by the number in their names.

    Args:
        entries: All of them.
        truth: WNID of each number, from 1.
        what: Where they lie, for the messages.

    Returns:
        WNID -> its images; and how many of the ground truth are not there.

    Raises:
        RelayError: There is no ground truth, a name is not a validation image's, or its number is unknown.
    """
    if not truth:
        raise RelayError(
            f"{what}: the validation images are not in class folders, and nothing says their classes; put "
            "the devkit, ILSVRC2012_devkit_t12.tar.gz (or Kaggle's LOC_val_solution.csv), beside them."
        )
    by_class: dict[str, list[ImageEntry]] = {}
    for place, entry in enumerate(entries, 1):
        number = validation_number(stem(entry.file))
        if number is None:
            raise RelayError(
                f"{what}: image {place} in sorted order is not named as ILSVRC2012_val_00000001.JPEG is, so "
                "that its class is unknown; put it in a class folder or remove it."
            )
        if not 1 <= number <= len(truth):
            raise RelayError(
                f"{what}: validation image {number} is not among the {len(truth)} of the ground truth; "
                "images and devkit are not of one set."
            )
        by_class.setdefault(truth[number - 1], []).append(entry)
    return by_class, len(truth) - len(entries)
