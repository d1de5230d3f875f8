"""Figures of maps: what each process takes from an image (paper, Figure 9), and whether to believe it."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from analysis.explain.observations import Floats, Observations, Shown
from analysis.report.figures import (
    PAGE_WIDTH,
    Picture,
    ProcessStyle,
    house_style,
    legend_above,
    new_figure,
    save,
    wrapped,
)

_HEAT = "inferno"
_OPACITY = 0.75
_BRIGHTEST = 99.5  # percentile of all heat maps: a few pixels would set the scale otherwise


def feature_maps(
    shown: Shown, seen: Observations, styles: Mapping[str, ProcessStyle], name: str, chosen: str
) -> Picture:
    """Images and, by every process, the map above and its heat over the image below (Figure 9).

    Args:
        shown: the images.
        seen: for the layer and the rule.
        styles: of the processes, in order.
        name: of the picture's files.
        chosen: a sentence that says how the images were chosen.
    """
    columns = [process for process in styles if process in seen.processes]
    count, width = len(shown.rows), len(columns) + 1
    gap, left, top, bottom = 0.05, 0.9, 0.45, 0.7  # inches; laid out by hand: many panels take seconds else
    side = min((PAGE_WIDTH - left) / width - gap, 1.15)
    size = (left + width * (side + gap), top + 2 * count * (side + gap) + bottom)
    brightest = max(float(np.percentile(shown.heat, _BRIGHTEST)), 1e-6)
    scale = Normalize(0.0, brightest)
    with house_style():
        figure = new_figure(*size, constrained=False)
        figure.subplots_adjust(
            left=left / size[0],
            right=1 - gap / size[0],
            top=1 - top / size[1],
            bottom=bottom / size[1],
            wspace=gap / side,
            hspace=gap / side,
        )
        grid = figure.subplots(2 * count, width, squeeze=False)
        for row in range(count):
            upper, lower = grid[2 * row], grid[2 * row + 1]
            _image(upper[0], shown.images[row])
            lower[0].set_axis_off()
            upper[0].set_ylabel(wrapped(shown.rows[row], 12), rotation=0, ha="right", va="center")
            for place, process in enumerate(columns, start=1):
                index = seen.processes.index(process)
                _image(upper[place], shown.maps[row, index])
                _image(lower[place], shown.images[row])
                lower[place].imshow(
                    shown.heat[row, index], cmap=_HEAT, norm=scale, alpha=_OPACITY, interpolation="nearest"
                )
        grid[0, 0].set_title("input")
        for place, process in enumerate(columns, start=1):
            grid[0, place].set_title(wrapped(styles[process].label, 13), size=8)
        place_of_bar = figure.add_axes((0.25, 0.46 / size[1], 0.5, 0.1 / size[1]))
        bar = figure.colorbar(ScalarMappable(scale, _HEAT), cax=place_of_bar, orientation="horizontal")
        bar.set_label("magnitude / its mean over the image")
        networks = "each process's first seed" if shown.seed is None else f"seed {shown.seed}"
        return save(
            figure,
            name,
            "What each learning process takes from the same images",
            f"Features of {seen.settings['layer']} mapped back by the rule {seen.settings['rule']}; all "
            f"training data, {networks}. Above: the map, from its minimum (black) to its maximum (white). "
            f"Below: its magnitude over the image, one colour scale for all, 0 to {brightest:.1f} times "
            f"the mean over the image; an even colour points nowhere. {chosen}.",
            f"Images of {', '.join(dict.fromkeys(shown.rows))}, and for each learning process a map of "
            "what its features come from, above as grey values, below as a heat map over the image.",
        )


def randomisation_curves(seen: Observations, styles: Mapping[str, ProcessStyle]) -> Picture:
    """Likeness of maps to the trained network's while layers are drawn anew, one more at each step."""
    table = seen.randomisation
    layers = list(dict.fromkeys(table["layer"]))
    with house_style():
        figure = new_figure(PAGE_WIDTH, 3.1)
        axes = figure.subplots()
        for process, style in _drawn(seen, styles):
            rows = table[table["process"] == process].set_index("layer").reindex(layers)
            places = np.arange(len(layers) + 1)
            axes.plot(
                places,
                [1.0, *rows["rank"]],
                style.marker,
                ls=style.line,
                color=style.colour,
                label=style.label,
            )
            if len(seen.seeds[process]) > 1:
                low, high = [1.0, *rows["rank_low"]], [1.0, *rows["rank_high"]]
                axes.fill_between(places, low, high, color=style.colour, alpha=0.15, lw=0)
        others = seen.agreement[seen.agreement["process_b"] == ""]["rank"].dropna()
        if len(others):
            axes.axhline(float(others.mean()), color="black", lw=0.9, ls=":")
            axes.text(0, float(others.mean()), "maps of different images", va="bottom", size=7.5)
        axes.set_xticks(range(len(layers) + 1), ["trained", *(f"+ {layer}" for layer in layers)])
        axes.set_xlabel("layers drawn anew, from the last to the first")
        axes.set_ylabel("rank correlation with\nthe trained network's map")
        axes.set_ylim(top=1.02)
        legend_above(figure, axes, 3)
        return save(
            figure,
            "randomisation",
            "Do the maps depend on the weights?",
            "Parameter randomisation (Adebayo et al. 2018): Spearman's rank correlation of a map's "
            f"magnitude with that of the trained network, mean over {seen.facts['checked']} images and "
            "all seeds, the band from the least to the greatest seed. A map that stays alike when every "
            "layer is random shows the image, not what was learned. Dotted: maps of different images by "
            "one network, what position alone gives.",
            "Rank correlation with the trained network's maps after the last step: "
            + ", ".join(
                f"{style.label} {_last(table, process):.2f}" for process, style in _drawn(seen, styles)
            )
            + ".",
        )


def deletion_curves(seen: Observations, styles: Mapping[str, ProcessStyle]) -> Picture:
    """Probability of the predicted class against the share of tiles taken away, and shown, by process."""
    drawn = _drawn(seen, styles)
    with house_style():
        figure = new_figure(PAGE_WIDTH, 3.9)
        panels = figure.subplots(2, len(drawn), sharex=True, sharey=True, squeeze=False)
        for column, (process, style) in enumerate(drawn):
            for axes, mode in zip(panels[:, column], ("deletion", "insertion"), strict=True):
                curves = seen.curves[process]
                shares = np.linspace(0, 100, curves[mode].shape[1])
                axes.plot(shares, curves[mode].mean(0), color=style.colour, label="hottest first")
                axes.plot(
                    shares, curves[f"{mode}_random"].mean(0), color="black", ls=":", label="random order"
                )
            panels[0, column].set_title(wrapped(style.label, 13))
            panels[1, column].set_xlabel("tiles (%)")
        for axes, word in zip(panels[:, 0], ("taken away", "shown"), strict=True):
            axes.set_ylabel(f"probability,\ntiles {word}")
        panels[0, 0].set_ylim(0, 1)
        legend_above(figure, panels[0, 0], 2)
        return save(
            figure,
            "deletion",
            "Do the maps point at what the network uses?",
            "Insertion and deletion (Petsiuk et al. 2018): the mean probability of the class that a "
            f"network predicts, while {seen.facts['tiles']} x {seen.facts['tiles']} tiles of the image "
            "are replaced by the mean grey (above) or shown on it (below), those of the greatest "
            f"magnitude first; dotted, in random order. {seen.facts['checked']} images, all seeds. Where "
            "the lines are one, the map does not say what the classification rests on.",
            "Curves of the predicted class's probability for each process: hottest tiles first against "
            "random order; the table has their areas.",
        )


def _drawn(seen: Observations, styles: Mapping[str, ProcessStyle]) -> list[tuple[str, ProcessStyle]]:
    return [(process, style) for process, style in styles.items() if process in seen.processes]


def _last(table: pd.DataFrame, process: str) -> float:
    return float(table[table["process"] == process]["rank"].iloc[-1])


def _image(axes: Axes, image: Floats) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def filter_mosaic(filters: Floats, columns: int = 8) -> Floats:
    """Filters side by side, each scaled to [0, 1] by its minimum and maximum, a white line between.

    Args:
        filters: (K, C, h, w); shown in colour for three channels, else as the mean over them.
        columns: filters in a row.

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


def first_filters(seen: Observations, styles: Mapping[str, ProcessStyle]) -> Picture:
    """The first layer's filters, a panel a process, in the network's own order."""
    drawn = _drawn(seen, styles)
    with house_style(), mpl.rc_context({"axes.grid": False}):
        mosaics = {process: filter_mosaic(seen.filters[process]) for process, _ in drawn}
        columns = min(3, len(drawn))
        rows = -(-len(drawn) // columns)
        high, wide, _ = next(iter(mosaics.values())).shape
        figure = new_figure(PAGE_WIDTH, 0.1 + rows * (0.3 + PAGE_WIDTH / columns * high / wide))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (process, style) in zip(panels, drawn, strict=False):
            _image(axes, mosaics[process])
            axes.set_title(style.label)
        for axes in panels[len(drawn) :]:
            axes.set_visible(False)
        return save(
            figure,
            "filters",
            "The first layer's filters",
            "Filters of conv1, each from its minimum to its maximum. Processes that share a first stage "
            "and seed have them in the same places, so that what later stages changed can be seen.",
            "Filters of the first convolution of each process, side by side.",
        )
