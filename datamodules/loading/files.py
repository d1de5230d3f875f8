"""Loads listed image files: surveyed by their headers, then decoded into memory or left to stream."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datamodules.copies import equal_pixels, equal_values
from datamodules.domain import SIDES, Domain, Side, SideName
from datamodules.listing import FileListing, ImageFile
from datamodules.listing.listing import change_of
from datamodules.loading.cache import DomainCache
from datamodules.loading.image_files import ImageFiles, read_hashes
from datamodules.loading.survey import evenly_spread, survey
from datamodules.pixels.decode import Reading
from datamodules.pixels.stored import remark_notes
from datamodules.values.measure import summarise
from stages.errors import RelayError
from stages.machine.resources import available_cores

LOOKED_AT = 256  # images of a set that streams, for its values and notes

_SOON_READ = 1 << 30  # bytes


def load_files(listing: FileListing, cache_dir: Path, memory_limit_bytes: int) -> Domain:
    """Decode image files into memory if they fit, else leave them to be decoded when batches ask for them.

    Args:
        listing: The files.
        cache_dir: Folder of the caches.
        memory_limit_bytes: Largest size of all sides' decoded pixels to hold in memory.

    Raises:
        RelayError: Images differ in size or need a window, one cannot be read, or the cache cannot be
            written.
    """

    def listed(name: SideName, shape: tuple[int, ...]) -> Side:
        return _side(listing, name, shape)

    def build(surveyed: Domain | None) -> Domain:
        threads = available_cores()
        if surveyed is None:
            shape, hashes = survey(listing, listing.files, threads), _hashes(listing, threads)
            surveyed = Domain(
                listing.classes,
                *(listed(name, shape) for name in SIDES),
                content=_content(hashes),
                copies=equal_values([file.path for file in listing.files], hashes),
            )
        if surveyed.size > memory_limit_bytes:
            return _looked_at(listing, surveyed, threads)
        decoded = _decoded(listing, surveyed, threads)
        check_files_unchanged(listing, surveyed.content)
        return decoded

    cache = DomainCache(cache_dir, listing.digest, _fingerprint(listing), listed, memory_limit_bytes)
    return cache.find_or_build(lambda found: found.in_memory or found.size > memory_limit_bytes, build)


def known_content_of_files(listing: FileListing, cache_dir: Path) -> str | None:
    """The content of files, if the cache knows it or they are read soon; see `datamodules.loading`."""
    known = DomainCache(cache_dir, listing.digest, _fingerprint(listing)).known_content()
    if known is None and sum(file.size for file in listing.files) <= _SOON_READ:
        return _content(_hashes(listing, available_cores()))
    return known


def _decoded(listing: FileListing, listed: Domain, threads: int) -> Domain:
    # All sides in one go, so that an error counts the unreadable files of all.
    ordered = [file for name in SIDES for file in listing.side(name)]
    ends = np.cumsum([len(listed.side(name)) for name in SIDES])
    pixels, described = _read(listing, ordered, listed, threads)
    copies = equal_pixels([file.path for file in ordered], list(pixels))
    images = np.split(pixels, ends[:-1])
    sides = [replace(listed.side(name), images=part) for name, part in zip(SIDES, images, strict=True)]
    return replace(described.with_sides(*sides), copies=copies)


def _looked_at(listing: FileListing, listed: Domain, threads: int) -> Domain:
    """A domain whose images are not all decoded, with what some of them show."""
    some = evenly_spread(listing.files, LOOKED_AT)
    _, described = _read(listing, some, listed, threads)
    looked = "" if len(some) == len(listing.files) else f"of {len(some)} images looked at, "
    return replace(described, notes=tuple(looked + note for note in described.notes))


def _read(
    listing: FileListing, files: Sequence[ImageFile], listed: Domain, threads: int
) -> tuple[npt.NDArray[np.uint8], Domain]:
    """The pixels of some files, and the domain with their values and what was passed over in them."""
    pixels, read = _image_files(listing, files, listed.shape).read(range(len(files)), threads)
    labels = np.array([file.label for file in files], np.int64)
    sides = np.array([SIDES.index(file.side) for file in files], np.int64)
    values = summarise(pixels, [known for known, _ in read], labels, sides, len(listing.files))
    remarks = Counter[str](remark for _, remarks in read for remark in remarks)
    return pixels, replace(listed, values=values, notes=tuple(remark_notes(remarks)))


def _fingerprint(listing: FileListing) -> str:
    """Digest of the files' times: the cache must not outlive a change that keeps names and sizes."""
    times = np.array([file.modified for file in listing.files], dtype="<i8")
    return hashlib.sha256(times.tobytes()).hexdigest()


def _hashes(listing: FileListing, threads: int) -> list[str]:
    """SHA-256 of each file, in the order of their paths."""
    return read_hashes([file.location for file in listing.files], threads)


def _content(hashes: Sequence[str]) -> str:
    """SHA-256 of the hashes of all files."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def check_files_unchanged(listing: FileListing, content: str) -> None:
    """Refuse files of another content than when they were surveyed; those that were touched are read again.

    Raises:
        RelayError: Names the first file that was written to.
    """
    touched = [file for file in listing.files if _is_touched(file)]
    if touched and _content(_hashes(listing, available_cores())) != content:
        raise RelayError(
            f"image {touched[0].path} of {listing.source.root} was changed while it was in use; let whatever "
            "writes there finish, and type the same command again."
        )


def _is_touched(file: ImageFile) -> bool:
    try:
        return change_of(os.stat(file.location)) != file.modified
    except OSError:  # why, is said when it is read
        return True


def _side(listing: FileListing, name: SideName, shape: tuple[int, ...]) -> Side:
    files = listing.side(name)
    images = _image_files(listing, files, shape)
    labels = np.array([file.label for file in files], dtype=np.int64)
    return Side(images, labels, tuple(file.group for file in files), tuple(file.path for file in files))


def _image_files(listing: FileListing, files: Sequence[ImageFile], shape: tuple[int, ...]) -> ImageFiles:
    source = listing.source
    reading = Reading(source.decode_size, source.window, color=len(shape) == 3)
    return ImageFiles(tuple(file.location for file in files), reading, shape)
