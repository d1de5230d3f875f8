"""Every metric, declared once: records, statistics, tables, figures, W&B and the console take it from here.

A new metric is one entry of the table at the end. Definitions are torchmetrics' where it has one. Torch is
loaded only to compute.
"""

from collections.abc import Callable

import numpy as np

from stages.metrics.declaration import Array, Counts, Metric, Outputs, Place

TRAIN_LOSS = "train_loss"
"""The training loss, which the training itself measures."""

PRIMARY = "accuracy"
"""The metric that the study's answer is about; higher is better, and the histograms' baseline is one too."""

CALIBRATION_BINS = 15

MOST_CONFIDENT = 1.0 - float(np.finfo(np.float32).eps) / 2
"""The confidence that stands for 1: torchmetrics, in float32, gives 1 itself a bin of its own, the 16th."""


def metric_of(name: str) -> Metric:
    """The declaration of a name; of one that is not declared, its name with unit and direction not known.

    Records of other versions may have such a metric. It is shown under its own name, as it is stored.
    """
    return METRICS.get(name) or Metric(name=name, title=name, unit=None, better=None)


def shown_in(place: Place) -> list[Metric]:
    """The metrics that are shown in a place, in the table's order."""
    return [metric for metric in METRICS.values() if place in metric.places]


def titles_in(place: Place) -> str:
    """Titles of the metrics that are shown in a place, in words: `accuracy and cross-entropy`."""
    titles = [metric.title for metric in shown_in(place)]
    return " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))


def of_a_class() -> list[Metric]:
    """The metrics of a class, in the table's order."""
    return [metric for metric in METRICS.values() if metric.per_class]


def share(part: Array, whole: Array) -> Array:
    """Part by whole; NaN where the whole is 0."""
    undefined = np.full(np.broadcast(part, whole).shape, np.nan)
    return np.asarray(np.divide(part, whole, out=undefined, where=whole > 0))


def _accuracy(outputs: Outputs) -> float:
    return float((outputs.predicted == outputs.labels).double().mean())


def _accuracy_of_counts(counts: Counts) -> Array:
    return share(counts.hits.sum(axis=-1), counts.true.sum(axis=-1))


def _averaged(function: str, average: str) -> Callable[[Outputs], float]:
    """A metric of torchmetrics that averages over classes.

    macro: over the classes that are labelled or predicted; one that is only one of the two counts as 0.
    weighted: over the labelled classes, by their images.
    """

    def compute(outputs: Outputs) -> float:
        from torchmetrics.functional import classification

        of = getattr(classification, f"multiclass_{function}")
        return float(of(outputs.predicted, outputs.labels, outputs.classes, average=average))

    return compute


def _averaged_of_counts(of_class: Callable[[Counts], Array], average: str) -> Callable[[Counts], Array]:
    """As `_averaged`, from counts."""

    def compute(counts: Counts) -> Array:
        labelled_or_predicted = counts.true + counts.predicted > 0
        weights = counts.true if average == "weighted" else labelled_or_predicted.astype(np.float64)
        total = (np.nan_to_num(of_class(counts)) * weights).sum(axis=-1)
        return share(total, weights.sum(axis=-1))

    return compute


def _f1(counts: Counts) -> Array:
    return share(2 * counts.hits, counts.true + counts.predicted)


def _cross_entropy(outputs: Outputs) -> float:
    from torch.nn.functional import cross_entropy

    return float(cross_entropy(outputs.logits, outputs.labels))


def _calibration_error(outputs: Outputs) -> float:
    """Expected calibration error in the L1 norm (Guo et al. 2017, equation 3)."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    probabilities = outputs.probabilities.clamp(max=MOST_CONFIDENT)
    return float(
        multiclass_calibration_error(
            probabilities, outputs.labels, outputs.classes, n_bins=CALIBRATION_BINS, norm="l1"
        )
    )


def _balanced_accuracy(outputs: Outputs) -> float:
    """Mean sensitivity of the classes that have images, as scikit-learn's `balanced_accuracy_score`.

    Macro recall differs where a class without images is predicted: there it counts as 0.
    """
    return float(np.nanmean(_sensitivity(Counts.of(outputs.confusion_matrix))))


def _balanced_accuracy_of_counts(counts: Counts) -> Array:
    labelled = (counts.true > 0).astype(np.float64)
    return share((np.nan_to_num(_sensitivity(counts)) * labelled).sum(axis=-1), labelled.sum(axis=-1))


def _auroc_macro(outputs: Outputs) -> float | None:
    """Mean over classes of the area under the ROC curve of the class against the rest.

    As scikit-learn's `roc_auc_score(multi_class="ovr")`: the share of pairs of an image of the class and
    another one that stand in the right order (Mann and Whitney); two of equal probability count half. It is
    counted in sorted probabilities, exactly, and fast for a thousand classes. The area of a class is not
    defined if no image, or every image, is of it: such a class is left out. If there is no other class, the
    metric is not defined (None).
    """
    labels, probabilities = outputs.labels.cpu().numpy(), outputs.probabilities.cpu().numpy()
    areas = []
    for label in np.unique(labels):
        own = probabilities[labels == label, label]
        others = len(labels) - len(own)
        if others:
            ordered = np.sort(probabilities[:, label])
            # twice the images below each one of the class; an equal one, and the image itself, count half
            below = np.searchsorted(ordered, own, "left") + np.searchsorted(ordered, own, "right")
            areas.append((int(below.sum()) - len(own) ** 2) / (2 * len(own) * others))
    return float(np.mean(areas)) if areas else None


def _brier_score(outputs: Outputs) -> float:
    """Mean over images of the sum over classes of squared differences between probability and truth.

    It is in [0, 2] for any number of classes (Brier 1950), as scikit-learn's `brier_score_loss` is for three
    classes and more; for two, others halve it.
    """
    import torch

    errors = outputs.probabilities.clone()
    errors[torch.arange(len(errors)), outputs.labels] -= 1.0
    return float(errors.square_().sum(dim=1).mean())


def _sensitivity(counts: Counts) -> Array:
    """Share of a class's images that are predicted as it; not defined for a class without images."""
    return share(counts.hits, counts.true)


def _specificity(counts: Counts) -> Array:
    """Share of other classes' images that are not predicted as it; not defined where it has all images."""
    others = counts.true.sum(axis=-1, keepdims=True) - counts.true
    return share(others - (counts.predicted - counts.hits), others)


def _precision(counts: Counts) -> Array:
    """Share of the images predicted as a class that are of it.

    As in the macro average: 0 for a class with images that is never predicted, and not defined for one that
    has none either.
    """
    never = np.where(counts.true > 0, 0.0, np.nan)
    return np.where(counts.predicted > 0, share(counts.hits, counts.predicted), never)


_DECLARED = (
    Metric(name=TRAIN_LOSS, title="training loss", unit="nats", better="lower"),
    Metric(
        name="accuracy", title="accuracy", unit="%", better="higher",
        compute=_accuracy, of_counts=_accuracy_of_counts, places=("table 1", "robustness", "overview"),
    ),
    Metric(
        name="precision_macro", title="macro precision", unit="%", better="higher",
        compute=_averaged("precision", "macro"), of_counts=_averaged_of_counts(_precision, "macro"),
        places=("table 1",), short="precision",
    ),
    Metric(
        name="recall_macro", title="macro recall", unit="%", better="higher",
        compute=_averaged("recall", "macro"), of_counts=_averaged_of_counts(_sensitivity, "macro"),
        places=("table 1",), short="recall",
    ),
    Metric(
        name="f1_score_macro", title="macro F1", unit="%", better="higher",
        compute=_averaged("f1_score", "macro"), of_counts=_averaged_of_counts(_f1, "macro"),
        places=("table 1", "overview"), short="F1",
    ),
    Metric(
        name="precision_weighted", title="weighted precision", unit="%", better="higher",
        compute=_averaged("precision", "weighted"),
        of_counts=_averaged_of_counts(_precision, "weighted"),
    ),
    Metric(
        name="recall_weighted", title="weighted recall", unit="%", better="higher",
        compute=_averaged("recall", "weighted"),
        of_counts=_averaged_of_counts(_sensitivity, "weighted"),
    ),
    Metric(
        name="f1_score_weighted", title="weighted F1", unit="%", better="higher",
        compute=_averaged("f1_score", "weighted"),
        of_counts=_averaged_of_counts(_f1, "weighted"),
    ),
    Metric(
        name="cross_entropy", title="cross-entropy", unit="nats", better="lower",
        compute=_cross_entropy, places=("table 1", "robustness", "overview"),
    ),
    Metric(
        name="calibration_error", title="calibration error", unit="%", better="lower",
        compute=_calibration_error,
    ),
    Metric(
        name="balanced_accuracy", title="balanced accuracy", unit="%", better="higher",
        compute=_balanced_accuracy, of_counts=_balanced_accuracy_of_counts,
    ),
    Metric(name="auroc_macro", title="macro AUROC", unit="%", better="higher", compute=_auroc_macro),
    Metric(name="brier_score", title="Brier score", unit="", better="lower", compute=_brier_score),
    Metric(
        name="sensitivity", title="sensitivity", unit="%", better="higher",
        of_counts=_sensitivity, per_class=True,
    ),
    Metric(
        name="specificity", title="specificity", unit="%", better="higher",
        of_counts=_specificity, per_class=True,
    ),
    Metric(
        name="precision", title="precision", unit="%", better="higher",
        of_counts=_precision, per_class=True,
    ),
)  # fmt: skip

METRICS = {metric.name: metric for metric in _DECLARED}
