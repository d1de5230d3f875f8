"""Figures of the comparison and of the robustness (paper, Figure 6)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.report.figures import (
    LABELS,
    PAGE_WIDTH,
    Picture,
    ProcessStyle,
    house_style,
    legend_above,
    new_figure,
    ratio_label,
    save,
)
from analysis.runs.details import CURVE_METRICS, Cell
from analysis.runs.selection import scale_of


def performance_points(
    runs: pd.DataFrame, table: pd.DataFrame, styles: Mapping[str, ProcessStyle]
) -> Picture:
    """Accuracy of each process with all training data: a point a seed, the mean and its interval.

    Args:
        runs: the study's runs.
        table: of `analysis.statistics.comparison.compare`.
        styles: of the processes, in order.
    """
    rows = table[table["metric"] == "accuracy"].set_index("process")
    with house_style():
        figure = new_figure(PAGE_WIDTH, 0.7 + 0.45 * len(rows))
        axes = figure.subplots()
        shown = [name for name in styles if name in rows.index]
        for position, name in enumerate(shown):
            style, row = styles[name], rows.loc[name]
            chosen = runs[(runs["process"] == name) & (runs["data_ratio"] == 1.0)]
            values = 100.0 * chosen.sort_values("seed")["accuracy_p75"].to_numpy(dtype=float)
            spread = np.linspace(-0.1, 0.1, len(values)) if len(values) > 1 else np.zeros(1)
            axes.plot(
                values, position + 0.2 + spread, style.marker, color=style.colour, ms=3.5, alpha=0.75, mew=0
            )
            half = [[100 * (row["mean"] - row["ci_low"])], [100 * (row["ci_high"] - row["mean"])]]
            error = None if np.isnan(half).any() else half
            axes.errorbar(
                100 * row["mean"],
                position - 0.12,
                xerr=error,
                fmt="|",
                color="black",
                ms=9,
                mew=1.6,
                capsize=4,
            )
        axes.set_yticks(range(len(shown)), [styles[name].label for name in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel(LABELS["accuracy"])
        axes.grid(axis="y", visible=False)
        return save(
            figure,
            "accuracy",
            "Accuracy with all training data",
            "Each point is one seed; the black line is the mean over seeds with its 95% t interval (none "
            "where there is one seed). The axis does not start at zero.",
            "Dot plot. " + _sentence(rows, styles, "accuracy"),
        )


def ratio_bars(
    table: pd.DataFrame,
    styles: Mapping[str, ProcessStyle],
    baseline: float | None,
    unreached: set[Cell],
) -> Picture:
    """Accuracy and loss at each data ratio, a bar a process (paper, Figure 6).

    Args:
        table: process, data_ratio, metric, mean, ci_low, ci_high.
        styles: of the processes, in order.
        baseline: accuracy of a linear classifier on grey-level histograms, if known.
        unreached: cells in which a run did not reach its plateau; their bars get an asterisk.
    """
    ratios = sorted(table["data_ratio"].unique())
    width = min(0.84 / max(len(styles), 1), 0.28)
    with house_style():
        figure = new_figure(PAGE_WIDTH, 5.4)
        panels = figure.subplots(2, 1, sharex=True)
        for axes, metric in zip(panels, CURVE_METRICS, strict=True):
            for place, (name, style) in enumerate(styles.items()):
                chosen = table[(table["process"] == name) & (table["metric"] == metric)]
                rows = chosen.set_index("data_ratio").reindex(ratios)
                mean, low, high = (
                    rows[column].to_numpy(dtype=float) * scale_of(metric)
                    for column in ("mean", "ci_low", "ci_high")
                )
                x = np.arange(len(ratios)) + (place - (len(styles) - 1) / 2) * width
                axes.bar(
                    x,
                    mean,
                    width * 0.94,
                    label=style.label,
                    color=style.colour,
                    hatch=style.hatch,
                    edgecolor="black",
                    linewidth=0.5,
                )
                error = np.nan_to_num(np.array([mean - low, high - mean]))
                axes.errorbar(x, mean, yerr=error, fmt="none", ecolor="black", elinewidth=0.9, capsize=1.6)
                for position, ratio, top in zip(x, ratios, np.fmax(mean, high), strict=True):
                    if (name, ratio) in unreached and np.isfinite(top):
                        axes.annotate("*", (position, top), ha="center", va="bottom", fontsize=8)
            axes.set_ylabel(LABELS[metric])
            axes.set_ylim(bottom=0.0)
            axes.grid(axis="x", visible=False)
        if baseline is not None:
            panels[0].axhline(100 * baseline, color="black", lw=1, ls=(0, (4, 2)), label="histograms only")
        panels[1].set_xticks(range(len(ratios)), [ratio_label(ratio) for ratio in ratios])
        panels[1].set_xlabel("share of the target's training images")
        legend_above(figure, panels[0], 4)
        full = table[(table["metric"] == "accuracy") & (table["data_ratio"] == ratios[-1])]
        return save(
            figure,
            "figure6",
            "Performance at each amount of training data (Figure 6)",
            "Means over seeds of the representative accuracy (above) and cross-entropy (below); error bars "
            "are 95% t intervals over seeds."
            + (" * a run of this bar did not reach its plateau." if unreached else "")
            + (
                " The dashed line is a linear classifier on grey-level histograms of the same images."
                if baseline is not None
                else ""
            ),
            f"Grouped bars of accuracy and cross-entropy at {', '.join(map(ratio_label, ratios))} of the "
            f"training images. At {ratio_label(ratios[-1])}: "
            + _sentence(full.set_index("process"), styles, "accuracy"),
        )


def _sentence(rows: pd.DataFrame, styles: Mapping[str, ProcessStyle], metric: str) -> str:
    """What a reader who does not see the figure should know: the means."""
    means = dict(zip(rows.index, rows["mean"].to_numpy(dtype=float), strict=True))
    parts = [
        f"{style.label} {scale_of(metric) * means[name]:.1f}%"
        for name, style in styles.items()
        if name in means
    ]
    return f"Mean {metric}: {', '.join(parts)}."
