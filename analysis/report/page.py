"""The report: its parts, one HTML file that works offline, and its tables and figures as files."""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.report.figures import Picture
from analysis.report.tables import Table
from relay_transfer.commands import as_typed
from stages.console.words import counted
from stages.errors import RelayError
from stages.machine.atomic import write_bytes, write_text
from stages.store import make_folder

PAGE = "report.html"
MOST_ITEMS = 12

_TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Caveat:
    """What a reader must know before believing the numbers.

    Attributes:
        title: what is wrong, in a few words.
        text: what it means and what to do.
        items: which runs, the first of them.
        more: how many others there are.
        serious: whether it can change a conclusion; if not, it is a note.
    """

    title: str
    text: str
    items: Sequence[str] = ()
    more: int = 0
    serious: bool = True

    @classmethod
    def listing(cls, title: str, text: str, items: Sequence[str], *, serious: bool = True) -> "Caveat":
        """A caveat that names the first of its items, and how many more there are."""
        return cls(title, text, tuple(items[:MOST_ITEMS]), max(0, len(items) - MOST_ITEMS), serious)


def counted_caveats(caveats: Sequence[Caveat]) -> str:
    """How many there are: `2 warnings and 1 note`."""
    serious = sum(caveat.serious for caveat in caveats)
    numbers = ((serious, "warning"), (len(caveats) - serious, "note"))
    return " and ".join(counted(number, what) for number, what in numbers if number)


def relative(folder: str, runs_dir: Path) -> str:
    """A run's folder below the store."""
    return Path(folder).relative_to(runs_dir).as_posix()


@dataclass(frozen=True)
class Sentence:
    """A conclusion about a process.

    Attributes:
        process: its name.
        label: as in `(4) two_stage`.
        text: continues the label to a whole sentence.
    """

    process: str
    label: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes:
        name: its anchor in the page.
        title: its heading.
        text: paragraphs.
        facts: names and values.
        commands: what each does, and the command.
        sentences: one per process.
        pictures: figures as wide as the page.
        grid: figures side by side.
        tables: those that are always shown.
        folded: tables that are shown after a click on `folded_title`.
        folded_title: what they are.
        print_folded: whether they are also printed.
    """

    name: str
    title: str
    text: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    commands: Sequence[tuple[str, str]] = ()
    sentences: Sequence[Sentence] = ()
    pictures: Sequence[Picture] = ()
    grid: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    folded: Sequence[Table] = ()
    folded_title: str = ""
    print_folded: bool = False

    @property
    def all_tables(self) -> list[Table]:
        """Tables that are shown and that are folded."""
        return [*self.tables, *self.folded]

    @property
    def all_pictures(self) -> list[Picture]:
        """Figures as wide as the page, and side by side."""
        return [*self.pictures, *self.grid]


@dataclass(frozen=True)
class Report:
    """Everything on the page.

    Attributes:
        title: of the page.
        question: the one that it answers.
        facts: names and values about the study.
        caveats: serious ones first.
        summary: the answer in one sentence, then paragraphs on what supports it.
        figure: what the answer says, drawn.
        sentences: one per process.
        sections: in the page's order.
        version: Relay's.
        complete: whether it reports a study.
        fine: what is said where there is no caveat.
        made_from: what it was made from.
    """

    title: str
    question: str
    version: str
    facts: Sequence[tuple[str, str]] = ()
    caveats: Sequence[Caveat] = ()
    summary: Sequence[str] = ()
    figure: Picture | None = None
    sentences: Sequence[Sentence] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    complete: bool = True
    fine: str = "every plateau was reached, no run is missing or failed, one version, one commit."
    made_from: str = "the records, histories and predictions of the store"

    @property
    def tables(self) -> list[Table]:
        """All tables."""
        return [table for section in self.sections for table in section.all_tables]

    @property
    def pictures(self) -> list[Picture]:
        """All figures, the answer's first."""
        of_sections = [picture for section in self.sections for picture in section.all_pictures]
        return of_sections if self.figure is None else [self.figure, *of_sections]

    @property
    def numbers(self) -> dict[str, str]:
        """What figures and tables are called on the page, in its order, by the anchors of both."""
        figures = {f"figure-{each.name}": f"Figure {n}" for n, each in enumerate(self.pictures, 1)}
        return figures | {f"table-{each.name}": f"Table {n}" for n, each in enumerate(self.tables, 1)}


def relay_version() -> str:
    """The installed version; empty for a copy of the code that is not installed."""
    try:
        return version("relay-transfer")
    except PackageNotFoundError:
        return ""


def render(report: Report) -> str:
    """The page as HTML. Every text is escaped."""
    return fill_template("report.html.jinja", report=report, title=report.title)


def fill_template(template: str, folder: Path | None = None, **values: Any) -> str:
    """A page as HTML; every text of `values` is escaped, and commands are as they are typed here.

    Args:
        template: its file, which extends `base.html.jinja` here.
        folder: where it is, if it is not here.
        values: what the template names, `title` among them.
    """
    environment = Environment(
        loader=FileSystemLoader([folder or _TEMPLATES, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    environment.filters["counted"] = counted_caveats
    # These two files are ours and contain neither </style> nor </script>. Everything else is escaped.
    css, js = (Markup((_TEMPLATES / name).read_text()) for name in ("report.css", "report.js"))
    return as_typed(environment.get_template(template).render(css=css, js=js, **values))


def write_report(report: Report, folder: Path) -> Path:
    """Write the page, `tables/*.csv` and `*.tex`, and `figures/*.svg` and `*.png`; the page last.

    Args:
        report: what to write.
        folder: is made if it does not exist.

    Returns:
        The page.

    Raises:
        RelayError: if the folder cannot be written.
    """
    answer = Section("answer", "Answer", pictures=[] if report.figure is None else [report.figure])
    write_files([answer, *report.sections], folder)
    page = folder / PAGE
    write_text(page, render(report))
    return page


def check_output(folder: Path) -> None:
    """Refuse a folder that cannot be written, before what takes long; nothing is made yet.

    Raises:
        RelayError: if it, or the first folder above it that is there, cannot be written.
    """
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), folder)
    if there.is_dir() and not os.access(there, os.W_OK):
        raise RelayError(
            f"the folder {folder} cannot be written: {there} is read-only. Choose another: out=..."
        )


def write_files(sections: Sequence[Section], folder: Path) -> None:
    """Write the tables and figures of sections: `tables/*.csv` and `*.tex`, `figures/*.svg` and `*.png`.

    Raises:
        RelayError: if the folder cannot be written.
    """
    contents: dict[str, bytes] = {}
    for section in sections:
        for table in section.all_tables:
            contents[f"tables/{table.name}.csv"] = table.to_csv().encode()
            contents[f"tables/{table.name}.tex"] = table.to_latex().encode()
        for picture in section.all_pictures:
            contents[f"figures/{picture.name}.svg"] = picture.svg
            contents[f"figures/{picture.name}.png"] = picture.png
    for name in ("tables", "figures"):
        make_folder(folder / name, "out")
    for name, content in contents.items():
        write_bytes(folder / name, content)
