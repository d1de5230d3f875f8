"""Levels, differences and recalls of a study's processes with all training data, with their intervals.

All of one quantity: a metric's mean over the plateau's epochs, of each seed, on all evaluation images; with
folds on the images out of fold. What is judged with which method stands in docs/statistics.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.runs.out_of_fold import PooledPredictions
from analysis.runs.selection import numbers, process_order, whole_set_rows
from analysis.statistics import fixed_networks, two_way
from analysis.statistics.by_patient import leave_one_out
from analysis.statistics.by_seed import Counted, SeedValues, group_numbers
from analysis.statistics.comparison import over_seeds, paired_differences, pairwise
from analysis.statistics.intervals import (
    CONFIDENCE,
    Array,
    Interval,
    interval_over_seeds,
    mean_over_seeds,
    no_interval,
)
from stages.metrics import Metric

Covers = Literal["seeds and patients", "patients", "seeds", ""]
"""What an interval is for: other seeds and patients; other patients, the networks fixed; other seeds. Empty
where there is none."""

_LEVELS = ["process", "metric", "mean", "n", "ci_low", "ci_high", "covers"]


@dataclass(frozen=True)
class Inference:
    """What the runs on the whole training set support. Fractions are in [0, 1].

    Attributes:
        levels: one row per process and metric. Columns: `process`, `metric`, `mean` over seeds, `n` seeds,
            `ci_low`, `ci_high`, and what the interval `covers`.
        differences: one row per unordered pair of processes and metric, over the seeds that both have; a
            minus b. Columns: `process_a`, `process_b`, `metric`, `n`, `difference`; `ci_low`, `ci_high`, its
            interval by itself, and `together_low`, `together_high`, corrected by Bonferroni's method for
            all pairs, and what they `cover`; those of `analysis.statistics.comparison.over_seeds`;
            `by_patient`, the difference of accuracies with every patient counted once (NaN for other
            metrics); and of the representative values `p75_difference`, and `p`, `p_holm`, `effect`,
            `smallest_p_holm` as `pairwise` has them.
        by_seed: one row per process, metric and seed, with the `value` that is judged.
        recall: one row per process and class. Columns: `process`, `class`, `recall`, `ci_low`, `ci_high` and
            what the interval `covers`; the class's `samples` and `groups`.
        samples: evaluation images; 0 without predictions.
        groups: their groups (patients, objects).
        without_group: images without a group; each counts as a group of its own.
    """

    levels: pd.DataFrame
    differences: pd.DataFrame
    by_seed: pd.DataFrame
    recall: pd.DataFrame
    samples: int
    groups: int
    without_group: int

    @property
    def groups_are_images(self) -> bool:
        """Whether every image is a group of its own: nothing is known of patients."""
        return self.groups == self.samples


def infer(runs: pd.DataFrame, pooled: PooledPredictions | None, metrics: Sequence[Metric]) -> Inference:
    """Judge the processes of a study.

    Args:
        runs: one row per stage run, with METRIC_p75 and METRIC_mean; see `analysis.runs.load_runs`.
        pooled: predictions of these runs, or of those that can be read; None if there are none.
        metrics: which; those that are not computed from counts have intervals over seeds only.
    """
    rows = whole_set_rows(runs, "seed")
    folds = "folds" in rows and bool(rows["folds"].notna().any())
    groups, without_group = group_numbers([] if pooled is None else pooled.groups)
    counted = None if pooled is None else Counted.of(pooled, groups, metrics)
    levels, differences, by_seed = [], [], []
    for metric in metrics:
        values = _values(rows, metric, counted)
        levels += [_level(name, metric, each, counted, folds) for name, each in values.items()]
        for name, each in values.items():
            by_seed += [(name, metric.name, seed, value) for seed, value in each.of_seeds.items()]
        differences.append(_differences(rows, metric, values, counted, folds))
    return Inference(
        levels=pd.DataFrame(levels, columns=_LEVELS),
        differences=pd.concat(differences, ignore_index=True) if differences else pd.DataFrame(),
        by_seed=pd.DataFrame(by_seed, columns=["process", "metric", "seed", "value"]),
        recall=_recall(pooled, counted, folds),
        samples=len(groups),
        groups=int(groups.max(initial=-1)) + 1,
        without_group=without_group,
    )


def _values(rows: pd.DataFrame, metric: Metric, counted: Counted | None) -> dict[str, SeedValues]:
    """By process: from its predictions where there are some, and from its records otherwise."""
    column = metric.mean_column
    found = {}
    for process in process_order(rows["process"]):
        of_counts = None if counted is None else counted.metrics.get((process, metric.name))
        if of_counts is not None:
            found[process] = of_counts
        elif column in rows:
            chosen = rows[rows["process"] == process].set_index("seed")[column]
            of_seeds = pd.Series(numbers(chosen), index=chosen.index).dropna()
            if len(of_seeds):
                found[process] = SeedValues(of_seeds, None)
    return found


def _level(
    process: str, metric: Metric, values: SeedValues, counted: Counted | None, folds: bool
) -> tuple[Any, ...]:
    of_seeds, without = numbers(values.of_seeds), values.without
    if without is None or counted is None or without.shape[1] < 2:
        found = interval_over_seeds(of_seeds, fraction=metric.is_fraction).within(*metric.bounds)
        covers: Covers = "seeds"
    elif len(of_seeds) > 1:
        found = two_way.interval(of_seeds, without, counted.sizes, level=True)
        covers = "seeds and patients"
    elif folds:  # their networks share training patients: no interval for patients alone covers
        found, covers = no_interval(float(of_seeds[0])), ""
    else:
        ends = fixed_networks.accuracy_ends if metric.name == "accuracy" else fixed_networks.level_ends
        found = fixed_networks.interval(float(of_seeds[0]), without[0], counted.sizes, ends)
        covers = "patients"
    said = covers if found.exists else ""
    return process, metric.name, found.estimate, len(of_seeds), found.low, found.high, said


def _differences(
    rows: pd.DataFrame,
    metric: Metric,
    values: Mapping[str, SeedValues],
    counted: Counted | None,
    folds: bool,
) -> pd.DataFrame:
    pairs = list(combinations(values, 2))
    by_seed = paired_differences({name: each.of_seeds for name, each in values.items()}, pairs)
    together = over_seeds(by_seed)
    together[["all_low", "all_high"]] = together[["all_low", "all_high"]].clip(-metric.span, metric.span)
    compared = max(1, int((~np.isnan(by_seed)).any(axis=1).sum()))
    table = []
    for place, (first, second) in enumerate(pairs):
        judge, covers, by_patient = _judge(values[first], values[second], counted, folds)
        alone, corrected = (
            judge(confidence).within(-metric.span, metric.span)
            for confidence in (CONFIDENCE, 1 - (1 - CONFIDENCE) / compared)
        )
        row: dict[str, Any] = {"process_a": first, "process_b": second, "metric": metric.name}
        row |= {"n": int((~np.isnan(by_seed[place])).sum()), "difference": alone.estimate}
        row |= {"ci_low": alone.low, "ci_high": alone.high, "covers": covers if alone.exists else ""}
        row |= {"together_low": corrected.low, "together_high": corrected.high}
        if covers == "seeds":  # the same seeds and nothing else: those that agree with max-T
            row |= {"together_low": together["all_low"][place], "together_high": together["all_high"][place]}
        row["by_patient"] = by_patient if metric.name == "accuracy" else np.nan
        table.append(row)
    found = pd.concat([pd.DataFrame(table), together], axis=1)
    if not pairs:
        return found
    papers = pairwise(rows, metric.name).rename(columns={"mean_difference": "p75_difference"})
    kept = ["p75_difference", "p", "p_holm", "effect", "smallest_p_holm"]
    return found.merge(papers[["process_a", "process_b", *kept]], on=["process_a", "process_b"], how="left")


def _judge(
    a: SeedValues, b: SeedValues, counted: Counted | None, folds: bool
) -> tuple[Callable[[float], Interval], Covers, float]:
    """The interval of a difference at a confidence, what it covers, and the difference by patient."""
    shared = sorted(set(a.of_seeds.index) & set(b.of_seeds.index))
    off = numbers(a.of_seeds[shared]) - numbers(b.of_seeds[shared])
    if not shared:
        return lambda confidence: no_interval(np.nan), "", np.nan
    if a.without is None or b.without is None or counted is None or a.without.shape[1] < 2:
        return lambda confidence: mean_over_seeds(off), "seeds", np.nan
    places = [[list(each.of_seeds.index).index(seed) for seed in shared] for each in (a, b)]
    without = a.without[places[0]] - b.without[places[1]]
    sizes = counted.sizes
    left = sizes.sum() - sizes
    of_patients = (off[:, None] * sizes.sum() - without * left) / sizes
    by_patient = float(of_patients.mean())
    if len(shared) > 1:

        def for_seeds_and_patients(confidence: float) -> Interval:
            return two_way.interval(off, without, sizes, level=False, confidence=confidence)

        return for_seeds_and_patients, "seeds and patients", by_patient
    if folds:
        return lambda confidence: no_interval(float(off[0])), "", by_patient

    def for_patients(confidence: float) -> Interval:
        return fixed_networks.interval(
            float(off[0]),
            without[0],
            sizes,
            lambda *given: fixed_networks.difference_ends(*given, confidence=confidence),
        )

    return for_patients, "patients", by_patient


def _recall(pooled: PooledPredictions | None, counted: Counted | None, folds: bool) -> pd.DataFrame:
    columns = ["process", "class", "recall", "ci_low", "ci_high", "covers", "samples", "groups"]
    if pooled is None or counted is None:
        return pd.DataFrame(columns=columns)
    rows = []
    for process in process_order(counted.hits):
        for label, name in enumerate(pooled.classes):
            images = counted.images[:, label]
            found, covers = _class_recall(counted.hits[process][:, :, label], images, folds)
            said = covers if found.exists else ""
            counts = int(images.sum()), int((images > 0).sum())
            rows.append((process, name, found.estimate, found.low, found.high, said, *counts))
    return pd.DataFrame(rows, columns=columns)


def _class_recall(hits: Array, images: Array, folds: bool) -> tuple[Interval, Covers]:
    """Recall of a class from its right images, (seeds, groups), and its images, (groups,)."""
    fixed = fixed_networks.recall(hits.mean(axis=0), images)
    if not folds:
        return fixed, "patients"
    holds = images > 0
    if len(hits) < 2 or holds.sum() < 2:
        return no_interval(fixed.estimate), ""
    if fixed.estimate in (0.0, 1.0):  # no seed and no patient varies: as with fixed networks
        return fixed, "seeds and patients"
    value, without = leave_one_out(hits[:, holds], images[holds])
    return two_way.interval(value, without, images[holds], level=True), "seeds and patients"
