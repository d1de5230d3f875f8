"""From a listed source to a domain that can be trained on: generated, decoded, or found in the cache."""

import hashlib
import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from datamodules.domain import SIDES, Domain, Side
from datamodules.listing import FileListing, Listing, PackedListing
from datamodules.loading.cache import DomainCache, checksum
from datamodules.loading.files import check_files_unchanged, known_content_of_files, load_files
from datamodules.loading.packed import load_packed
from datamodules.packing.verify import set_content, verified_manifest
from datamodules.pixels.window import Window, default_window, window_to_uint8
from datamodules.values.measure import Known, stored_values, summarise
from stages.source import Source
from stages.values import Values


def load(listing: Listing, cache_dir: str | Path, *, memory_limit_bytes: int) -> Domain:
    """Generate or decode a domain once, or find what an earlier run cached.

    Images that fit into the limit are decoded to uint8 and cached; a larger set is surveyed (its files read,
    their headers looked at) and streams from its files, where an image that cannot be decoded is found when
    it is read. Of a packed set the cache holds that it was verified. Generated domains are always in memory.
    Safe to call from several processes at once: one works, the others wait.

    Args:
        listing: The source, from `datamodules.listing.list_source`.
        cache_dir: Folder of the caches, shared by all domains.
        memory_limit_bytes: Largest size of all sides' decoded pixels to hold in memory.

    Returns:
        The images with labels, groups and names, on the sides that the source gives them.

    Raises:
        RelayError: The data cannot be trained on, a prepared set is damaged, an image cannot be read (the
            first is named, with how many more), or the cache cannot be written.
    """
    if isinstance(listing, PackedListing):
        return load_packed(listing, Path(cache_dir), memory_limit_bytes)
    if isinstance(listing, FileListing):
        return load_files(listing, Path(cache_dir), memory_limit_bytes)
    cache = DomainCache(Path(cache_dir), listing.digest)
    return cache.find_or_build(lambda _: True, lambda _: _generate(listing.source))


def check_unchanged(listing: Listing, domain: Domain, cache_dir: str | Path) -> None:
    """Refuse images that were replaced while they were read batch by batch. Two seconds per million files.

    Args:
        listing: The source.
        domain: What was loaded of it. Images in memory are those that were loaded, whatever became of files.
        cache_dir: Folder of the caches.

    Raises:
        RelayError: They were.
    """
    if domain.in_memory:
        return
    if isinstance(listing, PackedListing):
        verified_manifest(str(listing.source.root), listing.description, Path(cache_dir))
    if isinstance(listing, FileListing):
        check_files_unchanged(listing, domain.content)


def known_content(listing: Listing, cache_dir: str | Path) -> str | None:
    """The content of a source as it lies there now, where it is known or soon found; None where it is not.

    Nothing is decoded, generated or written. Files that changed since they were cached are read where they
    are 1 GiB at most, which takes a second or two.

    Args:
        listing: The source.
        cache_dir: Folder of the caches.

    Raises:
        RelayError: A file cannot be read.
    """
    if isinstance(listing, PackedListing):
        return set_content(listing.description)
    if isinstance(listing, FileListing):
        return known_content_of_files(listing, Path(cache_dir))
    return DomainCache(Path(cache_dir), listing.digest).known_content()


def _generate(source: Source) -> Domain:
    generator = importlib.import_module(f"datamodules.embedded.{source.generator}")
    domain: Domain = generator.generate(
        classes=source.classes,
        train_images=source.train_images,
        val_images=source.val_images,
        size=source.size,
        seed=source.seed,
    )
    train, val = (_as_bytes(side, source.window) for side in (domain.train, domain.val))
    made = Domain(domain.classes, train, val, values=_values(domain, train, val, source.window))
    pixels = [checksum(np.asarray(made.side(name).images)) for name in SIDES]
    return replace(made, content=hashlib.sha256(" ".join(pixels).encode()).hexdigest())


def _values(domain: Domain, train: Side, val: Side, window: Window | None) -> Values:
    stored = np.concatenate([np.asarray(side.images) for side in (domain.train, domain.val)])
    known: list[Known] = [(None, False)] * len(stored)
    if stored.dtype != np.uint8:
        measured = stored_values(
            stored, default_window(stored.dtype, window), hounsfield=stored.dtype.kind == "i"
        )
        known = [(each, False) for each in measured]
    pixels = np.concatenate([np.asarray(side.images) for side in (train, val)])
    labels = np.concatenate([train.labels, val.labels])
    return summarise(pixels, known, labels, np.repeat([0, 1], [len(train), len(val)]), len(stored))


def _as_bytes(side: Side, window: Window | None) -> Side:
    assert isinstance(side.images, np.ndarray)
    images = np.require(window_to_uint8(side.images, window), requirements=["C", "W"])  # for torch
    return Side(images, side.labels, side.groups, side.samples)
