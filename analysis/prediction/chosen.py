"""Which trained networks are applied: those of a learning process, or runs by their ids."""

from collections.abc import Sequence
from pathlib import Path

from analysis.runs.load import load_runs
from analysis.runs.selection import process_order
from analysis.runs.study import Study, find_studies
from analysis.runs.study_choice import select_study
from stages.errors import RelayError, unknown_name
from stages.recipe import short_id
from stages.store import RunFolder, Store

_SHOWN = 10  # runs that a refusal names


def chosen_runs(
    runs_dir: Path, *, process: str | None, runs: Sequence[str], study: str | None, data_ratio: float = 1.0
) -> list[RunFolder]:
    """The stage runs whose networks are to be applied, in the order of their folders or as they were named.

    Args:
        runs_dir: the store.
        process: a learning process: all of its targets at `data_ratio`, of all seeds and folds.
        runs: ids, short or whole, or unambiguous beginnings of them; instead of a process.
        study: where the process is in several studies, which of them; if None, the one with more runs than
            each other.
        data_ratio: share of the training images that the process's networks were trained on.

    Raises:
        RelayError: if there is no such store, run, process or study; names what there is.
    """
    if (process is None) == (not runs):
        raise RelayError("give the networks: process=NAME for all of a learning process, or run=ID,ID")
    if not runs_dir.is_dir():
        raise RelayError(f"there is no folder {runs_dir}; give the store, paths.runs_dir of the training")
    if process is None:
        if study is not None:
            raise RelayError("study chooses among those of a process; runs are named by their ids alone")
        return _by_id(Store(runs_dir), runs)
    return _by_process(runs_dir, process, study, data_ratio)


def _by_id(store: Store, wanted: Sequence[str]) -> list[RunFolder]:
    complete = list(store.complete_runs())
    if not complete:
        raise RelayError(_empty(store.runs_dir))
    found: dict[Path, RunFolder] = {}
    for name in wanted:
        fitting = [run for run in complete if run.path.name.startswith(short_id(name))]
        fitting = [run for run in fitting if len(name) <= len(run.path.name) or _full_id(run) == name]
        if not fitting:
            known = ", ".join(_title(run) for run in complete[:_SHOWN])
            more = f" and {len(complete) - _SHOWN} more" if len(complete) > _SHOWN else ""
            begun = [
                run
                for run in store.begun_runs()
                if run.path.name.startswith(short_id(name)) and not run.is_complete()
            ]
            why = "is not complete: type its command again" if begun else "names no run of the store"
            raise RelayError(f"run={name} {why}; complete are {known}{more}")
        if len(fitting) > 1:
            several = ", ".join(_title(run) for run in fitting[:_SHOWN])
            raise RelayError(f"run={name} begins the ids of {len(fitting)} runs: {several}; type more of it")
        found[fitting[0].path] = fitting[0]
    return list(found.values())


def _by_process(runs_dir: Path, process: str, study: str | None, data_ratio: float) -> list[RunFolder]:
    table = load_runs(runs_dir)
    if table.empty:
        raise RelayError(_empty(runs_dir))
    studies = find_studies(table)
    if study is not None:
        studies = [select_study(studies, study)]
    known = process_order(name for each in studies for name in each.runs["process"])
    if process not in known:
        if not known:
            raise RelayError(f"{runs_dir} has no target of a learning process; name runs instead, run=ID,ID")
        raise unknown_name("process", process, known)
    having = [each for each in studies if (each.runs["process"] == process).any()]
    whole = [each for each in having if _rows_at(each, process, data_ratio)]
    if not whole:
        ratios = sorted({ratio for each in having for ratio in _ratios(each, process)})
        raise RelayError(
            f"no network of process={process} was trained at a data ratio of {data_ratio:g}; there are "
            f"{', '.join(f'{ratio:g}' for ratio in ratios)}. Name their runs instead, run=ID,ID"
        )
    return [RunFolder(Path(folder)) for folder in _rows_at(select_study(whole, None), process, data_ratio)]


def _rows_at(study: Study, process: str, data_ratio: float) -> list[str]:
    rows = study.runs[(study.runs["process"] == process) & (study.runs["data_ratio"] == data_ratio)]
    return sorted(map(str, rows["folder"]))


def _ratios(study: Study, process: str) -> list[float]:
    return [float(ratio) for ratio in study.runs.loc[study.runs["process"] == process, "data_ratio"]]


def _full_id(run: RunFolder) -> str:
    return run.read_record().id


def _title(run: RunFolder) -> str:
    return f"{run.path.parent.name}/{run.path.name}"


def _empty(runs_dir: Path) -> str:
    return f"{runs_dir} has no finished stage run; give the store, paths.runs_dir of the training"
