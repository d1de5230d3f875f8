"""Runs that were trained on other images than their data's digest says.

A digest is of names, sizes, classes, groups and sides. Files that were replaced by others of the same names
and sizes leave it as it is; the content, over the files' bytes, tells them apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Replaced:
    """A stage whose images were replaced between its runs.

    Attributes:
        stage: its name.
        runs: how many runs have each content, by its first 8 hex digits; most runs first.
    """

    stage: str
    runs: Mapping[str, int]


def replaced_images(runs: pd.DataFrame) -> list[Replaced]:
    """The stages of which runs with one list of images have several contents.

    Args:
        runs: rows of `analysis.runs.load_runs`.
    """
    found = []
    for (stage, _), rows in runs.groupby(["stage", "data_digest"], sort=True):
        counts = rows["content"].value_counts()
        if len(counts) > 1:
            found.append(Replaced(str(stage), {str(content)[:8]: int(n) for content, n in counts.items()}))
    return found
