"""Tables of levels, differences and recalls, with intervals for new seeds and new patients."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.report import tables
from analysis.report.judgement import Words
from analysis.report.study_tables import METRIC_UNSCALED, PAIR, PROCESS, Labels, labelled, labelled_pairs
from analysis.report.tables import Column, Table
from analysis.statistics.inference import Inference
from stages.metrics import Metric

_COVERS = tables.text("covers", "interval is for new")


def levels_table(words: Words, metrics: Sequence[Metric]) -> Table:
    """The plateau's mean of each metric of each process, with its interval.

    Args:
        words: of the study.
        metrics: in the order of the columns.
    """
    levels = words.inference.levels
    shown = [metric for metric in metrics if metric.name in set(levels["metric"])]
    wide = levels.pivot(index="process", columns="metric")
    wide.columns = ["_".join(map(str, names[::-1])) for names in wide.columns.to_list()]
    data = labelled(wide.reset_index(), words.labels)
    data = data.sort_values("label", key=lambda column: column.map(list(words.labels.values()).index))
    seeds_only = [metric.title for metric in shown if _covers(levels, metric) == {"seeds"}]
    columns: list[Column] = [PROCESS]
    for metric in shown:
        parts = {part: f"{metric.name}_{part}" for part in ("mean", "ci_low", "ci_high")}
        columns.append(
            tables.estimate(
                metric.heading,
                metric.digits,
                scale=metric.scale,
                mean=parts["mean"],
                error=None,
                low=parts["ci_low"],
                high=parts["ci_high"],
            )
        )
    main = words.metric.name
    columns += [tables.number(f"{main}_n", "seeds", 0), tables.text(f"{main}_covers", "interval is for new")]
    caption = (
        "Mean over seeds of the plateau's mean, with its 95% interval, each by itself; of fractions on the "
        "logit scale. "
    )
    if seeds_only and len(seeds_only) < len(shown):
        caption += f"Of {', '.join(seeds_only)} it is for new seeds on these images. "
    caption += _groups(words)
    return Table("levels", "Levels, for new seeds and new " + words.others, caption.strip(), columns, data)


def differences_table(words: Words) -> Table:
    """Every pair of processes in the main metric."""
    metric = words.metric
    covers = set(words.differences(metric)["covers"])
    caption = (
        f"In {metric.unit_of_differences}, process minus the one against it, paired by seed, of the "
        f"plateau's means. The 95% interval{_for_all(covers)} is corrected for all pairs ({words.pairs}, "
        "Bonferroni). Seeds "
        f"alone: these {words.others} fixed; max-T over all pairs, with simultaneous 95% intervals that "
        "exclude 0 where p is below 0.05. The last three columns are the paper's: the difference of 75th "
        "percentiles, Wilcoxon's signed-rank test of it, and Holm's correction."
    )
    columns = [
        *PAIR,
        tables.number("n", "seeds", 0),
        tables.estimate(
            "difference",
            metric.digits,
            scale=metric.scale,
            mean="difference",
            error=None,
            low="together_low",
            high="together_high",
        ),
        *([] if len(covers) == 1 else [_COVERS]),
        tables.interval("seeds alone", metric.digits, "all_low", "all_high", scale=metric.scale),
        tables.p_value("p_max_t", "p, max-T"),
        tables.number("p75_difference", "difference, p75", metric.digits, scale=metric.scale, sign=True),
        tables.p_value("p", "p, Wilcoxon"),
        tables.p_value("p_holm", "p, Holm"),
    ]
    data = labelled_pairs(words.differences(metric), words.labels)
    return Table(
        f"pairwise_{metric.name}", f"Differences in {metric.title} between processes", caption, columns, data
    )


def all_differences_table(inference: Inference, labels: Labels) -> Table:
    """Every pair of processes in every main metric; corrections are over the pairs of one metric."""
    return Table(
        "pairwise",
        "Differences in every metric",
        "As above, each metric in its own unit (a fraction is in [0, 1]), corrected for the pairs of one "
        "metric. Where lower is better, a difference above 0 means worse. The effect is the matched-pairs "
        "rank-biserial correlation of the 75th percentiles, 1 if the process is higher at every seed; the "
        "last column is the smallest corrected p of Wilcoxon's test that so few pairs allow.",
        [
            METRIC_UNSCALED,
            *PAIR,
            tables.number("n", "seeds", 0),
            tables.estimate(
                "difference", 4, mean="difference", error=None, low="together_low", high="together_high"
            ),
            _COVERS,
            tables.p_value("p_max_t", "p, max-T"),
            tables.number("p75_difference", "difference, p75", 4, sign=True),
            tables.p_value("p", "p, Wilcoxon"),
            tables.p_value("p_holm", "p, Holm"),
            tables.number("effect", "effect", 2, sign=True),
            tables.p_value("smallest_p_holm", "smallest p, Holm"),
        ],
        labelled_pairs(inference.differences, labels),
    )


def recall_data(of_classes: pd.DataFrame, inference: Inference) -> pd.DataFrame:
    """Recall (sensitivity) of each class: of predictions where there are some, and of records otherwise.

    Args:
        of_classes: of `analysis.report.run_tables.class_data`.
        inference: of the study.

    Returns:
        Columns: process, class, images, groups (NaN if not known), mean, ci_low, ci_high: for new patients,
        the networks fixed, or, of records, for new seeds.
    """
    if len(inference.recall):
        return inference.recall.rename(columns={"recall": "mean", "samples": "images"})
    parts = {f"sensitivity_{part}": part for part in ("mean", "ci_low", "ci_high")}
    return of_classes[["process", "class", "images", *parts]].rename(columns=parts).assign(groups=np.nan)


def recall_table(data: pd.DataFrame, labels: Labels, caption: str) -> Table:
    """Recall of each class.

    Args:
        data: of `recall_data`.
        labels: of the processes.
        caption: what is shown, and what the interval is for.
    """
    return Table(
        "recall",
        "Recall of each class",
        f"In percent. {caption}",
        [
            PROCESS,
            tables.text("class", "class"),
            tables.number("images", "images", 0),
            tables.number("groups", "groups", 0),
            tables.estimate("recall (%)", 1, scale=100.0, error=None),
        ],
        labelled(data, labels),
    )


def _for_all(covers: set[str]) -> str:
    """What all intervals are for, where that is one thing."""
    return f", for new {next(iter(covers))}," if len(covers) == 1 and covers != {""} else ""


def _covers(levels: pd.DataFrame, metric: Metric) -> set[str]:
    return set(levels.loc[levels["metric"] == metric.name, "covers"]) - {""}


def _groups(words: Words) -> str:
    inference = words.inference
    if not inference.samples:
        return ""
    if inference.groups_are_images:
        return f"{inference.samples} images, each a group of its own."
    return f"{inference.samples} images of {inference.groups} patients (groups)."
