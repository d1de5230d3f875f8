"""Networks that should not be used yet: pages and the console are told of them in the same words."""

from collections.abc import Iterator, Sequence

from analysis.report.page import Caveat
from stages.console.words import counted
from stages.record import Record


def unfinished(records: Sequence[Record]) -> Iterator[Caveat]:
    """Warnings about networks that never learned, or were stopped early; none where there are none."""
    early = [record for record in records if record.plateau.learning and not record.plateau.reached]
    dull = [record for record in records if not record.plateau.learning]
    for some, what in ((dull, "never learned"), (early, "did not reach the plateau of their training loss")):
        if some:
            yield Caveat.listing(
                f"{len(some)} of {counted(len(records), 'network')} {what}",
                "Choose others, or train on.",
                [f"{record.stage} {record.id[:12]}, seed {record.seed}" for record in some],
            )


def unfinished_lines(records: Sequence[Record]) -> list[str]:
    """The warnings for the console, a line each: before anything is computed, and where there is no page."""
    return [f"{each.title} ({'; '.join(each.items)}). {each.text}" for each in unfinished(records)]
