"""What is known of exported networks from their runs' evaluation: metrics and recalls with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from analysis.prediction.calibration import Calibration, HeldOut, held_out
from analysis.prediction.ensemble import Ensemble
from analysis.runs.load import load_runs
from analysis.runs.out_of_fold import PooledPredictions, pool_folds
from analysis.statistics.inference import Inference, infer
from stages.errors import RelayError
from stages.metrics import METRICS, TRAIN_LOSS, Metric, Outputs

_NETWORKS = "these networks"  # where statistics have a process
_METRICS = [metric for metric in METRICS.values() if not metric.per_class and metric.name != TRAIN_LOSS]
_FOR = {
    "seeds and patients": "new seeds and new {others}",
    "patients": "new {others}, the networks fixed",
    "seeds": "new seeds on these images",
}


@dataclass(frozen=True)
class Level:
    """A value with its 95% interval.

    Attributes:
        metric: which metric.
        value: unscaled.
        low: lower end; None without an interval.
        high: upper end; likewise.
        interval_for: what the interval is for, in words; "" without one.
    """

    metric: Metric
    value: float
    low: float | None = None
    high: float | None = None
    interval_for: str = ""

    @property
    def range(self) -> str:
        """`58.1% to 66.0%`; empty without an interval."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.metric.text(self.low)} to {self.metric.text(self.high)}"

    @property
    def text(self) -> str:
        """`62.5% (58.1% to 66.0%)`."""
        return (
            f"{self.metric.text(self.value)} ({self.range})" if self.range else self.metric.text(self.value)
        )


Levels = Mapping[str, Level]
"""By title: `macro F1`, `recall of CON`."""


@dataclass(frozen=True)
class Evaluation:
    """What the card says of the evaluation.

    Attributes:
        together: of the networks as one, by the predictions after the last epoch, whose weights are exported;
            with folds each image by the networks that had not seen its patient.
        singly: of single networks such as these: means over the networks and the plateau's epochs.
        images: that were evaluated; 0 if no predictions could be read.
        groups: their patients or objects; None where nothing is known of them.
        notes: what could not be computed, and why.
    """

    together: Levels
    singly: Levels
    images: int
    groups: int | None
    notes: Sequence[str]

    @property
    def titles(self) -> list[str]:
        """Of all levels, in the order of the metrics, classes last."""
        return list({**self.together, **self.singly})


def evaluation_of(ensemble: Ensemble, runs_dir: Path, calibration: Calibration | None) -> Evaluation:
    """What the runs' predictions and records say of an ensemble.

    Args:
        ensemble: the networks.
        runs_dir: their store.
        calibration: of the ensemble's temperature, which is judged on no image that it was fitted on.

    Raises:
        RelayError: if the store cannot be read.
    """
    notes: list[str] = []
    alone = _alone(ensemble, runs_dir, notes)
    try:
        held = held_out([member.folder for member in ensemble.members])
    except RelayError:  # says where on this machine
        held = None
        notes.append(
            "The runs' predictions are missing or do not fit together: intervals are for seeds only."
        )
    together = None if held is None else _together(ensemble, held, calibration)
    known = any(member.record.data.grouped for member in ensemble.members)
    return Evaluation(
        together={} if together is None else _levels(together),
        singly={} if alone is None else _levels(alone),
        images=0 if held is None else len(held.labels),
        groups=int(held.groups.max()) + 1 if held is not None and known else None,
        notes=notes,
    )


def _alone(ensemble: Ensemble, runs_dir: Path, notes: list[str]) -> Inference | None:
    table = load_runs(runs_dir)
    rows = table[table["id"].isin([member.record.id for member in ensemble.members])]
    alike = len(rows[["process", "data_ratio"]].drop_duplicates()) == 1
    rows = rows.assign(process=_NETWORKS, data_ratio=1.0)  # statistics are of processes at data ratio 1
    try:
        pooled: PooledPredictions | None = pool_folds(rows)
    except RelayError:
        pooled = None
    try:
        if alike:
            return infer(rows, pooled, _METRICS)
    except RelayError:  # two of the same seed
        pass
    notes.append("The networks are of several configurations: no mean over single ones is given.")
    return None


def _together(ensemble: Ensemble, held: HeldOut, calibration: Calibration | None) -> Inference | None:
    """Statistics of one network that says what the networks say together; None where they share no images."""
    folds = ensemble.members[0].record.folds
    if folds is None and (held.networks != len(ensemble.members)).any():
        return None
    fair = None if calibration is None else calibration.cross_fitted
    log_probabilities = held.log_probabilities(1.0 if fair is None else fair)
    outputs = Outputs(torch.from_numpy(log_probabilities), torch.from_numpy(held.labels))
    values = {
        metric.mean_column: metric.compute(outputs) for metric in _METRICS if metric.compute is not None
    }
    row = {"process": _NETWORKS, "seed": 0, "data_ratio": 1.0, "folds": folds, "fold": None, **values}
    pooled = PooledPredictions(
        ensemble.classes,
        held.samples,
        tuple(map(str, held.groups)),
        held.labels,
        {(_NETWORKS, 1.0): {0: outputs.predicted.numpy()[:, None]}},
        (),
    )
    return infer(pd.DataFrame([row]), pooled, _METRICS)


def _levels(found: Inference) -> dict[str, Level]:
    others = "images" if found.groups_are_images else "patients"

    def level(metric: Metric, value: float, row: Mapping[str, Any]) -> Level:
        if row["covers"] not in _FOR:
            return Level(metric, value)
        return Level(metric, value, row["ci_low"], row["ci_high"], _FOR[row["covers"]].format(others=others))

    metrics: list[Any] = found.levels.dropna(subset="mean").to_dict("records")
    recalls: list[Any] = found.recall.dropna(subset="recall").to_dict("records")
    of_metrics = {
        METRICS[row["metric"]].title: level(METRICS[row["metric"]], row["mean"], row) for row in metrics
    }
    recall = METRICS["sensitivity"]
    return of_metrics | {f"recall of {row['class']}": level(recall, row["recall"], row) for row in recalls}
