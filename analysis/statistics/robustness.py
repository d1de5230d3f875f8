"""How much does a learning process need the target's data? Slopes over the data ratio (paper, Table 2).

What the numbers can and cannot say stands in docs/statistics.md.
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

    As `scipy.stats.linregress` over all runs of a process, a point a seed and ratio (paper, section 6.2).
    Standard error and interval take the points as independent, which points of one seed are not; between
    processes use `slope_tests`.

    Args:
        runs: columns `process` (None or NaN: a source, left out), `data_ratio`, and METRIC_p75 for any
            metric. See `analysis.runs.load_runs`.

    Returns:
        A row a process and metric. Columns: `process`; `metric`, without _p75; `slope`, `stderr` and
        `intercept`, in percent where the metric is a fraction (accuracy, precision, recall, F1, calibration
        error) and in its own unit (nats) where it is a loss; `ci_low`, `ci_high`, the slope's 95% interval
        by Student's t with n - 2 degrees of freedom; `n` points; number of distinct `ratios` and `seeds`
        (NaN without a column `seed`). NaN: all numbers of a line with fewer than two ratios; stderr and
        interval of two points, through which a line always goes.

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
    """Do the slopes of two learning processes differ? A paired t test, a seed an observation.

    For each seed, the slope over the ratios at which both processes have a value (at least two); a minus b.
    Points of one seed are not independent, slopes of different seeds are.

    Args:
        runs: as for `slopes`, with a column `seed`.
        metric: a metric's name, without _p75.

    Returns:
        A row an unordered pair of processes. Columns: `process_a`, `process_b`; `difference`, the mean over
        seeds of a's slope minus b's, in the unit of `slopes`; its `stderr`; `p`, two-sided, by the paired t
        test; `p_holm`, corrected by Holm's method for all rows that could be tested; `n` seeds; `ci_low`,
        `ci_high`, the difference's 95% interval. With fewer than two seeds all but the difference are NaN.

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
        A row a process and ratio that it was trained at, ratios ascending. Columns: `process`, `data_ratio`,
        `mean`, `std`, `n`, `ci_low`, `ci_high`, as `compare` gives them, in the metric's
        own unit (fractions in [0, 1]).

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
    """A metric's values in the unit that slopes are given in: percent for fractions."""
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

    Least squares is linear in the values, so it is the slope of the difference.
    """
    found = []
    for _, of_seed in both.groupby(level="seed"):
        ratios = of_seed.index.get_level_values("data_ratio").to_numpy(dtype=np.float64)
        if len(ratios) >= 2:
            found.append(stats.linregress(ratios, numbers(of_seed[first]) - numbers(of_seed[second])).slope)
    return without_rounding_errors(np.array(found, dtype=np.float64), both.to_numpy(dtype=np.float64))


def _t_test_p(difference: float, stderr: float, n: int) -> float:
    """Two-sided p of the paired t test; NaN without an error; without spread 1 for no difference, else 0."""
    if stderr == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference) / stderr, n - 1))
