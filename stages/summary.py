"""Tables for the console: what would run, and what came of it."""

from collections.abc import Mapping

from rich.table import Table

from stages.outcome import Outcome
from stages.plan import Plan, StageRun
from stages.record import Record
from stages.store import Store

MOST_ROWS = 60


def plan_table(plan: Plan, store: Store) -> Table:
    """What is done and what would run: a row a stage run, with the images it trains on at most."""
    missing = {run.id for run in plan.missing(store)}
    table = Table(title=_plan_title(plan, len(missing)), title_justify="left")
    for heading in ("stage run", "seed", "data", "transfer"):
        table.add_column(heading, no_wrap=True)
    table.add_column("images at most", justify="right")
    table.add_column("state", no_wrap=True)
    table.add_column("files", no_wrap=True)
    for run in _shown(plan):
        state = "to train" if run.id in missing else "done"
        images = f"{plan.most_images(run):,}" if run.id in missing else ""
        table.add_row(*_name_cells(run), run.recipe.transfer or "-", images, state, _files(store, run))
    _say_hidden(table, plan)
    return table


def result_table(plan: Plan, store: Store, outcomes: Mapping[str, Outcome]) -> Table:
    """What came of a sweep: a row a stage run. Metrics are 75th percentiles over the plateau, in percent.

    `histogram` is the accuracy of a linear classifier on grey-level histograms of the same images; a `*`
    marks a plateau that was not reached.
    """
    table = Table(title=_result_title(outcomes), title_justify="left")
    for heading in ("stage run", "seed", "data"):
        table.add_column(heading, no_wrap=True)
    for heading in (
        "classes",
        "images",
        "epochs",
        "plateau",
        "accuracy",
        "macro F1",
        "histogram",
        "s",
        "img/s",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("files", no_wrap=True)
    for run in _shown(plan):
        outcome = outcomes[run.id]
        if outcome.status in ("trained", "complete"):
            cells = _record_cells(store.folder(run.stage, run.id).read_record())
        else:
            cells = [outcome.status, *[""] * 8]
        table.add_row(*_name_cells(run), *cells, _files(store, run))
    _say_hidden(table, plan)
    return table


def failure_lines(plan: Plan, store: Store, outcomes: Mapping[str, Outcome]) -> list[str]:
    """A line for each stage run that failed or was blocked: which, why, and where its traceback is."""
    lines = []
    for outcome in outcomes.values():
        if outcome.status in ("failed", "blocked"):
            run = plan.runs[outcome.id]
            folder = store.folder(run.stage, run.id)
            where = f" (traceback: {folder.failure})" if folder.failure.exists() else ""
            lines.append(f"{outcome.status}: {' -> '.join(run.chain)}: {outcome.message}{where}")
    return lines


def _plan_title(plan: Plan, missing: int) -> str:
    total = len(plan.runs)
    shared = f", {plan.unshared} if no chain shared a source" if plan.unshared > total else ""
    return f"{_count(total, 'stage run')}{shared}: {total - missing} done, {missing} to train"


def _result_title(outcomes: Mapping[str, Outcome]) -> str:
    counts: dict[str, int] = {}
    for outcome in outcomes.values():
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    words = {"trained": "trained", "complete": "were complete", "failed": "failed", "blocked": "blocked"}
    parts = [f"{counts[status]} {word}" for status, word in words.items() if status in counts]
    return f"{_count(len(outcomes), 'stage run')}: {', '.join(parts)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shown(plan: Plan) -> list[StageRun]:
    return list(plan.runs.values())[:MOST_ROWS]


def _say_hidden(table: Table, plan: Plan) -> None:
    if len(plan.runs) > MOST_ROWS:
        table.caption = f"and {len(plan.runs) - MOST_ROWS} more"


def _name_cells(run: StageRun) -> tuple[str, str, str]:
    return " > ".join(run.chain), str(run.recipe.seed), f"{run.recipe.data.ratio:.0%}"


def _files(store: Store, run: StageRun) -> str:
    return str(store.folder(run.stage, run.id).path.relative_to(store.runs_dir))


def _record_cells(record: Record) -> list[str]:
    plateau = record.plateau
    histogram = record.data.histogram_accuracy
    return [
        str(len(record.data.classes)),
        f"{sum(record.data.train_counts):,}",
        str(record.epochs),
        f"{plateau.onset + 1}-{plateau.onset + plateau.length}{'' if plateau.reached else '*'}",
        f"{record.metrics['accuracy'].p75:.1%}",
        f"{record.metrics['f1_score_macro'].p75:.1%}",
        "" if histogram is None else f"{histogram:.1%}",
        f"{record.cost.seconds:.0f}",
        f"{record.cost.images_per_second:.0f}",
    ]
