"""Lists the images in ILSVRC2012's original archives, which are read in place: nothing is extracted."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path, PurePosixPath

from datamodules.domain import SideName
from datamodules.files.names import normalised
from datamodules.readers.ilsvrc.devkit import DEVKIT_ARCHIVE
from datamodules.readers.ilsvrc.images import ImageEntry, by_ground_truth
from datamodules.readers.ilsvrc.names import is_wnid
from datamodules.readers.ilsvrc.tar_index import Member, members
from datamodules.readers.ilsvrc.units import Layout
from stages.errors import RelayError

TRAIN_ARCHIVE = "ILSVRC2012_img_train.tar"
VAL_ARCHIVE = "ILSVRC2012_img_val.tar"
ARCHIVES: dict[SideName, str] = {"train": TRAIN_ARCHIVE, "val": VAL_ARCHIVE}
MD5 = {
    TRAIN_ARCHIVE: "1d675b47d978889d74fa0da5fadfb00e",
    VAL_ARCHIVE: "29b22e2961454d5413ddabcf34fc5622",
    DEVKIT_ARCHIVE: "fa75699e90414af021442c21a62c3abf",
}
"""As published; torchvision checks against the same."""

_THREADS = 8  # a disk that is not in memory is listed three times as fast; more gain nothing
_AT_A_TIME = 32  # classes: their lists are held until they are packed


def check_checksums(source: Path) -> None:
    """Compare the archives in a folder with the published MD5 sums; takes minutes for the 148 GB.

    Raises:
        RelayError: There is none of them, or one differs.
    """
    present = [name for name in MD5 if (source / name).is_file()]
    if not present:
        raise RelayError(
            f"checksums: none of {', '.join(MD5)} lies in {source}; checksums are of the original archives. "
            "Leave `checksums` unset for extracted folders."
        )
    for name in sorted(present, key=lambda name: (source / name).stat().st_size):
        with _opened(source / name) as stream:
            found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != MD5[name]:
            raise RelayError(
                f"{name} has MD5 {found}; the published one is {MD5[name]}. Copy or download it again."
            )


class TrainArchive:
    """`ILSVRC2012_img_train.tar`: an archive of one archive per class.

    The inner archives are not compressed, so that each image lies at a known place of the outer file.

    Attributes:
        location: The file.
        classes: WNIDs, sorted.
    """

    layout: Layout = "archive"
    missing = 0  # the devkit's counts say it, for each class
    ignored = 0  # every member is taken for an image

    def __init__(self, location: Path) -> None:
        self.location = location
        with _opened(location) as stream:
            outer = members(stream, 0, os.fstat(stream.fileno()).st_size, location.name)
        self._inner: dict[str, Member] = {}
        for number, member in enumerate(outer, 1):
            wnid = PurePosixPath(member.name).name.removesuffix(".tar")
            if not is_wnid(wnid):
                raise RelayError(
                    f"{location.name}: member {number} is not an archive of a class such as n01440764.tar; "
                    "it is not the original archive."
                )
            if wnid in self._inner:
                raise RelayError(f"{location.name}: class {wnid} is there twice; copy the archive again.")
            self._inner[wnid] = member
        self.classes = tuple(sorted(self._inner))

    def images(self, classes: tuple[str, ...]) -> Iterator[tuple[str, list[ImageEntry]]]:
        """WNID and images of each class, in the order asked for.

        Raises:
            RelayError: An inner archive is damaged.
        """
        stamp = os.stat(self.location).st_mtime_ns

        def of_class(wnid: str) -> list[ImageEntry]:
            outer = self._inner[wnid]
            what = f"{self.location.name}: {wnid}.tar"
            with _opened(self.location) as stream:
                inner = members(stream, outer.offset, outer.offset + outer.size, what)
            return _entries(inner, stamp, what)

        # A header's place is known from the one before: only other classes can be read while a disk seeks.
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(classes), _AT_A_TIME):
                some = classes[start : start + _AT_A_TIME]
                yield from zip(some, pool.map(of_class, some), strict=True)


class ValArchive:
    """`ILSVRC2012_img_val.tar`: all validation images side by side; the devkit says their classes.

    Attributes:
        location: The file.
        classes: WNIDs, sorted.
        missing: How many images of the ground truth are not there.
    """

    layout: Layout = "archive"
    ignored = 0  # every member is taken for an image

    def __init__(self, location: Path, truth: tuple[str, ...]) -> None:
        self.location = location
        stamp = os.stat(location).st_mtime_ns
        with _opened(location) as stream:
            flat = members(stream, 0, os.fstat(stream.fileno()).st_size, location.name)
        self._by_class, self.missing = by_ground_truth(
            _entries(flat, stamp, location.name), truth, location.name
        )
        self.classes = tuple(sorted(self._by_class))

    def images(self, classes: tuple[str, ...]) -> Iterator[tuple[str, list[ImageEntry]]]:
        """WNID and images of each class, in the order asked for."""
        for wnid in classes:
            yield wnid, self._by_class[wnid]


def _entries(found: Iterable[Member], stamp: int, what: str) -> list[ImageEntry]:
    entries = [
        ImageEntry(name.rsplit("/", 1)[-1], offset, size, stamp)  # folders within are the packer's own
        for name, offset, size in found
    ]
    if len({entry.file for entry in entries}) < len(entries):
        raise RelayError(f"{what}: two images in different folders have one name; make the archive again.")
    entries.sort(key=lambda entry: normalised(entry.file))
    return entries


def _opened(location: Path) -> FileIO:
    try:
        return open(location, "rb", buffering=0)
    except OSError as error:
        raise RelayError(
            f"{location.name} cannot be read: {error.strerror}; check its permissions."
        ) from error
