"""Learning curves by amount of data (paper, Figure 7), and of every run."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures import (
    BASELINE_LINE,
    BASELINE_METRIC,
    PAGE_WIDTH,
    LineStyle,
    Picture,
    ProcessStyle,
    baseline_caption,
    house_style,
    new_figure,
    ratio_label,
    save,
    whole_epochs,
    wrapped,
)
from analysis.report.tables import file_name
from analysis.runs.details import Cell, Curve
from stages.console.words import counted
from stages.epochs import LEARNING_RATE
from stages.metrics import Metric, shown_in, titles_in

_RATE = Metric(name=LEARNING_RATE, title="learning rate", unit="", better=None)

MOST_LINES = 20
"""Up to so many runs of a panel are drawn as lines; more are drawn as a band."""

_MOST_RATIOS = 5

_RATIO_LINES: tuple[LineStyle, ...] = (
    (0, (1, 1)),
    "-.",
    "--",
    (0, (6, 1)),
    "-",
)


def learning_curves(
    curves: Mapping[Cell, Sequence[Curve]],
    styles: Mapping[str, ProcessStyle],
    baseline: Mapping[float, float],
) -> Picture:
    """Metrics against epochs: one row of panels per process, one line per data ratio (paper, Figure 7).

    Args:
        curves: of the runs.
        styles: of the processes, in order.
        baseline: accuracy of a linear classifier on grey-level histograms by data ratio; that of the largest
            ratio is drawn.
    """
    metrics = _metrics(run for runs in curves.values() for run in runs)
    names = [name for name in styles if any(process == name for process, _ in curves)]
    ratios = sorted({ratio for _, ratio in curves})
    colours = mpl.colormaps["cividis"](np.linspace(0.0, 0.65, len(ratios)))
    with house_style():
        figure = new_figure(PAGE_WIDTH, 0.8 + 1.35 * len(names))
        panels = figure.subplots(len(names), len(metrics), sharex=True, sharey="col", squeeze=False)
        for row, name in zip(panels, names, strict=True):
            for index, ratio in enumerate(ratios):
                for axes, metric in zip(row, metrics, strict=True):
                    runs = curves.get((name, ratio), [])
                    values = _stacked(runs, metric)
                    if values.size == 0:
                        continue
                    mean, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
                    epochs = np.arange(1, len(mean) + 1)
                    line = _RATIO_LINES[::-1][(len(ratios) - 1 - index) % len(_RATIO_LINES)]
                    axes.plot(epochs, mean, color=colours[index], ls=line, label=ratio_label(ratio))
                    low, high = (metric.scale * end for end in metric.bounds)
                    band = np.clip(np.array([mean - spread, mean + spread]), low, high)
                    axes.fill_between(epochs, *band, color=colours[index], alpha=0.16, lw=0)
            for axes, metric in zip(row, metrics, strict=True):
                _baseline(axes, metric, baseline.get(ratios[-1]))
            row[0].set_ylabel(wrapped(styles[name].label, 16))
        for axes, metric in zip(panels[0], metrics, strict=True):
            axes.set_title(metric.heading)
        for axes in panels[-1]:
            whole_epochs(axes)
        _legend_of_all(figure, list(panels[:, 0]))
        return save(
            figure,
            "figure7",
            "Learning curves by amount of training data (paper: Figure 7)",
            "Mean over runs (seeds, and each fold of a seed) after each epoch, with a band of one standard "
            "deviation on either side, as far as values can go. A line ends where fewer than half of its "
            "runs were still training."
            + baseline_caption(ratios[-1] in baseline)
            + (f" It is trained on {ratio_label(ratios[-1])}." if ratios[-1] in baseline else ""),
            f"Line plots of {titles_in('robustness')} against epochs for {len(names)} processes (rows) and "
            f"{len(ratios)} amounts of training data (lines). The values behind the final levels are in the "
            "table for each amount of training data.",
        )


def run_curves(
    curves: Mapping[Cell, Sequence[Curve]], name: str, style: ProcessStyle, baseline: Mapping[float, float]
) -> Picture:
    """Metrics of each run of a process, and its rate where a schedule lowers it: a row of panels each.

    One column per data ratio.

    Args:
        curves: of the runs.
        name: of the process.
        style: its style.
        baseline: accuracy of a linear classifier on grey-level histograms by data ratio, where known.
    """
    every = [run for (process, _), runs in curves.items() if process == name for run in runs]
    metrics = _metrics(every) + [_RATE] * any(LEARNING_RATE in run.values for run in every)
    everything = sorted(ratio for process, ratio in curves if process == name)
    chosen = np.linspace(0, len(everything) - 1, min(len(everything), _MOST_RATIOS)).round().astype(int)
    ratios = [everything[index] for index in chosen]
    lines = max(len(curves[name, ratio]) for ratio in ratios)
    with house_style():
        # The panels are alike for every process: a fixed layout saves half of the time.
        height = 1.65 * len(metrics)
        figure = new_figure(PAGE_WIDTH, height, constrained=False)
        bottom, top = 0.41 / height, 1.0 - 0.23 / height
        figure.subplots_adjust(left=0.095, right=0.99, bottom=bottom, top=top, wspace=0.1, hspace=0.1)
        panels = figure.subplots(len(metrics), len(ratios), sharex=True, sharey="row", squeeze=False)
        for column, ratio in enumerate(ratios):
            runs = curves[name, ratio]
            for axes, metric in zip(panels[:, column], metrics, strict=True):
                if len(runs) <= MOST_LINES:
                    _lines(axes, runs, metric, style)
                else:
                    _band(axes, runs, metric, style)
                _baseline(axes, metric, baseline.get(ratio))
            panels[0, column].set_title(f"{ratio_label(ratio)}, {counted(len(runs), 'run')}")
            whole_epochs(panels[-1, column])
        for axes, metric in zip(panels[:, 0], metrics, strict=True):
            axes.set_ylabel(metric.heading)
        total, shown = len(everything), len(ratios)
        return save(
            figure,
            f"runs_{file_name(name)}",
            f"Runs of {style.label}",
            (
                "One line per run; the dot is the plateau's first epoch. A dashed line with a cross: the run "
                "did not reach its plateau."
                if lines <= MOST_LINES
                else "Median of the runs, with a band from the lowest to the highest."
            )
            + (f" {shown} of {total} amounts of training data are drawn." if shown < total else "")
            + baseline_caption(any(ratio in baseline for ratio in ratios)),
            f"Line plots of {titles_in('robustness')} against epochs for {style.label} at "
            f"{', '.join(map(ratio_label, ratios))} of the training images. The table of runs lists each.",
        )


def _metrics(runs: Iterable[Curve]) -> list[Metric]:
    """The metrics to draw that some run has."""
    there = {metric for run in runs for metric in run.values}
    return [metric for metric in shown_in("robustness") if metric.name in there]


def _baseline(axes: Axes, metric: Metric, level: float | None) -> None:
    if level is not None and metric.name == BASELINE_METRIC:
        axes.axhline(metric.scale * level, **BASELINE_LINE)


def _lines(axes: Axes, runs: Sequence[Curve], metric: Metric, style: ProcessStyle) -> None:
    onsets, ends = [], []
    for run in runs:
        if metric.name not in run.values:
            continue
        values = run.values[metric.name] * metric.scale
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, color=style.colour, lw=0.8, alpha=0.85, ls="-" if run.reached else "--")
        if run.reached and run.onset < len(values):
            onsets.append((run.onset + 1, values[run.onset]))
        elif not run.reached:
            ends.append((len(values), values[-1]))
    for points, marker, size in ((onsets, "o", 2.0), (ends, "x", 5.0)):
        if points:
            axes.plot(*zip(*points, strict=True), marker, color="black", ms=size)


def _band(axes: Axes, runs: Sequence[Curve], metric: Metric, style: ProcessStyle) -> None:
    values = _stacked(runs, metric)
    if values.size == 0:
        return
    epochs = np.arange(1, values.shape[1] + 1)
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    axes.fill_between(epochs, low, high, color=style.colour, alpha=0.25, lw=0)
    axes.plot(epochs, np.nanmedian(values, axis=0), color=style.colour)


def _stacked(runs: Sequence[Curve], metric: Metric) -> npt.NDArray[np.float64]:
    """Values (runs, epochs) in the axis's unit, NaN after a run's end, as long as half of the runs last."""
    rows = [run.values[metric.name] * metric.scale for run in runs if metric.name in run.values]
    if not rows:
        return np.empty((0, 0))
    lengths = sorted((len(row) for row in rows), reverse=True)
    length = lengths[(len(lengths) - 1) // 2]
    stacked = np.full((len(rows), length), np.nan)
    for index, row in enumerate(rows):
        stacked[index, : len(row)] = row[:length]
    return stacked


def _legend_of_all(figure: Figure, panels: Sequence[Axes]) -> None:
    """A legend of the labels of all panels, each once, by ascending ratio."""
    found = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    labels = sorted(found, key=lambda label: float(label.rstrip("%")))
    figure.legend([found[label] for label in labels], labels, loc="outside upper center", ncols=6)
