"""The image files below a folder, and what else lies there."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from datamodules.files.litter import Dropped, is_litter, listed
from datamodules.files.names import IMAGE_SUFFIXES, is_image, normalised
from datamodules.files.walk import Entry, is_folder, walk
from datamodules.listing.masks import mask_paths
from stages.console.words import counted
from stages.errors import RelayError

# Suffixes that a note may name; any other may be a part of somebody's name.
_TOLD = (
    ".txt",
    ".csv",
    ".tsv",
    ".json",
    ".xml",
    ".xlsx",
    ".xls",
    ".md",
    ".pdf",
    ".zip",
    ".mat",
    ".npy",
    ".yaml",
)
_UNREAD = (
    ".gif",
    ".webp",
    ".jfif",
    ".jp2",
    ".heic",
    ".dcm",
    ".dicom",
    ".ima",
    ".nii",
    ".gz",
    ".mha",
    ".nrrd",
    ".svs",
)
_MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Found:
    """An image file.

    Attributes:
        path: Below the root, with forward slashes, in Unicode's NFC.
        location: Where it lies.
        status: What the file system says of it.
        parts: The names of the path below the root: folders, then the file.
    """

    path: str
    location: str
    status: os.stat_result
    parts: tuple[str, ...]


class Tree:
    """The images below a root, and counts of what was passed over.

    Args:
        root: A folder.

    Attributes:
        root: As given.
        folders: The folders in it: names in NFC -> names on the disk, without litter.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.others: Counter[str] = Counter()
        self.dropped = Dropped()
        self.masks = 0
        self.loose = 0
        self._known: dict[str, dict[str, str]] = {}
        self.folders = self.subfolders("")

    def subfolders(self, top: str) -> dict[str, str]:
        """Names in NFC -> names on disk of the folders in a folder, litter left out.

        Raises:
            RelayError: The folder cannot be read, or has a name in two Unicode forms.
        """
        if top in self._known:  # so that litter is counted once
            return self._known[top]
        folder = os.path.join(self.root, top)
        try:
            with os.scandir(folder) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if is_folder(entry) and not is_litter(entry.name, self.dropped)
                ]
        except OSError as error:
            _unreadable(folder, 0, error)
        by_name = {normalised(name): name for name in names}
        if len(by_name) < len(names):
            twice = sorted(normalised(name) for name in names if by_name[normalised(name)] != name)
            raise RelayError(
                f"{folder}: the name {twice[0]} is there twice in different Unicode forms; rename."
            )
        self._known[top] = by_name
        return by_name

    def images(self, top: str, *, below: bool = True) -> list[Found]:
        """The images in a folder, and in those below it, without masks of other images.

        Raises:
            RelayError: A folder or file cannot be reached.
        """
        found = []
        for path, entry in self._files(top, below=below):
            if is_image(entry.name):
                found.append(Found(path, entry.path, _status(entry), tuple(path.split("/"))))
            elif below:
                suffix = os.path.splitext(entry.name)[1].lower()
                self.others[suffix if suffix in _TOLD + _UNREAD else "other"] += 1
        masks = mask_paths([image.path for image in found])
        self.masks += len(masks)
        return [image for image in found if image.path not in masks]

    def _files(self, top: str, *, below: bool) -> Iterator[tuple[str, Entry]]:
        if below:
            yield from walk(self.root, top, on_unreadable=_unreadable, dropped=self.dropped)
            return
        with os.scandir(os.path.join(self.root, top)) as entries:
            for entry in entries:
                if not is_folder(entry) and not is_litter(entry.name, self.dropped):
                    yield normalised(os.path.join(top, entry.name).replace(os.sep, "/")), entry

    def notes(self) -> list[str]:
        """What was passed over: litter, masks, files that are no images, images in no class folder."""
        notes = []
        if self.dropped:
            notes.append(f"passed over as litter: {listed(self.dropped)}")
        if self.others:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in self.others.most_common(_MOST_TOLD))
            unread = [suffix for suffix in _UNREAD if self.others[suffix]]
            hint = f"; convert {', '.join(unread)} to PNG if they belong to the set" if unread else ""
            notes.append(
                f"{counted(self.others.total(), 'file')} without the suffix of an image "
                f"({' '.join(IMAGE_SUFFIXES)}) left out: {kinds}{hint}"
            )
        if self.masks:
            notes.append(
                f"{counted(self.masks, 'mask')} of other images left out: `NAME_mask` beside `NAME`, or a "
                "folder of masks beside one of images"
            )
        if self.loose:
            notes.append(f"{counted(self.loose, 'image')} in no class folder left out")
        return notes


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError as error:
        raise RelayError(f"{entry.path} cannot be reached: {error.strerror}; fix or remove it.") from error


def _unreadable(folder: str, _depth: int, error: OSError) -> NoReturn:
    raise RelayError(f"folder {folder} cannot be read: {error.strerror}; check its permissions.") from error
