"""Checks that a file or folder exists and that this user may read it."""

import os

from stages.errors import RelayError

# Permissions of the effective user, where the system can ask for them (Windows cannot).
_EFFECTIVE = os.access in os.supports_effective_ids


def is_readable(location: str) -> bool:
    """Whether the effective user may read a file."""
    return os.access(location, os.R_OK, effective_ids=_EFFECTIVE)


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
