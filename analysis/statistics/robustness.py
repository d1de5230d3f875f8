"""Slopes over the data ratio: how much a learning process needs the target's data (paper, Table 2).

What the numbers can and cannot say is in docs/statistics.md.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis.runs.selection import (
    metric_column,
    metrics_of,
    numbers,
    process_order,
    refuse_several_targets,
    target_rows,
)
from analysis.statistics.comparison import (
    MeanInterval,
    holm,
    mean_interval,
    t_quantile,
    without_rounding_errors,
)
from stages.metrics import REPRESENTATIVE, metric_of


def slopes(runs: pd.DataFrame) -> pd.DataFrame:
    """The line metric = slope * r + intercept over the data ratio r in (0, 1], by least squares.

    As `scipy.stats.linregress` over all runs of a process, one point per seed and ratio (paper, section 6.2).
    Standard error and interval take the points as independent, but points of one seed are not. To compare
    processes, use `slope_tests`.

    Args:
        runs: columns `process` (None or NaN: a source, left out), `data_ratio`, and METRIC_p75 for any
            metric. See `analysis.runs.load_runs`.

    Returns:
        One row per process and metric. Columns: `process`; `metric`, without _p75; `slope`, `stderr` and
        `intercept`, in percent if the metric is declared as a fraction, else in its own unit; `ci_low`,
        `ci_high`, the slope's 95% interval by Student's t with n - 2 degrees of freedom; `n` points; number
        of distinct `ratios` and `seeds` (NaN without a column `seed`). With fewer than two ratios all numbers
        of a line are NaN; with two points stderr and interval are, because a line always goes through them.

    Raises:
        RelayError: if two rows have the same process, seed and ratio, or a needed column is missing.
    """
    rows = target_rows(runs, "data_ratio")
    table = []
    for process in process_order(rows["process"]):
        for metric in metrics_of(rows):
            of_process = rows[(rows["process"] == process) & rows[metric_of(metric).column].notna()]
            ratios = numbers(of_process["data_ratio"])
            line = _line(ratios, _in_unit(of_process, metric))
            seeds = of_process["seed"].nunique() if "seed" in of_process else np.nan
            table.append((process, metric, *line, len(ratios), len(np.unique(ratios)), seeds))
    columns = ["process", "metric", "slope", "stderr", "intercept", "ci_low", "ci_high"]
    return pd.DataFrame(table, columns=[*columns, "n", "ratios", "seeds"])


def slope_tests(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Paired t tests between the slopes of two learning processes; each seed is one observation.

    For each seed, the slope over the ratios at which both processes have a value (at least two); a minus b.
    Points of one seed are not independent, but slopes of different seeds are.

    Args:
        runs: as for `slopes`, with a column `seed`.
        metric: a metric's name, without _p75.

    Returns:
        One row per unordered pair of processes. Columns: `process_a`, `process_b`; `difference`, the mean
        over seeds of a's slope minus b's, in the unit of `slopes`; its `stderr`; `p`, two-sided, by the
        paired t test; `p_holm`, corrected by Holm's method for all rows that could be tested; `n` seeds;
        `ci_low`, `ci_high`, the difference's 95% interval. With fewer than two seeds, all but the difference
        and n are NaN.

    Raises:
        RelayError: if the metric is unknown, two rows have the same process, seed and ratio, or the runs
            have different targets.
    """
    metric = metric_column(runs, metric).removesuffix(REPRESENTATIVE)
    rows = target_rows(runs, "seed", "data_ratio")
    refuse_several_targets(rows)
    values = rows.assign(value=_in_unit(rows, metric)).pivot(
        index=["seed", "data_ratio"], columns="process", values="value"
    )
    table = []
    for first, second in combinations(process_order(values), 2):
        both = values[[first, second]].dropna()
        interval = mean_interval(_slope_differences(both, first, second))
        stderr = interval.std / max(interval.n, 1) ** 0.5
        table.append(
            {
                "process_a": first,
                "process_b": second,
                "difference": interval.mean,
                "stderr": stderr,
                "p": _t_test_p(interval.mean, stderr, interval.n),
                "p_holm": np.nan,
                "n": interval.n,
                "ci_low": interval.ci_low,
                "ci_high": interval.ci_high,
            }
        )
    columns = ["process_a", "process_b", "difference", "stderr", "p", "p_holm", "n", "ci_low", "ci_high"]
    result = pd.DataFrame(table, columns=columns)
    result["p_holm"] = holm(numbers(result["p"]))
    return result


def at_ratios(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean and spread over seeds of a metric at each data ratio: the bars of Figure 6.

    Args:
        runs: columns `process` (None or NaN: a source, left out), `data_ratio` and the metric's.
        metric: a metric's name, without _p75.

    Returns:
        One row per process and ratio at which it was trained, ratios ascending. Columns: `process`,
        `data_ratio`, `mean`, `std`, `n`, `ci_low`, `ci_high`, as `compare` gives them, in the metric's own
        unit (fractions in [0, 1]).

    Raises:
        RelayError: if the metric is unknown, or two rows have the same process, seed and ratio.
    """
    column = metric_column(runs, metric)
    rows = target_rows(runs, "data_ratio")
    table = []
    for process in process_order(rows["process"]):
        for ratio, at_ratio in rows[rows["process"] == process].groupby("data_ratio"):
            table.append((process, ratio, *mean_interval(numbers(at_ratio[column]))))
    return pd.DataFrame(table, columns=["process", "data_ratio", *MeanInterval._fields])


def _in_unit(rows: pd.DataFrame, metric: str) -> npt.NDArray[np.float64]:
    """A metric's values in the unit of slopes: percent for fractions."""
    return numbers(rows[metric_of(metric).column]) * metric_of(metric).scale


def _line(
    ratios: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[float, float, float, float, float]:
    """Slope, standard error, intercept, and both ends of the slope's interval."""
    if len(np.unique(ratios)) < 2:
        return np.nan, np.nan, np.nan, np.nan, np.nan
    line = stats.linregress(ratios, values)
    freedom = len(ratios) - 2
    if not freedom:  # linregress calls the error of a line through two points 0; it is not known
        return line.slope, np.nan, line.intercept, np.nan, np.nan
    half = t_quantile(freedom) * line.stderr
    return line.slope, line.stderr, line.intercept, line.slope - half, line.slope + half


def _slope_differences(both: pd.DataFrame, first: str, second: str) -> npt.NDArray[np.float64]:
    """For each seed with two ratios or more, the slope of the first process minus that of the second.

    Least squares is linear in the values, so this is the slope of the difference.
    """
    found = []
    for _, of_seed in both.groupby(level="seed"):
        ratios = of_seed.index.get_level_values("data_ratio").to_numpy(dtype=np.float64)
        if len(ratios) >= 2:
            found.append(stats.linregress(ratios, numbers(of_seed[first]) - numbers(of_seed[second])).slope)
    return without_rounding_errors(np.array(found, dtype=np.float64), both.to_numpy(dtype=np.float64))


def _t_test_p(difference: float, stderr: float, n: int) -> float:
    """Two-sided p of the paired t test; NaN if the error is not known.

    If all differences are equal, p is 1 for a mean of 0, and 0 otherwise.
    """
    if stderr == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference) / stderr, n - 1))
