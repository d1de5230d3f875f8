"""The report's conclusions in words: one careful sentence per process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.report.page import Sentence
from analysis.report.tables import p_text, rounded
from analysis.statistics.comparison import oriented, pairs_needed
from stages.metrics import PRIMARY, metric_of

ALPHA = 0.01
"""The level of the paper's Table 1."""

_WEAK_ALPHA = 0.05


@dataclass(frozen=True)
class Pair:
    """The test of a process against another one.

    Attributes:
        n: seeds that both have.
        difference: mean over them, the process minus the other.
        low: lower end of its 95% interval.
        high: upper end.
        p: of Wilcoxon's test.
        p_holm: corrected for all tests.
        smallest_p: the smallest that p could be with so many seeds.
        tests: how many there are.
    """

    n: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    smallest_p: float
    tests: int


def ranking(comparison: pd.DataFrame) -> pd.Series:
    """Mean of the primary metric by process, the highest first; equal means in the table's order."""
    rows = comparison[(comparison["metric"] == PRIMARY) & comparison["mean"].notna()]
    return rows.set_index("process")["mean"].sort_values(ascending=False, kind="stable")


def pair_of(pairs: pd.DataFrame, process: str, other: str) -> Pair:
    """The test between two processes, differences as `process` minus `other`.

    Raises:
        KeyError: if the table has no such row.
    """
    row = oriented(pairs, process, other)
    return Pair(
        n=row["n"],
        difference=row["mean_difference"],
        low=row["ci_low"],
        high=row["ci_high"],
        p=row["p"],
        p_holm=row["p_holm"],
        smallest_p=row["smallest_p"],
        tests=int(pairs["p"].notna().sum()),
    )


def process_sentences(
    comparison: pd.DataFrame, pairs: pd.DataFrame, labels: Mapping[str, str]
) -> list[Sentence]:
    """For each process, its primary metric with an interval, and how it differs from the best other one.

    Args:
        comparison: of `analysis.statistics.comparison.compare`.
        pairs: of `analysis.statistics.comparison.pairwise` for the primary metric.
        labels: of the processes, in the order of the sentences.
    """
    ranked = list(ranking(comparison).index)
    rows = {row["process"]: row for row in _records(comparison[comparison["metric"] == PRIMARY])}
    found = []
    for process, label in labels.items():
        if process not in ranked:
            found.append(Sentence(process, label, "has no run with all training data."))
            continue
        others = [name for name in ranked if name != process]
        text = _reached(rows[process])
        if others:
            best = "the next" if process == ranked[0] else "the highest mean"
            text += f"; its difference to {labels[others[0]]}, {best}, is "
            text += difference_text(pair_of(pairs, process, others[0]))
        found.append(Sentence(process, label, f"{text}."))
    return found


def headline(comparison: pd.DataFrame, pairs: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """Which process has the highest mean, and whether the seeds support that it is the best."""
    ranked, metric = ranking(comparison), metric_of(PRIMARY)
    if len(ranked) == 0:
        return "No process has a run with all training data, so there is no comparison."
    first = f"{labels[ranked.index[0]]} has the highest mean {metric.title} with all training data"
    mean = metric.text(ranked.iloc[0])
    if len(ranked) == 1:
        return f"{labels[ranked.index[0]]} reached {mean}; there is no other process to compare it with."
    second = labels[ranked.index[1]]
    pair = pair_of(pairs, ranked.index[0], ranked.index[1])
    gap = f"{_points(pair.difference)} from {second}"
    if np.isnan(pair.p):
        return f"{first}, {mean}; {gap} cannot be tested, because the two share no seed."
    p = f"Holm-corrected p = {p_text(pair.p_holm)}".replace("= <", "<")
    if pair.p_holm < ALPHA:
        return f"{first}, {mean}; these seeds support that it is better ({gap}, {p})."
    return (
        f"{first}, {mean}; these seeds do not show at the 1% level whether it is better than {second} "
        f"({gap}, {p})."
    )


def patients_sentence(
    comparison: pd.DataFrame, differences: pd.DataFrame, labels: Mapping[str, str], groups: int
) -> str | None:
    """How other patients might change the difference between the two best; None if it is not known."""
    ranked = list(ranking(comparison).index[:2])
    if len(ranked) < 2:
        return None
    try:
        row = oriented(differences[differences["metric"] == PRIMARY], ranked[0], ranked[1])
    except KeyError:
        return None
    low, high = row["ci_low"], row["ci_high"]
    if np.isnan(low):
        return None
    verdict = (
        "other patients could reverse it"
        if low <= 0.0 <= high
        else "it keeps its sign for other patients like these"
    )
    return (
        f"Seeds say nothing about new patients. Resampling the {groups} groups of the evaluation set, the "
        f"difference between {labels[ranked[0]]} and {labels[ranked[1]]} after the last epoch is "
        f"{_points(row['difference'])} (95% interval {_points(low, unit=False)} to {_points(high)}): "
        f"{verdict}."
    )


def robustness_sentences(
    slopes: pd.DataFrame, at_ratios: pd.DataFrame, labels: Mapping[str, str]
) -> list[Sentence]:
    """For each process that was trained at two ratios or more, both ends of its line and the slope.

    Args:
        slopes: of `analysis.statistics.robustness.slopes`.
        at_ratios: of `analysis.statistics.robustness.at_ratios` for the primary metric.
        labels: of the processes, in the order of the sentences.
    """
    metric, found = metric_of(PRIMARY), []
    chosen = slopes[(slopes["metric"] == metric.name) & slopes["slope"].notna()]
    lines = {line["process"]: line for line in _records(chosen)}
    for process, label in labels.items():
        if process not in lines:
            continue
        line = lines[process]
        means = _records(at_ratios[at_ratios["process"] == process].sort_values("data_ratio"))
        least, most = means[0], means[-1]
        interval = (
            ""
            if np.isnan(line["ci_low"])
            else f" (95% interval {rounded(line['ci_low'], 2)} to {rounded(line['ci_high'], 2)})"
        )
        text = (
            f"goes from {metric.text(most['mean'])} {metric.title} at {100 * most['data_ratio']:g}% of the "
            f"training images to {metric.text(least['mean'])} at {100 * least['data_ratio']:g}%; its slope "
            f"A is {rounded(line['slope'], 2)}{interval}."
        )
        found.append(Sentence(process, label, text))
    return found


def difference_text(pair: Pair) -> str:
    """A difference with its interval, its test, and what the test supports."""
    text = _points(pair.difference)
    if np.isnan(pair.p):
        return f"{text}, which cannot be tested: the two share no seed"
    interval = "" if np.isnan(pair.low) else f"95% interval {_points(pair.low, unit=False)} to "
    interval += "" if np.isnan(pair.low) else f"{_points(pair.high)}; "
    seeds = "1 shared seed" if pair.n == 1 else f"{pair.n} shared seeds"
    p = f"Holm-corrected p = {p_text(pair.p_holm)}".replace("= <", "<")
    return f"{text} ({interval}{seeds}, {p}){_verdict(pair)}"


def _verdict(pair: Pair) -> str:
    if pair.p_holm < ALPHA:
        return ": a difference at the 1% level"
    tests = "1 test" if pair.tests == 1 else f"{pair.tests} tests"
    needed = f"in {tests} ({pairs_needed(ALPHA, pair.tests)} are needed for 0.01)"
    smallest = pair.tests * pair.smallest_p
    if smallest >= _WEAK_ALPHA:
        return f": not enough seeds for p < 0.01, or even 0.05, {needed}"
    below = "below 0.05, not below 0.01" if pair.p_holm < _WEAK_ALPHA else "no difference is shown"
    return f": {below}" + (f"; not enough seeds for p < 0.01 {needed}" if smallest >= ALPHA else "")


def _reached(row: Mapping[str, Any]) -> str:
    metric = metric_of(PRIMARY)
    text = f"reached {metric.text(row['mean'])} {metric.title}"
    if row["n"] == 1:
        return f"{text} in its only run, which gives no interval"
    low, high = metric.text(row["ci_low"]), metric.text(row["ci_high"])
    return f"{text} (95% interval over {int(row['n'])} seeds {low} to {high})"


def _points(difference: float, *, unit: bool = True) -> str:
    metric = metric_of(PRIMARY)
    value = rounded(metric.scale * difference, 1, sign=True)
    return f"{value} {metric.unit_of_differences}" if unit else value


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
