"""The page about a series: the answer first, then regions, slices, what made it and what it is not for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.prediction.ensemble import Ensemble
from analysis.prediction.series.figures import LUNGS, along_the_body, region_bars, share_bars
from analysis.prediction.series.measure import UNCERTAIN, Measurement
from analysis.prediction.series.network_tables import learned_table, network_table
from analysis.prediction.series.overlays import Overlay, most_of_each, place_of
from analysis.prediction.series.overview import Overview
from analysis.prediction.series.pattern_codes import spelled_out
from analysis.prediction.series.pattern_map import PatternMap
from analysis.prediction.series.region_tables import region_tables
from analysis.report.page import Caveat, fill_template, relay_version
from stages.console.words import counted
from stages.environment import package_versions

PAGE = "report.html"

UNCERTAIN_RULE = (
    "a pixel is uncertain where the mean probability of its pattern is below 0.5, or where fewer than half "
    "of the networks' own maps name that pattern"
)
"""The rule of `sliding.map_patterns` in words."""

_LIMITS = (
    "Diagnosis, treatment, prognosis, or choosing patients for any of them: the networks are not a medical "
    "device, and nobody has shown that their numbers help a patient.",
    "Patterns beside those listed: every pixel of the lungs is given one of them, also where there is "
    "something else, such as a tumour, an effusion or a vessel.",
    "Change over time, where scans differ in kernel, thickness, dose or breath: each changes texture.",
    "Patients, scanners and hospitals that the training set does not have, before it was evaluated there "
    "(evaluate=true).",
)
_NAMED = 3  # patterns in the first sentence
_SHOWN = 0.005  # share of a slice; less is not in its caption
_SMALL = 0.05  # percent; less is nowhere in the first sentence, and no distance from 0 or 100


@dataclass(frozen=True)
class Image:
    """A picture of pixels on the page."""

    png: bytes
    width: int
    height: int
    title: str
    caption: str
    description: str


@dataclass(frozen=True)
class Shown:
    """What the page shows of a map beside its numbers.

    Attributes:
        overlays: Those of the slices with the most of a pattern.
        strip: All slices: the file, and its size.
        drawn: How many slices have a file of their own.
    """

    overlays: Sequence[Overlay]
    strip: tuple[bytes, tuple[int, int]]
    drawn: int


@dataclass(frozen=True)
class Result:
    """A map that is done.

    Attributes:
        found: The map.
        overview: Of it.
        rows: Its measurements.
        ensemble: What made it.
    """

    found: PatternMap
    overview: Overview
    rows: Sequence[Measurement]
    ensemble: Ensemble


def series_page(
    result: Result,
    shown: Shown,
    caveats: Sequence[Caveat],
    how: Sequence[tuple[str, str]],
    notes: Sequence[str],
    command: str,
) -> str:
    """The page as HTML.

    Args:
        result: What the page is about.
        shown: Its pictures.
        caveats: Serious ones first.
        how: Names and values of what else made it, such as the stride.
        notes: What a person should know of the series and its lungs, a sentence each.
        command: As typed, without paths.
    """
    found, rows, ensemble = result.found, result.rows, result.ensemble
    more = [_note("About the series and its lungs", notes), _note("About the networks", ensemble.notes)]
    return fill_template(
        "series.html.jinja",
        Path(__file__).resolve().parent / "templates",
        title="Lung patterns of a CT series",
        question=f"How much of the lungs shows which of {len(found.classes)} patterns, and where?",
        answer=_answer(rows, found),
        shares=share_bars(rows, found.classes),
        caveats=[*caveats, *(note for note in more if note is not None)],
        regions={
            "text": _regions_text(rows),
            "picture": region_bars(rows, found.classes),
            "tables": region_tables(rows, found.classes),
        },
        slices=_slices(found, result.overview, shown),
        facts=[*_facts(found, ensemble), *how],
        command=command,
        tables=[learned_table(ensemble), network_table(ensemble)],
        limits=_LIMITS,
        version=relay_version(),
    )


def _note(title: str, lines: Sequence[str]) -> Caveat | None:
    sentences = [line if line.endswith(".") else f"{line}." for line in lines]
    capital = [f"{line[0].upper()}{line[1:]}" for line in sentences]
    return Caveat(title, " ".join(capital), serious=False) if capital else None


def _answer(rows: Sequence[Measurement], found: PatternMap) -> dict[str, Any]:
    of_lungs = {row.pattern: row for row in rows if row.region == LUNGS}
    patterns = sorted((of_lungs[name] for name in found.classes), key=lambda row: -(row.percent or 0.0))
    networks = counted(found.networks, "network")
    if patterns[0].percent is None:
        return {"lead": "No lung was mapped.", "sentences": (), "uncertain": "", "interval": ""}
    seen = [row for row in patterns[:_NAMED] if (row.percent or 0.0) >= _SMALL]
    named = ", ".join(f"{row.pattern} {_with_interval(row)}" for row in seen)
    rest = 100 - sum(row.percent or 0.0 for row in seen)
    others = f"; the other patterns {rest:.1f}% together" if len(patterns) > len(seen) else ""
    size = [row.ml for row in patterns]
    volume = "" if None in size else f" ({sum(ml or 0.0 for ml in size) / 1000:.2f} l)"
    doubtful = of_lungs[UNCERTAIN].percent or 0.0
    interval = (
        f"Intervals are over networks only: 95% of Student's t over the {found.networks} networks' own "
        "percentages, where the mean of networks trained alike on the same images lies. They are not over "
        "patients, and do not say where the truth lies: on synthetic series 8 of 28 such intervals of five "
        "networks held the true percentage (28 of 28 of two networks, which are wide). Errors that all "
        "networks share are in none."
    )
    if any(map(_holds_all, patterns)):
        interval += (
            " Where one holds everything, from 0 to 100%, the networks differ too much, or are too few, to "
            "say how much of the pattern there is."
        )
    if all(row.low is None for row in patterns):
        interval = f"There is no interval: it needs networks that differ, and there is {networks}."
    rule = f"{UNCERTAIN_RULE}. They count in their pattern, too."
    return {
        "lead": f"Of the lungs{volume}, by {networks}: {named}{others}.",
        "sentences": [(row.pattern, f"{_meaning(row)}{_with_interval(row)}{_ml(row)}") for row in patterns],
        "uncertain": f"Uncertain are {doubtful:.1f}% of the lungs: {rule}",
        "interval": interval,
    }


def _meaning(row: Measurement) -> str:
    words = spelled_out(row.pattern)
    return f"({words}) " if words else ""


def _with_interval(row: Measurement) -> str:
    text = f"{row.percent or 0.0:.1f}%"
    if row.low is None or row.high is None:
        return text
    if _holds_all(row):
        return f"{text} (its 95% interval holds everything)"
    return f"{text} (95% interval {row.low:.1f} to {row.high:.1f}%)"


def _holds_all(row: Measurement) -> bool:
    """Whether an interval says nothing: as it would be written, from 0.0 to 100.0%."""
    return row.low is not None and row.high is not None and row.low < _SMALL and row.high >= 100 - _SMALL


def _ml(row: Measurement) -> str:
    return "" if row.ml is None else f", {row.ml:,.0f} ml"


def _regions_text(rows: Sequence[Measurement]) -> str:
    regions = {row.region for row in rows}
    if "upper third" not in regions:
        return (
            "The series does not say where its slices lie in the body: sides and thirds are not told apart."
        )
    sides = "" if "right lung" in regions else " The mask of the lungs does not tell their sides apart."
    return (
        "Thirds are of the height from the lowest to the highest slice with lungs, equal in millimetres. "
        f"Volumes count half the way to each neighbouring slice.{sides}"
    )


def _slices(found: PatternMap, overview: Overview, shown: Shown) -> dict[str, Any]:
    held = int((overview.lungs > 0).sum())
    every = "All of them have" if shown.drawn == held else f"{shown.drawn} of them, evenly spread, have"
    turned = " seen from the feet: the patient's right is at the left" if found.volume.placed else ""
    (png, (width, height)) = shown.strip
    strip = Image(
        png,
        width,
        height,
        "All slices with lungs",
        "With the number of each; colours as above, stripes where the pattern is uncertain.",
        f"Small maps of {counted(held, 'slice')} with lungs, in the order of their numbers. The figure of "
        "patterns along the body and the tables say what they show.",
    )
    slices = counted(found.volume.shape[0], "slice")
    return {
        "text": f"{held} of {slices} hold lungs. {every} a picture in the folder overlays: the slice, and "
        f"its map over it{turned}. Here are those with the most of each pattern; stripes are uncertain.",
        "along": along_the_body(found, overview),
        "overlays": list(_most(found, overview, shown)),
        "strip": strip,
    }


def _most(found: PatternMap, overview: Overview, shown: Shown) -> Iterator[Image]:
    """A picture for each slice that has the most of one pattern or several."""
    by_number = {overlay.number: overlay for overlay in shown.overlays}
    most = most_of_each(overview)
    for number in dict.fromkeys(most.values()):
        overlay = by_number[number]
        patterns = [found.classes[pattern] for pattern, of in most.items() if of == number]
        named = zip(found.classes, overlay.shares, strict=True)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in named if share >= _SHOWN)
        place = place_of(found, number)
        yield Image(
            overlay.png,
            *overlay.size,
            f"Most {' and '.join(patterns)}: {place}",
            f"Of this slice's lungs: {shares}; uncertain {overlay.uncertain:.0%}.",
            f"CT {place} beside the same slice with its map of patterns: {shares}; "
            f"uncertain {overlay.uncertain:.0%}.",
        )


def _facts(found: PatternMap, ensemble: Ensemble) -> Iterator[tuple[str, str]]:
    record = ensemble.members[0].record
    yield "chain", " > ".join(record.chain)
    yield "networks", f"{counted(found.networks, 'network')}, probabilities averaged"
    height, width = ensemble.shape
    yield "patch", f"{height} x {width} px"
    slices, rows, columns = found.volume.shape
    step, *pixel = found.volume.spacing
    spacing = (
        "spacing not known"
        if None in pixel
        else f"pixels of {' x '.join(f'{side:.3g}' for side in pixel)} mm"
        + ("" if step is None else f", a slice every {step:.3g} mm")
    )
    yield "series", f"{counted(slices, 'slice')} of {rows} x {columns}, {spacing}"
    if found.volume.thickness is not None:
        yield "slice thickness", f"{found.volume.thickness:g} mm"
    window = ensemble.input.window
    seen = "8-bit grey levels" if window is None else f"{window[0]:g} to {window[1]:g} HU"
    yield "window", seen
    if ensemble.temperature != 1:
        yield "temperature", f"{ensemble.temperature:.3g}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in package_versions().items())
