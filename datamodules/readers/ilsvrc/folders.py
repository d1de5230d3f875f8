"""Lists the images in ILSVRC2012's extracted folders, `train/WNID/*.JPEG` and `val/[WNID/]*.JPEG`."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from datamodules.domain import SideName, side_named
from datamodules.files.litter import Dropped, is_litter
from datamodules.files.names import first_and_more, is_image, normalised
from datamodules.files.walk import is_folder
from datamodules.readers.ilsvrc.images import ImageEntry, by_ground_truth
from datamodules.readers.ilsvrc.names import is_wnid
from datamodules.readers.ilsvrc.units import Layout
from stages.errors import RelayError


class ClassFolders:
    """One folder per class.

    Attributes:
        location: The side's folder.
        classes: WNIDs, sorted.
        ignored: Number of files that are not images by their suffix; grows while classes are listed.
    """

    layout: Layout = "class_folders"
    missing = 0  # nothing says how many there should be

    def __init__(self, location: Path, side: SideName, litter: Dropped) -> None:
        self.location = location
        self.ignored = 0
        self._litter = litter
        folders = sorted(entry.name for entry in _scan(location, side, litter) if is_folder(entry))
        odd = [str(place) for place, name in enumerate(folders, 1) if not is_wnid(name)]
        if odd:
            raise RelayError(
                f"{side}: of its {len(folders)} folders in sorted order, number {first_and_more(odd)} is not "
                "named by a WNID such as n01440764; rename or remove it. A set of other classes needs no "
                "preparing: give it to training as class folders or with a manifest (docs/real-data.md)."
            )
        self.classes = tuple(folders)
        self._side = side

    def images(self, classes: tuple[str, ...]) -> Iterator[tuple[str, list[ImageEntry]]]:
        """WNID and images of each class, in the order asked for, sorted.

        Raises:
            RelayError: A folder may not be read.
        """
        for wnid in classes:
            found, ignored = _images(self.location / wnid, f"{self._side}/{wnid}", self._litter)
            self.ignored += ignored
            yield wnid, found


class FlatFolder:
    """Validation images side by side; the devkit says their classes.

    Attributes:
        location: The side's folder.
        classes: WNIDs, sorted.
        missing: How many images of the ground truth are not there.
        ignored: Number of files that are not images by their suffix.
    """

    layout: Layout = "flat"

    def __init__(self, location: Path, side: SideName, truth: tuple[str, ...], litter: Dropped) -> None:
        self.location = location
        found, self.ignored = _images(location, side, litter)
        self._by_class, self.missing = by_ground_truth(found, truth, side)
        self.classes = tuple(sorted(self._by_class))

    def images(self, classes: tuple[str, ...]) -> Iterator[tuple[str, list[ImageEntry]]]:
        """WNID and images of each class, in the order asked for, sorted."""
        for wnid in classes:
            yield wnid, self._by_class[wnid]


def has_class_folders(location: Path, side: SideName) -> bool:
    """Whether a side's folder holds folders, rather than images side by side."""
    return any(is_folder(entry) for entry in _scan(location, side))


def side_folder(parent: Path, side: SideName) -> Path | None:
    """The folder of a side, under any name that `side_named` knows, its own first; None without one."""
    if not parent.is_dir():
        return None
    named = [entry.name for entry in _scan(parent, parent.name) if side_named(entry.name) == side]
    folders = [parent / name for name in sorted(named, key=lambda name: (name != side, name))]
    return next((folder for folder in folders if folder.is_dir()), None)


def _images(folder: Path, what: str, litter: Dropped) -> tuple[list[ImageEntry], int]:
    files = [entry for entry in _scan(folder, what, litter) if not is_folder(entry)]
    images = [entry for entry in files if is_image(entry.name)]
    images.sort(key=lambda entry: normalised(entry.name))
    return [_image_entry(entry) for entry in images], len(files) - len(images)


def _image_entry(entry: os.DirEntry[str]) -> ImageEntry:
    try:
        status = entry.stat()
    except OSError as error:  # a link to nothing, or to itself
        return ImageEntry(entry.name, 0, 0, 0, f"it cannot be reached: {error.strerror}")
    trouble = "" if stat.S_ISREG(status.st_mode) else "it is not an ordinary file"
    return ImageEntry(entry.name, 0, status.st_size, status.st_mtime_ns, trouble)


def _scan(folder: Path, what: str, litter: Dropped | None = None) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_litter(entry.name, litter)]
    except OSError as error:
        raise RelayError(
            f"ILSVRC2012: the folder {what} cannot be read: {error.strerror}; check its permissions."
        ) from error
