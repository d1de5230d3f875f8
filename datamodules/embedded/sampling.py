"""What the embedded generators share: argument checks, balanced counts, one random generator per sample."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from datamodules.domain import SIDES, Side
from stages.errors import RelayError

Float = npt.NDArray[np.float32]

MIN_SIZE = 16


def check_request(domain: str, available: int, classes: int, totals: tuple[int, int], size: int) -> None:
    """Refuse a request that a generator cannot fulfil.

    Args:
        domain: Name of the generator, for the message.
        available: Number of classes that the generator can draw.
        classes: Number of classes asked for.
        totals: Training and evaluation images asked for, over all classes.
        size: Side of the images in pixels.

    Raises:
        RelayError: A number is out of bounds.
    """
    if not 2 <= classes <= available:
        raise RelayError(f"{domain}: classes={classes} is out of bounds; choose between 2 and {available}.")
    for key, total in zip(("train_images", "val_images"), totals, strict=True):
        if total < classes:
            raise RelayError(f"{domain}: {key}={total} leaves a class empty; ask for {classes} or more.")
    if size < MIN_SIZE:
        raise RelayError(f"{domain}: size={size} pixels is too small; ask for {MIN_SIZE} or more.")


def balanced_counts(total: int, classes: int) -> tuple[int, ...]:
    """Spread `total` over `classes`; counts differ by one at most, the first classes get the rest."""
    return tuple(total // classes + (index < total % classes) for index in range(classes))


def sample_generators(seed: int, split: int, label: int, indices: range) -> list[np.random.Generator]:
    """One generator per sample, so that a sample does not depend on how many others are drawn."""
    return [np.random.default_rng(np.random.SeedSequence([seed, split, label, index])) for index in indices]


def side_by_class(
    split: int, images: npt.NDArray[np.generic], names: Sequence[str], counts: Sequence[int], group: str
) -> Side:
    """A side whose images lie class after class, each a group of its own.

    Args:
        split: Index of the side in `SIDES`.
        images: (N, ...), in the order of the classes.
        names: Of the classes.
        counts: Images of each class.
        group: What a group is, the beginning of its name.
    """
    samples = tuple(
        f"{SIDES[split]}/{name}/{index:05d}"
        for name, count in zip(names, counts, strict=True)
        for index in range(count)
    )
    labels = np.repeat(np.arange(len(names), dtype=np.int64), counts)
    return Side(images, labels, tuple(f"{group}/{sample}" for sample in samples), samples)


class Draws:
    """Hands out one column after another of a table of uniform numbers, one row per sample.

    One call per sample to the generator and arithmetic on whole columns are far faster than one
    call per parameter. The order of the calls is part of what a seed means.
    """

    def __init__(self, generators: list[np.random.Generator], columns: int) -> None:
        table = np.stack([generator.random(columns, dtype=np.float32) for generator in generators])
        self._columns: Iterator[Float] = iter(np.ascontiguousarray(table.T))

    def between(self, low: float, high: float) -> Float:
        """Uniform numbers in [low, high), one per sample, shape (samples,)."""
        return np.float32(low) + np.float32(high - low) * next(self._columns)

    def chance(self, probability: float) -> npt.NDArray[np.bool_]:
        """True with this probability, one per sample, shape (samples,)."""
        return next(self._columns) < np.float32(probability)

    def choice(self, number: int) -> npt.NDArray[np.int64]:
        """An integer from 0 to number - 1, one per sample, shape (samples,)."""
        return np.minimum((next(self._columns) * number).astype(np.int64), number - 1)


def limit(values: Float, low: float, high: float) -> Float:
    """`numpy.clip` without its checks, which cost more than the work on arrays of a thousand elements."""
    return np.minimum(np.maximum(values, np.float32(low)), np.float32(high))


def hsv_to_rgb(hue: Float, saturation: Float, value: Float) -> Float:
    """Hue, saturation and value in [0, 1], each of shape (n,), as red, green and blue of shape (n, 3)."""
    ramp = np.abs((hue[:, None] * 6 + np.array([0, 4, 2], np.float32)) % 6 - 3) - 1
    return np.asarray(value[:, None] * (1 - saturation[:, None] * (1 - np.clip(ramp, 0, 1))), np.float32)
