"""Every metric of networks on a labelled set, with intervals for other networks and other groups.

Averages over classes are over those that have images here: a class without images is not averaged in, neither
as a 0 nor as a 1. Where every class has images, definitions are those of `stages.metrics`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch

from analysis.prediction.evaluation.answers import Answers, Floats
from analysis.statistics import fixed_networks, two_way
from analysis.statistics.auroc import leave_one_out_auroc
from analysis.statistics.by_patient import (
    classes_by_group,
    jackknife_variance,
    leave_one_out,
    leave_one_out_counts,
    patients_dof,
)
from analysis.statistics.intervals import Interval, interval_over_seeds, no_interval, plain_ends, t_quantile
from stages.metrics import METRICS, Counts, Metric, Outputs

Of = Literal["ensemble", "single networks"]
ENSEMBLE: Of = "ensemble"
SINGLE: Of = "single networks"
"""The networks' mean probability; or each network by itself, the mean over seeds of their values."""


@dataclass(frozen=True)
class Measured:
    """A metric of networks on a set.

    Attributes:
        metric: which.
        values: of each seed, (seeds,), on all images.
        without: the same without each group, (seeds, groups); None where it is not known.
    """

    metric: Metric
    values: Floats
    without: Floats | None

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(self.values.mean())


def measured(answers: Answers, of: Of) -> list[Measured]:
    """Every metric of a set, in the order of their table, that is defined on this one."""
    logs = answers.together if of == ENSEMBLE else answers.each
    averaged = (lambda values: values) if of == ENSEMBLE else answers.by_seed
    counts = _counts(answers, logs)
    found = []
    for metric in METRICS.values():
        if metric.compute is None:
            continue
        values, without = _of_networks(metric, answers, logs, counts)
        if not np.isnan(values).any():
            of_seeds = None if without is None else averaged(without)
            found.append(Measured(metric, averaged(values), of_seeds))
    return found


def _counts(answers: Answers, logs: Floats) -> tuple[Floats, Floats, Floats]:
    """Images (G, C), hits and predictions (M, G, C), of the classes that have images."""
    classes = logs.shape[2]
    counts = classes_by_group(answers.labels, logs.argmax(axis=2), answers.groups)
    padded = [
        np.pad(each, [(0, 0)] * (each.ndim - 1) + [(0, classes - each.shape[-1])])[..., answers.present]
        for each in counts
    ]
    return padded[0], padded[1], padded[2]


def _of_networks(
    metric: Metric, answers: Answers, logs: Floats, counts: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats | None]:
    """Of each network, (M,), and without each group, (M, G)."""
    if metric.of_counts is not None:
        return leave_one_out_counts(metric.of_counts, *counts)
    of_image = _of_images(metric.name, answers, logs)
    if of_image is not None:
        of_groups = [np.bincount(answers.groups, weights=row) for row in of_image]
        sums = np.stack(of_groups).astype(np.float64)
        return leave_one_out(sums, np.bincount(answers.groups).astype(np.float64))
    if metric.name == "auroc_macro":
        pairs = [leave_one_out_auroc(np.exp(each), answers.labels, answers.groups) for each in logs]
        return np.array([value for value, _ in pairs]), np.stack([without for _, without in pairs])
    assert metric.compute is not None
    labels = torch.from_numpy(answers.labels)
    outputs = [metric.compute(Outputs(torch.from_numpy(each), labels)) for each in logs]
    return np.array([np.nan if value is None else value for value in outputs]), None


def _of_images(name: str, answers: Answers, logs: Floats) -> Floats | None:
    """A metric that is a mean over images: of each network and image, (M, N)."""
    if name == "cross_entropy":
        return -logs[:, np.arange(len(answers.labels)), answers.labels]
    if name == "brier_score":
        truth = np.eye(logs.shape[2])[answers.labels]
        return np.asarray(((np.exp(logs) - truth) ** 2).sum(axis=2))
    return None


def table_of(answers: Answers) -> pd.DataFrame:
    """Metrics of the ensemble and of single networks.

    Returns:
        One row per metric and `of` (see `Of`). Columns: metric, of, value, low, high (95% interval, NaN where
        there is none), covers: what the interval is for, such as `other seeds and groups`; empty without one.
    """
    rows = []
    kinds: tuple[Of, ...] = (ENSEMBLE, SINGLE)
    for of in kinds:
        if of == SINGLE and len(answers.logits) == 1:
            continue
        for each in measured(answers, of):
            found, covers = interval_of(each, answers)
            row = (each.metric.name, of, found.estimate, found.low, found.high)
            rows.append((*row, covers if found.exists else ""))
    return pd.DataFrame(rows, columns=["metric", "of", "value", "low", "high", "covers"])


def interval_of(found: Measured, answers: Answers) -> tuple[Interval, str]:
    """The 95% interval of a metric, and what it covers.

    Several seeds: for other seeds and other groups. One seed, one network, or the ensemble as it is: for
    other groups, the networks fixed. Metrics that cannot be had without a group: for other seeds on these
    images.
    """
    units = "images" if answers.groups_are_images else "groups"
    sizes = np.bincount(answers.groups).astype(np.float64)
    if found.without is None:
        over = interval_over_seeds(found.values, fraction=found.metric.is_fraction)
        return over.within(*found.metric.bounds), "other seeds"
    if len(sizes) < 2 or np.isnan(found.without).any():
        return no_interval(found.mean), ""
    if len(found.values) > 1:
        return _two_way(found, sizes), f"other seeds and {units}"
    value, without = found.mean, found.without[0]
    if found.metric.name == "accuracy":
        return fixed_networks.interval(value, without, sizes, fixed_networks.accuracy_ends), f"other {units}"
    if found.metric.is_fraction:
        return fixed_networks.interval(value, without, sizes, fixed_networks.level_ends), f"other {units}"
    dof = patients_dof(sizes, level=True)
    low, high = plain_ends(np.asarray(value), jackknife_variance(without), t_quantile(dof))
    return _interval(value, low, high, float(dof)).within(*found.metric.bounds), f"other {units}"


def _two_way(found: Measured, sizes: Floats) -> Interval:
    assert found.without is not None
    if found.metric.is_fraction:
        return two_way.interval(found.values, found.without, sizes, level=True)
    parts = two_way.components(found.values, found.without)
    dof = patients_dof(sizes, level=True)
    seeds = np.asarray(len(found.values) - 1.0)
    variance, quantile = two_way.combined(parts, seeds, dof, two_way.LEVEL)
    low, high = plain_ends(parts.estimate, variance, quantile)
    return _interval(found.mean, low, high, np.nan).within(*found.metric.bounds)


def _interval(value: float, low: Floats, high: Floats, dof: float) -> Interval:
    return Interval(value, float(low), float(high), dof) if np.isfinite(low) else no_interval(value)


def classes_of(answers: Answers, classes: tuple[str, ...]) -> pd.DataFrame:
    """Recall of each class that has images, of the ensemble, with Korn and Graubard's interval for groups.

    Returns:
        One row per class. Columns: class, images, groups, recall, low, high, precision, single_networks (mean
        recall over seeds).
    """
    images, hits, predictions = _counts(answers, answers.together)
    single = answers.by_seed(_counts(answers, answers.each)[1].sum(axis=1)) / images.sum(axis=0)
    counts = Counts(images.sum(axis=0), predictions[0].sum(axis=0), hits[0].sum(axis=0))
    of_precision = METRICS["precision"].of_counts
    assert of_precision is not None
    precision = of_precision(counts)
    rows = []
    for place, label in enumerate(answers.present):
        found = fixed_networks.recall(hits[0][:, place], images[:, place])
        number = int(images[:, place].sum()), int((images[:, place] > 0).sum())
        row = (classes[label], *number, found.estimate, found.low, found.high)
        rows.append((*row, float(precision[place]), float(single.mean(axis=0)[place])))
    columns = ["class", "images", "groups", "recall", "low", "high", "precision", "single_networks"]
    return pd.DataFrame(rows, columns=columns)


def groups_of(answers: Answers, classes: tuple[str, ...], names: list[str]) -> pd.DataFrame:
    """Accuracy of each group, the least first.

    Args:
        answers: of the set.
        classes: names of the networks' classes.
        names: of the groups, by their numbers; none that says who somebody is.

    Returns:
        One row per group. Columns: group, images, classes (with their images), accuracy (of the ensemble),
        single_networks (mean accuracy over seeds).
    """
    sizes = np.bincount(answers.groups)

    def share(logs: Floats) -> Floats:
        right = logs.argmax(axis=2) == answers.labels
        return np.stack([np.bincount(answers.groups, weights=row) for row in right]) / sizes

    together, single = share(answers.together)[0], answers.by_seed(share(answers.each)).mean(axis=0)
    rows = []
    for group, size in enumerate(sizes.tolist()):
        of_group = np.bincount(answers.labels[answers.groups == group])
        held = ", ".join(f"{classes[label]} {of_group[label]}" for label in np.flatnonzero(of_group))
        rows.append((names[group], size, held, float(together[group]), float(single[group])))
    table = pd.DataFrame(rows, columns=["group", "images", "classes", "accuracy", "single_networks"])
    return table.sort_values("accuracy", kind="stable", ignore_index=True)
