"""The evaluation of a whole set: every declared metric, and the confusion matrix."""

from dataclasses import dataclass

from torch import Tensor

from stages.metrics import METRICS, Outputs


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a whole evaluation set.

    Attributes:
        metrics: By name, those of `stages.metrics` that are computed from outputs and defined on this set.
        confusion_matrix: counts, one row per true class and one column per predicted class.
    """

    metrics: dict[str, float]
    confusion_matrix: list[list[int]]


def evaluate(logits: Tensor, labels: Tensor) -> Evaluation:
    """Metrics of predictions.

    Args:
        logits: float, shape (N, C), N at least 1.
        labels: int64, shape (N,), in 0..C-1.
    """
    outputs = Outputs(logits, labels)
    values = {name: metric.compute(outputs) for name, metric in METRICS.items() if metric.compute}
    return Evaluation(
        metrics={name: value for name, value in values.items() if value is not None},
        confusion_matrix=outputs.confusion_matrix,
    )
