"""What learning processes are called on the page, and how they are drawn."""

from collections.abc import Sequence
from itertools import count

from analysis.report.figures import ProcessStyle, style_at
from analysis.report.study_tables import Labels
from analysis.runs.selection import process_order
from stages.processes import load_processes


def process_labels(names: Sequence[str]) -> dict[str, str]:
    """The label of each process on the page: its title, as in the paper, and its name."""
    known = load_processes()
    return {name: f"{known[name].title} {name}".strip() if name in known else name for name in names}


def styles_of(labels: Labels) -> dict[str, ProcessStyle]:
    """A style for each process: the paper's have theirs in every report, others what is left on this page."""
    known = load_processes()
    titled = process_order(name for name, process in known.items() if process.title)
    places = {name: place for place, name in enumerate(titled) if name in labels}
    free = (place for place in count() if place not in set(places.values()))
    return {name: style_at(places[name] if name in titled else next(free), labels[name]) for name in labels}
