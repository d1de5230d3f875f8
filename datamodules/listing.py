"""Which image files does a domain consist of, and can it be trained on?"""

import os
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stages.errors import RelayError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})
Side = Literal["train", "val"]
# Permissions of the effective user, where the system can ask for them (Windows cannot).
_EFFECTIVE = os.access in os.supports_effective_ids


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a domain, not opened.

    Attributes:
        path: Name below the root, with forward slashes, in Unicode's NFC: equal on every machine.
        location: Where the file lies on this machine.
        size: Bytes.
        modified: Time of the last change in nanoseconds; only the local cache looks at it.
        label: Index of its class.
        group: Patient or physical object; the path itself where the layout knows none.
        side: "train" or "val".
    """

    path: str
    location: str
    size: int
    modified: int
    label: int
    group: str
    side: Side


@dataclass(frozen=True)
class Listing:
    """All images of a domain, sorted by path, and its classes, sorted by name."""

    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]

    def side(self, side: Side) -> list[ImageFile]:
        """The images of one side, sorted by path."""
        return [file for file in self.files if file.side == side]


def normalised(name: str) -> str:
    """The name in Unicode's NFC: macOS hands out another form of "é" than Linux."""
    return unicodedata.normalize("NFC", name)


def is_image(name: str) -> bool:
    """Whether the file's suffix is one of a known image format, in any case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def first_and_more(names: Sequence[str], limit: int = 1) -> str:
    """The first names, and how many there are besides: `a.png and 3 more`."""
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def is_readable(location: str) -> bool:
    """Whether the effective user may read a file."""
    return os.access(location, os.R_OK, effective_ids=_EFFECTIVE)


def leaves_folder(name: str) -> bool:
    """Whether a path in an archive is absolute or climbs out of the archive's folder, on any system."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or (len(name) > 1 and name[1] == ":")


def existing_root(root: str) -> str:
    """The folder's name with `~` expanded.

    Raises:
        RelayError: It is missing, not a folder, or may not be read.
    """
    folder = os.path.expanduser(root)
    if not os.path.isdir(folder):
        what = "is a file, not a folder" if os.path.exists(folder) else "does not exist"
        raise RelayError(f"data root {folder} {what}; set the source's `root` to the folder of the images.")
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=_EFFECTIVE):
        raise RelayError(f"data root {folder} may not be read; ask its owner for read permission.")
    return folder


def check_files(root: str, found: Iterable[tuple[str, str, os.stat_result]]) -> None:
    """Check files by what the file system says about them, without opening them.

    Args:
        root: Named in the messages.
        found: (path, location, stat) of each file.

    Raises:
        RelayError: A path is there twice, or a file is empty or may not be read.
    """
    paths: Counter[str] = Counter()
    empty, forbidden, odd = [], [], []
    for path, location, status in found:
        paths[path] += 1
        if not stat.S_ISREG(status.st_mode):
            odd.append(path)
        elif status.st_size == 0:
            empty.append(path)
        elif not is_readable(location):
            forbidden.append(path)
    twice = sorted(path for path, times in paths.items() if times > 1)
    if twice:
        raise RelayError(f"{root}: {first_and_more(twice)} is listed twice; keep one entry for each image.")
    if odd:
        raise RelayError(f"{root}: {first_and_more(sorted(odd))} is not an ordinary file; remove it.")
    if empty:
        raise RelayError(
            f"{root}: {first_and_more(sorted(empty))} has zero bytes; copy it again or remove it."
        )
    if forbidden:
        raise RelayError(
            f"{root}: {first_and_more(sorted(forbidden))} may not be read; change its permissions."
        )


def checked_listing(root: str, classes: Sequence[str], files: Iterable[ImageFile]) -> Listing:
    """Sort the files by path and check that the whole can be trained on.

    Raises:
        RelayError: There are no images, one class only, a class without images on a side, or a group on
            both sides.
    """
    ordered = tuple(sorted(files, key=lambda file: file.path))
    if not ordered:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise RelayError(f"{root}: no images found; known suffixes are {suffixes}.")
    if len(classes) < 2:
        raise RelayError(f"{root}: there is one class only, {classes[0]!r}; a classifier needs two or more.")
    for side, word in (("train", "training"), ("val", "evaluation")):
        present = {file.label for file in ordered if file.side == side}
        absent = [name for label, name in enumerate(classes) if label not in present]
        if absent:
            raise RelayError(
                f"{root}: class {first_and_more(absent)} has no {word} images; "
                "every class needs images on both sides."
            )
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for file in ordered:
        sides[file.group].add(file.side)
    shared = sorted(group for group, seen in sides.items() if len(seen) > 1)
    if shared:
        raise RelayError(
            f"{root}: group {first_and_more(shared)} is on both sides of the split, training and "
            "evaluation; move all images of a patient or object to one side."
        )
    return Listing(tuple(classes), ordered)
