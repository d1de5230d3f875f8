"""Figures of layers: what each stage changed, how processes differ, and the first layer's filters."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.explain.arrays import Arrays, Floats
from analysis.report.explanation import Context
from analysis.report.figures import PAGE_WIDTH, Picture, house_style, new_figure, save, show_image, wrapped

_COLOURS = "cividis"
_ROOM_FOR_NUMBERS = 9  # columns


class LayerSummary(TypedDict):
    """What figures and tables of layers need.

    `layers` with the tap where each one's features are taken; the `first_layer`; how many images were
    `compared`; linear CKA, mean over seeds, between the layers of `stages` (`process`, `parent`, `child`,
    `layer`, `cka`) and of `processes` (`process_a`, `process_b`, `layer`, `cka`), where `layer` is the tap;
    `filters` of the first layer of the networks shown by process, (K, C, h, w).
    """

    layers: dict[str, str]
    first_layer: str
    compared: int
    stages: pd.DataFrame
    processes: pd.DataFrame
    filters: Arrays


def stage_changes(summary: LayerSummary, context: Context) -> Picture | None:
    """Linear CKA between parent and child, layers by stages; None if no run has a parent."""
    table, layers = summary["stages"], summary["layers"]
    if table.empty:
        return None
    columns = [
        (process, parent, child)
        for process in context.styles
        for parent, child in _pairs(table[table["process"] == process])
    ]
    values = np.full((len(layers), len(columns)), np.nan)
    places = {tap: place for place, tap in enumerate(layers.values())}
    for row in table.to_dict("records"):
        column = columns.index((row["process"], row["parent"], row["child"]))
        values[places[row["layer"]], column] = row["cka"]
    labels = [
        f"{wrapped(context.styles[process].label.split()[0], 12)}\n{parent}\n> {child}"
        for process, parent, child in columns
    ]
    with house_style():
        figure = new_figure(PAGE_WIDTH, 3.4)
        axes = figure.subplots()
        _matrix(figure, axes, values, list(layers), labels, bar=True)
        changed = [
            f"{labels[at].replace(chr(10), ' ')} {np.nanmin(values[:, at]):.2f}" for at in range(len(columns))
        ]
        return save(
            figure,
            "stage_changes",
            "What each stage changed",
            "Linear centred kernel alignment (CKA, debiased) of a stage's layers with those it started "
            f"from, on {summary['compared']} evaluation images of the target, mean over seeds: 1 is the same "
            "up to rotation and scale, 0 unrelated. Layers after their activation. A layer that the transfer "
            "rule re-initialises starts unrelated.",
            "Similarity of layers before and after each stage; least: " + "; ".join(changed) + ".",
        )


def process_similarity(summary: LayerSummary, context: Context) -> Picture | None:
    """Linear CKA between processes, one panel per layer; None for one process or without a common seed."""
    table, layers = summary["processes"], summary["layers"]
    if table.empty:
        return None
    names = list(context.styles)
    labels = [style.label.split()[0] for style in context.styles.values()]
    with house_style():
        columns = 4
        rows = -(-len(layers) // columns)
        figure = new_figure(PAGE_WIDTH, 0.3 + 1.9 * rows)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (layer, tap) in zip(panels, layers.items(), strict=False):
            values = np.eye(len(names))
            for row in table[table["layer"] == tap].to_dict("records"):
                first, second = names.index(row["process_a"]), names.index(row["process_b"])
                values[first, second] = values[second, first] = row["cka"]
            _matrix(figure, axes, values, labels, labels, bar=False)
            axes.tick_params(axis="x", rotation=90)
            axes.set_title(layer)
        for axes in panels[len(layers) :]:
            axes.set_visible(False)
        for axes in panels[max(0, len(layers) - columns) : len(layers)]:  # the lowest of its column
            axes.tick_params(labelbottom=True)
        return save(
            figure,
            "process_similarity",
            "How similar the processes' layers are",
            "Linear CKA (debiased) between the layers of networks of different learning processes and "
            f"the same seed, on {summary['compared']} evaluation images, mean over seeds.",
            "Matrices of the similarity of processes, one for each layer; the table has the numbers.",
        )


def first_filters(summary: LayerSummary, context: Context) -> Picture:
    """The first layer's filters, one panel per process, in the network's own order."""
    with house_style():
        mosaics = {process: filter_mosaic(summary["filters"][process]) for process in context.styles}
        columns = min(3, len(mosaics))
        rows = -(-len(mosaics) // columns)
        high, wide, _ = next(iter(mosaics.values())).shape
        figure = new_figure(PAGE_WIDTH, 0.1 + rows * (0.3 + PAGE_WIDTH / columns * high / wide))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (process, mosaic) in zip(panels, mosaics.items(), strict=False):
            show_image(axes, mosaic)
            axes.set_title(context.styles[process].label)
        for axes in panels[len(mosaics) :]:
            axes.set_visible(False)
        return save(
            figure,
            "filters",
            "The first layer's filters",
            f"Filters of {summary['first_layer']}, each from its minimum to its maximum. Processes that "
            "share a first stage and seed have them in the same places, so that what later stages changed "
            "can be seen.",
            "Filters of the first convolution of each process, side by side.",
        )


def filter_mosaic(filters: Floats, columns: int = 8) -> Floats:
    """Filters side by side, each scaled to [0, 1] by its minimum and maximum, a white line between.

    Args:
        filters: (K, C, h, w); shown in colour for three channels, else as the mean over them.
        columns: Filters in a row.

    Returns:
        (rows, width, 3).
    """
    values = filters if filters.shape[1] == 3 else filters.mean(1, keepdims=True).repeat(3, axis=1)
    lowest, highest = values.min((1, 2, 3), keepdims=True), values.max((1, 2, 3), keepdims=True)
    scaled = (values - lowest) / np.where(highest > lowest, highest - lowest, 1.0)
    count, _, high, wide = scaled.shape
    rows = -(-count // columns)
    mosaic = np.ones((rows * (high + 1) - 1, columns * (wide + 1) - 1, 3))
    for index in range(count):
        top, left = index // columns * (high + 1), index % columns * (wide + 1)
        mosaic[top : top + high, left : left + wide] = scaled[index].transpose(1, 2, 0)
    return mosaic


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
