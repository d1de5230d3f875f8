"""Tables for the console: what would run, and the results.

They fit into 80 columns; the names of stage runs are folded there. Paths follow below the table, so that they
can be selected in a terminal.
"""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stages.console.given import given_lines
from stages.console.output import output
from stages.console.varied import varied_settings
from stages.console.words import counted
from stages.cost import cost_lines, plan_cost, recorded_speeds
from stages.errors import RelayError
from stages.metrics import Metric, shown_in
from stages.outcome import Outcome
from stages.plan import Plan, StageRun
from stages.record import NOT_LEARNING, PlateauRecord, Record
from stages.store import Store

MOST_ROWS = 60

_HEADINGS_BEFORE = ("classes", "images", "epochs", "plateau")
_HEADINGS_AFTER = ("histo-\ngram", "seconds", "images\n/s")


def plan_table(plan: Plan, store: Store, notes: Sequence[str] = ()) -> RenderableType:
    """What is done, what would run and what it costs: one row per stage run.

    Args:
        plan: what was asked for.
        store: what is done.
        notes: what a person should know of the images.
    """
    to_train = plan.missing(store)
    missing = {run.id for run in to_train}
    done = [run for run in plan.runs.values() if run.id not in missing]
    damaged = {run.id: f"unreadable: {fault}" for run in done if (fault := _fault(run, store))}
    title = Text(_plan_title(plan, len(missing)), style="bold")
    cost = [Text(line) for line in cost_lines(plan_cost(plan, to_train, recorded_speeds(plan, store)))]
    table = _table()
    in_folds = any(run.recipe.folds for run in plan.runs.values())
    settings = varied_settings(plan.runs.values())
    for heading in ("seed", "data", *(["fold"] if in_folds else []), *map(_heading, settings), "transfer"):
        table.add_column(heading, no_wrap=True)
    table.add_column("images\nat most", justify="right")
    table.add_column("state", no_wrap=True)
    for run in _shown(plan):
        state = "to train" if run.id in missing else "unreadable" if run.id in damaged else "done"
        images = f"{plan.most_images(run):,}" if run.id in missing else ""
        cells = [*_place(run, in_folds), *(values[run.id] for values in settings.values())]
        table.add_row(_chain(run), *cells, run.recipe.transfer or "-", images, state)
    notes = [*start_lines(list(plan.runs.values())), *notes]
    said = [*_folds(plan), *_test_sets(plan), *(Text(f"note: {note}") for note in notes)]
    said += [Text(fault, style="red") for fault in damaged.values()]
    return Group(title, *said, *cost, table, *_paths(plan, store, dict.fromkeys(missing, ", to train")))


def start_lines(runs: Sequence[StageRun]) -> list[str]:
    """What stage runs are computed with, `auto` resolved, a line for each way; what they start from."""
    ways = dict.fromkeys((run.config.trainer.accelerator, run.recipe.arithmetic) for run in runs)
    lines = []
    for accelerator, way in ways:
        threads = "" if way.threads is None else f" with {counted(way.threads, 'thread')}"
        compiled = ", compiled" if way.compile else ""
        lines.append(f"computed on {accelerator}{threads}: {way.precision}, {way.memory_format}{compiled}")
    return [*lines, *given_lines(runs)]


def show_notes(notes: Sequence[str]) -> None:
    """Print what a person should know before anything is trained, each once."""
    for note in dict.fromkeys(notes):
        output().print(f"note: {note}", soft_wrap=True)


def result_table(plan: Plan, store: Store, outcomes: Mapping[str, Outcome]) -> RenderableType:
    """The result of a sweep, one row per stage run. Metrics are 75th percentiles over the plateau.

    `histogram` is the accuracy of a linear classifier on grey-level histograms of the same images; a `*`
    marks a plateau that was not reached, and a run that did not learn says so in place of its plateau. Seed,
    data ratio, fold, and settings have columns if they differ between runs.
    """
    title = Text(_result_title(outcomes), style="bold")
    table = _table()
    runs = _shown(plan)
    in_folds = any(run.recipe.folds for run in plan.runs.values())
    varied = len({_place(run, in_folds) for run in runs}) > 1
    settings = varied_settings(plan.runs.values())
    places = ("seed", "data", *(["fold"] if in_folds else [])) if varied else ()
    for heading in (*places, *map(_heading, settings)):
        table.add_column(heading, no_wrap=True)
    titles = [metric.title.replace(" ", "\n") for metric in _shown_metrics()]
    for heading in (*_HEADINGS_BEFORE, *titles, *_HEADINGS_AFTER):
        table.add_column(heading, justify="right", no_wrap=True)
    notes: dict[str, None] = {}
    for run in runs:
        outcome = outcomes[run.id]
        cells = [str(outcome.status)]
        if outcome.status in ("trained", "complete"):
            try:
                record = store.folder(run.stage, run.id).read_record()
            except RelayError:
                cells = ["unreadable"]  # why, see `failure_lines`
            else:
                read = (f"note: {run.stage}: {note}" for note in record.notes)
                notes |= dict.fromkeys([*_notes(record.plateau), *_sizes(record), *read])
                cells = _record_cells(record)
        place = _place(run, in_folds) if varied else ()
        table.add_row(_chain(run), *place, *(values[run.id] for values in settings.values()), *cells)
    return Group(title, table, *map(Text, notes), *_paths(plan, store, {}))


def show_results(plan: Plan, store: Store, outcomes: Mapping[str, Outcome]) -> None:
    """Print the table of results, and what failed.

    Raises:
        SystemExit: with code 1 if a stage run failed or cannot be read.
    """
    output().print(result_table(plan, store, outcomes))
    failures = failure_lines(plan, store, outcomes)
    for line in failures:
        output().print(line, style="red", soft_wrap=True)
    if failures:
        raise SystemExit(1)


def failure_lines(plan: Plan, store: Store, outcomes: Mapping[str, Outcome]) -> list[str]:
    """One line per stage run that failed, was blocked or cannot be read: which, why, and its traceback."""
    lines = []
    for outcome in outcomes.values():
        run = plan.runs[outcome.id]
        folder = store.folder(run.stage, run.id)
        if outcome.status in ("failed", "blocked"):
            where = f" (traceback: {folder.failure})" if folder.failure.exists() else ""
            lines.append(f"{outcome.status}: {' -> '.join(run.chain)}: {outcome.message}{where}")
            continue
        if fault := _fault(run, store):
            lines.append(f"unreadable: {fault}")
    return lines


def _fault(run: StageRun, store: Store) -> str | None:
    """Why the record of a run that is done cannot be read, and what to do; None where it can."""
    try:
        store.folder(run.stage, run.id).read_record()
    except RelayError as error:
        return f"{' -> '.join(run.chain)}: {error}"
    return None


def _table() -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage run", min_width=9)
    return table


def _plan_title(plan: Plan, missing: int) -> str:
    total = len(plan.runs)
    shared = f", {plan.unshared} if no chain shared a source" if plan.unshared > total else ""
    return f"{counted(total, 'stage run')}{shared}: {total - missing} done, {missing} to train"


def _result_title(outcomes: Mapping[str, Outcome]) -> str:
    counts: dict[str, int] = {}
    for outcome in outcomes.values():
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    words = {"trained": "trained", "complete": "were complete", "failed": "failed", "blocked": "blocked"}
    parts = [f"{counts[status]} {word}" for status, word in words.items() if status in counts]
    return f"{counted(len(outcomes), 'stage run')}: {', '.join(parts)}"


def _shown(plan: Plan) -> list[StageRun]:
    return list(plan.runs.values())[:MOST_ROWS]


def _chain(run: StageRun) -> str:
    return " > ".join(run.chain)


def _place(run: StageRun, in_folds: bool) -> tuple[str, ...]:
    """Seed, data ratio and, where some run has one, fold."""
    recipe = run.recipe
    fold = "-" if recipe.folds is None else f"{recipe.fold} of {recipe.folds}"
    return str(recipe.seed), f"{recipe.data.ratio:.0%}", *([fold] if in_folds else [])


def _folds(plan: Plan) -> list[Text]:
    """What folds mean for a plan, one line for each target and number of folds."""
    targets = {(run.stage, run.recipe.folds): None for run in plan.runs.values() if run.recipe.folds}
    sources = any(run.depth for run in plan.runs.values())
    shared = "; a source is trained once for all of them" if sources else ""
    return [
        Text(f"{stage}: {folds} folds of its groups, divided anew for each seed{shared}")
        for stage, folds in targets
    ]


def _test_sets(plan: Plan) -> list[Text]:
    """The test sets that are drawn, one line for each target and share."""
    targets = {(run.stage, run.recipe.test_fraction): None for run in plan.runs.values()}
    return [
        Text(f"{stage}: test_fraction={share:g} of its images is locked away first, by whole groups")
        for stage, share in targets
        if share is not None
    ]


def _paths(plan: Plan, store: Store, notes: Mapping[str, str]) -> Iterable[Text]:
    for run in _shown(plan):
        path = store.folder(run.stage, run.id).path.relative_to(store.runs_dir)
        yield Text(f"{_chain(run)}: {path}{notes.get(run.id, '')}", overflow="ignore", no_wrap=True)
    if len(plan.runs) > MOST_ROWS:
        yield Text(f"and {len(plan.runs) - MOST_ROWS} more stage runs")
    yield Text(f"in {store.runs_dir}", overflow="ignore", no_wrap=True)


def _shown_metrics() -> list[Metric]:
    """Fractions only: 80 columns have no room for more."""
    return [metric for metric in shown_in("overview") if metric.is_fraction]


def _notes(plateau: PlateauRecord) -> list[str]:
    """What must be said below a table that has this plateau."""
    if not plateau.learning:
        return [f"{NOT_LEARNING}: the training loss is about that of guessing the classes"]
    return [] if plateau.reached else ["* the plateau was not reached before max_epochs"]


def _sizes(record: Record) -> list[str]:
    """The size at which images were trained, where it is not their own."""
    height, width, size = record.data.height, record.data.width, record.data.image_size
    if (height, width) == (size, size):
        return []
    return [f"{record.stage}: images of {height} x {width} px, trained at {size} x {size} px"]


def _heading(setting: str) -> str:
    """A setting's name in the width of a column."""
    return setting.replace(".", ".\n").replace("_", "_\n")


def _plateau(plateau: PlateauRecord) -> str:
    if not plateau.learning:
        return NOT_LEARNING.replace(" ", "\n")
    return f"{plateau.onset + 1}-{plateau.onset + plateau.length}{'' if plateau.reached else '*'}"


def _record_cells(record: Record) -> list[str]:
    histogram = record.data.histogram_accuracy
    return [
        str(len(record.data.classes)),
        f"{sum(record.data.train_counts):,}",
        str(record.epochs),
        _plateau(record.plateau),
        *(
            metric.text(record.metrics[metric.name].p75) if metric.name in record.metrics else ""
            for metric in _shown_metrics()
        ),
        "" if histogram is None else f"{histogram:.1%}",
        f"{record.cost.seconds:.0f}",
        f"{record.cost.images_per_second:.0f}",
    ]
