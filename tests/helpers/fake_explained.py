"""An explained study that nobody computed: numbers from a generator, for tables and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.explain.arrays import Arrays
from analysis.report.explained_sections import explained_sections
from analysis.report.explained_study import ExplainedStudy
from analysis.report.explanation import Context, StudyFacts
from analysis.report.explanations.frequencies_figures import FrequencySummary
from analysis.report.explanations.layers_figures import LayerSummary
from analysis.report.explanations.maps_summary import MapSummary, Shown
from analysis.report.page import Section
from analysis.report.processes import process_labels, styles_of

CHECKED = 12
CLASSES = ("CON", "GGO", "HCM")
SIZE, FREQUENCIES, TILES = 16, 33, 4
LAYERS = {f"conv{n}": f"relu{n}" for n in range(1, 6)} | {"fc6": "relu6", "fc7": "relu7"}


def fake_explained(
    seeds: Mapping[str, Sequence[int]] | None = None,
    study: str = "0a1b2c3d",
    *,
    colour: bool = False,
    facts: Mapping[str, Any] | None = None,
    **changes: Mapping[str, Any],
) -> ExplainedStudy:
    """Processes whose only sources are natural images.

    Args:
        seeds: of each process; scratch and natural at two by default.
        study: its id.
        colour: whether the target's images have three channels.
        facts: other facts of the study.
        changes: by the analysis's name, other parts of its summary.
    """
    seeds = seeds or {"scratch": (0, 1), "natural": (0, 1)}
    generator = np.random.default_rng(5)
    common = set.intersection(*(set(of_process) for of_process in seeds.values()))
    about = StudyFacts(
        study=study,
        target="dld",
        size=64,
        native_size=32,
        runs=[f"{process[0] * 60}{seed:04d}" for process, own in seeds.items() for seed in own],
        processes=list(seeds),
        seeds={process: list(own) for process, own in seeds.items()},
        seed=min(common) if common else None,
        skipped=[],
    )
    summaries: dict[str, Any] = {
        "maps": _maps(list(seeds), generator, colour=colour),
        "frequencies": _frequencies(seeds, generator),
        "layers": _layers(list(seeds), generator),
    }
    return ExplainedStudy(
        replace(about, **(facts or {})),
        {name: {**summary, **changes.get(name, {})} for name, summary in summaries.items()},
    )


def sections_of(explained: ExplainedStudy, *only: str, runs: int | None = None) -> dict[str, Section]:
    """The sections of the page by name, of some analyses `only` if named; nothing is kept."""
    if only:
        explained = replace(explained, summaries={name: explained.summaries[name] for name in only})
    labels = process_labels(explained.facts.processes)
    made = explained_sections(explained, labels, styles_of(labels), Path("/nonexistent"), runs=runs)
    return {section.name: section for section in made}


def context_of(explained: ExplainedStudy) -> Context:
    """What figures and sections know beside their summary."""
    labels = process_labels(explained.facts.processes)
    return Context(explained.facts, labels, styles_of(labels))


def picture_names(section: Section) -> list[str]:
    """The names of a section's figures."""
    return [picture.name for picture in section.all_pictures]


def caption_of(section: Section, name: str) -> str:
    """The caption of a section's figure."""
    (picture,) = [picture for picture in section.all_pictures if picture.name == name]
    return picture.caption


def fake_shown(rows: Sequence[str], processes: int, *, colour: bool = False) -> Shown:
    """Images and maps of them by some processes."""
    generator = np.random.default_rng(6)
    last = (SIZE, SIZE, 3) if colour else (SIZE, SIZE)
    return Shown(
        names=list(rows),
        images=generator.random((len(rows), *last)).astype(np.float32),
        maps=generator.random((len(rows), processes, *last)).astype(np.float32),
        heat=generator.random((len(rows), processes, SIZE, SIZE)).astype(np.float32),
    )


def _maps(processes: Sequence[str], generator: np.random.Generator, *, colour: bool) -> MapSummary:
    return MapSummary(
        layer="pool5",
        rule="desalinet",
        groups=[f"p{number}" for number in range(CHECKED)],
        tiles=TILES,
        shown=fake_shown(CLASSES, len(processes), colour=colour),
        own=None,
        randomisation=pd.DataFrame(
            [
                {
                    "process": process,
                    "layer": layer,
                    "rank": 0.75 - 0.125 * step,
                    "rank_low": 0.625 - 0.125 * step,
                    "rank_high": 0.875 - 0.125 * step,
                    "structure": 0.5 - 0.1 * step,
                }
                for process in processes
                for step, layer in enumerate(("conv5", "conv3", "conv1"))
            ]
        ),
        agreement=pd.DataFrame(
            [
                *({"process_a": name, "process_b": name, "rank": 0.375} for name in processes),
                *({"process_a": name, "process_b": "", "rank": 0.125} for name in processes),
                *(
                    {"process_a": first, "process_b": second, "rank": 0.25}
                    for first, second in _pairs(processes)
                ),
            ]
        ),
        curves={process: _curves(generator) for process in processes},
    )


def _frequencies(seeds: Mapping[str, Sequence[int]], generator: np.random.Generator) -> FrequencySummary:
    return FrequencySummary(
        layer="pool5",
        rule="desalinet",
        norm="paper",
        directions="grid",
        count=180,
        window=5,
        precision=["float32"],
        first_layer="conv1",
        stride=4,
        responses={process: generator.random((len(own), FREQUENCIES)) for process, own in seeds.items()},
    )


def _layers(processes: Sequence[str], generator: np.random.Generator) -> LayerSummary:
    stages = [
        {"process": name, "parent": "natural", "child": "dld"} for name in processes if name != "scratch"
    ]
    pairs = [{"process_a": first, "process_b": second} for first, second in _pairs(processes)]
    return LayerSummary(
        layers=LAYERS,
        first_layer="conv1",
        compared=15,
        stages=_similarity(stages, ["process", "parent", "child", "layer"], generator),
        processes=_similarity(pairs, ["process_a", "process_b", "layer"], generator),
        filters={process: generator.random((6, 3, 5, 5)).astype(np.float32) for process in processes},
    )


def _pairs(processes: Sequence[str]) -> list[tuple[str, str]]:
    return [(first, second) for at, first in enumerate(processes) for second in processes[at + 1 :]]


def _curves(generator: np.random.Generator) -> Arrays:
    kinds = ("deletion", "deletion_random", "insertion", "insertion_random")
    return {kind: generator.random((CHECKED, TILES + 1)) for kind in kinds}


def _similarity(
    pairs: Sequence[dict[str, str]], columns: Sequence[str], generator: np.random.Generator
) -> pd.DataFrame:
    rows = [
        {**pair, "layer": layer, "cka": float(generator.random())}
        for pair in pairs
        for layer in LAYERS.values()
    ]
    return pd.DataFrame(rows, columns=[*columns, "cka"])
