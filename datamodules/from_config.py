"""From the configuration's keys to the images they name."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.batches.statistics import channel_statistics
from datamodules.copies import Copies, across_sides, equal_in_memory, note_on_classes, note_on_sides
from datamodules.division import divide, names_of
from datamodules.domain import Domain
from datamodules.leaks import leaks
from datamodules.listing import FileListing, Listing, PackedListing, list_source
from datamodules.listing.hidden import with_hidden_names
from datamodules.listing.names import listed_names
from datamodules.loading import check_unchanged, known_content, load
from datamodules.loading.survey import check_headers
from datamodules.native_size import size_notes
from datamodules.splits import Division, Names, divided_sides
from datamodules.values.notes import check_values, value_notes
from stages.balance import check_classes
from stages.config import Config, source_of
from stages.console.words import counted
from stages.errors import RelayError
from stages.plan import StageRun
from stages.recipe import Recipe
from stages.record import DataRecord, Record, read_record
from stages.seeds import Seeds
from stages.source import Source
from stages.store import Store

if TYPE_CHECKING:
    from datamodules.batches.stage_data import StageData
_GIB = 1024**3
_MOST_RECORDS = 20  # of a stage that are looked at before a sweep


class Listings:
    """Listings by source: each source is listed once, however often it is asked for."""

    def __init__(self) -> None:
        self._known: dict[Source, Listing] = {}

    def of(self, source: Source) -> Listing:
        """The listing of a source.

        Raises:
            RelayError: The source is not usable.
        """
        if source not in self._known:
            listing = list_source(source)
            check_headers(listing)
            self._known[source] = listing
        return self._known[source]

    def names(self, source: Source) -> Names | None:
        """The names of a source's images; None where they are not known before the images are drawn."""
        return listed_names(self.of(source))


def load_source(listing: Listing, config: Config) -> Domain:
    """A listed source's images, decoded or generated once and then read from the cache.

    Raises:
        RelayError: An image cannot be read or the cache cannot be written.
    """
    domain = load(
        listing,
        _cache_dir(config),
        memory_limit_bytes=round(config.data.memory_limit_gb * _GIB),
    )
    crossing = listing.crossing_groups if isinstance(listing, FileListing) else domain.crossing_groups
    source = listing.source
    assert domain.values is not None
    check_values(domain.values, str(source.root or source.generator))
    on_values = value_notes(domain.values, domain.classes, source.window)
    notes = (*listing.notes, *domain.notes, *on_values, *note_on_classes(domain))
    return replace(domain, crossing_groups=crossing, notes=notes)


def _cache_dir(config: Config) -> Path:
    return Path(config.paths.cache_dir).expanduser()


def load_sources(runs: Iterable[StageRun], listings: Listings) -> list[str]:
    """Decode or generate what stage runs need, each source once, so that their jobs find it in the cache.

    Returns:
        As `check_divisions`, of generated images, whose groups are known now; and which test sets leak.

    Raises:
        RelayError: As `load_source` and `check_divisions`.
    """
    runs, notes, leaking = list(runs), list[str](), list[str]()
    for config in {run.recipe.data.digest: run.config for run in runs}.values():
        source = source_of(config)
        domain = load_source(listings.of(source), config)
        its = [run for run in runs if source_of(run.config) == source]
        if source.kind == "embedded":
            notes += check_divisions(its, {source: names_of(domain)}.get)
        tested = {
            division.test_fraction: division
            for division in (Division.of(run.recipe) for run in its)
            if len(domain.test) or division.test_fraction is not None
        }
        found = [leaks(domain, divided_sides(names_of(domain), source, each)) for each in tested.values()]
        crossing = _crossing(domain, source, Division.of(its[0].recipe))
        told = [
            f"values: {domain.values}",
            *domain.notes,
            *note_on_sides(crossing),
            *(note for note in found if note),
        ]
        leaking += [f"{source.root or source.generator}: {note}" for note in told]
    return notes + leaking


def _crossing(domain: Domain, source: Source, division: Division) -> Copies:
    """The copies on several sides of a division, which is not made."""
    if not domain.copies:
        return ()
    samples = [sample for _, side in domain.named_sides for sample in side.samples]
    sides = divided_sides(names_of(domain), source, division).tolist()
    return across_sides(domain.copies, dict(zip(samples, sides, strict=True)))


def survey(runs: Iterable[StageRun], listings: Listings) -> list[str]:
    """Look at the images that stage runs ask for, before anything is decoded.

    Returns:
        What a person should know of them, a line each.

    Raises:
        RelayError: As `check_divisions` and `replaced_since`.
    """
    runs = list(runs)
    sources = dict.fromkeys(source_of(run.config) for run in runs)
    return [
        *(f"{source.root}: {note}" for source in sources for note in listings.of(source).notes),
        *size_notes(runs, listings.of),
        *check_divisions(runs, listings.names),
        *replaced_since(runs, listings),
    ]


def check_divisions(runs: Iterable[StageRun], names: Callable[[Source], Names | None]) -> list[str]:
    """Refuse runs whose images cannot be divided as they ask, before anything is trained.

    Whether they can be does not depend on the seed, but in rare cases, so that one seed is tried.

    Args:
        runs: Planned stage runs.
        names: Of a source's images; None where they are not known yet.

    Returns:
        What a person should know of the folds, a line each.

    Raises:
        RelayError: As `divided_sides`; names the stage.
    """
    notes, tried = [], set()
    for run in runs:
        source, division = source_of(run.config), Division.of(run.recipe)
        key = (source, division.test_fraction, division.folds)
        if key in tried or (division.test_fraction is None and division.folds is None):
            continue
        tried.add(key)
        if (found := names(source)) is None:
            continue
        try:
            divided_sides(found, source, division)
        except RelayError as error:
            raise RelayError(f"stage {run.stage}: {error}") from None
        if division.folds is not None and not found.grouped:
            notes.append(
                f"{run.stage}: no two images share a group, so that folds are of images; nothing can be said "
                "of patients. Name the patients or objects, where there are any: docs/your-own-domains.md"
            )
    return notes


def replaced_since(runs: Iterable[StageRun], listings: Listings) -> list[str]:
    """Whether images were replaced by others of the same names and sizes since the store's runs were trained.

    The last complete runs of each stage are looked at; an analysis compares them all.

    Args:
        runs: Planned stage runs.
        listings: Of their sources.

    Returns:
        A line for each list of images that was.

    Raises:
        RelayError: A file cannot be read.
    """
    notes = []
    for digest, run in {run.recipe.data.digest: run for run in runs}.items():
        store = Store(Path(run.config.paths.runs_dir))
        trained = next((each for each in _last_records(store, run.stage) if each.data.digest == digest), None)
        if trained is None:
            continue
        now = known_content(listings.of(source_of(run.config)), _cache_dir(run.config))
        if now is not None and trained.data.content not in (None, now):
            notes.append(
                f"the images of {run.stage} were replaced by others of the same names and sizes since "
                f"{store.folder(run.stage, trained.id).path} was trained. Complete runs stay as they are, of "
                "the images as they were; new ones are another study. To train all on the new images, remove "
                "the folders of the old runs, or choose another paths.runs_dir"
            )
    return notes


def _last_records(store: Store, stage: str) -> Iterator[Record]:
    """Records of a stage's complete runs, the last first; damaged ones are left out."""
    with suppress(OSError):
        written = [(file.stat().st_mtime, file) for file in (store.runs_dir / stage).glob("*/record.json")]
        for _, file in sorted(written, reverse=True)[:_MOST_RECORDS]:
            with suppress(RelayError):
                yield read_record(file)


def load_run(listing: Listing, config: Config, division: Division) -> Domain:
    """The images of a stage run, on the sides that it uses; see `datamodules.division`.

    Samples and groups are as they are written: digests, where they are a person's own names.

    Args:
        listing: Of its source.
        config: Says where decoded images are kept.
        division: What its recipe says of its sides.

    Raises:
        RelayError: As `load_source` and `divide`.
    """
    domain = load_source(listing, config)
    if isinstance(listing, PackedListing) and division.folds is not None and domain.in_memory:
        domain = replace(domain, crossing_pictures=0, copies=equal_in_memory(domain))
    divided = divide(domain, listing.source, division)
    side_of = {sample: name for name, side in divided.named_sides for sample in side.samples}
    equal = len(across_sides(domain.copies, side_of))
    notes = [f"{counted(equal, 'picture')} on several sides of the split (equal images)"] if equal else []
    return replace(
        with_hidden_names(divided, listing),
        crossing_pictures=max(divided.crossing_pictures, equal),
        notes=(*divided.notes, *notes),
    )


def stage_data(domain: Domain, recipe: Recipe, seeds: Seeds, workers: int) -> "StageData":
    """The datamodule of a stage run.

    Args:
        domain: Its images.
        recipe: What to make of them.
        seeds: The run's random streams.
        workers: Processes that decode ahead where the images do not fit in memory.

    Raises:
        RelayError: The data ratio leaves a class empty, one without images is to be balanced, or the images'
            own mean is asked for and they do not fit in memory.
    """
    from datamodules.batches.stage_data import StageData

    mean: tuple[float, ...] | None = recipe.data.mean
    std: tuple[float, ...] | None = recipe.data.std
    if mean is None or std is None:
        mean, std = channel_statistics(domain)
    data = StageData(
        domain=domain,
        batch_size=recipe.optim.batch_size,
        eval_batch_size=recipe.optim.batch_size,
        image_size=recipe.data.image_size,
        mean=mean,
        std=std,
        augment=recipe.data.augment,
        sampling=recipe.optim.sampling,
        data_ratio=recipe.data.ratio,
        ratio_unit=recipe.data.ratio_unit,
        order_seed=seeds.order,
        subset_seed=seeds.subset,
        augment_seed=seeds.augmentation,
        workers=workers,
        channels_last=recipe.arithmetic.memory_format == "channels_last",
    )
    check_classes(recipe.optim, data.classes, data.train_counts)
    return data


def data_record(listing: Listing, config: Config, domain: Domain, data: "StageData") -> DataRecord:
    """What the record says of a stage run's images, when it has been trained.

    Raises:
        RelayError: The images were replaced meanwhile.
    """
    check_unchanged(listing, domain, _cache_dir(config))
    histogram = data.val_histogram
    return DataRecord(
        digest=domain.digest,
        content=domain.content,
        height=domain.shape[0],
        width=domain.shape[1],
        image_size=data.image_size,
        classes=list(data.classes),
        train_counts=list(data.train_counts),
        val_counts=list(data.val_counts),
        train_groups=len(set(data.train_groups)),
        val_groups=len(set(data.val_groups)),
        test_counts=list(data.test_counts) if data.test_images else None,
        test_groups=len(set(data.test_groups)) if data.test_images else None,
        grouped=domain.grouped,
        train_class_groups=list(data.train_class_groups),
        val_class_groups=list(data.val_class_groups),
        histogram_accuracy=None if histogram is None else float(np.mean(histogram == domain.val.labels)),
        crossing_groups=domain.crossing_groups,
        crossing_pictures=domain.crossing_pictures,
        notes=list(domain.notes),
        values=domain.values,
    )
