"""Finds the images of a set that are equal, or nearly so.

Exact: the same pixels, by SHA-256. Near: the same picture after a small change of brightness or contrast,
another JPEG encoding, another size or, from about 150 pixels on and without fine texture, a shift of a
pixel or two. They are found in two steps, so that no set is compared pair by pair: a hash of 63 bits
finds candidates, and a correlation confirms them (`datamodules.duplicates.image_hash`). Overlapping patches
are not searched for: they have one group.
"""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from datamodules.duplicates.image_hash import picture_hashes, similarity
from stages.errors import RelayError

Kind = Literal["exact", "near"]
Pixels = npt.NDArray[Any]

_RADIUS = 10  # bits of 63 that may differ in a candidate
_MANY = 300_000  # images from which on longer keys keep the lists short, at the price of a smaller radius
_BLOCK = 1 << 22  # pairs of hashes compared at once: 32 MiB


class Images(Protocol):
    """Images by number: a list, an array or a memory map, (H, W) or (H, W, 3) each."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, index: int, /) -> Pixels:
        """One image."""
        ...


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two images that show the same.

    Attributes:
        i: Number of the first image.
        j: Number of the second, above `i`.
        kind: "exact" for equal pixels, "near" for the same picture.
        similarity: Normalised correlation at 64x64, 1.0 for equal pixels.
    """

    i: int
    j: int
    kind: Kind
    similarity: float


def find_duplicates(images: Images, *, threshold: float = 0.985) -> list[Duplicate]:
    """Find the equal and nearly equal images of a set.

    Of k equal images each later one is paired with the first, which alone is compared with others, so that a
    thousand copies give 999 pairs; `crossing` joins the pairs. Pictures without contrast (constant ones) are
    never near to another. Among more than 300,000 images, near ones whose hash differs in more than three
    bits may be missed.

    Args:
        images: N images, uint8 or int16, each (H, W) or (H, W, 3), of any sizes.
        threshold: Least normalised correlation of near duplicates at 64x64, above 0 and up to 1. Neighbouring
            slices of one patient stay below the default.

    Returns:
        Pairs, sorted by i and j.

    Raises:
        RelayError: The threshold is out of range, or an image has no pixels or another number of axes.
    """
    if not 0 < threshold <= 1:
        raise RelayError(f"threshold is {threshold}; give a correlation above 0 and up to 1, such as 0.985.")
    firsts: list[int] = []
    pairs: list[Duplicate] = []
    hashes, has_contrast = picture_hashes(_contents(images, firsts, pairs))
    known = np.asarray(firsts, dtype=np.int64)[has_contrast]
    for one, other in _candidates(hashes[has_contrast]).tolist():
        i, j = int(known[one]), int(known[other])
        value = similarity(images[i], images[j], threshold)
        if value >= threshold:
            pairs.append(Duplicate(i, j, "near", value))
    return sorted(pairs, key=lambda pair: (pair.i, pair.j))


def crossing(
    duplicates: Sequence[Duplicate], sides: Sequence[Hashable] | npt.NDArray[Any]
) -> list[tuple[int, ...]]:
    """The images that show the same and are on more than one side of a split.

    Args:
        duplicates: Pairs of images.
        sides: Side of each image, N values.

    Returns:
        Numbers of images, joined through pairs, a tuple for each picture that is on two sides or more;
        sorted.
    """
    first = np.asarray([pair.i for pair in duplicates], dtype=np.int64)
    second = np.asarray([pair.j for pair in duplicates], dtype=np.int64)
    graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(len(sides), len(sides)))
    _, picture_of = sparse.csgraph.connected_components(graph, directed=False)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for number in np.union1d(first, second).tolist():
        members[int(picture_of[number])].append(number)
    return sorted(
        tuple(numbers) for numbers in members.values() if len({sides[number] for number in numbers}) > 1
    )


def _contents(images: Images, firsts: list[int], pairs: list[Duplicate]) -> Iterator[Pixels]:
    """Each content once, read once; notes its first image, and pairs of that with its copies."""
    first_with: dict[bytes, int] = {}
    for number in range(len(images)):
        pixels = np.ascontiguousarray(images[number])
        if pixels.ndim not in (2, 3) or pixels.size == 0:
            raise RelayError(f"image {number} has shape {pixels.shape}; images are (H, W) or (H, W, 3).")
        digest = hashlib.sha256(f"{pixels.dtype.str} {pixels.shape}".encode())
        digest.update(pixels.data)
        first = first_with.setdefault(digest.digest(), number)
        if first == number:
            firsts.append(number)
            yield pixels
        else:
            pairs.append(Duplicate(first, number, "exact", 1.0))


def _candidates(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Pairs of hashes that differ in few bits, (P, 2), each once, sorted.

    Hashes are sorted by each of 8 bytes (or 4 words of 16 bits) in turn, and compared where these are equal:
    two hashes that differ in 7 bits (or 3) or fewer agree in one at least, and most of those that differ in a
    few more do too.
    """
    if len(hashes) < 2:
        return np.empty((0, 2), dtype=np.int64)
    width = 8 if len(hashes) <= _MANY else 16
    found = [np.empty(0, dtype=np.int64)]
    for low in range(0, 64, width):
        key = (hashes >> np.uint64(low)) & np.uint64((1 << width) - 1)
        order = np.argsort(key, kind="stable")
        edges = np.flatnonzero(np.diff(key[order])) + 1
        for members in np.split(order, edges):
            found += _near_pairs(hashes, members)
    codes = np.unique(np.concatenate(found))
    return np.stack(np.divmod(codes, len(hashes)), axis=1)


def _near_pairs(
    hashes: npt.NDArray[np.uint64], members: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """Codes i * N + j, i < j, of the members (sorted) whose hashes are near."""
    found = []
    rows = max(_BLOCK // len(members), 1)
    values = hashes[members]
    for start in range(0, len(members) - 1, rows):
        block = values[start : start + rows, None] ^ values[None, start:]
        near = np.bitwise_count(block) <= _RADIUS
        one, other = np.nonzero(np.triu(near, 1))
        found.append(members[start + one] * len(hashes) + members[start + other])
    return found
