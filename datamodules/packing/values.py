"""The values of a packed set's images: measured once, then known by the set's identity."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.domain import SIDES
from datamodules.packing.read import PackedImages
from datamodules.pixels.window import Window, default_window, window_to_uint8
from datamodules.values.measure import Known, stored_values, summarise
from stages.machine.atomic import write_text
from stages.machine.digest import check_seal, sealed
from stages.values import Values

if TYPE_CHECKING:
    import pandas as pd

_MOST = 8192  # images that are looked at, evenly spread over the manifest
_MOST_BYTES = 1 << 28  # of their pixels
_KEPT = "values"
"""Folder in that of the caches: a file for each set, window and split."""


def set_values(
    root: str, manifest: "pd.DataFrame", classes: Sequence[str], shape: tuple[int, ...], window: Window | None
) -> Values:
    """Measure the values of a set, of some thousand images where it has more.

    Args:
        root: The set's folder, or its address.
        manifest: With the columns class, split, part and place.
        classes: In the order of their labels.
        shape: Of an image.
        window: Of Hounsfield units.

    Raises:
        RelayError: A part is missing or damaged.
    """
    count = max(2, min(_MOST, _MOST_BYTES // int(np.prod(shape)), len(manifest)))
    chosen = np.unique(np.linspace(0, len(manifest) - 1, count).astype(np.int64))
    rows = manifest.iloc[chosen]
    parts, places = (rows[name].to_numpy(np.int32) for name in ("part", "place"))
    images = np.empty((len(rows), *shape), np.uint8)
    known: list[Known] = [(None, False)] * len(rows)
    for here, stored in PackedImages(root, parts, places, shape, window).stored(range(len(rows))):
        images[here] = window_to_uint8(stored, window)
        if stored.dtype != np.uint8:
            measured = stored_values(stored, default_window(stored.dtype, window), hounsfield=True)
            for place, values in zip(here.tolist(), measured, strict=True):
                known[place] = (values, False)
    label_of, side_of = ({name: place for place, name in enumerate(names)} for names in (classes, SIDES))
    labels = np.array([label_of[name] for name in rows["class"]], np.int64)
    sides = np.array([side_of[name] for name in rows["split"]], np.int64)
    return summarise(images, known, labels, sides, len(manifest))


def kept_values(cache_dir: Path, digest: str) -> Values | None:
    """What an earlier start measured; None where there is nothing, or it is not sound."""
    try:
        document = json.loads(_file(cache_dir, digest).read_text())
        check_seal(document)
        return Values.model_validate(document["values"]) if document["digest"] == digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep_values(cache_dir: Path, digest: str, values: Values) -> None:
    """Keep what was measured; where the folder cannot be written, each start measures again."""
    file = _file(cache_dir, digest)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(sealed({"digest": digest, "values": values.model_dump()})))


def _file(cache_dir: Path, digest: str) -> Path:
    return cache_dir / _KEPT / f"{digest[:16]}.json"
