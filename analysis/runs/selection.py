"""Which rows of a table of runs the statistics use, and the order of processes."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.runs.folds import in_folds, one_row_per_seed
from stages.errors import RelayError
from stages.metrics import REPRESENTATIVE
from stages.processes import load_processes
from stages.recipe import short_id


def metrics_of(runs: pd.DataFrame) -> list[str]:
    """Names of the metrics for which a table of runs has a representative value, in the columns' order."""
    return [str(name).removesuffix(REPRESENTATIVE) for name in runs if str(name).endswith(REPRESENTATIVE)]


def metric_column(runs: pd.DataFrame, metric: str) -> str:
    """The column of a metric's representative value; `metric` may also be the column's name.

    Raises:
        RelayError: if the table does not have the column; names the metrics that it has.
    """
    known = metrics_of(runs)
    metric = metric.removesuffix(REPRESENTATIVE)
    if metric not in known:
        raise RelayError(f"no metric {metric!r} in these runs; there are: {', '.join(known) or 'none'}")
    return metric + REPRESENTATIVE


def process_order(names: Iterable[object]) -> list[str]:
    """Each name once: those with a title in `conf/process`, (1) to (4), (a) and (b), then others by name."""
    titles = {process.name: process.title for process in load_processes().values() if process.title}
    return sorted(set(map(str, names)), key=lambda name: (name not in titles, titles.get(name, ""), name))


def run_rows(runs: pd.DataFrame, *needed: str) -> pd.DataFrame:
    """The rows of targets of learning processes, one row per stage run; sources are left out.

    Args:
        runs: one row per stage run, as `analysis.runs.load_runs` gives it; other columns than `process` and
            those in `needed` may be missing.
        needed: columns that must be there; rows without a value in one of them are left out.

    Returns:
        A copy with a new index, in the order given; `process` is text.

    Raises:
        RelayError: if a needed column is missing, if two rows have the same process, seed, data ratio and
            fold, or if some have other numbers of folds than others: they have different configurations, and
            their average would mean nothing.
    """
    missing = [name for name in ("process", *needed) if name not in runs]
    if missing:
        raise RelayError(
            f"the table of runs has no column {', '.join(missing)}; give one from analysis.runs.load_runs"
        )
    rows = runs.dropna(subset=["process", *needed]).reset_index(drop=True)
    rows["process"] = rows["process"].astype(str)
    in_folds(rows)
    _refuse_mixed(rows)
    return rows


def target_rows(runs: pd.DataFrame, *needed: str) -> pd.DataFrame:
    """As `run_rows`, but one row per seed: folds are merged by `analysis.runs.folds.one_row_per_seed`."""
    return one_row_per_seed(run_rows(runs, *needed))


def whole_set_rows(runs: pd.DataFrame, *needed: str) -> pd.DataFrame:
    """As `target_rows`, but only runs on the whole training set (data ratio 1, or no such column)."""
    return target_rows(on_whole_set(runs), *needed)


def on_whole_set(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on the whole training set: data ratio 1, or no such column."""
    return runs[runs["data_ratio"] == 1.0] if "data_ratio" in runs else runs


def refuse_several_targets(rows: pd.DataFrame) -> None:
    """Refuse to compare runs that have different targets.

    Raises:
        RelayError: if the rows have a column `stage` with more than one value.
    """
    stages = sorted(set(rows["stage"].dropna())) if "stage" in rows else []
    if len(stages) > 1:
        raise RelayError(
            f"these runs have several targets, {', '.join(stages)}, which cannot be compared; "
            f"select one, for instance runs[runs['stage'] == {stages[0]!r}]"
        )


def numbers(column: "pd.Series[float]") -> npt.NDArray[np.float64]:
    """A column as floating-point numbers, NaN where a value is missing or infinite."""
    values = np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _refuse_mixed(rows: pd.DataFrame) -> None:
    if "seed" not in rows:
        return
    cell = [name for name in ("process", "seed", "data_ratio", "fold") if name in rows]
    rows = rows.dropna(subset=[name for name in cell if name != "fold"])
    repeated = rows[rows.duplicated(cell, keep=False)]
    if repeated.empty:
        return
    _, same = next(iter(repeated.groupby(cell, sort=False, dropna=False)))
    where = ", ".join(f"{name} {same[name].iloc[0]}" for name in cell if not pd.isna(same[name].iloc[0]))
    which = f" ({', '.join(short_id(str(each)) for each in same['id'])})" if "id" in same else ""
    raise RelayError(
        f"{len(same)} runs have the same {where}{which}: the table holds more than one configuration. Select "
        "the runs of one study before comparing, for instance by their ids; or, to compare configurations, "
        "give the runs of each a process of its own: runs.loc[which, 'process'] += ' balanced'."
    )
