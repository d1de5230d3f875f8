"""Figures of the comparison and of the robustness (paper, Figure 6)."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from analysis.report.figures import (
    BASELINE_LABEL,
    BASELINE_LINE,
    BASELINE_METRIC,
    NARROW_WIDTH,
    ON_COLOUR,
    PAGE_WIDTH,
    Picture,
    ProcessStyle,
    baseline_caption,
    house_style,
    legend_above,
    new_figure,
    ratio_label,
    save,
    within_bounds,
    wrapped,
)
from analysis.report.judgement import Words
from analysis.runs.details import Cell
from stages.metrics import PRIMARY, Metric, metric_of, shown_in, titles_in


def performance_points(
    words: Words, styles: Mapping[str, ProcessStyle], baseline: float | None = None
) -> Picture:
    """The main metric of each process with all training data: one point per seed, mean and interval.

    Args:
        words: of the study.
        styles: of the processes, in order.
        baseline: the main metric of a linear classifier on grey-level histograms, if known.
    """
    metric, by_seed = words.metric, words.inference.by_seed
    levels = words.levels(metric)
    rows = pd.DataFrame(levels.values()).set_index("process")
    with house_style():
        figure = new_figure(NARROW_WIDTH, 0.8 + 0.47 * len(rows))
        axes = figure.subplots()
        shown = [name for name in styles if name in rows.index]
        for position, name in enumerate(shown):
            style, row = styles[name], levels[name]
            chosen = by_seed[(by_seed["process"] == name) & (by_seed["metric"] == metric.name)]
            values = metric.scale * chosen.sort_values("seed")["value"].to_numpy(dtype=float)
            spread = np.linspace(-0.1, 0.1, len(values)) if len(values) > 1 else np.zeros(1)
            axes.plot(
                values,
                position + 0.22 + spread,
                style.marker,
                color=style.colour,
                ms=style.marker_size,
                mew=0,
            )
            mean, low, high = (metric.scale * row[name] for name in ("mean", "ci_low", "ci_high"))
            half = [[mean - low], [high - mean]]
            error = None if np.isnan(half).any() else half
            axes.errorbar(
                mean,
                position - 0.12,
                xerr=error,
                fmt="|",
                color="black",
                ms=9,
                mew=1.6,
                capsize=4,
            )
            axes.annotate(
                metric.text(float(row["mean"])),
                (mean, position - 0.25),
                ha="center",
                va="bottom",
                fontsize=7.5,
                path_effects=ON_COLOUR,
            )
        axes.set_yticks(range(len(shown)), [wrapped(styles[name].label, 16) for name in shown])
        axes.set_ylim(len(shown) - 0.5, -0.7)
        axes.set_xlabel(metric.heading)
        axes.grid(axis="y", visible=False)
        if baseline is not None:
            axes.axvline(metric.scale * baseline, label=BASELINE_LABEL, **BASELINE_LINE)
            legend_above(figure, axes, 1)
        within_bounds(axes, "x", metric)
        interval = f" its 95% interval {words.what_for(words.usual)}" if words.usual else ""
        return save(
            figure,
            metric.name,
            f"{metric.capitalised} with all training data",
            "Each coloured point is one seed, the mean over its plateau; the number is the mean over seeds, "
            f"the black line{interval or ' marks it'}. The axis need not start at zero."
            + (baseline_caption(baseline is not None) or _without_baseline(metric)),
            "Dot plot. " + _sentence(rows, styles, metric),
        )


def _without_baseline(metric: Metric) -> str:
    why = "it says classes only" if metric.of_counts is None else "its predictions are not known"
    return f" There is no {metric.title} of the classifier on grey-level histograms: {why}."


def ratio_bars(
    table: pd.DataFrame,
    styles: Mapping[str, ProcessStyle],
    baseline: Mapping[float, float],
    unreached: set[Cell],
) -> Picture:
    """Metrics at each data ratio, one panel per metric and one bar per process (paper, Figure 6).

    Args:
        table: process, data_ratio, metric, mean, ci_low, ci_high.
        styles: of the processes, in order.
        baseline: accuracy of a linear classifier on grey-level histograms by data ratio, where known.
        unreached: cells in which a run did not reach its plateau; their bars get an asterisk.
    """
    ratios = sorted(table["data_ratio"].unique())
    metrics = [metric for metric in shown_in("robustness") if metric.name in set(table["metric"])]
    width = min(0.84 / max(len(styles), 1), 0.28)
    with house_style():
        figure = new_figure(PAGE_WIDTH, 2.7 * len(metrics))
        panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False).ravel()
        for axes, metric in zip(panels, metrics, strict=True):
            for place, (name, style) in enumerate(styles.items()):
                chosen = table[(table["process"] == name) & (table["metric"] == metric.name)]
                rows = chosen.set_index("data_ratio").reindex(ratios)
                x = np.arange(len(ratios)) + (place - (len(styles) - 1) / 2) * width
                marked = [(name, ratio) in unreached for ratio in ratios]
                _bars(axes, x, rows[["mean", "ci_low", "ci_high"]] * metric.scale, width, style, marked)
            if metric.name == BASELINE_METRIC:
                for place, ratio in enumerate(ratios):
                    if ratio in baseline:
                        level = metric.scale * baseline[ratio]
                        axes.plot([place - 0.46, place + 0.46], [level] * 2, **BASELINE_LINE, zorder=3)
                axes.plot([], [], label=BASELINE_LABEL if baseline else None, **BASELINE_LINE)
            axes.set_ylabel(metric.heading)
            axes.set_ylim(bottom=0.0)
            within_bounds(axes, "y", metric)
            axes.grid(axis="x", visible=False)
        panels[-1].set_xticks(range(len(ratios)), [ratio_label(ratio) for ratio in ratios])
        panels[-1].set_xlabel("share of the target's training images")
        legend_above(figure, panels[0], 4)
        full = table[(table["metric"] == PRIMARY) & (table["data_ratio"] == ratios[-1])]
        return save(
            figure,
            "figure6",
            "Performance at each amount of training data (paper: Figure 6)",
            "Means over seeds of the representative values (75th percentiles over the plateau); error bars "
            "are 95% intervals for new seeds on these images."
            + (" * means that a run of this bar did not reach its plateau." if unreached else "")
            + baseline_caption(bool(baseline)),
            f"Grouped bars of {titles_in('robustness')} at {', '.join(map(ratio_label, ratios))} of the "
            f"training images. At {ratio_label(ratios[-1])}: "
            + _sentence(full.set_index("process"), styles, metric_of(PRIMARY)),
        )


def _bars(
    axes: Axes,
    x: npt.NDArray[np.floating],
    rows: pd.DataFrame,
    width: float,
    style: ProcessStyle,
    marked: Sequence[bool],
) -> None:
    """A process's bars at `x`, with intervals, and an asterisk above those that are marked."""
    mean, low, high = (rows[column].to_numpy(dtype=float) for column in ("mean", "ci_low", "ci_high"))
    axes.bar(
        x,
        mean,
        width * 0.94,
        label=style.label,
        color=style.colour,
        hatch=style.hatch,
        edgecolor="white",  # of the hatch too: it is seen on dark bars
        linewidth=0.0,
    )
    error = np.nan_to_num(np.array([mean - low, high - mean]))
    axes.errorbar(x, mean, yerr=error, fmt="none", ecolor="black", elinewidth=0.9, capsize=1.6)
    for position, mark, top in zip(x, marked, np.fmax(mean, high), strict=True):
        if mark and np.isfinite(top):
            axes.annotate("*", (position, top), ha="center", va="bottom", fontsize=8)


def _sentence(rows: pd.DataFrame, styles: Mapping[str, ProcessStyle], metric: Metric) -> str:
    """The means, for readers who cannot see the figure."""
    means = dict(zip(rows.index, rows["mean"].to_numpy(dtype=float), strict=True))
    parts = [f"{style.label} {metric.text(means[name])}" for name, style in styles.items() if name in means]
    return f"Mean {metric.title}: {', '.join(parts)}."
