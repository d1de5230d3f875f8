"""A labelled set that networks are judged on: classes, groups, and pixels read as their training images."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.prediction.evaluation.pixels import pixels_of
from datamodules.domain import SideName, StoredImages, side_named
from datamodules.files.names import name_hash
from datamodules.listing import FileListing, Listing, PackedListing, list_source
from datamodules.listing.hidden import names_key
from datamodules.packing.layout import DESCRIPTION
from datamodules.packing.read import is_remote
from datamodules.packing.verify import verified_manifest
from stages.errors import RelayError
from stages.record import InputRecord
from stages.source import Source

_TABLES = (".csv", ".tsv", ".txt")
_AT_ONCE = 4096  # images in memory


@dataclass(frozen=True)
class Labelled:
    """Images with their classes as the set calls them.

    Attributes:
        where: as it was typed.
        side: the side that is judged; None for all.
        listing: of the whole set.
        classes: those that have images, sorted.
        labels: int64, (N,), indices into `classes`.
        samples: N names that the person knows: paths; of a prepared set what stands there.
        hidden: N names as a run writes them.
        groups: patient or object of each image as a number from 0, int64, (N,).
        group_names: of the groups, by their numbers, none that says who somebody is.
        own_groups: how the set itself calls the groups; for comparisons, not to be written.
        images: the pixels, on disk.
        sides: how many images the set itself has on each side.
        notes: what a person should know of how the set was read.
        unlike: in what its files are not as the training files, a sentence each.
    """

    where: str
    side: str | None
    listing: Listing
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    samples: tuple[str, ...]
    hidden: tuple[str, ...]
    groups: npt.NDArray[np.int64]
    group_names: tuple[str, ...]
    own_groups: tuple[str, ...]
    images: StoredImages
    sides: dict[str, int]
    notes: tuple[str, ...]
    unlike: tuple[str, ...]

    def batches(self) -> Iterator[npt.NDArray[np.uint8]]:
        """All pixels in order, some thousand images at a time."""
        for start in range(0, len(self.labels), _AT_ONCE):
            yield self.images.gather(range(start, min(start + _AT_ONCE, len(self.labels))))


@dataclass(frozen=True)
class _Rows:
    """What the set says of its images, before any is opened."""

    labels: list[int]
    samples: list[str]
    hidden: list[str]
    groups: list[str]
    sides: list[SideName]


def read_labelled(
    where: str,
    taken: InputRecord,
    shape: tuple[int, int],
    *,
    eight_bit: bool,
    groups: str | None = None,
    side: str | None = None,
) -> Labelled:
    """List a set with labels, and check that it can be read as the networks' training images were.

    All images count, whatever side the set puts them on, unless `side` names one.

    Args:
        where: a folder with class folders, a manifest (CSV with path, class, group), or a prepared set.
        taken: what the networks' input is made of.
        shape: (H, W) of their training images.
        eight_bit: whether all their training files had 8 bits.
        groups: a CSV file (path, group) for class folders, relative to the folder unless absolute.
        side: train, val or test: only these images.

    Raises:
        RelayError: there is no such set, it has no labels or no such side, or its images cannot be read as
            the training images were; says why.
    """
    listing = list_source(_source(where, taken, groups), to_train=False)
    rows = _rows_of_files(listing) if isinstance(listing, FileListing) else _rows_of_set(listing)
    sides = Counter(rows.sides)
    chosen = _chosen(rows.sides, sides, side, where)
    labels = np.asarray(rows.labels, np.int64)[chosen]
    present, labels = np.unique(labels, return_inverse=True)
    known, numbers = np.unique(np.asarray(rows.groups)[chosen], return_inverse=True)
    images, unlike = pixels_of(listing, chosen, taken, shape, eight_bit=eight_bit)
    hidden_groups = isinstance(listing, PackedListing)
    return Labelled(
        where,
        side,
        listing,
        tuple(listing.classes[label] for label in present),
        labels.astype(np.int64),
        tuple(rows.samples[row] for row in chosen),
        tuple(rows.hidden[row] for row in chosen),
        numbers.astype(np.int64),
        tuple(known.tolist()) if hidden_groups else tuple(f"group {n + 1}" for n in range(len(known))),
        tuple(known.tolist()),
        images,
        {name: count for name, count in sides.items()},
        listing.notes,
        tuple(unlike),
    )


def _source(where: str, taken: InputRecord, groups: str | None) -> Source:
    """The set as a source that is read as the training images were."""
    root = Path(where).expanduser()
    remote = is_remote(where)
    if not remote and not root.exists():
        raise RelayError(f"source={where} is not there; give a folder of class folders, a manifest or a set")
    window = None if taken.window is None else (taken.window[0], taken.window[1])
    color = "rgb" if taken.color else "grey"
    packed = remote or (root / DESCRIPTION).is_file()
    if root.is_file() and root.suffix.lower() not in _TABLES:
        raise RelayError(
            f"source={where} is one file without a label; give class folders, a manifest or a prepared set"
        )
    if groups is not None and (packed or root.is_file()):
        raise RelayError("groups is for class folders; a manifest and a prepared set name groups themselves")
    try:
        if packed:
            return Source(kind="packed", root=where if remote else str(root), split="ignore")
        given: dict[str, Any] = {"decode_size": taken.decode_size, "window": window, "color": color}
        if root.is_file():
            return Source(kind="manifest", root=str(root.parent), manifest=root.name, **given)
        groups = None if groups is None else os.path.expanduser(groups)
        return Source(kind="folder", root=str(root), groups=groups, **given)
    except ValueError as error:
        raise RelayError(f"source={where} cannot be read: {error}") from None


def _rows_of_files(listing: FileListing) -> _Rows:
    key, files = names_key(listing), listing.files
    return _Rows(
        [file.label for file in files],
        [file.path for file in files],
        [name_hash(file.path, key) for file in files],
        [file.group for file in files],
        [file.side for file in files],
    )


def _rows_of_set(listing: Listing) -> _Rows:
    assert isinstance(listing, PackedListing)
    root = str(listing.source.root)
    with TemporaryDirectory() as nothing_kept:
        manifest = verified_manifest(root, listing.description, Path(nothing_kept))
    label_of = {name: label for label, name in enumerate(listing.classes)}
    samples = manifest["sample"].tolist()
    return _Rows(
        [label_of[name] for name in manifest["class"]],
        samples,
        samples,
        manifest["group"].tolist(),
        manifest["split"].tolist(),
    )


def _chosen(sides: Sequence[SideName], counts: Counter[SideName], side: str | None, where: str) -> list[int]:
    if side is None:
        return list(range(len(sides)))
    wanted = side_named(side)
    if wanted is None or not counts[wanted]:
        there = ", ".join(f"{name} ({count})" for name, count in counts.items())
        raise RelayError(
            f"side={side}: {where} has no such images; it has {there}. Leave it out to judge all"
        )
    return [row for row, of in enumerate(sides) if of == wanted]
