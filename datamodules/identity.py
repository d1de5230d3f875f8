"""What tells two data sets apart, without decoding an image?"""

import hashlib
import importlib
import json
from dataclasses import dataclass
from typing import Any

from datamodules.decode import DECODE_VERSION
from datamodules.folder import list_folder
from datamodules.listing import Listing
from datamodules.manifest import list_manifest
from datamodules.source import Source


@dataclass(frozen=True)
class DataIdentity:
    """What a recipe needs to know about a domain's data.

    Attributes:
        digest: SHA-256, 64 hexadecimal digits. Equal on every machine for equal data.
        classes: Names of the classes; a label is an index into them.
        train_images: Number of training images, before any data ratio.
        val_images: Number of evaluation images.
    """

    digest: str
    classes: tuple[str, ...]
    train_images: int
    val_images: int


def data_identity(source: Source) -> DataIdentity:
    """Identify a source's data by what is known without decoding.

    For an embedded source that is the generator's name, its version and parameters; for files the sorted list
    of (path below the root, size in bytes, class, group, side) and how they are read. Where the root lies,
    in which order the file system lists, times and permissions do not count. Neither does the content:
    a file replaced by another of the same name and size goes unnoticed, which is the price of not reading
    a whole data set before each run. A packed set brings a digest of its pixels.

    Raises:
        RelayError: The data cannot be trained on; see `list_folder` and `list_manifest`.
    """
    if source.kind == "packed":
        from datamodules.packed_domain import packed_identity  # which imports this module

        return packed_identity(source)
    return identity_of(source, None if source.kind == "embedded" else list_images(source))


def list_images(source: Source) -> Listing:
    """List the files of a folder or manifest source, checked.

    Raises:
        RelayError: See `list_folder` and `list_manifest`.
    """
    return list_folder(source) if source.kind == "folder" else list_manifest(source)


def identity_of(source: Source, listing: Listing | None) -> DataIdentity:
    """As `data_identity`, for files that are listed already; `listing` is None for an embedded source."""
    if listing is None:
        return _embedded_identity(source)
    content = {
        "files": [[file.path, file.size, listing.classes[file.label], file.group, file.side]
                  for file in listing.files],
        "reading": {"decode_size": source.decode_size, "window": source.window, "color": source.color},
    }  # fmt: skip
    train = len(listing.side("train"))
    return DataIdentity(_digest("files", content), listing.classes, train, len(listing.files) - train)


def _embedded_identity(source: Source) -> DataIdentity:
    assert source.classes is not None
    assert source.train_images is not None
    assert source.val_images is not None
    generator = importlib.import_module(f"datamodules.embedded.{source.generator}")
    names = ("generator", "classes", "train_images", "val_images", "size", "seed", "window")
    content = {name: getattr(source, name) for name in names} | {"version": generator.VERSION}
    classes = tuple(generator.class_names(source.classes))
    return DataIdentity(_digest("embedded", content), classes, source.train_images, source.val_images)


def _digest(origin: str, content: dict[str, Any]) -> str:
    # Folder and manifest are one origin: the same files under the same names are the same data.
    document = {"origin": origin, "decode_version": DECODE_VERSION, **content}
    canonical = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
