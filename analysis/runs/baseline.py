"""The baseline of a study: a linear classifier on grey-level histograms, in place of the networks.

Each stage run trains it on its own training images and evaluates it on its own evaluation images. Which
images it classifies correctly stands in `PooledPredictions.histogram`.
"""

import pandas as pd

from analysis.runs.folds import SEED, one_row_per_seed
from analysis.runs.selection import run_rows


def baseline_levels(runs: pd.DataFrame) -> dict[float, float]:
    """The baseline's accuracy at each data ratio: the mean over seeds, folds pooled; from the table alone.

    Args:
        runs: rows of `analysis.runs.load_runs` of one study. Ratios without a baseline are left out: images
            that stream have none.
    """
    rows = run_rows(runs, *SEED)
    if "histogram_accuracy" not in rows:
        return {}
    pooled = one_row_per_seed(rows.dropna(subset=["histogram_accuracy"]))
    if pooled.empty:
        return {}
    of_seed = pooled.groupby(["data_ratio", "seed"])["histogram_accuracy"].mean()
    means = of_seed.groupby("data_ratio").mean()
    return dict(zip(map(float, means.index), map(float, means), strict=True))
