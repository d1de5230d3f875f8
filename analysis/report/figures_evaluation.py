"""Figures of the predictions: confusion matrices, calibration, recall of each class."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.report.figures import (
    ON_COLOUR,
    PAGE_WIDTH,
    Picture,
    ProcessStyle,
    house_style,
    legend_above,
    new_figure,
    save,
)
from analysis.report.tables import file_name
from analysis.runs.details import Reliability
from stages.metrics import CALIBRATION_BINS

# Classes up to which a cell has percent and count, and percent alone; the side of a cell in inches with both,
# with percent alone, and with neither.
_ROOM_FOR_COUNTS, _ROOM_FOR_PERCENT = 8, 30
_CELLS = (0.40, 0.29, 0.16)

OF_STUDY = (
    "All training data, all seeds. ECE: expected calibration error after the last epoch, the mean over seeds."
)
"""What the caption of a study's reliability diagrams says of their predictions."""


def confusion_matrix(
    name: str, style: ProcessStyle, counts: npt.NDArray[np.int64], classes: Sequence[str], of: str
) -> Picture:
    """A process's confusion matrix in percent of the true class, with counts where there is room.

    Args:
        name: of the process.
        style: its style.
        counts: one row per true class.
        classes: their names.
        of: what was counted, as the caption begins.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    number = len(classes)
    cell = _CELLS[(number > _ROOM_FOR_COUNTS) + (number > _ROOM_FOR_PERCENT)]
    with house_style():
        side = max(3.3, 1.05 + cell * number)
        figure = new_figure(side, side)
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        axes.grid(visible=False)
        for (row, column), share in np.ndenumerate(shares):
            if counts[row, column] == 0 or number > _ROOM_FOR_PERCENT:
                continue
            text = f"{100 * share:.0f}"
            if number <= _ROOM_FOR_COUNTS:
                text += f"\n({counts[row, column]})"
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=8 if number <= _ROOM_FOR_COUNTS else 7.5,
                color="white" if share > 0.5 else "black",
                in_layout=False,  # it lies within its axes, and measuring it takes long
            )
        axes.set_xticks(range(number), classes, rotation=90, fontsize=8)
        axes.set_yticks(range(number), classes, fontsize=8)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.set_title(style.label)
        inside = {True: " and the count", False: ""}[number <= _ROOM_FOR_COUNTS]
        shown = f"percent of the true class{inside} in each cell" if number <= _ROOM_FOR_PERCENT else ""
        recall = ", ".join(
            f"{label} {100 * share:.0f}%"
            for label, share, images in zip(classes, np.diag(shares), counts.sum(axis=1), strict=True)
            if images
        )
        return save(
            figure,
            f"confusion_{file_name(name)}",
            f"Confusion matrix of {style.label}",
            of + (f"; {shown}." if shown else ". The counts are in the table."),
            f"Confusion matrix. Share of each true class predicted as itself: {recall}.",
        )


def reliability_diagrams(
    reliability: Mapping[str, Reliability], styles: Mapping[str, ProcessStyle], caption: str = OF_STUDY
) -> Picture:
    """Accuracy against confidence in 15 bins, one panel each, with the expected calibration error.

    Args:
        reliability: by name of the panel.
        styles: of the panels, in order.
        caption: whose predictions these are, in sentences.
    """
    names = [name for name in styles if name in reliability]
    columns = 2 if len(names) == 4 else min(3, len(names))
    rows = -(-len(names) // columns)
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    with house_style():
        figure = new_figure(PAGE_WIDTH, 0.3 + 2.45 * rows)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        summary = []
        for axes, name in zip(panels, names, strict=False):
            bins, style = reliability[name], styles[name]
            filled = bins.counts > 0
            accuracy = bins.hits[filled] / bins.counts[filled]
            confidence = bins.confidences[filled] / bins.counts[filled]
            axes.bar(
                edges[:-1][filled],
                accuracy,
                1.0 / CALIBRATION_BINS,
                align="edge",
                color=style.colour,
                edgecolor="white",
                linewidth=0.6,
            )
            axes.plot([0, 1], [0, 1], color="black", lw=0.9, ls="--", path_effects=ON_COLOUR)
            share = bins.counts[filled] / bins.counts.sum()
            axes.scatter(confidence, accuracy, s=4 + 90 * share, color="black", zorder=3, clip_on=False)
            error = 100 * float(np.mean(bins.errors))
            summary.append(f"{style.label} {error:.1f}%")
            axes.set_title(f"{style.label}: ECE {error:.1f}%")
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.set_aspect("equal")
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        for index, axes in enumerate(panels[: len(names)]):
            if index + columns >= len(names):
                axes.set_xlabel("confidence")
                axes.tick_params(labelbottom=True)
            if index % columns == 0:
                axes.set_ylabel("accuracy")
        return save(
            figure,
            "calibration",
            "Calibration",
            "Accuracy of the predictions in each of 15 bins of confidence. A larger dot stands for more "
            f"predictions. Below the dashed line the networks are too confident. {caption}",
            "Reliability diagrams. Expected calibration error: " + ", ".join(summary) + ".",
        )


def class_recall(
    table: pd.DataFrame, styles: Mapping[str, ProcessStyle], classes: Sequence[str], caption: str
) -> Picture:
    """Recall of each class with its interval, one marker per process.

    Args:
        table: process, class, mean, ci_low, ci_high.
        styles: of the processes, in order.
        classes: their order.
        caption: what the figure shows, and what the interval is over.
    """
    names = [name for name in styles if name in set(table["process"])]
    with house_style():
        figure = new_figure(PAGE_WIDTH, 0.9 + len(classes) * max(0.42, 0.11 * len(names)))
        axes = figure.subplots()
        offsets = (np.arange(len(names)) - (len(names) - 1) / 2) * 0.78 / max(len(names), 1)
        for offset, name in zip(offsets, names, strict=True):
            style = styles[name]
            rows = table[table["process"] == name].set_index("class").reindex(list(classes))
            mean, low, high = (
                100 * rows[column].to_numpy(dtype=float) for column in ("mean", "ci_low", "ci_high")
            )
            axes.errorbar(
                mean,
                np.arange(len(classes)) + offset,
                xerr=np.nan_to_num(np.array([mean - low, high - mean])).clip(min=0.0),
                fmt=style.marker,
                color=style.colour,
                mec="black",
                mew=0.5,
                ms=style.marker_size,
                elinewidth=1.1,
                ecolor="#444444",
                capsize=2,
                label=style.label,
            )
        axes.set_yticks(range(len(classes)), classes)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        for boundary in range(1, len(classes)):
            axes.axhline(boundary - 0.5, color="#dddddd", lw=0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("recall (%)")
        ends = axes.get_xlim()
        axes.set_xlim(max(ends[0], -1.0), min(ends[1], 101.0))
        legend_above(figure, axes, 3)
        return save(
            figure,
            "recall",
            "Recall of each class",
            caption,
            "Dot plot of the recall of each class by process; the table of recall has the values.",
        )
