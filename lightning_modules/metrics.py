"""The study's metrics from logits, by torchmetrics' definitions."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional import classification

CALIBRATION_BINS = 15

# torchmetrics bins confidences in float32 and gives those of exactly 1 a bin of their own: 16 bins, not 15.
_MOST_CONFIDENT = 1.0 - torch.finfo(torch.float32).eps / 2


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a whole evaluation set.

    Attributes:
        metrics: accuracy; precision, recall and f1_score as _macro and _weighted; cross_entropy in nats;
            calibration_error (expected calibration error, L1 norm, 15 bins).
        confusion_matrix: counts, a row a true class, a column a predicted class.
    """

    metrics: dict[str, float]
    confusion_matrix: list[list[int]]


def evaluate(logits: Tensor, labels: Tensor) -> Evaluation:
    """Metrics of predictions.

    Args:
        logits: float, shape (N, C), N at least 1.
        labels: int64, shape (N,), in 0..C-1.
    """
    logits, classes = logits.double(), logits.shape[1]
    predicted = logits.argmax(dim=1)
    metrics = {"accuracy": float((predicted == labels).double().mean())}
    for average in ("macro", "weighted"):
        for name, compute in (
            ("precision", classification.multiclass_precision),
            ("recall", classification.multiclass_recall),
            ("f1_score", classification.multiclass_f1_score),
        ):
            metrics[f"{name}_{average}"] = float(compute(predicted, labels, classes, average=average))
    metrics["cross_entropy"] = float(functional.cross_entropy(logits, labels))
    metrics["calibration_error"] = float(
        classification.multiclass_calibration_error(
            logits.softmax(dim=1).clamp(max=_MOST_CONFIDENT),
            labels,
            classes,
            n_bins=CALIBRATION_BINS,
            norm="l1",
        )
    )
    matrix = classification.multiclass_confusion_matrix(predicted, labels, classes)
    return Evaluation(metrics=metrics, confusion_matrix=matrix.to(torch.int64).tolist())
