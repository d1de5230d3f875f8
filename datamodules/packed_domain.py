"""A set made by `python -m datamodules.prepare`, ready for training."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.cache import CachedDomain, CachedSide, DomainCache
from datamodules.decode import HOUNSFIELD_WINDOW
from datamodules.histogram import histogram_accuracy
from datamodules.identity import DataIdentity
from datamodules.packing.read import PackedImages, read_description, read_manifest
from datamodules.prepared import PreparedDomain, PreparedSplit
from datamodules.source import Source
from stages.errors import RelayError

_CHUNK = 4096  # images copied at a time


def packed_identity(source: Source) -> DataIdentity:
    """Identify a prepared set by what its description says of its pixels, and the window they are read with.

    Raises:
        RelayError: if there is no such set, or a window is given for 8-bit images.
    """
    assert source.root is not None
    return _identity(source, read_description(source.root))


def _identity(source: Source, description: dict[str, Any]) -> DataIdentity:
    content = {
        "origin": "packed",
        "set": description["digest"],
        "window": _window(source, description["dtype"]),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    samples = description["samples"]
    return DataIdentity(digest, tuple(description["classes"]), samples["train"], samples["val"])


def prepare_packed(source: Source, cache_dir: Path, memory_limit_bytes: int) -> PreparedDomain:
    """Read a prepared set: into memory if it fits, else by memory map as batches ask for it.

    Args:
        source: of kind packed.
        cache_dir: keeps what takes long to compute, not the pixels.
        memory_limit_bytes: largest size of both sides' pixels to hold in memory.

    Raises:
        RelayError: if the set cannot be read.
    """
    assert source.root is not None
    description = read_description(source.root)
    identity = _identity(source, description)
    shape = tuple(description["shape"])
    window = _window(source, description["dtype"])
    manifest = read_manifest(source.root)
    label_of = {name: label for label, name in enumerate(identity.classes)}

    def side(name: str) -> PreparedSplit:
        rows = manifest[manifest["split"] == name]
        parts, places = rows["part"].to_numpy(np.int32), rows["place"].to_numpy(np.int32)
        stored = PackedImages(str(source.root), parts, places, shape, window)
        fits = len(manifest) * int(np.prod(shape)) <= memory_limit_bytes
        return PreparedSplit(
            _in_memory(stored) if fits else stored,
            np.asarray([label_of[name] for name in rows["class"]], dtype=np.int64),
            tuple(rows["group"]),
            tuple(rows["sample"]),
        )

    train, val = side("train"), side("val")
    if len(train) == 0 or len(val) == 0:
        raise RelayError(
            f"{source.root} has {len(train)} training and {len(val)} evaluation images; each needs some"
        )
    accuracy = _baseline(identity, shape, train, val, cache_dir)
    crossing = description["crossing"]
    return PreparedDomain(
        identity.classes,
        train,
        val,
        shape,
        identity.digest,
        accuracy,
        crossing_groups=crossing["groups"],
        crossing_pictures=crossing["duplicates"],
    )


def _window(source: Source, dtype: str) -> tuple[float, float] | None:
    if dtype == "uint8":
        if source.window is not None:
            raise RelayError(
                f"window is {list(source.window)}, but the set {source.root} has 8-bit images; remove it"
            )
        return None
    return HOUNSFIELD_WINDOW if source.window is None else (source.window[0], source.window[1])


def _in_memory(stored: PackedImages) -> npt.NDArray[np.uint8]:
    images = np.empty((len(stored), *stored.shape), dtype=np.uint8)
    for start in range(0, len(stored), _CHUNK):
        stop = min(start + _CHUNK, len(stored))
        images[start:stop] = stored.gather(range(start, stop))
    return images


def _baseline(
    identity: DataIdentity, shape: tuple[int, ...], train: PreparedSplit, val: PreparedSplit, cache_dir: Path
) -> float | None:
    """What grey-level histograms alone give, computed once; None for a set that does not fit into memory."""
    train_images, val_images = train.images, val.images
    if not isinstance(train_images, np.ndarray) or not isinstance(val_images, np.ndarray):
        return None
    cache = DomainCache(cache_dir, identity.digest, "")

    def build(_: CachedDomain | None) -> CachedDomain:
        accuracy = float(histogram_accuracy(train_images, train.labels, val_images, val.labels))
        sides = [CachedSide(None, each.labels, each.groups, each.samples) for each in (train, val)]
        return CachedDomain(identity.classes, shape, accuracy, *sides)

    return cache.find_or_build(lambda found: found.histogram_accuracy is not None, build).histogram_accuracy
