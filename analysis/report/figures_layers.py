"""Figures of the likeness of layers: what each stage changed, and how processes differ."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.explain.observations import LAYERS, Floats, Observations
from analysis.report.figures import PAGE_WIDTH, Picture, ProcessStyle, house_style, new_figure, save, wrapped

_COLOURS = "cividis"
_ROOM_FOR_NUMBERS = 9  # columns


def stage_changes(seen: Observations, styles: Mapping[str, ProcessStyle]) -> Picture | None:
    """Linear CKA between parent and child, layers by stages; None if no run has a parent."""
    table = seen.stages
    if table.empty:
        return None
    columns = [
        (process, parent, child)
        for process in styles
        for parent, child in _pairs(table[table["process"] == process])
    ]
    values = np.full((len(LAYERS), len(columns)), np.nan)
    names = {relu: place for place, relu in enumerate(LAYERS.values())}
    for row in table.to_dict("records"):
        column = columns.index((row["process"], row["parent"], row["child"]))
        values[names[row["layer"]], column] = row["cka"]
    labels = [
        f"{wrapped(styles[process].label.split()[0], 12)}\n{parent}\n> {child}"
        for process, parent, child in columns
    ]
    with house_style():
        figure = new_figure(PAGE_WIDTH, 3.4)
        axes = figure.subplots()
        _matrix(figure, axes, values, list(LAYERS), labels, bar=True)
        changed = [
            f"{labels[at].replace(chr(10), ' ')} {np.nanmin(values[:, at]):.2f}" for at in range(len(columns))
        ]
        return save(
            figure,
            "stage_changes",
            "What each stage changed",
            "Linear centred kernel alignment (CKA, debiased) of a stage's layers with those it started "
            f"from, on {seen.facts['compared']} evaluation images of the target, mean over seeds: 1 is "
            "the same up to rotation and scale, 0 unrelated. Layers after their ReLU. A layer that the "
            "transfer rule draws anew starts unrelated.",
            "Likeness of layers before and after each stage; least: " + "; ".join(changed) + ".",
        )


def process_likeness(seen: Observations, styles: Mapping[str, ProcessStyle]) -> Picture | None:
    """Linear CKA between processes, a panel a layer; None for a single process or without a common seed."""
    table = seen.processes_cka
    if table.empty:
        return None
    names = [process for process in styles if process in seen.processes]
    labels = [styles[name].label.split()[0] for name in names]
    layers = list(LAYERS)
    with house_style():
        columns = 4
        rows = -(-len(layers) // columns)
        figure = new_figure(PAGE_WIDTH, 0.3 + 1.9 * rows)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, layer in zip(panels, layers, strict=False):
            values = np.eye(len(names))
            for row in table[table["layer"] == LAYERS[layer]].to_dict("records"):
                first, second = names.index(row["process_a"]), names.index(row["process_b"])
                values[first, second] = values[second, first] = row["cka"]
            _matrix(figure, axes, values, labels, labels, bar=False)
            axes.set_title(layer)
        for axes in panels[len(layers) :]:
            axes.set_visible(False)
        for axes in panels[len(layers) - columns : len(layers)]:  # the lowest of its column
            axes.tick_params(labelbottom=True)
        return save(
            figure,
            "process_likeness",
            "How alike the processes' layers are",
            "Linear CKA (debiased) between the layers of networks of different learning processes and "
            f"the same seed, on {seen.facts['compared']} evaluation images, mean over seeds.",
            "Matrices of the likeness of processes, one for each layer; the table has the numbers.",
        )


def _pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Parents and children of a process's chain, in its order: they were listed from the target back."""
    return list(dict.fromkeys(zip(rows["parent"], rows["child"], strict=True)))[::-1]


def _matrix(
    figure: Figure, axes: Axes, values: Floats, rows: Sequence[str], columns: Sequence[str], *, bar: bool
) -> None:
    image = axes.imshow(values, cmap=_COLOURS, vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.tick_params(length=0, labelsize=7)
    axes.grid(visible=False)
    if len(columns) <= _ROOM_FOR_NUMBERS:
        for row, column in np.argwhere(~np.isnan(values)):
            value = values[row, column]
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                size=6.5,
                color="black" if value > 0.6 else "white",
                in_layout=False,  # it lies within its axes, and measuring it takes most of the time
            )
    if bar:
        figure.colorbar(image, ax=axes, fraction=0.03).set_label("linear CKA")
