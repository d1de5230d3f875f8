"""Loads listed image files: surveyed by their headers, then decoded into memory or left to stream."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from datamodules.domain import SIDES, Domain, Side, SideName
from datamodules.listing import FileListing, ImageFile
from datamodules.listing.listing import change_of
from datamodules.loading.cache import DomainCache
from datamodules.loading.image_files import ImageFiles, read_hashes, read_headers
from datamodules.pixels.decode import Header, Reading
from datamodules.pixels.window import HOUNSFIELD_WINDOW
from stages.errors import RelayError
from stages.machine.resources import available_cores
from stages.source import Source

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
            shape, content = _survey(listing, threads), _content(listing, threads)
            surveyed = Domain(listing.classes, *(listed(name, shape) for name in SIDES), content=content)
        if surveyed.size > memory_limit_bytes:
            return surveyed
        decoded = _decoded(listing, surveyed, threads)
        _check_unchanged(listing, surveyed.content, threads)
        return decoded

    cache = DomainCache(cache_dir, listing.digest, _fingerprint(listing), listed, memory_limit_bytes)
    return cache.find_or_build(lambda found: found.in_memory or found.size > memory_limit_bytes, build)


def known_content_of_files(listing: FileListing, cache_dir: Path) -> str | None:
    """The content of files, if the cache knows it or they are read soon; see `datamodules.loading`."""
    known = DomainCache(cache_dir, listing.digest, _fingerprint(listing)).known_content()
    if known is None and sum(file.size for file in listing.files) <= _SOON_READ:
        return _content(listing, available_cores())
    return known


def _decoded(listing: FileListing, survey: Domain, threads: int) -> Domain:
    # All sides in one go, so that an error counts the unreadable files of all.
    ordered = [file for name in SIDES for file in listing.side(name)]
    files = _image_files(listing, ordered, survey.shape)
    ends = np.cumsum([len(survey.side(name)) for name in SIDES])
    images = np.split(files.gather(range(len(files)), threads), ends[:-1])
    sides = [replace(survey.side(name), images=part) for name, part in zip(SIDES, images, strict=True)]
    return survey.with_sides(*sides)


def _fingerprint(listing: FileListing) -> str:
    """Digest of the files' times: the cache must not outlive a change that keeps names and sizes."""
    times = np.array([file.modified for file in listing.files], dtype="<i8")
    return hashlib.sha256(times.tobytes()).hexdigest()


def _content(listing: FileListing, threads: int) -> str:
    """SHA-256 of the hashes of all files, in the order of their paths."""
    hashes = read_hashes([file.location for file in listing.files], threads)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _check_unchanged(listing: FileListing, content: str, threads: int) -> None:
    """Refuse files of another content than when they were surveyed; touched ones are read again.

    Raises:
        RelayError: Names the first file that was written to.
    """
    touched = [file for file in listing.files if change_of(os.stat(file.location)) != file.modified]
    if touched and _content(listing, threads) != content:
        raise RelayError(
            f"image {touched[0].path} of {listing.source.root} was changed while it was read; let whatever "
            "writes there finish, and type the same command again."
        )


def _side(listing: FileListing, name: SideName, shape: tuple[int, ...]) -> Side:
    files = listing.side(name)
    images = _image_files(listing, files, shape)
    labels = np.array([file.label for file in files], dtype=np.int64)
    return Side(images, labels, tuple(file.group for file in files), tuple(file.path for file in files))


def _image_files(listing: FileListing, files: list[ImageFile], shape: tuple[int, ...]) -> ImageFiles:
    source = listing.source
    reading = Reading(source.decode_size, source.window, color=len(shape) == 3)
    return ImageFiles(tuple(file.location for file in files), reading, shape)


def _survey(listing: FileListing, threads: int) -> tuple[int, ...]:
    """The shape that all decoded images have, (H, W) or (H, W, 3)."""
    source = listing.source
    headers = read_headers([file.location for file in listing.files], threads)
    if source.window is None:
        for file, header in zip(listing.files, headers, strict=True):
            if header.needs_window:
                raise RelayError(
                    f"image {file.path} has signed or 32-bit values; set the source's `window` to the "
                    f"(low, high) that becomes 0..255, {list(HOUNSFIELD_WINDOW)} for Hounsfield units."
                )
    height, width = _common_size(source, listing.files, headers)
    color = source.color == "rgb" or (source.color != "grey" and any(header.color for header in headers))
    return (height, width, 3) if color else (height, width)


def _common_size(source: Source, files: tuple[ImageFile, ...], headers: list[Header]) -> tuple[int, int]:
    if source.decode_size is not None:
        return source.decode_size, source.decode_size
    first = headers[0]
    for file, header in zip(files, headers, strict=True):
        if (header.width, header.height) != (first.width, first.height):
            raise RelayError(
                f"images have several sizes: {files[0].path} has {first.width}x{first.height} pixels, "
                f"{file.path} {header.width}x{header.height}; set the source's `decode_size`."
            )
    return first.height, first.width
