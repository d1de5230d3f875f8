"""Folds among the sides of a run, by names alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.splits import Division, Names, divided_sides, group_folds
from stages.errors import RelayError
from stages.source import Source

CLASSES = ("con", "ggo", "ret")
SOURCE = Source(kind="folder", root="/images")


def names(rows: list[tuple[int, str, str]], classes: tuple[str, ...] = CLASSES) -> Names:
    """Of images as (label, group, side)."""
    labels, groups, sides = zip(*rows, strict=True)
    return Names(classes, np.array(labels, dtype=np.int64), np.array(groups), np.array(sides))


@st.composite
def images(draw: st.DrawFn, tested: bool = True) -> tuple[list[tuple[int, str, str]], int]:
    """Images of which every class has a group of its own for each fold, and the number of folds."""
    folds = draw(st.integers(2, 4))
    groups = [{label} for label in range(len(CLASSES)) for _ in range(folds)]
    groups += draw(st.lists(st.sets(st.integers(0, len(CLASSES) - 1), min_size=1), max_size=8))
    rows = []
    for number, labels in enumerate(groups):
        side = draw(st.sampled_from(["train", "val"]))
        rows += [(label, f"p{number}", side) for label in labels for _ in range(draw(st.integers(1, 4)))]
    test = draw(st.integers(0, 3)) if tested else 0
    rows += [(number % 3, f"t{number}", "test") for number in range(test)]
    return draw(st.permutations(rows)), folds


@settings(max_examples=60, deadline=None)
@given(images(), st.integers(0, 5))
def test_out_of_fold_sets_partition_the_images_by_whole_groups(
    found: tuple[list[tuple[int, str, str]], int], seed: int
) -> None:
    rows, folds = found
    of = names(rows)
    sides = np.array([divided_sides(of, SOURCE, Division(None, folds, fold, seed)) for fold in range(folds)])
    locked = of.sides == "test"
    assert (sides[:, locked] == "test").all() and not (sides[:, ~locked] == "test").any()
    assert ((sides[:, ~locked] == "val").sum(axis=0) == 1).all(), "each image is evaluated once"
    for of_fold in sides:
        for side in ("train", "val"):
            assert set(of.labels[of_fold == side]) == set(range(len(CLASSES))), "every class on both sides"
        assert not set(of.groups[of_fold == "train"]) & set(of.groups[of_fold == "val"])


@settings(max_examples=40, deadline=None)
@given(images(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_partition_depends_on_names_folds_and_seed_alone(
    found: tuple[list[tuple[int, str, str]], int], seed: int, random: Any
) -> None:
    """Not on the order of the images, nor on whose split there was; as `group_folds` itself divides them."""
    rows, folds = found
    of, division = names(rows), Division(None, folds, 1, seed)
    sides = divided_sides(of, SOURCE, division)
    evaluated = set(of.groups[sides == "val"])
    order = random.sample(range(len(rows)), len(rows))
    shuffled = [(label, group, "test" if side == "test" else "train") for label, group, side in rows]
    again = names([shuffled[place] for place in order])
    val = Source(kind="folder", root="/elsewhere", val_fraction=0.5, split_seed=3)
    assert set(again.groups[divided_sides(again, val, division) == "val"]) == evaluated
    rest = of.sides != "test"
    expected = group_folds(of.words[rest], of.groups[rest], folds, seed)
    assert set(of.groups[rest][expected == 1]) == evaluated


def test_another_seed_is_another_partition() -> None:
    of = names([(number % 3, f"p{number}", "train") for number in range(60)])
    seen = {
        tuple(divided_sides(of, SOURCE, Division(folds=5, fold=0, seed=seed)) == "val") for seed in range(8)
    }
    assert len(seen) == 8


def test_a_test_set_is_drawn_first_and_is_the_same_for_every_fold_and_seed() -> None:
    of = names([(number % 3, f"p{number // 2}", "train") for number in range(180)])
    locked = {
        tuple(divided_sides(of, SOURCE, Division(0.2, folds, fold, seed)) == "test")
        for folds, fold, seed in ((5, 0, 0), (5, 4, 1), (3, 0, 0))
    }
    assert len(locked) == 1 and sum(locked.pop()) == 36


def test_a_test_set_may_take_what_a_source_that_is_divided_into_folds_evaluated_on() -> None:
    """The only group that it evaluated on falls into the test set: the folds hold all others."""
    rows = [(n % 3, f"p{n}", "train") for n in range(30)]
    pooled = names(rows)
    place = int(np.flatnonzero(divided_sides(pooled, SOURCE, Division(0.2, 3, 0)) == "test")[0])
    rows[place] = (*rows[place][:2], "val")
    with pytest.raises(RelayError, match="leaves no evaluation images"):
        divided_sides(names(rows), SOURCE, Division(0.2))
    for fold in range(3):
        sides = divided_sides(names(rows), SOURCE, Division(0.2, 3, fold))
        assert (sides == divided_sides(pooled, SOURCE, Division(0.2, 3, fold))).all()


def test_images_of_no_group_are_divided_one_by_one() -> None:
    of = names([(number % 3, f"image{number}", "train") for number in range(30)])
    assert not of.grouped
    assert replace(of, groups=np.array(["p"] * 2 + [f"image{n}" for n in range(28)])).grouped
    sides = divided_sides(of, SOURCE, Division(folds=5, fold=3))
    assert np.bincount(of.labels[sides == "val"]).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("rows", "folds", "message"),
    [
        ([(n % 3, "one", "train") for n in range(9)], 2, "all samples are of one group"),
        (
            [(n % 3, f"p{n % 4}", "train") for n in range(24)],
            5,
            "5 folds of 4 groups; give at",
        ),
        (
            [(n % 2, f"p{n}", "train") for n in range(20)] + [(2, f"q{n}", "train") for n in range(3)],
            5,
            r"5 folds, but fewer groups of class ret \(3\); every fold must hold every class: give",
        ),
        (
            [(n % 2, f"p{n}", "train") for n in range(20)] + [(2, "q", "train"), (2, "r", "test")],
            2,
            r"fewer groups of class ret \(1\)",
        ),
    ],
)
def test_folds_that_cannot_be_drawn_are_refused(
    rows: list[tuple[int, str, str]], folds: int, message: str
) -> None:
    with pytest.raises(RelayError, match=message):
        divided_sides(names(rows), SOURCE, Division(folds=folds, fold=0))
