"""What tells two data sets apart: digests of what is known without decoding an image."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datamodules.listing.listing import ImageFile
from datamodules.pixels.decode import DECODE_VERSION
from stages.source import Source


def files_digest(source: Source, classes: Sequence[str], files: Iterable[ImageFile]) -> str:
    """The identity of image files: the sorted list of them, and how they are read.

    What counts of a file is its path below the root, size in bytes, class, group and side, and of the whole
    which share is drawn for evaluation. Folds do not count: they are the recipe's. Where the root lies, the
    order of the file system, times and permissions do not count either. Neither does the content,
    since a plan does not read a whole data set: `Domain.content` is compared where images are loaded.
    """
    content: dict[str, Any] = {
        "files": [[file.path, file.size, classes[file.label], file.group, file.side] for file in files],
        "reading": {
            "decode_size": source.decode_size,
            "window": source.window,
            "color": source.color or "auto",
        },
    }
    content |= _drawn(source)
    # Folder and manifest are one origin: the same files under the same names are the same data.
    return _digest("files", content)


def generator_digest(source: Source, version: int) -> str:
    """The identity of generated images: the generator's name, its version and parameters."""
    names = ("generator", "classes", "train_images", "val_images", "size", "seed", "window")
    return _digest("embedded", {name: getattr(source, name) for name in names} | {"version": version})


def packed_digest(source: Source, set_digest: str, window: tuple[float, float] | None) -> str:
    """The identity of a packed set: the digest in its description, the window, and its sides."""
    content = {"origin": "packed", "set": set_digest, "window": window} | _drawn(source)
    if source.split == "ignore":
        content["split"] = "ignore"
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _drawn(source: Source) -> dict[str, Any]:
    """What says which images are drawn for evaluation."""
    return {} if source.val_fraction is None else {"val": [source.val_fraction, source.split_seed or 0]}


def _digest(origin: str, content: Mapping[str, Any]) -> str:
    document = {"origin": origin, "decode_version": DECODE_VERSION, **content}
    canonical = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
