"""What the page's words are about: the main metric, the study's intervals, and one pair of processes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.report.tables import rounded
from analysis.statistics.comparison import oriented
from analysis.statistics.inference import Covers, Inference
from stages.metrics import Metric, metric_of

ALPHA = 0.05
"""The level of max-T's p, with which simultaneous intervals agree."""


@dataclass(frozen=True)
class Pair:
    """A process against another one, over the seeds that both have; differences are this minus the other.

    Attributes:
        n: seeds that both have.
        difference: of the plateau's means.
        low: lower end of its 95% interval, corrected for all pairs.
        high: upper end.
        alone_low: lower end of the interval of this pair by itself.
        alone_high: upper end.
        covers: what both intervals are for.
        p: of max-T over all pairs: other seeds, the same evaluation images.
        smallest_p: the smallest that p could be with so many seeds.
        p75: difference of the 75th percentiles.
        by_patient: difference with every patient counted once; NaN if it is not known.
    """

    n: int
    difference: float
    low: float
    high: float
    alone_low: float
    alone_high: float
    covers: Covers
    p: float
    smallest_p: float
    p75: float
    by_patient: float

    @property
    def differs(self) -> bool:
        """Whether the interval, corrected for all pairs, excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def differs_alone(self) -> bool:
        """Whether the interval of this pair by itself excludes 0."""
        return self.alone_low > 0 or self.alone_high < 0


@dataclass(frozen=True)
class Words:
    """What the sentences are about.

    Attributes:
        inference: of the study.
        metric: the main one.
        companion: a second one that stands beside it because the classes are unbalanced, or None.
        labels: of the processes, in the order of the sentences.
        test_set: whether a test set is kept apart from training and evaluation.
    """

    inference: Inference
    metric: Metric
    companion: Metric | None
    labels: Mapping[str, str]
    test_set: bool = False

    @property
    def others(self) -> str:
        """What an evaluation set has other ones of."""
        return "images" if self.inference.groups_are_images else "patients"

    @property
    def usual(self) -> Covers:
        """What most intervals of the main metric are for: said once, and again only where it differs."""
        levels = self.inference.levels
        found = Counter(levels.loc[levels["metric"] == self.metric.name, "covers"])
        return found.most_common(1)[0][0] if found else ""

    @property
    def pairs(self) -> int:
        """How many pairs of processes are compared."""
        return int((self.differences(self.metric)["n"] > 0).sum())

    def ranking(self, metric: Metric) -> "pd.Series[float]":
        """Mean by process, the best first; equal means in the table's order."""
        levels = self.inference.levels
        means = levels[(levels["metric"] == metric.name) & levels["mean"].notna()].set_index("process")[
            "mean"
        ]
        return means.sort_values(ascending=metric.better == "lower", kind="stable")

    def levels(self, metric: Metric) -> dict[str, dict[str, Any]]:
        """Rows of a metric by process."""
        levels = self.inference.levels
        rows = levels[levels["metric"] == metric.name].to_dict("records")
        return {row["process"]: {str(key): value for key, value in row.items()} for row in rows}

    def differences(self, metric: Metric) -> pd.DataFrame:
        """Rows of a metric's pairs."""
        rows = self.inference.differences
        return rows[rows["metric"] == metric.name] if len(rows) else pd.DataFrame({"n": []})

    def pair(self, metric: Metric, process: str, other: str) -> Pair:
        """Two processes in a metric.

        Raises:
            KeyError: if they were not compared.
        """
        row = oriented(self.differences(metric), process, other)
        return Pair(
            n=int(row["n"]),
            difference=row["difference"],
            low=row["together_low"],
            high=row["together_high"],
            alone_low=row["ci_low"],
            alone_high=row["ci_high"],
            covers=row["covers"],
            p=row["p_max_t"],
            smallest_p=row["smallest_p_max_t"],
            p75=row["p75_difference"],
            by_patient=row["by_patient"],
        )

    def what_for(self, covers: Covers) -> str:
        """What an interval is for."""
        return {
            "seeds and patients": f"for new seeds and new {self.others}",
            "patients": f"for new {self.others}, the networks fixed",
            "seeds": "for new seeds on these images",
        }[covers]


UNBALANCED = 1.5
"""Times the smallest evaluated class from which on the largest one makes classes unbalanced."""


def companion(metric: Metric, evaluation_images: Sequence[int]) -> Metric | None:
    """The metric that stands beside the main one in the answer where classes are unbalanced; None otherwise.

    A process that favours large classes gains in accuracy and loses in macro F1, which counts every class
    once.

    Args:
        metric: the main one.
        evaluation_images: of each class.
    """
    there = [images for images in evaluation_images if images > 0]
    if not there or max(there) <= UNBALANCED * min(there):
        return None
    return metric_of("f1_score_macro" if metric.name == "accuracy" else "accuracy")


def points(metric: Metric, difference: float, *, unit: bool = True) -> str:
    """A difference with its sign, in percentage points for a fraction."""
    value = rounded(metric.scale * difference, _digits(metric), sign=True)
    return f"{value} {metric.unit_of_differences}" if unit else value


def shown_sign(metric: Metric, difference: float) -> float:
    """1, 0 or -1, as a reader of `points` sees it: 0.0 says nothing of an order. NaN for NaN."""
    return float(np.sign(round(metric.scale * difference, _digits(metric))))


def _digits(metric: Metric) -> int:
    return 1 if metric.is_fraction else 3
