"""The images of a study's runs: how many of which class each was trained and evaluated on."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.runs.selection import run_rows
from stages.record import DataRecord
from stages.store import RunFolder


@dataclass(frozen=True)
class RunImages:
    """The images that all processes share at one data ratio, seed and fold.

    Attributes:
        ratio: the data ratio.
        seed: the seed.
        fold: the fold that was evaluated, None without folds.
        data: what the record of one process's run says.
        sheet: a picture of some training images; it need not be there.
    """

    ratio: float
    seed: int
    fold: int | None
    data: DataRecord
    sheet: Path


def run_images(runs: pd.DataFrame) -> list[RunImages]:
    """The images at each data ratio, seed and fold of a study, by these in ascending order.

    Args:
        runs: rows of `analysis.runs.load_runs`, of one study.

    Raises:
        RelayError: if a record is damaged.
    """
    rows = run_rows(runs, "folder", "data_ratio", "seed")
    keys = ["data_ratio", "seed", "fold"]
    found = []
    for path in rows.drop_duplicates(keys).sort_values(keys)["folder"]:
        folder = RunFolder(Path(path))
        record = folder.read_record()
        ratio, seed, fold = record.data_ratio, record.seed, record.fold
        found.append(RunImages(ratio, seed, fold, record.data, folder.sample_sheet))
    return found
