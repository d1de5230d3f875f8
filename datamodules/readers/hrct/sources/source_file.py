"""A file of a source."""

import os
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SourceFile:
    """A file of the source; where it lies is not printed.

    Attributes:
        path: Name below the source with forward slashes, in Unicode's NFC.
        location: Where it lies on this machine.
        size: Bytes.
        modified: Time of the last change, nanoseconds.
    """

    path: str = field(repr=False)
    location: str = field(repr=False)
    size: int
    modified: int

    @property
    def stem(self) -> str:
        """Its name without folder and suffix."""
        return self.bare.rpartition("/")[2]

    @property
    def bare(self) -> str:
        """Its path without the suffix; `.nii.gz` is one, a number, as UIDs end in, is none."""
        if self.path.lower().endswith(".nii.gz"):
            return self.path[:-7]
        bare, suffix = os.path.splitext(self.path)
        return self.path if suffix[1:].isdigit() else bare
