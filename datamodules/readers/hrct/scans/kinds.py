"""Which files hold slices, by their names or their first bytes, and the order of names."""

import os
import re

from datamodules.files.names import is_image
from datamodules.readers.hrct.scans.dicom import is_dicom

_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
TEXT_SUFFIXES = (".txt", ".csv")


def is_nifti(path: str) -> bool:
    """Whether a name is one of a NIfTI file."""
    return path.lower().endswith((".nii", ".nii.gz"))


def may_be_dicom(path: str, location: str) -> bool:
    """By a file's suffix, or by its mark where it has none of ours.

    Raises:
        UnusableError: It cannot be read.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _DICOM_SUFFIXES:
        return True
    if is_image(path) or is_nifti(path) or suffix in TEXT_SUFFIXES:
        return False
    # DICOM files often have no suffix, or the last part of a UID in its place.
    return is_dicom(location)


def natural(path: str) -> list[tuple[int, int, str]]:
    """Sorts slice 9 before slice 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path)]
