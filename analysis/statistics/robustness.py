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
    over_seeds,
    paired_differences,
    without_rounding_errors,
)
from analysis.statistics.intervals import seed_slopes, slope_over_seeds
from stages.metrics import REPRESENTATIVE, metric_of


def slopes(runs: pd.DataFrame, *, of: str = REPRESENTATIVE) -> pd.DataFrame:
    """The line metric = slope * r + intercept over the data ratio r in (0, 1], by least squares.

    The slope is the mean of those of each seed's line. If all seeds have the same ratios, slope and intercept
    are those of `scipy.stats.linregress` over all runs of a process (paper, section 6.2). The interval is
    Student's of the seeds' slopes: points of one seed share sources and nested subsets, and are not
    independent. To compare processes, use `slope_tests`.

    Args:
        runs: columns `process` (None or NaN: a source, left out), `data_ratio`, and METRIC_p75 for any
            metric. See `analysis.runs.load_runs`.
        of: which value of a run, `_p75` or `_mean`, the mean over the plateau's epochs.

    Returns:
        One row per process and metric. Columns: `process`; `metric`, without _p75; `slope`, `stderr` and
        `intercept`, in percent if the metric is declared as a fraction, else in its own unit; `ci_low`,
        `ci_high`, the slope's 95% interval; `n` points; number of distinct `ratios` and `seeds` (NaN without
        a column `seed`). `stderr` is linregress's, as if all points were independent: the interval does not
        use it. With fewer than two ratios all numbers of a line are NaN. The interval is NaN with fewer than
        two seeds that have two ratios, and where all seeds have the same slope.

    Raises:
        RelayError: if two rows have the same process, seed and ratio, or a needed column is missing.

    Examples:
        >>> runs = pd.DataFrame({"process": "scratch", "data_ratio": [0.2, 1.0], "accuracy_p75": [0.6, 0.8]})
        >>> slopes(runs)[["process", "metric", "slope", "intercept"]].round(1)
           process    metric  slope  intercept
        0  scratch  accuracy   25.0       55.0
    """
    rows = target_rows(runs, "data_ratio")
    table = []
    for process in process_order(rows["process"]):
        for metric in metrics_of(rows):
            of_process = rows[rows["process"] == process]
            chosen = of_process[[name for name in ("seed", "data_ratio") if name in rows]]
            chosen = chosen.assign(value=_in_unit(of_process, metric, of)).dropna(subset="value")
            ratios = numbers(chosen["data_ratio"])
            seeds = chosen["seed"].nunique() if "seed" in chosen else np.nan
            table.append((process, metric, *_line(chosen), len(ratios), len(np.unique(ratios)), seeds))
    columns = ["process", "metric", "slope", "stderr", "intercept", "ci_low", "ci_high"]
    return pd.DataFrame(table, columns=[*columns, "n", "ratios", "seeds"])


def slope_tests(runs: pd.DataFrame, metric: str, *, of: str = REPRESENTATIVE) -> pd.DataFrame:
    """Tests between the slopes of two learning processes, paired by seed; each seed is one observation.

    For each seed, the slope over the ratios at which both processes have a value (at least two); a minus b.
    Points of one seed are not independent, but slopes of different seeds are.

    Args:
        runs: as for `slopes`, with a column `seed`.
        metric: a metric's name, without _p75.
        of: as for `slopes`.

    Returns:
        One row per unordered pair of processes. Columns: `process_a`, `process_b`; `difference`, the mean
        over seeds of a's slope minus b's, in the unit of `slopes`; its `stderr`; `p`, two-sided, by the
        paired t test; `p_holm`, corrected by Holm's method for all rows that could be tested; `n` seeds;
        `ci_low`, `ci_high`, the difference's 95% interval; and those of
        `analysis.statistics.comparison.over_seeds`. With fewer than two seeds, all but the difference,
        `p_max_t` and n are NaN.

    Raises:
        RelayError: if the metric is unknown, two rows have the same process, seed and ratio, or the runs
            have different targets.
    """
    metric = metric_column(runs, metric).removesuffix(REPRESENTATIVE)
    rows = target_rows(runs, "seed", "data_ratio")
    refuse_several_targets(rows)
    rows = rows[["process", "seed", "data_ratio"]].assign(value=_in_unit(rows, metric, of))
    by_process = {
        name: rows[rows["process"] == name].set_index(["seed", "data_ratio"])["value"]
        for name in process_order(rows["process"])
    }
    pairs = list(combinations(by_process, 2))
    cells = sorted({cell for of_process in by_process.values() for cell in of_process.index})
    seeds, ratios = (sorted({cell[place] for cell in cells}) for place in (0, 1))
    grid = {
        name: of_process.reindex(pd.MultiIndex.from_product([seeds, ratios]))
        for name, of_process in by_process.items()
    }
    # Least squares is linear in the values: the difference of slopes is the slope of the difference.
    differences = paired_differences(grid, pairs).reshape(len(pairs), len(seeds), len(ratios))
    of_seeds = np.array([seed_slopes(each, ratios) for each in differences]).reshape(len(pairs), len(seeds))
    of_seeds = without_rounding_errors(of_seeds, numbers(rows["value"].dropna()))
    table = []
    for (first, second), of_pair in zip(pairs, of_seeds, strict=True):
        interval = mean_interval(of_pair)
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
    return pd.concat([result, over_seeds(of_seeds)], axis=1)


def at_ratios(runs: pd.DataFrame, metric: str, *, of: str = REPRESENTATIVE) -> pd.DataFrame:
    """Mean and spread over seeds of a metric at each data ratio: the bars of Figure 6.

    Args:
        runs: columns `process` (None or NaN: a source, left out), `data_ratio` and the metric's.
        metric: a metric's name, without _p75.
        of: as for `slopes`.

    Returns:
        One row per process and ratio at which it was trained, ratios ascending. Columns: `process`,
        `data_ratio`, `mean`, `std`, `n`, `ci_low`, `ci_high`, as `compare` gives them, in the metric's own
        unit (fractions in [0, 1]).

    Raises:
        RelayError: if the metric is unknown, or two rows have the same process, seed and ratio.
    """
    metric = metric_column(runs, metric).removesuffix(REPRESENTATIVE)
    declared = metric_of(metric)
    rows = target_rows(runs, "data_ratio")
    table = []
    for process in process_order(rows["process"]):
        for ratio, at_ratio in rows[rows["process"] == process].groupby("data_ratio"):
            values = numbers(at_ratio[metric + of])
            table.append((process, ratio, *mean_interval(values, declared)))
    return pd.DataFrame(table, columns=["process", "data_ratio", *MeanInterval._fields])


def _in_unit(rows: pd.DataFrame, metric: str, of: str) -> npt.NDArray[np.float64]:
    """A metric's values in the unit of slopes: percent for fractions."""
    return numbers(rows[metric + of]) * metric_of(metric).scale


def _line(points: pd.DataFrame) -> tuple[float, float, float, float, float]:
    """Slope, standard error, intercept, and both ends of the slope's interval."""
    ratios, values = numbers(points["data_ratio"]), numbers(points["value"])
    if len(np.unique(ratios)) < 2:
        return np.nan, np.nan, np.nan, np.nan, np.nan
    line = stats.linregress(ratios, values)
    # linregress calls the error of a line through two points 0; it is not known
    stderr = line.stderr if len(ratios) > 2 else np.nan
    if "seed" not in points:
        return line.slope, stderr, line.intercept, np.nan, np.nan
    wide = points.pivot(index="seed", columns="data_ratio", values="value")
    found = slope_over_seeds(wide, wide.columns.to_numpy())
    slope = line.slope if np.isnan(found.estimate) else found.estimate
    return slope, stderr, float(values.mean() - slope * ratios.mean()), found.low, found.high


def _t_test_p(difference: float, stderr: float, n: int) -> float:
    """Two-sided p of the paired t test; NaN if the error is not known.

    If all differences are equal, p is 1 for a mean of 0, and 0 otherwise.
    """
    if stderr == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference) / stderr, n - 1))
