"""The report's conclusions in words: the answer, and one careful sentence per process."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.report.judgement import ALPHA, Pair, Words, points, shown_sign
from analysis.report.page import Sentence
from analysis.report.reversals import reversals
from analysis.report.tables import p_text, rounded
from stages.console.words import counted
from stages.metrics import Metric


def headline(words: Words) -> list[str]:
    """Which process is best, in one sentence; then paragraphs on what supports that."""
    metric, ranked = words.metric, words.ranking(words.metric)
    if len(ranked) == 0:
        return ["No process has a run with all training data, so there is no comparison."]
    best, mean = str(ranked.index[0]), metric.text(ranked.iloc[0])
    if len(ranked) == 1:
        level = _level_text(words, metric, words.levels(metric)[best])
        alone = f"{words.labels[best]} reached {level} with all training data"
        return [f"{alone}; there is no other process to compare it with.", *_method(words)]
    second = str(ranked.index[1])
    pair = words.pair(metric, best, second)
    extreme = "lowest" if metric.better == "lower" else "highest"
    first = f"{words.labels[best]} has the {extreme} mean {metric.title} with all training data, {mean}"
    if words.companion is not None and best in (beside := words.ranking(words.companion)).index:
        first += f" ({words.companion.title} {words.companion.text(beside[best])})"
    if pair.n == 0:
        first += f"; it cannot be compared with {words.labels[second]}, the next: the two share no seed."
        return [first, *_companion(words, best), *_method(words)]
    first += f"; its difference from {words.labels[second]}, the next, is {difference_text(words, pair)}."
    verdict = f"Of {words.labels[best]} and {words.labels[second]}: {_verdict(words, pair)}"
    return [first, verdict, *_companion(words, best), *reversals(words, best, second), *_method(words)]


def process_sentences(words: Words) -> list[Sentence]:
    """For each process, its level with an interval, and how it differs from the best other one."""
    ranked, rows = [str(name) for name in words.ranking(words.metric).index], words.levels(words.metric)
    companions = {} if words.companion is None else words.levels(words.companion)
    extreme = "lowest" if words.metric.better == "lower" else "highest"
    found = []
    for process, label in words.labels.items():
        if process not in ranked:
            found.append(Sentence(process, label, "has no run with all training data."))
            continue
        text = f"reached {_level_text(words, words.metric, rows[process])}"
        if words.companion is not None and process in companions:
            text += f", and {_level_text(words, words.companion, companions[process])}"
        others = [name for name in ranked if name != process]
        if others:
            place = "the next" if process == ranked[0] else f"the {extreme} mean"
            text += f"; its difference from {words.labels[others[0]]}, {place}, is "
            text += difference_text(words, words.pair(words.metric, process, others[0]))
        found.append(Sentence(process, label, f"{text}."))
    return found


def difference_text(words: Words, pair: Pair) -> str:
    """A difference with its interval, and what it supports."""
    if pair.n == 0:
        return "not known: the two share no seed"
    text = _interval_text(words, words.metric, pair)
    if pair.differs:
        text += ": the two networks differ" if pair.covers == "patients" else ": different"
    elif pair.p < ALPHA and pair.covers != "seeds":
        text += f": different for new seeds on these {words.others}, not shown for new {words.others}"
    else:
        text += ": not shown to differ"
    if shown_sign(words.metric, pair.difference) * shown_sign(words.metric, pair.p75) < 0:
        text += f"; of the 75th percentiles it is {points(words.metric, pair.p75)}, the reverse"
    return text


def robustness_sentences(words: Words, slopes: pd.DataFrame, at_ratios: pd.DataFrame) -> list[Sentence]:
    """For each process that was trained at two ratios or more, both ends of its line and the slope.

    Args:
        words: what the sentences are about.
        slopes: of `analysis.statistics.robustness.slopes`, of the plateau's means.
        at_ratios: of `analysis.statistics.robustness.at_ratios` for the main metric, of the plateau's means.
    """
    metric, found = words.metric, []
    chosen = slopes[(slopes["metric"] == metric.name) & slopes["slope"].notna()]
    lines = {str(line["process"]): line for line in chosen.to_dict("records")}
    for process, label in words.labels.items():
        if process not in lines:
            continue
        line = lines[process]
        means = at_ratios[at_ratios["process"] == process].sort_values("data_ratio").to_dict("records")
        least, most = means[0], means[-1]
        interval = "no interval: it takes two seeds whose slopes differ"
        if not np.isnan(line["ci_low"]):
            ends = f"{rounded(line['ci_low'], 2)} to {rounded(line['ci_high'], 2)}"
            interval = f"95% interval for new seeds {ends}"
        text = (
            f"goes from {metric.text(most['mean'])} {metric.title} at {100 * most['data_ratio']:g}% of the "
            f"training images to {metric.text(least['mean'])} at {100 * least['data_ratio']:g}%; its slope "
            f"A is {rounded(line['slope'], 2)} ({interval})."
        )
        found.append(Sentence(process, label, text))
    return found


def _verdict(words: Words, pair: Pair) -> str:
    """What the two best processes' difference supports, in sentences."""
    others, test = words.others, _test_text(words, pair)
    if pair.covers == "patients":
        text = "is shown" if pair.differs else "is not shown"
        return f"That new {others} would keep this order of the two networks {text}; other seeds may not."
    if not pair.covers:
        return f"Without an interval this shows nothing. {test}"
    if pair.covers == "seeds":
        shown = "support" if pair.differs else "do not show"
        return f"These seeds {shown} that it is better on these images, and say nothing of others. {test}"
    if pair.differs:
        return f"It keeps its sign for new seeds and for other {others} like these, at 95%. {test}"
    text = f"Which of the two is better for new seeds and new {others} is not shown"
    if pair.p < ALPHA:
        text = f"The seeds agree on these {others}, but other {others} could reverse the order"
    if pair.differs_alone:
        text += f" (the interval of this pair by itself excludes 0, but it was picked out of {words.pairs})"
    return f"{text}. {test}"


def _test_text(words: Words, pair: Pair) -> str:
    pairs = "" if words.pairs == 1 else f" of all {words.pairs} pairs"
    text = f"Over seeds alone, on these {words.others}, p = {p_text(pair.p)}".replace("= <", "<")
    text += f" (max-T{pairs})"
    if pair.smallest_p >= ALPHA:
        text += f"; {counted(pair.n, 'seed')} cannot give a p below {pair.smallest_p:.2g}"
    return f"{text}."


def _companion(words: Words, best: str) -> list[str]:
    """The second metric of unbalanced classes."""
    if words.companion is None:
        return []
    ranked = words.ranking(words.companion)
    if ranked.empty:
        return []
    first, title = str(ranked.index[0]), words.companion.title
    text = f"The classes are unbalanced, so {title} stands beside {words.metric.title}: "
    if first == best:
        return [f"{text}{words.labels[best]} is best in it too, with {words.companion.text(ranked.iloc[0])}."]
    text += f"in it {words.labels[first]} is best, with {words.companion.text(ranked.iloc[0])}"
    if best in ranked.index:
        text += f" against {words.companion.text(ranked[best])} of {words.labels[best]}"
    return [f"{text}."]


def _method(words: Words) -> list[str]:
    """What the numbers of the answer are, and what they are not: once, for all sentences."""
    text = "Values are means over the plateau's epochs"
    if not words.usual:
        text += ", without intervals"
    else:
        text += f"; intervals are 95% intervals {words.what_for(words.usual)}"
    if words.usual == "patients":
        text += ": a single seed says nothing of other seeds"
    if words.pairs > 1:
        text += f"; those of differences are corrected for all {words.pairs} pairs"
    third = "there is no third set: what is chosen by these numbers will do worse on new data"
    if words.test_set:
        third = "a test set is kept apart"
    return [
        f"{text}. All of them are of the evaluation set; {third}. The 75th percentiles, in the tables and "
        "figures marked as the paper's, are optimistic besides: they favour the plateau's better epochs."
    ]


def _level_text(words: Words, metric: Metric, row: Mapping[str, Any]) -> str:
    said = [] if row["covers"] else ["no interval"]
    if not said:
        what = "" if row["covers"] == words.usual else f" {words.what_for(row['covers'])}"
        said = [f"{metric.text(row['ci_low'])} to {metric.text(row['ci_high'])}{what}"]
    if metric == words.metric:
        said.append("one seed" if row["n"] == 1 else f"{int(row['n'])} seeds")
    return f"{metric.text(row['mean'])} {metric.title} ({'; '.join(said)})"


def _interval_text(words: Words, metric: Metric, pair: Pair) -> str:
    text = points(metric, pair.difference)
    if not pair.covers or np.isnan(pair.low):
        return f"{text} (no interval; {counted(pair.n, 'shared seed')})"
    what = "" if pair.covers == words.usual else f" {words.what_for(pair.covers)}"
    ends = f"{points(metric, pair.low, unit=False)} to {points(metric, pair.high, unit=False)}"
    return f"{text} ({ends}{what})"
