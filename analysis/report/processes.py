"""What learning processes are called on the page, and how they are drawn."""

from collections.abc import Sequence

from analysis.report.figures import ProcessStyle, process_styles
from analysis.report.study_tables import Labels
from analysis.runs.selection import process_order
from stages.processes import load_processes


def process_labels(names: Sequence[str]) -> dict[str, str]:
    """The label of each process on the page: its title, as in the paper, and its name."""
    known = load_processes()
    return {name: f"{known[name].title} {name}".strip() if name in known else name for name in names}


def styles_of(labels: Labels) -> dict[str, ProcessStyle]:
    """A style for each process; those of conf/process have the same style in every report."""
    known = process_order(load_processes())
    names = [*known, *(name for name in labels if name not in known)]
    styles = process_styles([(name, labels.get(name, name)) for name in names])
    return {name: styles[name] for name in labels}
