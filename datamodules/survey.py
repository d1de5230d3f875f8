"""What a person should know of the images that stage runs ask for, before anything is decoded."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from datamodules.listing import FileListing, Listing, list_source
from datamodules.listing.names import listed_names
from datamodules.loading import known_content
from datamodules.loading.survey import check_headers
from datamodules.native_size import size_notes
from datamodules.splits import Division, Names, divided_sides
from stages.config import source_of
from stages.console.words import counted
from stages.errors import RelayError
from stages.plan import StageRun
from stages.record import Record, read_record
from stages.source import Source
from stages.store import Store

_MOST_RECORDS = 20  # of a stage, beside those of the runs that are asked for


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

    def classes(self, run: StageRun) -> int:
        """Number of classes of a stage run's images."""
        return len(self.of(source_of(run.config)).classes)

    def names(self, source: Source) -> Names | None:
        """The names of a source's images; None where they are not known before the images are drawn."""
        return listed_names(self.of(source))


def survey(runs: Iterable[StageRun], listings: Listings) -> list[str]:
    """Look at the images that stage runs ask for, before anything is decoded.

    Returns:
        What a person should know of them, a line each.

    Raises:
        RelayError: As `check_divisions` and `replaced_notes`.
    """
    runs = list(runs)
    sources = dict.fromkeys(source_of(run.config) for run in runs)
    return [
        *(f"{source.root}: {note}" for source in sources for note in listings.of(source).notes),
        *size_notes(runs, listings.of),
        *check_divisions(runs, listings.names),
        *replaced_notes(runs, listings),
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
        if key in tried or not (division.test_fraction or division.folds or source.val_fraction):
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


def replaced_notes(runs: Iterable[StageRun], listings: Listings) -> list[str]:
    """Whether images were replaced by others of the same names and sizes since the store's runs were trained.

    Of complete runs all that are asked for are looked at, and the last ones of each stage; an analysis
    compares them all.

    Args:
        runs: Planned stage runs.
        listings: Of their sources.

    Returns:
        A line for each list of images that was, or of which that cannot be told.

    Raises:
        RelayError: A file cannot be read.
    """
    by_digest: defaultdict[str, list[StageRun]] = defaultdict(list)
    for run in runs:
        by_digest[run.recipe.data.digest].append(run)
    notes = []
    for digest, its in by_digest.items():
        run, listing = its[0], listings.of(source_of(its[0].config))
        store = Store(Path(run.config.paths.runs_dir))
        asked = list(_records(store.folder(each.stage, each.id).record for each in its))
        others = [each for each in _last_records(store, run.stage) if each.data.digest == digest]
        trained = [each for each in (*asked, *others) if each.data.content is not None]
        if not trained:
            continue
        now = known_content(listing, Path(run.config.paths.cache_dir).expanduser())
        older = [each for each in trained if each.data.content != now]
        if now is None and asked and isinstance(listing, FileListing):
            notes.append(
                f"whether the images of {run.stage} are still those that its complete runs were trained on "
                "is not known: the cache has no images of these files, or they changed since; they are too "
                "many to be read for this"
            )
        elif now is not None and older:
            old = sum(each.data.content != now for each in asked)
            notes.append(
                f"the images of {run.stage} were replaced by others of the same names and sizes since "
                f"{store.folder(run.stage, older[0].id).path} was trained"
                + (f" ({counted(old, 'complete run')} of those asked for)" if old else "")
                + ". Complete runs stay as they are, of the images as they were; new ones are another study. "
                "To train all on the new images, remove the folders of the old runs, or choose another "
                "paths.runs_dir"
            )
    return notes


def _records(files: Iterable[Path]) -> Iterator[Record]:
    """Records that can be read; damaged ones are left out: who needs them says so."""
    for file in files:
        with suppress(RelayError):
            yield read_record(file)


def _last_records(store: Store, stage: str) -> list[Record]:
    """Records of a stage's complete runs, the last first."""
    try:
        written = [(file.stat().st_mtime, file) for file in (store.runs_dir / stage).glob("*/record.json")]
    except OSError:
        return []
    return list(_records(file for _, file in sorted(written, reverse=True)[:_MOST_RECORDS]))
