"""From the configuration's keys to the images they name."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from datamodules.copies import Copies, across_sides, note_on_classes, note_on_sides
from datamodules.division import names_of
from datamodules.domain import Domain
from datamodules.leaks import leaks
from datamodules.listing import FileListing, Listing
from datamodules.loading import load
from datamodules.splits import Division, divided_sides
from datamodules.survey import Listings, check_divisions
from datamodules.values.notes import check_values, value_notes
from datamodules.values.unit import distortion_note
from stages.config import Config, source_of
from stages.parameters import part_of
from stages.plan import StageRun
from stages.recipe import Distortions
from stages.source import Source

_GIB = 1024**3


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


def load_sources(runs: Iterable[StageRun], listings: Listings, keep: list[Domain] | None = None) -> list[str]:
    """Decode or generate what stage runs need, each source once, so that their jobs find it in the cache.

    Args:
        runs: Planned stage runs.
        listings: Of their sources.
        keep: Takes the images, for a job in this process; otherwise each source leaves memory.

    Returns:
        As `check_divisions`, of generated images, whose groups are known now; what is drawn for training
        images; and which test sets leak.

    Raises:
        RelayError: As `load_source`, `check_divisions` and `distortion_note`.
    """
    runs, notes, leaking = list(runs), list[str](), list[str]()
    for digest in dict.fromkeys(run.recipe.data.digest for run in runs):
        # Stages of the same images may differ in what their sources draw for training images.
        its = [run for run in runs if run.recipe.data.digest == digest]
        source = source_of(its[0].config)
        domain = load_source(listings.of(source), its[0].config)
        if keep is not None:
            keep.append(domain)
        if source.kind == "embedded":
            names = names_of(domain)
            notes += check_divisions(its, {source_of(run.config): names for run in its}.get)
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
        drawn = {(run.stage, part_of(Distortions, run.recipe.data)) for run in its}
        notes += filter(
            None, [distortion_note(each, domain.values, stage) for stage, each in sorted(drawn, key=str)]
        )
    return notes + leaking


def _crossing(domain: Domain, source: Source, division: Division) -> Copies:
    """The copies on several sides of a division, which is not made."""
    if not domain.copies:
        return ()
    samples = [sample for _, side in domain.named_sides for sample in side.samples]
    sides = divided_sides(names_of(domain), source, division).tolist()
    return across_sides(domain.copies, dict(zip(samples, sides, strict=True)))
