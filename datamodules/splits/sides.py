"""The sides of a run's images: a test set is taken out first, then folds or evaluation images are drawn.

Nothing but names is looked at: classes, groups, and what the source itself says of an image's side.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datamodules.files.names import first_and_more
from datamodules.rounding import share
from datamodules.splits.by_group import split_by_group
from datamodules.splits.folds import group_folds
from stages.errors import RelayError
from stages.recipe import Recipe
from stages.source import Source

# A constant: the test set is the same for every seed, fold, data ratio and process, and must not be drawn
# again until one is liked.
_TEST_SEED = 20

Strings = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Division:
    """What a run says of its sides.

    Attributes:
        test_fraction: Share of the images to lock away as a test set, by whole groups, stratified.
        folds: Number of folds into which all other images are divided, by whole groups; None without folds.
        fold: Which of them is the evaluation side.
        seed: The run's, from which the folds are drawn.
    """

    test_fraction: float | None = None
    folds: int | None = None
    fold: int | None = None
    seed: int = 0

    @classmethod
    def of(cls, recipe: Recipe) -> "Division":
        """The division of a stage run."""
        return cls(recipe.test_fraction, recipe.folds, recipe.fold, recipe.seed)


@dataclass(frozen=True)
class Names:
    """What is known of N images without their pixels.

    Attributes:
        classes: C names.
        labels: int64, (N,), in 0..C-1.
        groups: Patients or objects, (N,).
        sides: "train", "val" or "test", (N,), as the source says it.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    groups: Strings
    sides: Strings

    @property
    def words(self) -> Strings:
        """The class of each image by its name."""
        return np.asarray(self.classes)[self.labels]

    @property
    def grouped(self) -> bool:
        """Whether images share a group."""
        return len(np.unique(self.groups)) < len(self.groups)


def divided_sides(names: Names, source: Source, division: Division) -> Strings:
    """The sides that a run uses.

    A test set that is drawn depends on the groups' names and classes and on `test_fraction` alone, folds on
    those of all other images, on `folds` and the seed; whatever else the source says.

    Args:
        names: Of all images.
        source: Where they come from; `val_fraction` and `split_seed` say which images are for evaluation,
            where there are no folds and the source keeps none.
        division: What the run says.

    Returns:
        "train", "val" or "test", (N,).

    Raises:
        RelayError: A test set or folds cannot be drawn, or a side would lack a class.
    """
    labels, words = names.labels, names.words
    sides = names.sides.astype("U5")  # a copy with room for "train", which names that are all val have not
    if division.folds is not None:
        sides[sides == "val"] = "train"  # pooled: what a source evaluates on says nothing of the folds
    if division.test_fraction is not None:
        evaluated = np.unique(labels[sides == "val"])
        sides[_test_set(names, division.test_fraction)] = "test"
        _check_classes(names, sides, evaluated, f"test_fraction={division.test_fraction:g}")
    rest = np.flatnonzero(sides != "test")
    if division.folds is not None:
        assert division.fold is not None, "the plan refuses folds without fold"
        fold_of = group_folds(words[rest], names.groups[rest], division.folds, division.seed)
        sides[rest] = np.where(fold_of == division.fold, "val", "train")
    elif not (sides == "val").any():
        assert source.val_fraction is not None, "the plan refuses a source without evaluation images"
        drawn = split_by_group(words[rest], names.groups[rest], source.val_fraction, source.split_seed or 0)
        sides[rest[drawn]] = "val"
        _check_classes(names, sides, np.unique(labels), f"val_fraction={source.val_fraction:g}")
    return sides


def _test_set(names: Names, fraction: float) -> npt.NDArray[np.bool_]:
    """Which images are the test set that is drawn, bool (N,)."""
    assert not (names.sides == "test").any(), "the plan refuses to draw a second test set"
    count = len(np.unique(names.groups))
    for kept, what in ((fraction, "falls into the test set"), (1 - fraction, "is left to train on")):
        if count > 1 and share(kept, count) == 0:
            raise RelayError(
                f"test_fraction={fraction:g} of {count} groups: none {what}; choose between {1 / count:.2g} "
                f"and {1 - 1 / count:.2g}"
            )
    try:
        return split_by_group(names.words, names.groups, fraction, _TEST_SEED)
    except RelayError as error:
        raise RelayError(f"test_fraction={fraction:g}: {error}") from None


def _check_classes(names: Names, sides: Strings, evaluated: npt.NDArray[np.int64], drawn: str) -> None:
    """Refuse a division that leaves a side without a class.

    Args:
        names: Of all images.
        sides: Of the division.
        evaluated: Classes that the evaluation side must have.
        drawn: What was drawn, for the message.

    Raises:
        RelayError: naming the classes.
    """
    labels = names.labels
    for side, word, needed in (
        ("train", "training", np.unique(labels)),
        ("val", "evaluation", evaluated),
        ("test", "test", np.unique(labels if "test" in sides else labels[:0])),
    ):
        absent = np.setdiff1d(needed, labels[sides == side])
        if len(absent):
            lacking = first_and_more([names.classes[label] for label in absent.tolist()])
            raise RelayError(
                f"{drawn} leaves no {word} images of class {lacking}; every side needs whole groups of every "
                "class. Give another share, add groups, or leave the class out"
            )
