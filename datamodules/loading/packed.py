"""Loads a set made by `python -m datamodules.prepare`: into memory, or read by memory map."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from datamodules.domain import SIDES, Domain, Side, SideName
from datamodules.listing import PackedListing
from datamodules.packing.read import PackedImages
from datamodules.packing.values import keep_values, kept_values, set_values
from datamodules.packing.verify import set_content, verified_manifest
from stages.errors import RelayError

_CHUNK = 4096  # images copied at a time


def load_packed(listing: PackedListing, cache_dir: Path, memory_limit_bytes: int) -> Domain:
    """Verify and read a packed set: into memory if it fits, else by memory map as batches ask for it.

    Args:
        listing: The set.
        cache_dir: Folder of the caches; says which sets were verified.
        memory_limit_bytes: Largest size of all sides' pixels to hold in memory.

    Raises:
        RelayError: The set cannot be read, it is damaged, or a side has no images.
    """
    manifest = verified_manifest(str(listing.source.root), listing.description, cache_dir)
    pooled = listing.source.split == "ignore"
    if pooled:
        manifest["split"] = manifest["split"].replace("val", "train")
    label_of = {name: label for label, name in enumerate(listing.classes)}

    def images(side: SideName, shape: tuple[int, ...]) -> PackedImages:
        rows = manifest[manifest["split"] == side]
        parts, places = rows["part"].to_numpy(np.int32), rows["place"].to_numpy(np.int32)
        return PackedImages(str(listing.source.root), parts, places, shape, listing.window)

    def side(name: SideName) -> Side:
        rows = manifest[manifest["split"] == name]
        return Side(
            images(name, tuple(listing.description["shape"])),
            np.asarray([label_of[label] for label in rows["class"]], dtype=np.int64),
            tuple(rows["group"]),
            tuple(rows["sample"]),
        )

    crossing = listing.description["crossing"]
    mapped = Domain(
        listing.classes,
        *map(side, SIDES),
        digest=listing.digest,
        content=set_content(listing.description),
        crossing_groups=crossing["groups"],
        crossing_pictures=crossing["duplicates"],
        notes=tuple(listing.description["notes"]),
    )
    if not len(mapped.train) or not (len(mapped.val) or pooled):
        raise RelayError(
            f"{listing.source.root} has {len(mapped.train)} training and {len(mapped.val)} evaluation "
            "images; each side needs some"
        )
    values = kept_values(cache_dir, listing.digest)
    if values is None:
        root, shape = str(listing.source.root), mapped.shape
        values = set_values(root, manifest, listing.classes, shape, listing.window)
        keep_values(cache_dir, listing.digest, values)
    mapped = replace(mapped, values=values)
    if mapped.size > memory_limit_bytes:
        return mapped
    return mapped.with_sides(*(_in_memory(mapped.side(name)) for name in SIDES))


def _in_memory(side: Side) -> Side:
    assert isinstance(side.images, PackedImages)
    images = np.empty((len(side), *side.images.shape), dtype=np.uint8)
    for start in range(0, len(side), _CHUNK):
        stop = min(start + _CHUNK, len(side))
        images[start:stop] = side.images.gather(range(start, stop))
    return replace(side, images=images)
