"""What is known of a source's images before one is decoded: their identity, and for files where they lie."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datamodules.domain import SideName
from stages.source import Source


@dataclass(frozen=True)
class Listing:
    """A source, listed: what a recipe needs to know of it, and what loading starts from.

    Attributes:
        source: Where the images come from.
        digest: The data's identity: SHA-256, 64 hexadecimal digits, equal on every machine for equal data.
        classes: Names of the classes; a label is an index into them.
        train_images: Number of training images, before any data ratio.
        val_images: Number of evaluation images; of images that `val_fraction` draws, nearly.
        test_images: Number of images that the source itself keeps for a test.
        provided: Whether the source itself says which images are for evaluation: a provider's split.
        notes: What a person should know of how it was understood: without a path, patient or group, since
            records and pages hold them.
    """

    source: Source = field(compare=False)
    digest: str
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    test_images: int = field(default=0, kw_only=True)
    provided: bool = field(default=False, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True, compare=False)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image file, not opened.

    Attributes:
        path: Name below the root, with forward slashes, in Unicode's NFC: equal on every machine.
        location: Where the file lies on this machine.
        size: Bytes.
        modified: See `change_of`; only the local cache looks at it.
        label: Index of its class.
        group: Patient or physical object; the path itself where the layout knows none.
        side: "train", "val" or "test"; "train" too where the source does not say which are for evaluation.
    """

    path: str
    location: str
    size: int
    modified: int
    label: int
    group: str
    side: SideName


def change_of(status: os.stat_result) -> int:
    """A number that is another one after a file was written to, even if its times were set back."""
    return status.st_mtime_ns + status.st_ctime_ns


@dataclass(frozen=True)
class FileListing(Listing):
    """A folder or manifest, listed.

    Attributes:
        files: All images, sorted by path.
        crossing_groups: How many folders that count as groups are on both sides, training and evaluation.
    """

    files: tuple[ImageFile, ...] = field(repr=False)
    crossing_groups: int = field(default=0, kw_only=True, compare=False)

    def side(self, side: SideName) -> list[ImageFile]:
        """The images of one side, sorted by path."""
        return [file for file in self.files if file.side == side]


@dataclass(frozen=True)
class PackedListing(Listing):
    """A set made by `python -m datamodules.prepare`, listed.

    Attributes:
        description: What its `set.json` holds.
        window: (low, high) of grey values mapped to 0..255; None for a set of 8-bit images.
    """

    description: Mapping[str, Any] = field(repr=False)
    window: tuple[float, float] | None
