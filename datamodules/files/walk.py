"""Every file below a folder, without walking in circles."""

import os
from collections.abc import Callable, Iterator

from datamodules.files.litter import Dropped, is_litter
from datamodules.files.names import normalised

Entry = os.DirEntry[str]


def walk(
    root: str | os.PathLike[str],
    top: str = "",
    *,
    on_unreadable: Callable[[str, int, OSError], None],
    on_loop: Callable[[], None] = lambda: None,
    dropped: Dropped | None = None,
) -> Iterator[tuple[str, Entry]]:
    """Files below a folder, those of a folder in the order of their names.

    Litter (`datamodules.files.litter`) is left out. Symbolic links are followed, but never back into a folder
    that contains them. What is not a folder is yielded as it is, also a link that leads nowhere.

    Args:
        root: Folder that paths start from.
        top: Folder below it to begin with.
        on_unreadable: Called with a folder's location, how many folders it is below the first, and why it
            cannot be read; that folder is passed over unless it raises.
        on_loop: Called for a link to a folder that contains it.
        dropped: Counts the litter by kind.

    Yields:
        Path below the root, with forward slashes and in Unicode's NFC, and entry.
    """
    # Each pending folder carries the identities of the folders above it: a link to one of them is a loop.
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(top, frozenset())]
    while pending:
        relative, above = pending.pop()
        folder = os.path.join(root, relative)
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                on_loop()
                continue
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            on_unreadable(folder, len(above), error)
            continue
        for entry in entries:
            if is_litter(entry.name, dropped):
                continue
            below = os.path.join(relative, entry.name)
            if is_folder(entry):
                pending.append((below, above | {identity}))
            else:
                yield normalised(below.replace(os.sep, "/")), entry


def is_folder(entry: Entry) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
