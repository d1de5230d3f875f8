"""Unbalanced classes: weights in the loss, or images drawn so that each class comes equally often.

One place for what both make of the training images of each class: the loss, the sampler and the loss of
chance, against which a plateau is judged, all take it from here.
"""

from collections.abc import Sequence

from stages.errors import RelayError
from stages.plateau import chance_loss
from stages.recipe import Descent

BALANCING = ("optim.class_weights", "optim.sampling")
"""The settings of it. Typed, they are for the target; a file may say them for any stage."""


def check_classes(optim: Descent, classes: Sequence[str], counts: Sequence[int]) -> None:
    """Refuse to balance classes of which one has no training image.

    Args:
        optim: whether and how they are balanced.
        classes: their names.
        counts: training images of each.

    Raises:
        RelayError: naming the setting and the classes.
    """
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    values = zip(BALANCING, (optim.class_weights, optim.sampling), strict=True)
    balanced = [setting for setting, value in values if value == "balanced"]
    if empty and balanced:
        raise RelayError(
            f"{balanced[0]}=balanced, but there is no training image of {', '.join(empty)}: a class without "
            "images has no weight and cannot be drawn. Use more of the data, leave the class out, or do not "
            "balance."
        )


def class_weights(optim: Descent, counts: Sequence[int]) -> tuple[float, ...] | None:
    """The weight of each class in the loss, or None where all images weigh the same.

    Balanced: N / (C n_c) with N training images, C classes and n_c images of class c, as scikit-learn's
    `compute_class_weight("balanced")`. The mean weight of a training image is 1.

    Args:
        optim: whether the classes are weighted.
        counts: training images of each class, 1 or more.
    """
    if optim.class_weights == "none":
        return None
    return tuple(sum(counts) / (len(counts) * count) for count in counts)


def images_of_each_class(counts: Sequence[int]) -> int:
    """Images of each class that an epoch of balanced sampling draws.

    All classes equally often, so that the epoch has as many images as the training set, rounded up to a
    multiple of the number of classes.
    """
    return -(-sum(counts) // len(counts))


def loss_of_chance(optim: Descent, counts: Sequence[int]) -> float:
    """The least training loss without looking at an image, in nats, against which a plateau is judged.

    It is that of predicting the frequencies with which the labels come in an epoch's loss: the logarithm of
    the number of classes where they are balanced, in either way. With label smoothing e each image counts
    1 - e for its class and e / C for each of the C classes, each times the class's weight, while the loss is
    divided by the weights of the images' own classes (torch's `CrossEntropyLoss`).

    Args:
        optim: whether and how the classes are balanced, and the labels smoothed.
        counts: training images of each class.

    Raises:
        ValueError: as `stages.plateau.chance_loss`.
    """
    drawn, weights = _drawn(optim, counts), class_weights(optim, counts) or (1.0,) * len(counts)
    seen = [count * weight for count, weight in zip(drawn, weights, strict=True)]
    if optim.label_smoothing == 0:
        return chance_loss(seen)
    spread = optim.label_smoothing * sum(drawn) / len(drawn)
    smooth = [
        (1 - optim.label_smoothing) * own + spread * weight for own, weight in zip(seen, weights, strict=True)
    ]
    return chance_loss(smooth) * sum(smooth) / sum(seen)


def least_loss(optim: Descent, counts: Sequence[int]) -> float:
    """The training loss of a network that knows each label, in nats: 0 without label smoothing.

    Of smoothed labels it is their entropy, which no network falls below: a fall is judged by what is left
    between this and the loss of chance.

    Args:
        optim: as for `loss_of_chance`.
        counts: training images of each class.
    """
    smoothing, classes = optim.label_smoothing, range(len(counts))
    if smoothing == 0:
        return 0.0
    drawn, weights = _drawn(optim, counts), class_weights(optim, counts) or (1.0,) * len(counts)
    least = 0.0
    for own in classes:
        smooth = [
            weights[each] * (smoothing / len(counts) + (1 - smoothing) * (each == own)) for each in classes
        ]
        least += drawn[own] * chance_loss(smooth) * sum(smooth)
    return least / sum(count * weight for count, weight in zip(drawn, weights, strict=True))


def images_of_epoch(optim: Descent, counts: Sequence[int]) -> int:
    """Images that an epoch draws; arguments as `loss_of_chance`."""
    return sum(_drawn(optim, counts))


def least_and_fall(optim: Descent, counts: Sequence[int]) -> tuple[float, float]:
    """The least loss, and how far the loss of chance is above it: what a plateau is judged by.

    Of labels that are smoothed to next to nothing a fall of that length is lost in rounding; it is above 0.
    Arguments as `loss_of_chance`.
    """
    least = least_loss(optim, counts)
    return least, max(loss_of_chance(optim, counts) - least, 1e-12)


def _drawn(optim: Descent, counts: Sequence[int]) -> Sequence[int]:
    """Images of each class in an epoch."""
    if optim.sampling == "balanced":
        return (images_of_each_class(counts),) * len(counts)
    return counts
