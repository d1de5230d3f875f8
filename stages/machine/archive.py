"""Zip archives, as `torch.save` writes them: whether each entry is what was written."""

import zipfile
from pathlib import Path


def archive_fault(path: Path) -> str | None:
    """Why a zip archive is not as it was written, or None if each entry has its checksum (CRC-32).

    PyTorch writes these checksums but does not compare them: a flipped bit would become a weight.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile raises half a dozen kinds on malformed input
        return f"it is cut short or damaged ({error})"
    return None if damaged is None else f"the checksum of {damaged} is wrong"
