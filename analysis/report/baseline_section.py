"""The page's section on the baseline: what grey levels alone give, and how far the networks are above it."""

import numpy as np
import pandas as pd

from analysis.report import tables
from analysis.report.page import Section
from analysis.report.study_tables import PROCESS, Labels
from analysis.report.tables import Table
from analysis.runs.out_of_fold import PooledPredictions
from analysis.statistics.by_seed import group_numbers
from analysis.statistics.two_way import two_way_difference, two_way_level
from stages.metrics import Counts, Metric

_BASELINE = "grey-level histograms"


def baseline_level(metric: Metric, pooled: PooledPredictions | None) -> float | None:
    """A metric of the baseline with all training data, the mean over seeds; None where it is not known.

    It has no probabilities, so that only metrics of predicted classes can be computed.
    """
    if pooled is None or 1.0 not in pooled.histogram or metric.of_counts is None:
        return None
    shape = (len(pooled.classes),) * 2
    cells = [np.ravel_multi_index((pooled.labels, each), shape) for each in pooled.histogram[1.0].values()]
    matrices = [np.bincount(each, minlength=shape[0] ** 2).reshape(shape) for each in cells]
    return float(metric.of_counts(Counts.of(matrices)).mean())


def baseline_section(pooled: PooledPredictions | None, labels: Labels) -> Section | None:
    """How far each process is above a linear classifier on grey-level histograms; None where there is none.

    Args:
        pooled: predictions of the study's runs with all training data, None without.
        labels: of the processes, in order.
    """
    if pooled is None or 1.0 not in pooled.histogram:
        return None
    return Section(
        "baseline",
        "Against grey levels alone",
        [
            "The baseline is multinomial logistic regression on the grey-level histogram of each image (64 "
            "bins), trained on exactly the training images of each run and evaluated on its evaluation "
            "images. It sees no structure: a process that is not above it is not shown to use any."
        ],
        tables=[_table(pooled, labels)],
    )


def _table(pooled: PooledPredictions, labels: Labels) -> Table:
    groups, _ = group_numbers(pooled.groups)
    baseline = {seed: predicted == pooled.labels for seed, predicted in pooled.histogram[1.0].items()}
    rows = [_row(_BASELINE, np.array(list(baseline.values()), np.float64), None, groups)]
    for process, label in labels.items():
        if (process, 1.0) in pooled.by_epoch:
            seeds = tuple(seed for seed in pooled.seeds((process, 1.0)) if seed in baseline)
            correct = pooled.correctness((process, 1.0), seeds)
            of_seeds = np.array([baseline[seed] for seed in seeds], np.float64)
            rows.append(_row(label, correct, of_seeds, groups))
    return Table(
        "baseline",
        "Accuracy of the baseline, and of the processes above it",
        "All training data, mean over the plateau's epochs; 95% intervals for other seeds and other patients "
        "(groups; images where no patients are named). None with one seed.",
        [
            PROCESS,
            tables.estimate("accuracy (%)", 1, scale=100.0, mean="mean", error=None),
            tables.estimate(
                "above the baseline (points)",
                1,
                scale=100.0,
                mean="difference",
                error=None,
                low="difference_low",
                high="difference_high",
            ),
            tables.number("n", "seeds", 0),
        ],
        pd.DataFrame(rows),
    )


def _row(
    label: str, correct: np.ndarray, baseline: np.ndarray | None, groups: np.ndarray
) -> dict[str, str | float]:
    several = len(correct) > 1
    level = two_way_level(correct, groups) if several else None
    row: dict[str, str | float] = {
        "label": label,
        "mean": float(correct.mean()),
        "ci_low": np.nan if level is None else level.low,
        "ci_high": np.nan if level is None else level.high,
        "difference": np.nan if baseline is None else float((correct - baseline).mean()),
        "difference_low": np.nan,
        "difference_high": np.nan,
        "n": len(correct),
    }
    if baseline is not None and several:
        difference = two_way_difference(correct, baseline, groups)
        row |= {"difference_low": difference.low, "difference_high": difference.high}
    return row
