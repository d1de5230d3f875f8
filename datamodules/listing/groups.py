"""Groups of listed images from a CSV file of the user's."""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace

from datamodules.files.groups import read_groups
from datamodules.files.names import first_and_more
from datamodules.listing.listing import ImageFile
from stages.errors import RelayError


def with_groups(root: str, location: str, files: Sequence[ImageFile]) -> tuple[ImageFile, ...]:
    """Files with the groups that a CSV file gives their paths.

    Args:
        root: The images' folder.
        location: The CSV file, relative to the root unless absolute; see `read_groups`.
        files: All images of the source.

    Raises:
        RelayError: The file cannot be used, names a path that is no image of the source, or lacks an image.
    """
    location = os.path.join(root, os.path.expanduser(location))
    given = read_groups(location, f"groups file {location}")
    groups = {posixpath.normpath(path): group for path, group in given.items()}
    twice = sorted(path for path, group in given.items() if groups[posixpath.normpath(path)] != group)
    unknown = sorted(groups.keys() - {file.path for file in files})
    absent = sorted({file.path for file in files} - groups.keys())
    for paths, what in (
        (twice, "is written in two ways, with two groups; keep one of them"),
        (unknown, f"is no image below {root}; write paths as in {files[0].path}, or remove the line"),
        (absent, "has no row; give every image its group, its own path where it is the only one"),
    ):
        if paths:
            raise RelayError(f"{location}: {first_and_more(paths)} {what}.")
    return tuple(replace(file, group=groups[file.path]) for file in files)
