"""Figures of maps: what each process takes from an image (paper, Figure 9), and the checks of these maps."""

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from analysis.report.explanation import Context
from analysis.report.explanations.maps_summary import MapSummary, Shown
from analysis.report.figures import (
    PAGE_WIDTH,
    Picture,
    house_style,
    legend_above,
    new_figure,
    save,
    show_image,
    wrapped,
)

_HEAT = "inferno"
_OPACITY = 0.75
_BRIGHTEST = 99.5  # percentile of all heat maps: a few pixels would set the scale otherwise


def feature_maps(shown: Shown, summary: MapSummary, context: Context, name: str, chosen: str) -> Picture:
    """Images and, by every process, the map above and its heat over the image below (Figure 9).

    Args:
        shown: The images.
        summary: For the layer and the rule.
        context: Of the study.
        name: Of the picture's files.
        chosen: A sentence that says how the images were chosen.
    """
    study, styles = context.study, context.styles
    count, width = len(shown["names"]), len(styles) + 1
    gap, left, top, bottom = 0.05, 0.9, 0.45, 0.7  # inches; laid out by hand: many panels take seconds else
    side = min((PAGE_WIDTH - left) / width - gap, 1.15)
    size = (left + width * (side + gap), top + 2 * count * (side + gap) + bottom)
    brightest = max(float(np.percentile(shown["heat"], _BRIGHTEST)), 1e-6)
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
            show_image(upper[0], shown["images"][row])
            lower[0].set_axis_off()
            upper[0].set_ylabel(wrapped(shown["names"][row], 12), rotation=0, ha="right", va="center")
            for place, process in enumerate(styles, start=1):
                index = study.processes.index(process)
                show_image(upper[place], shown["maps"][row, index])
                show_image(lower[place], shown["images"][row])
                lower[place].imshow(
                    shown["heat"][row, index], cmap=_HEAT, norm=scale, alpha=_OPACITY, interpolation="nearest"
                )
        grid[0, 0].set_title("input")
        for place, style in enumerate(styles.values(), start=1):
            grid[0, place].set_title(wrapped(style.label, 13), size=8)
        place_of_bar = figure.add_axes((0.25, 0.46 / size[1], 0.5, 0.1 / size[1]))
        bar = figure.colorbar(ScalarMappable(scale, _HEAT), cax=place_of_bar, orientation="horizontal")
        bar.set_label("magnitude / its mean over the image")
        networks = "each process's first seed" if study.seed is None else f"seed {study.seed}"
        return save(
            figure,
            name,
            "What each learning process takes from the same images (paper: Figure 9)",
            f"Features of {summary['layer']} mapped back by the rule {summary['rule']}; all training data, "
            f"{networks}. Above: the map, from its minimum (black) to its maximum (white). Below: its "
            f"magnitude over the image, one colour scale for all, 0 to {brightest:.1f} times the mean over "
            f"the image; an even colour points nowhere. {chosen}.",
            f"Images of {', '.join(dict.fromkeys(shown['names']))}, and for each learning process a map of "
            "what its features come from, above as grey values, below as a heat map over the image.",
        )


def randomisation(summary: MapSummary, context: Context) -> Picture:
    """Similarity of maps to the trained network's while layers are re-initialised, one more at each step."""
    table, agreement = summary["randomisation"], summary["agreement"]
    layers = list(dict.fromkeys(table["layer"]))
    with house_style():
        figure = new_figure(PAGE_WIDTH, 3.1)
        axes = figure.subplots()
        for process, style in context.styles.items():
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
            if len(context.study.seeds[process]) > 1:
                low, high = [1.0, *rows["rank_low"]], [1.0, *rows["rank_high"]]
                axes.fill_between(places, low, high, color=style.colour, alpha=0.15, lw=0)
        others = agreement[agreement["process_b"] == ""]["rank"].dropna()
        if len(others):
            axes.axhline(float(others.mean()), color="black", lw=0.9, ls=":")
            axes.text(0, float(others.mean()), "maps of different images", va="bottom", size=7.5)
        axes.set_xticks(range(len(layers) + 1), ["trained", *(f"+ {layer}" for layer in layers)])
        axes.set_xlabel("layers re-initialised, from the last to the first")
        axes.set_ylabel("rank correlation with\nthe trained network's map")
        axes.set_ylim(top=1.02)
        legend_above(figure, axes, 3)
        return save(
            figure,
            "randomisation",
            "Do the maps depend on the weights?",
            "Parameter randomisation (Adebayo et al. 2018): Spearman's rank correlation of a map's "
            f"magnitude with that of the trained network, mean over {len(summary['groups'])} images and all "
            "seeds, the band from the least to the greatest seed. A map that stays similar when every layer "
            "is random shows the image, not what was learned. Dotted: maps of different images by one "
            "network, what position alone gives.",
            "Rank correlation with the trained network's maps after the last step: "
            + ", ".join(
                f"{style.label} {_last(table, process):.2f}" for process, style in context.styles.items()
            )
            + ".",
        )


def insertion_deletion(summary: MapSummary, context: Context) -> Picture:
    """Probability of the predicted class against the share of tiles removed, and shown, by process."""
    with house_style():
        figure = new_figure(PAGE_WIDTH, 3.9)
        panels = figure.subplots(2, len(context.styles), sharex=True, sharey=True, squeeze=False)
        for column, (process, style) in enumerate(context.styles.items()):
            for axes, mode in zip(panels[:, column], ("deletion", "insertion"), strict=True):
                curves = summary["curves"][process]
                shares = np.linspace(0, 100, curves[mode].shape[1])
                axes.plot(shares, curves[mode].mean(0), color=style.colour, label="hottest first")
                axes.plot(
                    shares, curves[f"{mode}_random"].mean(0), color="black", ls=":", label="random order"
                )
            panels[0, column].set_title(wrapped(style.label, 13))
            panels[1, column].set_xlabel("tiles (%)")
        for axes, word in zip(panels[:, 0], ("removed", "shown"), strict=True):
            axes.set_ylabel(f"probability,\ntiles {word}")
        panels[0, 0].set_ylim(0, 1)
        legend_above(figure, panels[0, 0], 2)
        return save(
            figure,
            "deletion",
            "Do the maps point at what the network uses?",
            "Insertion and deletion (Petsiuk et al. 2018): the mean probability of the class that a network "
            f"predicts, while {summary['tiles']} x {summary['tiles']} tiles of the image are replaced by the "
            "mean grey (above) or shown on it (below), those of the greatest magnitude first; dotted, in "
            f"random order. {len(summary['groups'])} images, the networks that are explained. Where the two "
            "lines are the same, the map does not say what the classification is based on.",
            "Curves of the predicted class's probability for each process: hottest tiles first against "
            "random order; the table has their areas.",
        )


def _last(table: pd.DataFrame, process: str) -> float:
    return float(table[table["process"] == process]["rank"].iloc[-1])
