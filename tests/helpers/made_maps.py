"""Finished pattern maps without networks: written as `map_patterns` writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.prediction.series.pattern_map import ONE, PatternMap
from analysis.prediction.series.volume import CTVolume


def made_map(
    folder: Path,
    volume: CTVolume,
    lungs: npt.NDArray[np.uint8],
    patterns: npt.NDArray[np.uint8],
    classes: tuple[str, ...],
    own: npt.NDArray[np.uint8] | None = None,
    uncertain: npt.NDArray[Any] | None = None,
) -> PatternMap:
    """Write a map.

    Args:
        folder: It is made.
        volume: The series.
        lungs: (S, H, W), see `PatternMap.lungs`.
        patterns: (S, H, W), index + 1 of the class where lungs are; it gets the probability 0.8.
        classes: The patterns.
        own: (M, S, H, W), each network's map; one that is `patterns` if left out.
        uncertain: (S, H, W); nowhere if left out.
    """
    folder.mkdir(parents=True)
    lungs.tofile(folder / "lungs.raw")
    maps = patterns[None] if own is None else own
    made = PatternMap(folder, volume, classes, len(maps))
    made.create()
    for number in range(volume.shape[0]):
        planes = np.zeros((len(classes), *volume.shape[1:]), np.uint16)
        counts = np.zeros((len(maps), 3, len(classes)), np.uint32)
        for place in range(len(classes)):
            rest = 0.2 / max(len(classes) - 1, 1)
            planes[place] = np.where(patterns[number] == place + 1, 0.8 * ONE, rest * ONE)
            for side in range(3):
                here = (lungs[number] == side + 1) & (maps[:, number] == place + 1)
                counts[:, side, place] = here.sum((1, 2))
        planes[:, lungs[number] == 0] = 0
        doubt = np.zeros(volume.shape[1:], bool) if uncertain is None else uncertain[number].astype(bool)
        made.write(number, planes, doubt, counts)
    made.finish(list(range(volume.shape[0])))
    return made
