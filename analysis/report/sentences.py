"""The report's answer in words: one careful sentence a process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.report.page import Sentence
from analysis.report.tables import p_text, rounded
from analysis.statistics.comparison import pairs_needed

ALPHA = 0.01
"""The level of the paper's Table 1."""

_WEAK_ALPHA = 0.05


@dataclass(frozen=True)
class Pair:
    """A row of `analysis.statistics.pairwise`, turned so that it is about a process and another one."""

    n: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    smallest_p: float
    tests: int


def ranking(comparison: pd.DataFrame) -> pd.Series:
    """Mean accuracy by process, the highest first; processes of equal means in the table's order."""
    rows = comparison[(comparison["metric"] == "accuracy") & comparison["mean"].notna()]
    return rows.set_index("process")["mean"].sort_values(ascending=False, kind="stable")


def pair_of(pairs: pd.DataFrame, process: str, other: str) -> Pair:
    """The test between two processes, differences as `process` minus `other`.

    Raises:
        KeyError: if the table has no such row.
    """
    tests = int(pairs["p"].notna().sum())
    for row in _records(pairs):
        both = (row["process_a"], row["process_b"])
        if set(both) != {process, other}:
            continue
        difference, low, high = row["mean_difference"], row["ci_low"], row["ci_high"]
        if both[0] == other:
            difference, low, high = -difference, -high, -low
        return Pair(row["n"], difference, low, high, row["p"], row["p_holm"], row["smallest_p"], tests)
    raise KeyError(f"no test between {process} and {other}")


def process_sentences(
    comparison: pd.DataFrame, pairs: pd.DataFrame, labels: Mapping[str, str]
) -> list[Sentence]:
    """A sentence for each process: its accuracy with an interval, and how it differs from the best other.

    Args:
        comparison: of `analysis.statistics.comparison.compare`.
        pairs: of `analysis.statistics.comparison.pairwise` for the accuracy.
        labels: of the processes, in the order of the sentences.
    """
    ranked = list(ranking(comparison).index)
    rows = {row["process"]: row for row in _records(comparison[comparison["metric"] == "accuracy"])}
    found = []
    for process, label in labels.items():
        if process not in ranked:
            found.append(Sentence(process, label, "has no run with all training data."))
            continue
        others = [name for name in ranked if name != process]
        sentence = _reached(rows[process])
        if others:
            best = "the next" if process == ranked[0] else "the highest mean"
            sentence += f"; its difference to {labels[others[0]]}, {best}, is "
            sentence += difference_text(pair_of(pairs, process, others[0]))
        found.append(Sentence(process, label, f"{sentence}."))
    return found


def headline(comparison: pd.DataFrame, pairs: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """Which process has the highest mean accuracy, and whether the seeds support that it is the best."""
    ranked = ranking(comparison)
    if len(ranked) == 0:
        return "No process has a run with all training data, so there is no comparison."
    first = f"{labels[ranked.index[0]]} has the highest mean accuracy with all training data"
    mean = f"{rounded(100 * ranked.iloc[0], 1)}%"
    if len(ranked) == 1:
        return f"{labels[ranked.index[0]]} reached {mean}; there is no other process to compare it with."
    second = labels[ranked.index[1]]
    pair = pair_of(pairs, ranked.index[0], ranked.index[1])
    gap = f"{rounded(100 * pair.difference, 1, sign=True)} percentage points from {second}"
    if np.isnan(pair.p):
        return f"{first}, {mean}; {gap} cannot be tested, because the two share no seed."
    if pair.p_holm < ALPHA:
        support = f"these seeds support that it is better ({gap}, Holm-corrected p = {p_text(pair.p_holm)})"
    else:
        support = (
            f"whether it is better than {second} these seeds leave open at the 1% level "
            f"({gap}, Holm-corrected p = {p_text(pair.p_holm)})"
        )
    return f"{first}, {mean}; {support.replace('p = <', 'p <')}."


def patients_sentence(
    comparison: pd.DataFrame, differences: pd.DataFrame, labels: Mapping[str, str], groups: int
) -> str | None:
    """How other patients might change the difference between the two best; None if it is not known."""
    ranked = list(ranking(comparison).index[:2])
    rows = differences[
        (differences["metric"] == "accuracy")
        & differences["process_a"].isin(ranked)
        & differences["process_b"].isin(ranked)
    ]
    if len(ranked) < 2 or len(rows) != 1 or rows["ci_low"].isna().all():
        return None
    row = rows.iloc[0]
    turned = row["process_a"] != ranked[0]
    low, high = (-row["ci_high"], -row["ci_low"]) if turned else (row["ci_low"], row["ci_high"])
    difference = -row["difference"] if turned else row["difference"]
    verdict = (
        "other patients could reverse it"
        if low <= 0.0 <= high
        else "it keeps its sign for other patients like these"
    )
    return (
        f"Seeds say nothing about new patients. Resampling the {groups} groups of the evaluation set, the "
        f"difference between {labels[ranked[0]]} and {labels[ranked[1]]} after the last epoch is "
        f"{_points(difference)} (95% interval {_points(low, unit=False)} to {_points(high)}): {verdict}."
    )


def robustness_sentences(
    slopes: pd.DataFrame, at_ratios: pd.DataFrame, labels: Mapping[str, str]
) -> list[Sentence]:
    """A sentence for each process that was trained at two ratios or more.

    Args:
        slopes: of `analysis.statistics.robustness.slopes`.
        at_ratios: of `analysis.statistics.robustness.at_ratios` for the accuracy.
        labels: of the processes, in the order of the sentences.
    """
    found = []
    chosen = slopes[(slopes["metric"] == "accuracy") & slopes["slope"].notna()]
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
        found.append(
            Sentence(
                process,
                label,
                f"goes from {100 * most['mean']:.1f}% accuracy at {100 * most['data_ratio']:g}% of the "
                f"training images to {100 * least['mean']:.1f}% at {100 * least['data_ratio']:g}%; its slope "
                f"A is {rounded(line['slope'], 2)}{interval}.",
            )
        )
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
    text = f"reached {rounded(100 * row['mean'], 1)}% accuracy"
    if row["n"] == 1:
        return f"{text} in its only run, which gives no interval"
    low, high = rounded(100 * row["ci_low"], 1), rounded(100 * row["ci_high"], 1)
    return f"{text} (95% interval over {int(row['n'])} seeds {low}% to {high}%)"


def _points(difference: float, *, unit: bool = True) -> str:
    value = rounded(100 * difference, 1, sign=True)
    return f"{value} percentage points" if unit else value


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
