"""Means over seeds and paired tests between learning processes (paper, Table 1).

What the numbers can and cannot say is in docs/statistics.md.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

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
    whole_set_rows,
)
from analysis.statistics.intervals import interval_over_seeds
from analysis.statistics.max_t import simultaneous_intervals
from stages.metrics import REPRESENTATIVE, Metric, metric_of

# scipy tests tied differences exactly up to this number of pairs, by all assignments of signs.
_ALL_SIGNS = 13

_SIGNED = ("mean_difference", "difference", "effect", "p75_difference", "by_patient")
_ENDS = (("ci_low", "ci_high"), ("all_low", "all_high"), ("together_low", "together_high"))

_DIGITS = 12  # of a difference, relative to the values that were subtracted


class MeanInterval(NamedTuple):
    """Mean and sample standard deviation of n values, with Student's interval of the mean."""

    mean: float
    std: float
    n: int
    ci_low: float
    ci_high: float


def compare(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over seeds of every metric's representative value, for each learning process.

    Args:
        runs: columns `process` (None or NaN: a source, left out) and METRIC_p75 for any metric; where there
            is a column `data_ratio`, only rows with 1.0 count. See `analysis.runs.load_runs`.

    Returns:
        One row per process and metric. Columns: `process`; `metric`, without _p75; `mean`, `std` (n - 1 in
        the denominator) and `n` of the values that are there; `ci_low`, `ci_high`, the 95% Student t interval
        of the mean (`interval_over_seeds`: within 0 and 1 for fractions). All in the metric's own unit,
        fractions in [0, 1]. With one value, std and interval are NaN; with equal ones the interval is.

    Raises:
        RelayError: if two rows have the same process and seed, or the column `process` is missing.

    Examples:
        >>> runs = pd.DataFrame({"process": "scratch", "seed": [0, 1, 2], "accuracy_p75": [0.80, 0.82, 0.84]})
        >>> compare(runs)[["process", "metric", "mean", "std", "n"]].round(3)
           process    metric  mean   std  n
        0  scratch  accuracy  0.82  0.02  3
    """
    rows = whole_set_rows(runs)
    table = []
    for process in process_order(rows["process"]):
        of_process = rows[rows["process"] == process]
        for metric in metrics_of(rows):
            of = metric_of(metric)
            values = numbers(of_process[of.column])
            table.append((process, metric, *mean_interval(values, of)))
    return pd.DataFrame(table, columns=["process", "metric", *MeanInterval._fields])


def pairwise(runs: pd.DataFrame, metric: str, *, of: str = REPRESENTATIVE) -> pd.DataFrame:
    """Tests between every two learning processes, paired by seed: Wilcoxon's signed-rank test, and max-T.

    Args:
        runs: as for `compare`, with a column `seed`.
        metric: a metric's name, without _p75.
        of: which value of a run, `_p75` or `_mean`, the mean over the plateau's epochs.

    Returns:
        One row per unordered pair of processes. A pair of values is a seed for which both have a value;
        differences are a minus b. Columns:
        `process_a`, `process_b`; `n`, the number of pairs; `p`, two-sided; `p_holm`, corrected by Holm's
        method for all rows of this table that could be tested (n at least 1); `effect`, the matched-pairs
        rank-biserial correlation in [-1, 1], above 0 if a is higher (which is worse where lower is better);
        `mean_difference` with `ci_low` and `ci_high`, its 95% paired t interval (n at least 2);
        `smallest_p` and `smallest_p_holm`, the smallest values that p and p_holm can have with so many pairs;
        and those of `over_seeds`. What could not be computed is NaN.

    Raises:
        RelayError: if the metric is unknown, two rows have the same process and seed, or the runs have
            different targets.

    Examples:
        >>> accuracies = {"scratch": [70, 71, 69, 72, 70, 71], "two_stage": [75, 75, 72, 77, 74, 76]}
        >>> runs = pd.DataFrame(
        ...     {"process": process, "seed": seed, "accuracy_p75": percent / 100}
        ...     for process, percents in accuracies.items()
        ...     for seed, percent in enumerate(percents)
        ... )
        >>> pairwise(runs, "accuracy")[["process_a", "process_b", "n", "p", "mean_difference"]].round(3)
          process_a  process_b  n      p  mean_difference
        0   scratch  two_stage  6  0.031           -0.043
    """
    column = metric_column(runs, metric).removesuffix(REPRESENTATIVE) + of
    rows = whole_set_rows(runs, "seed")
    refuse_several_targets(rows)
    chosen = rows[["seed", "process"]].assign(value=numbers(rows[column]))
    wide = chosen.pivot(index="seed", columns="process", values="value")
    pairs = list(combinations(process_order(wide), 2))
    differences = paired_differences({str(name): wide[name] for name in wide}, pairs)
    table = []
    for (first, second), of_seeds in zip(pairs, differences, strict=True):
        off = of_seeds[~np.isnan(of_seeds)]
        interval = mean_interval(off)
        table.append(
            {
                "process_a": first,
                "process_b": second,
                "n": len(off),
                "p": signed_rank_p(off),
                "p_holm": np.nan,
                "effect": rank_biserial(off),
                "mean_difference": interval.mean,
                "ci_low": interval.ci_low,
                "ci_high": interval.ci_high,
                "smallest_p": smallest_p(len(off)),
                "smallest_p_holm": np.nan,
            }
        )
    columns = ["process_a", "process_b", "n", "p", "p_holm", "effect"]
    columns += ["mean_difference", "ci_low", "ci_high", "smallest_p", "smallest_p_holm"]
    result = pd.DataFrame(table, columns=columns)
    result["p_holm"] = holm(numbers(result["p"]))
    result["smallest_p_holm"] = holm(numbers(result["smallest_p"]))
    return pd.concat([result, over_seeds(differences)], axis=1)


def paired_differences(
    values: "Mapping[str, pd.Series[float]]", pairs: Sequence[tuple[str, str]]
) -> npt.NDArray[np.float64]:
    """Differences of pairs of processes by seed, shape (pairs, seeds), NaN where one of the two has no value.

    Args:
        values: of each process, by seed.
        pairs: names of processes; differences are first minus second.
    """
    seeds = sorted({seed for of_process in values.values() for seed in of_process.index})
    wide = {name: numbers(of_process.reindex(seeds)) for name, of_process in values.items()}
    rows = [
        without_rounding_errors(wide[a] - wide[b], np.nan_to_num(np.concatenate([wide[a], wide[b]])))
        for a, b in pairs
    ]
    return np.array(rows, dtype=np.float64).reshape(len(pairs), len(seeds))


def over_seeds(differences: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Step-down max-T over all pairs at once, and simultaneous intervals that agree with it.

    Args:
        differences: of `paired_differences`.

    Returns:
        One row per pair. Columns: `p_max_t`, `all_low`, `all_high` (see
        `analysis.statistics.max_t.simultaneous_intervals`) and `smallest_p_max_t`, the smallest that p_max_t
        can be with so many seeds, whatever the number of pairs.
    """
    columns = ["p_max_t", "all_low", "all_high", "smallest_p_max_t"]
    if not differences.size:
        return pd.DataFrame(np.full((len(differences), 4), np.nan), columns=columns)
    found = simultaneous_intervals(differences)
    smallest = [smallest_p(int(n)) for n in (~np.isnan(differences)).sum(axis=1)]
    return pd.DataFrame(dict(zip(columns, (found.p, found.low, found.high, np.array(smallest)), strict=True)))


def oriented(pairs: pd.DataFrame, process: str, other: str) -> dict[str, Any]:
    """The row of two processes, turned so that its differences are `process` minus `other`.

    Args:
        pairs: one row per unordered pair: of `pairwise`, of `analysis.statistics.robustness.slope_tests`, or
            of one metric of `analysis.statistics.inference.Inference.differences`.
        process: the one that the row is to be about.
        other: the one that it is compared with.

    Returns:
        The row's values by column, without `process_a` and `process_b`.

    Raises:
        KeyError: if the table has no row of these two.
    """
    for row in pairs.to_dict("records"):
        both = (row.pop("process_a"), row.pop("process_b"))
        values = {str(name): value for name, value in row.items()}
        if both == (process, other):
            return values
        if both == (other, process):
            turned = {name: -values[name] for name in _SIGNED if name in values}
            for low, high in (ends for ends in _ENDS if ends[0] in values):
                turned |= {low: -values[high], high: -values[low]}
            return values | turned
    raise KeyError(f"no comparison of {process} with {other}")


def mean_interval(values: npt.NDArray[np.float64], metric: Metric | None = None) -> MeanInterval:
    """Mean, standard deviation and 95% Student t interval of the values that are not NaN.

    The interval is that of `analysis.statistics.intervals.interval_over_seeds`, cut at what the metric, where
    it is one, can be. With no values all fields but
    n are NaN; with one, all but n and the mean; with equal ones the interval is NaN.
    """
    values = values[~np.isnan(values)]
    n = len(values)
    if not n:
        return MeanInterval(np.nan, np.nan, n, np.nan, np.nan)
    found = interval_over_seeds(values, fraction=metric is not None and metric.is_fraction)
    if metric is not None:
        found = found.within(*metric.bounds)
    std = float(values.std(ddof=1)) if n > 1 else np.nan
    return MeanInterval(float(values.mean()), std, n, found.low, found.high)


def signed_rank_p(differences: npt.NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, as `scipy.stats.wilcoxon(differences)` gives it.

    That is `zero_method="wilcox"` (zeros are dropped before ranking) and `method="auto"`: without zeros and
    ties, exact for up to 50 pairs; with them, exact for up to 13 pairs, by all assignments of signs to the
    mid-ranks (computed here, in a hundredth of scipy's time); for more pairs the normal approximation,
    corrected for ties. If all differences are zero, p is 1; without differences it is NaN.
    """
    nonzero = differences[differences != 0]
    if not len(differences):
        return np.nan
    if not len(nonzero):
        return 1.0
    if (
        len(np.unique(np.abs(differences))) == len(nonzero) == len(differences)
        or len(differences) > _ALL_SIGNS
    ):
        return float(stats.wilcoxon(differences).pvalue)
    ranks = stats.rankdata(np.abs(nonzero))
    # One row per assignment of signs.
    positive = np.arange(2 ** len(ranks))[:, None] >> np.arange(len(ranks)) & 1
    possible, observed = positive @ ranks, ranks[nonzero > 0].sum()
    return float(min(1.0, 2 * min((possible <= observed).mean(), (possible >= observed).mean())))


def rank_biserial(differences: npt.NDArray[np.float64]) -> float:
    """Matched-pairs rank-biserial correlation (Kerby 2014), the effect size of Wilcoxon's signed-rank test.

    (R+ - R-) / (R+ + R-), with the sums of the ranks of positive and of negative differences, without zeros.
    It is 1 if all differences are positive, 0 if both sums are equal or all differences are zero, and NaN
    without differences.
    """
    if not len(differences):
        return np.nan
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    return float((np.sign(nonzero) * ranks).sum() / ranks.sum()) if len(nonzero) else 0.0


def without_rounding_errors(
    differences: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Differences rounded to 12 digits of the largest of the values that were subtracted.

    0.3 - 0.2 and 0.2 - 0.1 are different numbers in floating point. Without rounding, equal differences,
    which are common because accuracies are multiples of 1 / N, would be ranked by their rounding errors.
    """
    unit = float(np.abs(values).max(initial=0.0)) or 1.0
    rounded: npt.NDArray[np.float64] = np.round(differences / unit, _DIGITS) * unit
    return rounded


def holm(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Correct p values by Holm's step-down method (Holm 1979), in the order given.

    The k-th smallest of m is multiplied by m - k + 1. None becomes smaller than the one before it, or larger
    than 1. NaN means that the test could not be made: it stays NaN and does not count.
    """
    corrected = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected


def smallest_p(n: int) -> float:
    """The smallest two-sided p that Wilcoxon's test of n pairs can give: 2 of 2^n assignments of signs."""
    return float(2.0 ** (1 - n)) if n else np.nan


def pairs_needed(alpha: float = 0.01, tests: int = 1) -> int:
    """The fewest pairs with which the smallest of some p values can be below alpha after Holm's correction.

    Raises:
        ValueError: if alpha is not above 0.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, not {alpha}")
    n = 1
    while tests * smallest_p(n) >= alpha:
        n += 1
    return n
