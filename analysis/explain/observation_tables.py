"""From what was seen in single networks to means over a study: tables and scaled maps."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from analysis.explain.arrays import Arrays
from analysis.explain.cka import linear_cka
from analysis.explain.observations import Floats
from analysis.explain.sanity_checks import heat, rank_similarity

SHOWN_SIDE = 128
"""Largest height and width of a map in a figure, in pixels: more than a page shows."""


def evenly_spread(length: int, count: int) -> npt.NDArray[np.int64]:
    """Up to `count` places in a list, as far apart as they can be: neighbours are of one class or patient."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(np.int64))


def normalised_maps(maps: Tensor, *, grey: bool) -> Tensor:
    """Maps (N, C, H, W) scaled to [0, 1] by each one's minimum and maximum (section 7.1); constant ones to 0.

    Args:
        maps: images mapped back.
        grey: whether the channels are copies of one, whose map is then the sum over them.

    Returns:
        (N, H, W) for grey images, else (N, H, W, C).
    """
    summed = maps.sum(1, keepdim=True) if grey else maps
    lowest, highest = summed.amin((1, 2, 3), keepdim=True), summed.amax((1, 2, 3), keepdim=True)
    scaled = torch.where(highest > lowest, (summed - lowest) / (highest - lowest), 0.0)
    return scaled.squeeze(1) if grey else scaled.permute(0, 2, 3, 1)


def relative_heat(maps: Tensor) -> Tensor:
    """The magnitude of maps (N, C, H, W) in multiples of its mean over the image; 1 where there is none.

    So maps of networks whose weights have other scales can share one colour scale, and a map that points
    nowhere is flat.
    """
    magnitude = heat(maps)
    mean = magnitude.mean((1, 2), keepdim=True)
    return torch.where(mean > 0, magnitude / mean, 1.0)


def small(images: Tensor) -> Floats:
    """Images (N, H, W) or (N, H, W, 3) as they are put into a figure, float32."""
    if max(images.shape[1:3]) <= SHOWN_SIDE:
        return images.float().numpy()
    planes = images.permute(0, 3, 1, 2) if images.dim() == 4 else images.unsqueeze(1)
    reduced = functional.interpolate(planes.float(), size=(SHOWN_SIDE, SHOWN_SIDE), mode="area")
    return (reduced.permute(0, 2, 3, 1) if images.dim() == 4 else reduced.squeeze(1)).numpy()


def randomisation_table(found: Mapping[str, Sequence[Arrays]]) -> pd.DataFrame:
    """Means over images and seeds; see `Observations.randomisation`.

    Args:
        found: by process, for each seed what `Observer.randomisation` gives.
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


def mean_curves(seeds: Sequence[Arrays]) -> dict[str, Floats]:
    """Means over seeds of each kind of curve, (N, K + 1)."""
    return {kind: np.mean([each[kind] for each in seeds], axis=0) for kind in seeds[0]}


def agreement_table(heats: Mapping[tuple[str, int], Tensor]) -> pd.DataFrame:
    """Rank correlation of maps within and between processes; see `Observations.agreement`.

    Args:
        heats: by process and seed, (N, H, W), of the same images.
    """
    processes = list(dict.fromkeys(process for process, _ in heats))
    rows = []
    for name in processes:
        own = [value for (process, _), value in heats.items() if process == name]
        pairs = [_mean(rank_similarity(first, second)) for first, second in combinations(own, 2)]
        rows.append({"process_a": name, "process_b": name, "rank": _mean(pairs)})
        # By half of them: images come class by class, and the next one is of the same.
        shifted = [
            _mean(rank_similarity(value, value.roll(len(value) // 2, 0))) for value in own if len(value) > 1
        ]
        rows.append({"process_a": name, "process_b": "", "rank": _mean(shifted)})
    for first_name, second_name in combinations(processes, 2):
        pairs = [
            _mean(rank_similarity(value, heats[second_name, seed]))
            for (process, seed), value in heats.items()
            if process == first_name and (second_name, seed) in heats
        ]
        rows.append({"process_a": first_name, "process_b": second_name, "rank": _mean(pairs)})
    return pd.DataFrame(rows, columns=["process_a", "process_b", "rank"])


def layer_likeness(first: Arrays, second: Arrays) -> list[dict[str, Any]]:
    """Linear CKA between equal layers of two networks, by their Gram matrices."""
    return [
        {"layer": layer, "cka": linear_cka(torch.from_numpy(gram), torch.from_numpy(second[layer]))}
        for layer, gram in first.items()
    ]


def between_processes(grams: Mapping[tuple[str, int], Arrays]) -> pd.DataFrame:
    """CKA between processes at the same seed; see `Observations.processes_cka`.

    Args:
        grams: by process and seed, Gram matrices of the same images by layer.
    """
    found = []
    for (first, seed), (second, other) in combinations(grams, 2):
        if first != second and seed == other:
            pair = {"process_a": first, "process_b": second}
            found += [pair | likeness for likeness in layer_likeness(grams[first, seed], grams[second, seed])]
    return mean_table(found, ["process_a", "process_b", "layer"], "cka")


def mean_table(rows: Iterable[dict[str, Any]], keys: list[str], value: str) -> pd.DataFrame:
    """A table with the mean of a column over rows that agree in others, in the order they come."""
    table = pd.DataFrame(list(rows), columns=[*keys, value])
    return table.groupby(keys, sort=False)[value].mean().reset_index()


def _mean(values: Any) -> float:
    """The mean of those that are numbers, NaN if none is."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[~np.isnan(numbers)]
    return float(numbers.mean()) if numbers.size else float("nan")
