"""What nobody saw in a study's networks: observations with numbers from a generator, for tables and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.explain.observations import Floats, Observations, Shown
from analysis.explain.observe import LAYERS

CLASSES = ("CON", "GGO", "HCM")
SIZE, FREQUENCIES, TILES = 16, 33, 4


def fake_observations(
    seeds: Mapping[str, Sequence[int]] | None = None,
    study: str = "0a1b2c3d",
    *,
    colour: bool = False,
    **changes: Any,
) -> Observations:
    """Observations of processes whose only sources are natural images.

    Args:
        seeds: of each process; scratch and natural at two by default.
        study: its id.
        colour: whether the target's images have three channels.
        changes: other attributes.
    """
    seeds = seeds or {"scratch": (0, 1), "natural": (0, 1)}
    generator = np.random.default_rng(5)
    processes = list(seeds)
    pairs = [(first, second) for at, first in enumerate(processes) for second in processes[at + 1 :]]
    common = set.intersection(*(set(of_process) for of_process in seeds.values()))
    seen = Observations(
        study=study,
        target="dld",
        runs=[f"{process[0] * 60}{seed:04d}" for process, own in seeds.items() for seed in own],
        settings={
            "layer": "pool5",
            "rule": "desalinet",
            "norm": "paper",
            "directions": "grid",
            "count": 180,
            "window": 5,
            "precision": ["float32"],
        },
        facts={"size": 64, "native": 32, "stride": 4, "checked": 12, "compared": 15, "tiles": TILES},
        processes=processes,
        seeds={process: list(own) for process, own in seeds.items()},
        skipped=[],
        shown=fake_shown(CLASSES, len(processes), min(common) if common else None, colour=colour),
        own=None,
        responses={process: generator.random((len(own), FREQUENCIES)) for process, own in seeds.items()},
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
        curves={process: _curves(generator) for process in processes},
        agreement=pd.DataFrame(
            [
                *({"process_a": name, "process_b": name, "rank": 0.375} for name in processes),
                *({"process_a": name, "process_b": "", "rank": 0.125} for name in processes),
                *({"process_a": first, "process_b": second, "rank": 0.25} for first, second in pairs),
            ]
        ),
        stages=_layers(
            [
                {"process": name, "parent": "natural", "child": "dld"}
                for name in processes
                if name != "scratch"
            ],
            ["process", "parent", "child", "layer"],
            generator,
        ),
        processes_cka=_layers(
            [{"process_a": first, "process_b": second} for first, second in pairs],
            ["process_a", "process_b", "layer"],
            generator,
        ),
        filters={process: generator.random((6, 3, 5, 5)).astype(np.float32) for process in processes},
    )
    return replace(seen, **changes)


def fake_shown(rows: Sequence[str], processes: int, seed: int | None, *, colour: bool = False) -> Shown:
    """Images and maps of them by some processes."""
    generator = np.random.default_rng(6)
    last = (SIZE, SIZE, 3) if colour else (SIZE, SIZE)
    return Shown(
        rows=list(rows),
        seed=seed,
        images=generator.random((len(rows), *last)).astype(np.float32),
        maps=generator.random((len(rows), processes, *last)).astype(np.float32),
        heat=generator.random((len(rows), processes, SIZE, SIZE)).astype(np.float32),
    )


def _curves(generator: np.random.Generator) -> dict[str, Floats]:
    kinds = ("deletion", "deletion_random", "insertion", "insertion_random")
    return {kind: generator.random((5, TILES + 1)) for kind in kinds}


def _layers(
    pairs: Sequence[dict[str, str]], columns: Sequence[str], generator: np.random.Generator
) -> pd.DataFrame:
    rows = [
        {**pair, "layer": layer, "cka": float(generator.random())}
        for pair in pairs
        for layer in LAYERS.values()
    ]
    return pd.DataFrame(rows, columns=[*columns, "cka"])
