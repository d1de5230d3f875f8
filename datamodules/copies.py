"""Exact copies among a domain's images: on several sides of its split, or under several classes.

They cost little: the bytes of files are hashed anyway, and of pixels in memory a checksum is enough but for
those that share one. Copies that differ in a pixel are what `datamodules.duplicates` finds, when a set is
prepared.
"""

import hashlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stages.console.words import counted

if TYPE_CHECKING:
    from datamodules.domain import Domain

Copies = tuple[tuple[str, ...], ...]
"""Names of the samples that show one picture, a tuple for each picture that several show; sorted."""

_NAMED = 3


def equal_values(names: Sequence[str], values: Iterable[Hashable]) -> Copies:
    """Names that share a value, such as the hash of a file."""
    by_value: defaultdict[Hashable, list[str]] = defaultdict(list)
    for name, value in zip(names, values, strict=True):
        by_value[value].append(name)
    return tuple(sorted(tuple(sorted(shared)) for shared in by_value.values() if len(shared) > 1))


def equal_pixels(names: Sequence[str], images: Sequence[npt.NDArray[Any]]) -> Copies:
    """Names of images with equal pixels; all images have one shape and type. About a second for two GiB."""
    sums = [zlib.crc32(np.ascontiguousarray(image).data) for image in images]
    shared = {value for value, times in Counter(sums).items() if times > 1}
    places = [place for place, value in enumerate(sums) if value in shared]
    digests = [hashlib.sha256(np.ascontiguousarray(images[place]).data).digest() for place in places]
    return equal_values([names[place] for place in places], digests)


def equal_in_memory(domain: "Domain") -> Copies:
    """The copies among all images of a domain in memory."""
    sides = [side for _, side in domain.named_sides if len(side)]
    images = [image for side in sides for image in np.asarray(side.images)]
    return equal_pixels([sample for side in sides for sample in side.samples], images)


def across_sides(copies: Copies, side_of: Mapping[str, str]) -> Copies:
    """Those of the copies that are on several sides of a split, given the side of each sample."""
    return tuple(names for names in copies if len({side_of[name] for name in names}) > 1)


def note_on_classes(domain: "Domain") -> tuple[str, ...]:
    """A note where one picture is there under several classes."""
    class_of = {
        sample: domain.classes[label]
        for _, side in domain.named_sides
        for sample, label in zip(side.samples, side.labels.tolist(), strict=True)
    }
    labels = [sorted({class_of[name] for name in names}) for names in domain.copies]
    torn = [classes for classes in labels if len(classes) > 1]
    if not torn:
        return ()
    return (
        f"{counted(len(torn), 'picture')} under several classes (equal images), such as "
        f"{' and '.join(torn[0])}: no network can get all of them right",
    )


def note_on_sides(crossing: Copies) -> tuple[str, ...]:
    """A note for the console, which may name files."""
    if not crossing:
        return ()
    return (
        f"{counted(len(crossing), 'picture')} on several sides of the split (equal images), such as "
        f"{' and '.join(crossing[0][:_NAMED])}: what is evaluated has been trained on. Take the copies out, "
        "or give them one group",
    )
