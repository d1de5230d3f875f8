"""A pattern map that no network made: a synthetic series' truth, uncertain at the borders of patterns."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from analysis.prediction.series.pattern_map import ONE, PatternMap
from analysis.prediction.series.volume import open_volume
from datamodules.embedded.dld_series import CLASSES, Series, draw_series
from datamodules.embedded.series import write_series

NETWORKS = 3


def fake_map(
    folder: Path, *, slices: int = 6, size: int = 96, kind: str = "dicom", seed: int = 0
) -> tuple[PatternMap, Series]:
    """Write a series below `folder/source` and its map to `folder/map`.

    Args:
        folder: Where.
        slices: Of the series.
        size: Rows and columns.
        kind: The folder of the series' files that is opened, or a NIfTI file's name.
        seed: Which patient.

    Returns:
        The map, and the series as it was drawn, whose slice 0 is the map's last: the highest.
    """
    drawn = draw_series(slices, size, seed)
    write_series(folder / "source", drawn, f"seed {seed}")
    volume = open_volume(folder / "source" / kind)
    found = PatternMap(folder / "map", volume, CLASSES, NETWORKS)
    found.folder.mkdir()
    lungs, patterns = drawn.lungs[::-1], drawn.patterns[::-1]
    (found.folder / "lungs.raw").write_bytes(np.ascontiguousarray(lungs).tobytes())
    found.create()
    for number, (inside, named) in enumerate(zip(lungs, patterns, strict=True)):
        likely = _likely(named, len(CLASSES))
        stored = np.rint(likely * ONE).astype(np.uint16) * (inside > 0)
        best = likely.argmax(0)
        own = np.zeros((NETWORKS, 3, len(CLASSES)), np.uint32)
        for side in (1, 2):
            own[:, side - 1] = np.bincount(best[inside == side], minlength=len(CLASSES))
        found.write(number, stored, (likely.max(0) < 0.5) & (inside > 0), own)
    found.finish(list(range(slices)))
    return found, drawn


def _likely(named: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.float64]:
    """(C, H, W): the truth, blurred."""
    layers = np.stack([named == place for place in range(1, classes + 1)]).astype(np.float64)
    blurred = ndimage.gaussian_filter(layers, (0, 1.5, 1.5)) + 1e-6
    return np.asarray(blurred / blurred.sum(0))
