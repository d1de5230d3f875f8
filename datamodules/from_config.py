"""From the configuration's keys to the images they name."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from datamodules.copies import Copies, across_sides, note_on_classes, note_on_sides
from datamodules.division import names_of
from datamodules.domain import Domain
from datamodules.leaks import leaks
from datamodules.listing import FileListing, Listing, list_source
from datamodules.listing.names import listed_names
from datamodules.loading import known_content, load
from datamodules.loading.survey import check_headers
from datamodules.native_size import size_notes
from datamodules.splits import Division, Names, divided_sides
from datamodules.values.notes import check_values, value_notes
from stages.config import Config, source_of
from stages.errors import RelayError
from stages.plan import StageRun
from stages.record import Record, read_record
from stages.source import Source
from stages.store import Store

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
