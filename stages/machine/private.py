"""Folders that only their owner can use."""

import os
import secrets
import socket
import stat
from pathlib import Path

from stages.errors import RelayError


def private_folder(parent: Path) -> Path:
    """Make a new folder that only this user can read or write, under a name that nobody can guess.

    The name has the host and a random part: containers that share a store have equal process numbers.

    Args:
        parent: where; it is made if it does not exist.

    Raises:
        RelayError: if it cannot be made, or if others can use it all the same, as on a file system without
            owners.
    """
    path = parent / f"{socket.gethostname()}-{secrets.token_hex(8)}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        found = path.lstat()
    except OSError as error:
        raise RelayError(f"the folder {path} cannot be made: {error.strerror}") from None
    if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077):
        raise RelayError(
            f"the folder {path} is open to other users, although it was made for this one alone: its file "
            "system has no owners. Choose one on another drive"
        )
    return path


def writable_by_others(folder: Path) -> Path | None:
    """The first folder above where somebody else can put another one in place of `folder`, or None.

    Whoever can write to a folder can rename what is in it, unless the folder is sticky, as /tmp is.
    """
    if not hasattr(os, "geteuid"):
        return None
    for above in folder.absolute().parents:
        found = above.stat()
        others = found.st_mode & stat.S_IWOTH or (
            found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid)
        )
        if found.st_uid not in (0, os.geteuid()) or (others and not found.st_mode & stat.S_ISVTX):
            return above
    return None


def _is_own_group(number: int) -> bool:
    """Whether a group is the user's private one, which has the user's name and no other member."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(number)
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}
