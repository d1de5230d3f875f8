"""Figures of a map: how much of the lungs each pattern takes, by region, and along the body."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.prediction.series.colours import pattern_colours
from analysis.prediction.series.measure import UNCERTAIN, Measurement
from analysis.prediction.series.overview import Overview
from analysis.prediction.series.pattern_map import PatternMap
from analysis.report.figures import (
    PAGE_WIDTH,
    Picture,
    house_style,
    legend_above,
    new_figure,
    process_styles,
    save,
)

LUNGS = "lungs"
"""The region of both lungs in the rows."""

_BY_PERCENT = "Percent of the region's volume."


def share_bars(rows: Sequence[Measurement], classes: Sequence[str]) -> Picture:
    """A bar for each pattern: percent of the lungs, with the networks' interval where there is one."""
    of_lungs = {row.pattern: row for row in rows if row.region == LUNGS}
    with house_style():
        figure = new_figure(PAGE_WIDTH, 0.8 + 0.34 * len(classes))
        axes = figure.subplots()
        for place, (name, colour, hatch) in enumerate(_looks(classes)):
            row = of_lungs[name]
            percent = row.percent or 0.0
            axes.barh(place, percent, 0.7, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [place, place], color="black", lw=1.4, marker="|", ms=8)
            end = max(percent, row.high or 0.0)
            axes.annotate(
                f"{percent:.1f}%", (end, place), (5, 0), textcoords="offset points", va="center", fontsize=8
            )
        axes.set_yticks(range(len(classes)), list(classes))
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.set_xlim(0, max(10.0, 1.12 * max(_ends(of_lungs, classes))))
        axes.set_xlabel("percent of the lungs")
        axes.grid(axis="y", visible=False)
        said = "; ".join(f"{name} {of_lungs[name].percent or 0.0:.1f}%" for name in classes)
        interval = any(of_lungs[name].low is not None for name in classes)
        return save(
            figure,
            "shares",
            "Patterns in percent of the lungs",
            "The black line is the 95% interval over the networks." if interval else "There is no interval.",
            f"Bar chart. {said}.",
        )


def region_bars(rows: Sequence[Measurement], classes: Sequence[str]) -> Picture:
    """A bar for each region, divided by pattern."""
    regions = [region for region in dict.fromkeys(row.region for row in rows) if _held(rows, region)]
    percents = {(row.region, row.pattern): row.percent or 0.0 for row in rows}
    with house_style():
        figure = new_figure(PAGE_WIDTH, 1.0 + 0.36 * len(regions))
        axes = figure.subplots()
        left = np.zeros(len(regions))
        for name, colour, hatch in _looks(classes):
            widths = np.array([percents[region, name] for region in regions])
            axes.barh(
                range(len(regions)), widths, 0.72, left, label=name, color=colour, hatch=hatch,
                edgecolor="white", linewidth=0,
            )  # fmt: skip
            left += widths
        axes.set_yticks(range(len(regions)), regions)
        axes.set_ylim(len(regions) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("percent of the region")
        axes.grid(axis="y", visible=False)
        legend_above(figure, axes, 7)
        return save(
            figure,
            "regions",
            "Patterns by region",
            f"{_BY_PERCENT} The numbers are in the table below.",
            f"Stacked bars of {', '.join(regions)}; the table below has the numbers.",
        )


def along_the_body(found: PatternMap, overview: Overview) -> Picture:
    """Percent of each slice's lungs by pattern, over the slice's height or number."""
    heights = found.volume.heights
    held = np.flatnonzero(overview.lungs)
    places = held + 1.0 if heights is None else heights[held]
    order = np.argsort(places)
    shares = 100 * overview.counts[held] / overview.lungs[held][:, None]
    doubtful = 100 * overview.uncertain[held] / overview.lungs[held]
    with house_style():
        figure = new_figure(PAGE_WIDTH, 2.9)
        axes = figure.subplots()
        bottom = np.zeros(len(held))
        for place, (name, colour, hatch) in enumerate(_looks(found.classes)):
            top = bottom + shares[:, place]
            axes.fill_between(
                places[order], bottom[order], top[order], label=name, facecolor=colour, hatch=hatch,
                edgecolor="white", linewidth=0, step="mid" if len(held) > 1 else None,
            )  # fmt: skip
            bottom = top
        axes.plot(places[order], doubtful[order], color="black", lw=1.2, ls="--", label=UNCERTAIN)
        axes.set_ylim(0, 100)
        axes.set_ylabel("percent of the slice's lungs")
        axes.set_xlabel("slice" if heights is None else "height along the body in mm, the head at the right")
        axes.margins(x=0)
        legend_above(figure, axes, 8)
        return save(
            figure,
            "along_the_body",
            "Patterns along the body",
            "Each slice's lungs by pattern; the dashed line is the share that is uncertain.",
            f"Stacked areas over {len(held)} slices with lungs; each slice's shares are under its overlay.",
        )


def _looks(classes: Sequence[str]) -> list[tuple[str, tuple[float, float, float], str]]:
    """Name, colour and hatch of each pattern: hatches tell them apart on a black-and-white print."""
    hatches = [style.hatch for style in process_styles([(name, name) for name in classes]).values()]
    colours = [(red / 255, green / 255, blue / 255) for red, green, blue in pattern_colours(len(classes))]
    return list(zip(classes, colours, hatches, strict=True))


def _held(rows: Sequence[Measurement], region: str) -> bool:
    return any(row.region == region and row.percent is not None for row in rows)


def _ends(of_lungs: Mapping[str, Measurement], classes: Sequence[str]) -> list[float]:
    return [max(of_lungs[name].percent or 0.0, of_lungs[name].high or 0.0) for name in classes]
