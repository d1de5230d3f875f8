"""What figures and tables of maps need of a study, and the means over its seeds and images."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from analysis.explain.arrays import Arrays, Floats

CURVES = ("deletion", "insertion", "deletion_random", "insertion_random")


class Shown(TypedDict):
    """The R images of Figure 9, mapped back by P processes.

    `names` of the images; the images in [0, 1], (R, H, W) grey or (R, H, W, 3); `maps` scaled to [0, 1] by
    minimum and maximum, (R, P, H, W) or (R, P, H, W, 3); `heat`, the magnitude in multiples of its mean over
    the image, (R, P, H, W).
    """

    names: list[str]
    images: Floats
    maps: Floats
    heat: Floats


class MapSummary(TypedDict):
    """What figures and tables of the maps need.

    `layer` and `rule` of the backward path; `groups`, the patient or object of each checked image; `tiles`
    along a side; `shown` images of the set and the user's `own`; `randomisation` and `agreement`, see
    the functions below; `curves` of insertion and deletion by process, the mean over
    seeds, (N, steps + 1).
    """

    layer: str
    rule: str
    groups: list[str]
    tiles: int
    shown: Shown
    own: Shown | None
    randomisation: pd.DataFrame
    agreement: pd.DataFrame
    curves: dict[str, Arrays]


def randomisation_data(found: Mapping[str, Sequence[Arrays]]) -> pd.DataFrame:
    """How similar maps stay to the trained network's while more and more layers are re-initialised.

    Args:
        found: By process, for each seed `layers`, `rank` and `structure` of
            `analysis.explain.sanity_checks.weight_randomisation`.

    Returns:
        One row per process and layer: `process`, `layer`, `rank` and `structure`, means over seeds and
        images, and `rank_low`, `rank_high`, the least and the greatest seed's mean.
    """
    rows = []
    for process, seeds in found.items():
        for place, layer in enumerate(seeds[0]["layers"]):
            ranks = [_mean(each["rank"][place]) for each in seeds]
            rows.append(
                {
                    "process": process,
                    "layer": str(layer),
                    "rank": _mean(ranks),
                    "rank_low": float(np.fmin.reduce(ranks)),
                    "rank_high": float(np.fmax.reduce(ranks)),
                    "structure": _mean([_mean(each["structure"][place]) for each in seeds]),
                }
            )
    return pd.DataFrame(rows, columns=["process", "layer", "rank", "rank_low", "rank_high", "structure"])


def agreement_data(heats: Mapping[tuple[str, int], Floats]) -> pd.DataFrame:
    """Rank correlation of maps within and between processes.

    Args:
        heats: By process and seed, (N, H, W), of the same images.

    Returns:
        One row per pair of processes, a process with itself included: `process_a`, `process_b`, and `rank`,
        the mean rank correlation of maps of the same images over pairs of runs (of different seeds within a
        process, of the same seed between processes); NaN without such a pair. `process_b` is empty for maps
        of different images by the same network: what chance and position alone give.
    """
    import torch

    from analysis.explain.sanity_checks import rank_similarity

    def rank(first: Floats, second: Floats) -> float:
        return _mean(rank_similarity(torch.from_numpy(first), torch.from_numpy(second)))

    processes = list(dict.fromkeys(process for process, _ in heats))
    rows = []
    for name in processes:
        own = [value for (process, _), value in heats.items() if process == name]
        pairs = [rank(first, second) for first, second in combinations(own, 2)]
        rows.append({"process_a": name, "process_b": name, "rank": _mean(pairs)})
        # By half of them: images come class by class, and the next one is of the same.
        shifted = [rank(value, np.roll(value, len(value) // 2, 0)) for value in own if len(value) > 1]
        rows.append({"process_a": name, "process_b": "", "rank": _mean(shifted)})
    for first_name, second_name in combinations(processes, 2):
        pairs = [
            rank(value, heats[second_name, seed])
            for (process, seed), value in heats.items()
            if process == first_name and (second_name, seed) in heats
        ]
        rows.append({"process_a": first_name, "process_b": second_name, "rank": _mean(pairs)})
    return pd.DataFrame(rows, columns=["process_a", "process_b", "rank"])


def mean_curves(seeds: Sequence[Arrays]) -> Arrays:
    """Means over seeds of each kind of curve, (N, steps + 1)."""
    return {kind: np.mean([each[kind] for each in seeds], axis=0) for kind in seeds[0]}


def _mean(values: Any) -> float:
    """The mean of those that are numbers, NaN if none is."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[~np.isnan(numbers)]
    return float(numbers.mean()) if numbers.size else float("nan")
