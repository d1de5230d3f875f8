"""Predictions of networks that nobody trained, with effects of patients, seeds and epochs of known size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from zlib import crc32

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """Standard deviations on the logit scale of what an image is easier by, beside logistic noise.

    `epoch` is of a run's epoch, `epoch_image` of an image in one: a network that never rests.
    """

    patient: float = 0.8
    patient_process: float = 0.3
    image: float = 1.0
    seed: float = 0.08
    seed_patient: float = 0.2
    epoch: float = 0.05
    epoch_image: float = 0.2

    @property
    def all_together(self) -> float:
        """Of all of them."""
        return float(np.linalg.norm([*self.__dict__.values()]))


@dataclass(frozen=True)
class SharedEffects:
    """What patients and images have in common in all runs of a study, and patients in all of a process.

    `groups` are those of all images, `rows` the images that a run evaluates.
    """

    draw: int
    process: str
    groups: Sequence[str]
    rows: Ints

    def of(self, spread: Spread) -> Floats:
        """By image that is evaluated."""
        names, of = np.unique(list(self.groups), return_inverse=True)
        shared = np.random.default_rng([self.draw, 1])
        own = np.random.default_rng([self.draw, 2, crc32(self.process.encode())])
        effect = spread.patient * shared.standard_normal(len(names))
        effect += spread.patient_process * own.standard_normal(len(names))
        effect = effect[of] + spread.image * shared.standard_normal(len(of))
        return np.asarray(effect[self.rows], dtype=np.float64)


@dataclass(frozen=True)
class Outcomes:
    """Predicted classes in each epoch of a plateau (images, epochs), logits of the last (images, classes)."""

    labels: Ints
    by_epoch: Ints
    logits: npt.NDArray[np.float32]

    @classmethod
    def drawn(
        cls,
        generator: np.random.Generator,
        *,
        accuracy: float,
        spread: Spread,
        shared: SharedEffects,
        labels: Ints,
        classes: int,
        epochs: int,
    ) -> Outcomes:
        """Of a network whose accuracy is that on average over seeds and patients."""
        of = np.unique(np.array(shared.groups)[shared.rows], return_inverse=True)[1]
        margin = _logit_of(accuracy, spread.all_together) + shared.of(spread)
        margin = margin + spread.seed * generator.standard_normal()
        margin = margin + spread.seed_patient * generator.standard_normal(int(of.max()) + 1)[of]
        margin = margin + generator.logistic(size=len(labels))
        margin = margin[:, None] + spread.epoch * generator.standard_normal(epochs)
        margin = margin + spread.epoch_image * generator.standard_normal((len(labels), epochs))
        wrong = (labels + generator.integers(1, classes, len(labels))) % classes
        by_epoch = np.where(margin > 0, labels[:, None], wrong[:, None]).astype(np.int64)
        # Logits whose largest is of the predicted class, overconfident as usual.
        logits = generator.normal(0.0, 1.0, (len(labels), classes))
        winner = by_epoch[:, -1]
        larger_by = generator.gamma(2.0, np.where(winner == labels, 2.0, 0.8))
        logits[np.arange(len(labels)), winner] = logits.max(axis=1) + larger_by
        return cls(labels, by_epoch, logits.astype(np.float32))

    @property
    def matrices(self) -> Ints:
        """The confusion matrix of each epoch of the plateau."""
        classes, epochs = self.logits.shape[1], self.by_epoch.shape[1]
        matrices = np.zeros((epochs, classes, classes), dtype=np.int64)
        np.add.at(matrices, (np.arange(epochs), self.labels[:, None], self.by_epoch), 1)
        return matrices

    def history(self, generator: np.random.Generator, epochs: int) -> dict[str, Floats]:
        """A value an epoch for each metric: up to the plateau's, which are those of the predictions.

        What is not of predicted classes (losses, AUROC) approaches the value of the last epoch's logits.
        """
        shifted = self.logits.astype(np.float64) - self.logits.max(axis=1, keepdims=True)
        log_share = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = float(-log_share[np.arange(len(self.labels)), self.labels].mean())
        errors = np.exp(log_share)
        errors[np.arange(len(self.labels)), self.labels] -= 1.0
        of_epochs = _of_classes(self.matrices)
        final = {name: float(values[-1]) for name, values in of_epochs.items()} | {
            "train_loss": loss * 0.3,
            "cross_entropy": loss,
            "calibration_error": 0.04,
            "auroc_macro": 0.97,
            "brier_score": float(np.square(errors).sum(axis=1).mean()),
        }
        way = 1.0 - np.exp(-np.arange(1, epochs + 1) / 2.5)
        history = {}
        for name in _ORDER:
            start = 2.0 if name in ("train_loss", "cross_entropy") else 0.15
            noise = generator.normal(0.0, 0.004, epochs)
            noise[-1] = 0.0
            history[name] = np.abs(start + (final[name] - start) * way / way[-1] + noise)
            if name in of_epochs:
                history[name][-len(self.matrices) :] = of_epochs[name]
        return history


@cache
def _logit_of(accuracy: float, spread: float) -> float:
    """The level on the logit scale at which images are right that often, with normal effects around it."""
    points, weights = np.polynomial.hermite_e.hermegauss(40)

    def off(level: float) -> float:
        return float(weights / weights.sum() @ special.expit(level + spread * points)) - accuracy

    return float(optimize.brentq(off, -30.0, 30.0))


_ORDER = (
    "train_loss",
    "accuracy",
    *(
        f"{name}_{average}"
        for average in ("macro", "weighted")
        for name in ("precision", "recall", "f1_score")
    ),
    *("cross_entropy", "calibration_error", "balanced_accuracy", "auroc_macro", "brier_score"),
)  # of the columns of history.csv


def _of_classes(matrices: Ints) -> dict[str, Floats]:
    """The metrics of predicted classes, (epochs,) each, from confusion matrices (epochs, classes, ...)."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    recall = hits / np.maximum(true, 1)
    of_class = {
        "precision": hits / np.maximum(predicted, 1),
        "recall": recall,
        "f1_score": 2.0 * hits / np.maximum(true + predicted, 1),
    }
    found = {"accuracy": hits.sum(axis=1) / true.sum(axis=1)}
    for average, weights in (("macro", np.ones(matrices.shape[1])), ("weighted", true[0].astype(np.float64))):
        for name, values in of_class.items():
            found[f"{name}_{average}"] = np.average(values, axis=1, weights=weights)
    found["balanced_accuracy"] = recall[:, true[0] > 0].mean(axis=1)
    return found
