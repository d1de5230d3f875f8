"""A map of patterns on disk, while it is made and when it is done: one slice in memory at a time."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.prediction.series.volume import CTVolume
from stages.errors import RelayError

ONE = 65535
"""What a probability of 1 is stored as: whole numbers of 16 bits, rounded to nearest."""

SIDES = ("right", "left", "sides not known")
"""What the values 1, 2 and 3 of a map of lungs mean."""


@contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """Say of a full disk what to do.

    Raises:
        RelayError: Something in the block could not be written.
    """
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror)
        raise RelayError(
            f"out={folder.parent} cannot be written: {why}. Finished slices are kept: make room, and type "
            "the same command again."
        ) from None


@dataclass(frozen=True)
class PatternMap:
    """What networks say of each pixel of a series' lungs.

    The arrays are read from files by memory map, and may be larger than memory: take a slice of them. They
    are written by `write`, not by memory map, so that a full disk is an error and not the process' end.

    Attributes:
        folder: Where its files lie.
        volume: The series.
        classes: The patterns, in the order of the networks' outputs.
        networks: How many networks it is of.
    """

    folder: Path = field(repr=False)
    volume: CTVolume
    classes: tuple[str, ...]
    networks: int

    @property
    def lungs(self) -> npt.NDArray[np.uint8]:
        """(S, H, W): 0 outside, 1 right, 2 left, 3 where the sides are not known."""
        return self._read("lungs", np.uint8, self.volume.shape)

    @property
    def probabilities(self) -> npt.NDArray[np.uint16]:
        """(C, S, H, W): the mean over networks and over overlapping patches; `ONE` is 1. 0 outside."""
        return self._read("probabilities", np.uint16, (len(self.classes), *self.volume.shape))

    @property
    def uncertain(self) -> npt.NDArray[np.bool_]:
        """(S, H, W): where the pattern is uncertain, by the rule of `sliding.map_patterns`."""
        return self._read("uncertain", np.bool_, self.volume.shape)

    @property
    def own_counts(self) -> npt.NDArray[np.uint32]:
        """(S, M, 3, C): pixels of each side (`SIDES`) and pattern in each network's own map."""
        shape = (self.volume.shape[0], self.networks, len(SIDES), len(self.classes))
        return self._read("own_counts", np.uint32, shape)

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """(S,): the slices that are finished."""
        return self._read("done", np.bool_, self.volume.shape[:1])

    def probability(self, number: int) -> npt.NDArray[np.float32]:
        """Of a slice from 0: float32, (C, H, W), 0 outside the lungs."""
        return (self.probabilities[:, number] / np.float32(ONE)).astype(np.float32)

    def pattern(self, number: int) -> npt.NDArray[np.uint8]:
        """Of a slice from 0: (H, W), 0 outside the lungs, else index + 1 of the most probable class.

        Of equal probabilities, the first.
        """
        named = self.probabilities[:, number].argmax(0) + 1
        return np.where(self.lungs[number] > 0, named, 0).astype(np.uint8)

    def create(self) -> None:
        """Make its files beside `lungs`, with zeros.

        Raises:
            RelayError: There is no room for them.
        """
        slices, height, width = self.volume.shape
        pixels, classes = slices * height * width, len(self.classes)
        sizes = {
            "probabilities": 2 * classes * pixels,
            "uncertain": pixels,
            "own_counts": 4 * slices * self.networks * len(SIDES) * classes,
            "done": slices,
        }
        for name, size in sizes.items():
            with room_on_disk(self.folder), open(self._path(name), "wb") as file:
                file.truncate(size)  # zeros take no room until they are written over

    def write(
        self,
        number: int,
        probabilities: npt.NDArray[np.uint16],
        uncertain: npt.NDArray[np.bool_],
        own_counts: npt.NDArray[np.uint32],
    ) -> None:
        """Write what was found in a slice; `finish` says that it is done.

        Args:
            number: Of the slice, from 0.
            probabilities: (C, H, W).
            uncertain: (H, W).
            own_counts: (M, 3, C).

        Raises:
            RelayError: The disk is full.
        """
        slices, height, _ = self.volume.shape
        rows = np.flatnonzero(self.lungs[number].any(1))  # the others are zero, and stay so
        first, end = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        for index, plane in enumerate(probabilities):
            self._put("probabilities", (index * slices + number) * height + first, plane[first:end])
        self._put("uncertain", number * height + first, uncertain[first:end])
        self._put("own_counts", number, own_counts[None])

    def finish(self, numbers: list[int]) -> None:
        """Say that slices are done, once what was written of them is on the disk.

        Raises:
            RelayError: The disk is full.
        """
        with room_on_disk(self.folder):
            for name in ("probabilities", "uncertain", "own_counts"):
                with open(self._path(name), "r+b") as file:
                    os.fsync(file.fileno())
        for number in numbers:
            self._put("done", number, np.ones(1, np.bool_))

    def _put(self, name: str, place: int, rows: npt.NDArray[Any]) -> None:
        """Write rows of a file, from the one of number `place` on."""
        with room_on_disk(self.folder), open(self._path(name), "r+b") as file:
            file.seek(place * rows.nbytes // max(len(rows), 1))
            file.write(np.ascontiguousarray(rows).data)

    def _read(self, name: str, kind: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        return np.memmap(self._path(name), kind, "r", shape=shape)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.raw"
