"""Which images of a labelled set the networks know: from their training, or from their own evaluation.

Looked for in the pixels, where the training images can be found from a run's `config.yaml`: equal ones, and
where all fit in memory the same picture after small changes (`datamodules.duplicates`). Otherwise by what
records keep: the digest of all files' content, and the names in `predictions.parquet`. Of the locked test set
only the pixels are looked at, so that nobody judges it here unseen.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from analysis.prediction.calibration import HeldOut
from analysis.prediction.evaluation.labelled import Labelled
from datamodules.division import Chosen, names_of
from datamodules.domain import SIDES, Domain, StoredImages
from datamodules.duplicates import crossing, find_duplicates
from datamodules.from_config import load_source
from datamodules.listing import FileListing, Listing
from datamodules.listing.hidden import with_hidden_names
from datamodules.loading import known_content
from datamodules.of_run import listing_of_run
from datamodules.splits import Division, divided_sides
from stages.config import Config
from stages.errors import RelayError
from stages.record import Record
from stages.store import RunFolder

Flags = npt.NDArray[np.bool_]

MOST = 60_000
"""Images of both sets up to which near ones are looked for, which takes about a minute."""

_MOST_BYTES = 2 << 30
_AT_ONCE = 4096


@dataclass(frozen=True)
class Overlap:
    """What a set shares with what the networks know.

    Attributes:
        how: how it was looked for, in words.
        trained: images that are, equal or nearly so, among the training images of a network, bool (N,).
        equal: those of them whose pixels are equal, bool (N,).
        evaluated: images that are among the runs' own evaluation images, and in no training, bool (N,).
        sources: images that a stage before the target was trained on, and no target, bool (N,); see
            `source_stages`.
        locked: images of the locked test set of a run, bool (N,).
        home_names: what the runs call each image, in `predictions.parquet`; empty for one they do not know.
        grey: the part that the histograms of grey levels (or colours) have in common with those of the
            training and evaluation images, from 0 to 1; None where these were not found.
        groups: how many groups have the name of a group of the training set.
        complete: whether all training images were looked at.
    """

    how: str
    trained: Flags
    equal: Flags
    evaluated: Flags
    sources: Flags
    locked: Flags
    home_names: tuple[str, ...]
    grey: float | None
    groups: int
    complete: bool

    def only(self, chosen: Flags) -> "Overlap":
        """Of some of the images, chosen by bool (N,)."""
        return replace(
            self,
            trained=self.trained[chosen],
            equal=self.equal[chosen],
            evaluated=self.evaluated[chosen],
            sources=self.sources[chosen],
            locked=self.locked[chosen],
            home_names=tuple(name for name, kept in zip(self.home_names, chosen, strict=True) if kept),
        )

    @property
    def any(self) -> bool:
        """Whether something is shared."""
        return bool(self.trained.any() or self.evaluated.any() or self.sources.any())


def overlap_of(
    found: Labelled, folders: Sequence[RunFolder], records: Sequence[Record], held: HeldOut | None
) -> Overlap:
    """Look for images of a set among those that networks were trained and evaluated on.

    Args:
        found: the set.
        folders: of the networks' runs.
        records: of the same runs.
        held: what the runs were evaluated on; None where that cannot be read.
    """
    by_set: dict[str, list[RunFolder]] = {}
    for folder, record in zip(folders, records, strict=True):
        by_set.setdefault(record.data.content or record.data.digest, []).append(folder)
    parts = []
    for runs in by_set.values():
        try:
            config, listing = listing_of_run(runs[0])
            parts.append(in_pixels(found, runs, config, listing))
        except (RelayError, OSError) as error:
            record = records[list(folders).index(runs[0])]
            parts.append(_by_names(found, record, held, str(error)))
    trained, equal = (
        np.any([getattr(part, name) for part in parts], axis=0) for name in ("trained", "equal")
    )
    evaluated = np.any([part.evaluated for part in parts], axis=0) & ~trained
    return Overlap(
        "; ".join(dict.fromkeys(part.how for part in parts)),
        trained,
        equal,
        evaluated,
        np.zeros(len(trained), np.bool_),
        np.any([part.locked for part in parts], axis=0) & ~trained & ~evaluated,
        tuple(
            next(filter(None, names), "") for names in zip(*(part.home_names for part in parts), strict=True)
        ),
        min((part.grey for part in parts if part.grey is not None), default=None),
        max(part.groups for part in parts),
        all(part.complete for part in parts),
    )


def _by_names(found: Labelled, record: Record, held: HeldOut | None, why: str) -> Overlap:
    nothing = np.zeros(len(found.labels), np.bool_)
    evaluated = nothing if held is None else np.isin(found.hidden, held.samples)
    with TemporaryDirectory() as empty:
        content = known_content(found.listing, empty)
    same = content is not None and content == record.data.content
    trained = np.full(len(nothing), same) & ~(evaluated & (record.folds is None))
    how = (
        "by the digest of all files and the names of the runs' evaluation images only, since the training "
        f"images were not found ({why.rstrip('.')}): single images of the training set would not be noticed"
    )
    names = tuple(name if known else "" for name, known in zip(found.hidden, evaluated, strict=True))
    locked = np.full(len(nothing), same and record.data.test_counts is not None)
    return Overlap(
        how, trained & ~locked, trained & ~locked, evaluated, nothing, locked, names, None, 0, complete=False
    )


def in_pixels(
    found: Labelled, runs: Sequence[RunFolder], config: Config, listing: Listing, *, near: bool = True
) -> Overlap:
    """Look for images of a set among the images of some runs, which were trained on one set.

    Args:
        found: the set.
        runs: they.
        config: what a run's `config.yaml` says of the images.
        listing: of the images.
        near: whether nearly equal ones are looked for, too, where both sets are small enough.
    """
    with TemporaryDirectory() as temporary:
        if not Path(config.paths.cache_dir).expanduser().is_dir():  # nothing is left where there was none
            config.paths.cache_dir = temporary  # type: ignore[misc]  # a namespace, see `listing_of_run`
        domain = load_source(listing, config)
        trained_on, evaluated_on, tested_on = _known_sides(domain, listing, runs)
        pool = Chosen(
            tuple(domain.side(name).images for name in SIDES),
            np.repeat(np.arange(3), [len(domain.side(name)) for name in SIDES]),
            np.concatenate([np.arange(len(domain.side(name))) for name in SIDES]),
        )
        known = np.flatnonzero(trained_on | evaluated_on)
        digests, theirs = _looked_at(pool, known)
        mine, here = _looked_at(found.images, np.arange(len(found.labels)))
        at_home = dict(zip(digests, _home_names(domain, listing)[known].tolist(), strict=True))
        of_training = {digest for digest, row in zip(digests, known, strict=True) if trained_on[row]}
        of_test = set(_looked_at(pool, np.flatnonzero(tested_on))[0])
        equal = np.array([digest in of_training for digest in mine])
        evaluated = np.array([digest in at_home for digest in mine]) & ~equal
        locked = np.array([digest in of_test for digest in mine])
        names = tuple(at_home.get(digest, "") for digest in mine)
        trained, how = equal, "in the pixels: equal images"
        if near and len(known) + len(mine) <= MOST and domain.size + _bytes(found) <= _MOST_BYTES:
            trained = equal | _near(found, pool, known[trained_on[known]])
            how = f"{how}, and nearly equal ones"
    grey = float(np.minimum(theirs / theirs.sum(), here / here.sum()).sum())
    groups = _shared_groups(found, listing)
    none = np.zeros(len(mine), np.bool_)
    return Overlap(how, trained, equal, evaluated, none, locked, names, grey, groups, complete=True)


def _home_names(domain: Domain, listing: Listing) -> npt.NDArray[np.object_]:
    """What a run calls the images of all sides, in order."""
    hidden = with_hidden_names(domain, listing)
    return np.array([sample for name in SIDES for sample in hidden.side(name).samples], dtype=object)


def _known_sides(domain: Domain, listing: Listing, runs: Sequence[RunFolder]) -> tuple[Flags, Flags, Flags]:
    """Which images some run was trained on, evaluated on, and has locked away; of all sides, in order."""
    names = names_of(domain)
    trained, evaluated, locked = (np.zeros(len(names.labels), np.bool_) for _ in range(3))
    for run in runs:
        recipe = run.read_recipe()
        division = Division(*(recipe[name] for name in ("test_fraction", "folds", "fold", "seed")))
        drawn = not len(domain.val) or division.test_fraction is not None or division.folds is not None
        sides = divided_sides(names, listing.source, division) if drawn else names.sides
        trained |= sides == "train"
        evaluated |= sides == "val"
        locked |= sides == "test"
    return trained, evaluated, locked


def _looked_at(
    images: StoredImages | Chosen, rows: npt.NDArray[np.int64]
) -> tuple[list[bytes], npt.NDArray[np.float64]]:
    """SHA-256 of the pixels of some images, and how often each of the 256 values occurs in all of them."""
    found, histogram = [], np.zeros(256)
    for start in range(0, len(rows), _AT_ONCE):
        batch = images.gather(rows[start : start + _AT_ONCE].tolist())
        histogram += np.bincount(batch.ravel(), minlength=256)
        for pixels in batch:
            shape = repr(pixels.shape).encode()
            found.append(hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).digest())
    return found, histogram


def _near(found: Labelled, pool: Chosen, trained: npt.NDArray[np.int64]) -> Flags:
    mine = [pixels for batch in found.batches() for pixels in batch]
    duplicates = find_duplicates([*mine, *pool.gather(trained.tolist())])
    sides = np.arange(len(mine) + len(trained)) < len(mine)
    flags = np.zeros(len(mine), np.bool_)
    for numbers in crossing(duplicates, sides):
        flags[[number for number in numbers if number < len(mine)]] = True
    return flags


def _bytes(found: Labelled) -> int:
    return len(found.labels) * int(np.prod(found.images.shape))


def _shared_groups(found: Labelled, listing: Listing) -> int:
    """Groups of the set that are called as one of the training set's: of images that share a group only."""
    if not isinstance(listing, FileListing):
        return 0
    theirs = {file.group for file in listing.files if file.group != file.path}
    return len(theirs & (set(found.own_groups) - set(found.samples)))
