"""Groups of listed images from a CSV file of the user's."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from datamodules.files.find import SPELLING
from datamodules.files.groups import read_groups
from datamodules.files.names import first_and_more, one_spelling
from datamodules.listing.listing import ImageFile
from stages.console.words import counted
from stages.errors import RelayError


def with_groups(
    root: str, location: str, files: Sequence[ImageFile]
) -> tuple[tuple[ImageFile, ...], tuple[str, ...]]:
    """Files with the groups that a CSV file gives their paths, and what a person should know of it.

    Args:
        root: The images' folder.
        location: The CSV file, relative to the root unless absolute; see `read_groups`.
        files: All images of the source.

    Raises:
        RelayError: The file cannot be used, names a path that is no image of the source, or lacks an image.
    """
    location = os.path.join(root, os.path.expanduser(location))
    given = read_groups(location, f"groups file {location}")
    known = {file.path for file in files}
    times = Counter(map(one_spelling, known))
    by_spelling = {spelled: path for path in known if times[spelled := one_spelling(path)] == 1}
    stems = Counter(os.path.splitext(path)[0] for path in known)
    by_stem = {stem: path for path in known if stems[stem := os.path.splitext(path)[0]] == 1}
    groups: dict[str, str] = {}
    twice, unknown, respelled = [], [], 0
    for written, group in given.of.items():
        path = _below(root, written)
        path = path if path in known else by_stem.get(path, path)
        if path not in known and one_spelling(path) in by_spelling:
            path = by_spelling[one_spelling(path)]
            respelled += 1
        if path not in known:
            unknown.append(path)
        elif groups.setdefault(path, group) != group:
            twice.append(path)
    absent = sorted(known - groups.keys())
    for paths, what in (
        (sorted(twice), "is written in two ways, with two groups; keep one of them"),
        (sorted(unknown), f"is no image below {root}; write paths as in {files[0].path}, or remove the line"),
        (absent, "has no row; give every image its group, its own path where it is the only one"),
    ):
        if paths:
            raise RelayError(f"{location}: {first_and_more(paths)} {what}.")
    notes = list(given.notes)
    if respelled:
        notes.append(f"the groups file: {counted(respelled, 'path')} {SPELLING}.")
    return tuple(replace(file, group=groups[file.path]) for file in files), tuple(notes)


def _below(root: str, path: str) -> str:
    """A path below the root, also of an absolute one in it."""
    if os.path.isabs(path):
        for above in (os.path.abspath(root), os.path.realpath(root)):
            if path.startswith(above + os.sep):
                return path[len(above) + 1 :]
    return path
