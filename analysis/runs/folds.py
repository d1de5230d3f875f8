"""Folds in a table of runs: which seeds have all of theirs, and one row for each seed.

The unit of inference is a seed: its folds share one partition, and their networks share training patients.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from stages.console.words import counted
from stages.errors import RelayError

# With the fold, what tells the runs of one study apart.
SEED = ("process", "data_ratio", "seed")

_OF_A_RUN = ("id", "folder", "fold")
_SUMS = ("val_images", "seconds")


@dataclass(frozen=True)
class IncompleteSeed:
    """A seed that lacks folds, and is left out.

    Attributes:
        process: the learning process.
        data_ratio: the data ratio.
        seed: the seed.
        missing: the folds without a finished run.
    """

    process: str
    data_ratio: float
    seed: int
    missing: tuple[int, ...]

    def __str__(self) -> str:
        """One line for a person."""
        where = f"{self.process}, data ratio {self.data_ratio:g}, seed {self.seed}"
        return (
            f"{where}: {counted(len(self.missing), 'fold')} not trained: {', '.join(map(str, self.missing))}"
        )


def by_seed(rows: pd.DataFrame) -> Iterator[tuple[str, float, int, pd.DataFrame]]:
    """Process, data ratio, seed, and the rows that have these, in ascending order."""
    for key, of_seed in rows.groupby(list(SEED), sort=True):
        process, ratio, seed = cast(tuple[str, float, int], key)
        yield str(process), float(ratio), int(seed), of_seed


def in_folds(rows: pd.DataFrame) -> bool:
    """Whether runs are of folds.

    Raises:
        RelayError: if runs have different numbers of folds, or some have folds and others do not.
    """
    if "folds" not in rows or not len(rows):
        return False
    numbers = {None if pd.isna(folds) else int(folds) for folds in rows["folds"]}
    if len(numbers) > 1:
        named = " and ".join(sorted("none" if folds is None else str(folds) for folds in numbers))
        raise RelayError(
            f"the table holds runs of several studies: their numbers of folds are {named}, so that they "
            "were evaluated in different ways. Select the runs of one study: runs[runs['folds'] == 5]."
        )
    return numbers != {None}


def incomplete_seeds(rows: pd.DataFrame) -> list[IncompleteSeed]:
    """The seeds that lack a fold, in the order of process, data ratio and seed.

    Args:
        rows: target runs of one study, one row per stage run.

    Raises:
        RelayError: as `in_folds`.
    """
    if not in_folds(rows):
        return []
    found = []
    for process, ratio, seed, of_seed in by_seed(rows):
        missing = set(range(int(of_seed["folds"].iloc[0]))) - set(map(int, of_seed["fold"]))
        if missing:
            found.append(IncompleteSeed(process, ratio, seed, tuple(sorted(missing))))
    return found


def complete_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of seeds that have all of their folds; all rows where there are no folds.

    Raises:
        RelayError: as `in_folds`.
    """
    left_out = {(each.process, each.data_ratio, each.seed) for each in incomplete_seeds(rows)}
    keys = zip(*(rows[name] for name in SEED), strict=True) if left_out else ()
    return rows[[key not in left_out for key in keys]] if left_out else rows


def one_row_per_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Each seed's folds as one row; seeds that lack a fold are left out.

    A number is the mean over the folds, each weighted by its evaluation images: of accuracy, which is a
    mean over images, this is the value of the pooled predictions; of other metrics it is the usual mean over
    folds. `val_images` and `seconds` are sums, a truth value holds if it holds in every fold, and what tells
    the runs of the folds apart (id, folder, fold) is None.

    Args:
        rows: target runs of one study, one row per stage run.

    Raises:
        RelayError: as `in_folds`.
    """
    if not in_folds(rows) or rows["fold"].isna().all():  # merged already
        return rows
    merged = [
        {name: _value(str(name), of_seed) for name in rows} for *_, of_seed in by_seed(complete_seeds(rows))
    ]
    return pd.DataFrame(merged, columns=list(rows))


def _value(name: str, of_seed: pd.DataFrame) -> object:
    values = of_seed[name]
    if name in _OF_A_RUN:
        return None
    if name in _SUMS:
        return values.sum()
    if pd.api.types.is_bool_dtype(values):
        return bool(values.all())
    if not pd.api.types.is_numeric_dtype(values) or values.nunique(dropna=False) == 1:
        return values.iloc[0]
    return float(np.average(values.to_numpy(np.float64), weights=of_seed["val_images"].to_numpy(np.float64)))
