"""Which images of a labelled set the networks were trained on before their target, in source stages.

In the pixels, where a stage's images can be found, are not too many and of the size of the target's;
otherwise by the digest of all files, which the stage's record keeps.
"""

from collections.abc import Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np

from analysis.prediction.evaluation.labelled import Labelled
from analysis.prediction.evaluation.overlap import MOST, Flags, Overlap, in_pixels
from datamodules.loading import known_content
from datamodules.of_run import listing_of_run
from stages.errors import RelayError
from stages.record import Record
from stages.store import RunFolder, Store


def with_source_stages(
    overlap: Overlap, found: Labelled, folders: Sequence[RunFolder], records: Sequence[Record]
) -> Overlap:
    """Look for images of a set among those of the networks' source stages, too.

    Args:
        overlap: with what the target's runs know.
        found: the set.
        folders: of the networks' runs.
        records: of the same runs.
    """
    with TemporaryDirectory() as empty:
        content = known_content(found.listing, empty)
    flags = np.zeros(len(found.labels), np.bool_)
    ways: dict[str, list[str]] = {}
    by_set: dict[str, tuple[str, RunFolder | None, Record | None]] = {}
    for folder, record in zip(folders, records, strict=True):
        for name, run, of_stage in _sources(folder, record):
            known = name if of_stage is None else of_stage.data.content or of_stage.data.digest
            by_set.setdefault(known, (name, run, of_stage))
    for name, run, of_stage in by_set.values():
        here, how = _of_stage(found, run, of_stage, content)
        flags |= here
        ways.setdefault(how, []).append(name)
    said = [
        f"of the source stage{'s' * (len(names) > 1)} {' and '.join(names)} {how}"
        for how, names in ways.items()
    ]
    return replace(overlap, sources=flags & ~overlap.trained, how="; ".join([overlap.how, *said]))


def _sources(folder: RunFolder, record: Record) -> list[tuple[str, RunFolder | None, Record | None]]:
    """The stages before the last, with run and record where the store has them."""
    store, last = Store(folder.path.parents[1]), record
    stages: list[tuple[str, RunFolder | None, Record | None]] = []
    for place in reversed(range(len(record.chain) - 1)):
        name = record.chain[place]
        parent = None if last.parent is None else store.find_record(name, last.parent)
        if parent is None:  # what came before it is not known either
            return [*stages, *((before, None, None) for before in record.chain[: place + 1])]
        stages.append((name, store.folder(name, parent.id), parent))
        last = parent
    return stages


def _of_stage(
    found: Labelled, run: RunFolder | None, record: Record | None, content: str | None
) -> tuple[Flags, str]:
    nothing = np.zeros(len(found.labels), np.bool_)
    if run is None or record is None:
        return nothing, "not at all: no run in the store"
    if content is not None and content == record.data.content:
        return ~nothing, "by the digest of all files"
    of_digest = "by the digest of all files only"
    if content is None or record.data.content is None:
        of_digest = "not at all: no digest of its files is known"
    shape = (record.data.height, record.data.width)
    if shape != tuple(found.images.shape[:2]):
        return nothing, f"{of_digest} (images of another size)"
    counts = (record.data.train_counts, record.data.val_counts, record.data.test_counts or [])
    if sum(map(sum, counts)) > MOST:
        return nothing, f"{of_digest} (it has too many images)"
    try:
        part = in_pixels(found, [run], *listing_of_run(run), near=False)
    except (RelayError, OSError) as error:
        return nothing, f"{of_digest} ({str(error).rstrip('.')})"
    return part.trained, part.how
