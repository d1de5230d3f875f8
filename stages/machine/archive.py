"""Zip archives, as `torch.save` and numpy write them: whether they are what was written.

Each entry has a CRC-32, which PyTorch does not compare: a flipped bit would become a weight. A sealed archive
has the SHA-256 of all its bytes too, as the comment that a zip archive may end with.
"""

import hashlib
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

from stages.stored import open_file

_DIGITS = 64
_NO_COMMENT = bytes(2)  # the length of the comment, the last bytes of an archive without one
_COMMENT = _DIGITS.to_bytes(2, "little")


def archive_fault(path: Path) -> str | None:
    """Why a zip archive is not as it was written, or None if each entry has its CRC-32."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile raises half a dozen kinds on malformed input
        return f"it is cut short or damaged ({error})"
    return None if damaged is None else f"it is damaged (the checksum of {damaged} is wrong)"


def seal(file: BinaryIO, digest: str) -> None:
    """Give a zip archive without a comment its own SHA-256 as the comment.

    Args:
        file: the archive, open for writing.
        digest: SHA-256 of what was written, 64 hex digits.
    """
    file.seek(-len(_NO_COMMENT), os.SEEK_END)
    file.write(_COMMENT + digest.encode("ascii"))


def seal_fault(path: Path) -> str | None:
    """Why a sealed archive is not as it was written, or None if its SHA-256 is that of the seal."""
    sha256 = hashlib.sha256()
    try:
        left = path.stat().st_size - len(_COMMENT) - _DIGITS
        with open_file(path) as file:
            while left > 0 and (block := file.read(min(left, 1 << 20))):
                sha256.update(block)
                left -= len(block)
            sealed = file.read()
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    sha256.update(_NO_COMMENT)
    if sealed != _COMMENT + sha256.hexdigest().encode("ascii"):
        return "it is cut short or damaged (its checksum is wrong)"
    return None
