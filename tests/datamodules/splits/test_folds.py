"""Folds of whole groups: against all partitions tried, and beside scikit-learn's."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from datamodules.splits.folds import group_folds
from stages.errors import RelayError

Labels = list[str]
Groups = list[int]


def samples_of(counts: npt.NDArray[Any]) -> tuple[Labels, Groups]:
    """Labels and groups with that many samples of each group (row) and class (column)."""
    labels = ["abcdefgh"[label] for row in counts for label, count in enumerate(row) for _ in range(count)]
    groups = [group for group, row in enumerate(counts) for count in row for _ in range(count)]
    return labels, groups


def imbalance(labels: Any, folds_of: npt.NDArray[Any], folds: int) -> float:
    """Root mean square, over folds, classes and all samples, of the share times the folds, minus 1."""
    names = np.asarray(labels)
    members = [names == name for name in sorted(set(labels))] + [np.ones(len(names), dtype=bool)]
    shares = [[(folds_of[each] == fold).mean() for fold in range(folds)] for each in members]
    return float(np.sqrt(np.mean((np.array(shares) * folds - 1) ** 2)))


def is_complete(labels: Any, folds_of: npt.NDArray[Any], folds: int) -> bool:
    names = np.asarray(labels)
    return all(set(folds_of[names == name]) == set(range(folds)) for name in set(labels))


@st.composite
def small_sets(draw: st.DrawFn) -> tuple[npt.NDArray[Any], int]:
    groups, classes = draw(st.integers(3, 8)), draw(st.integers(1, 4))
    cells = draw(
        st.lists(st.sampled_from([0, 0, 1, 2, 5]), min_size=groups * classes, max_size=groups * classes)
    )
    counts = np.array(cells).reshape(groups, classes)
    counts[counts.sum(axis=1) == 0, 0] = 1
    return counts[:, counts.sum(axis=0) > 0], draw(st.integers(2, 3))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(small_sets(), st.integers(0, 2**40))
def test_found_where_there_is_one_and_as_good_as_all_tried(
    drawn: tuple[npt.NDArray[Any], int], seed: int
) -> None:
    counts, folds = drawn
    labels, groups = samples_of(counts)
    best = np.inf
    for choice in product(range(folds), repeat=len(counts)):
        folds_of = np.array(choice)[groups]
        if is_complete(labels, folds_of, folds):
            best = min(best, imbalance(labels, folds_of, folds))
    if best == np.inf:
        with pytest.raises(RelayError):
            group_folds(labels, groups, folds, seed)
        return
    found = group_folds(labels, groups, folds, seed)
    assert is_complete(labels, found, folds)
    assert all(len(set(found[np.asarray(groups) == group])) == 1 for group in set(groups)), "whole groups"
    assert imbalance(labels, found, folds) <= max(0.03, 1.5 * best) + 1e-9


def patients(seed: int, groups: int, *, several: bool = True) -> tuple[Labels, Groups]:
    """Patients of very unequal size; several classes each, or one."""
    generator = np.random.default_rng(seed)
    shares = np.array([0.55, 0.2, 0.15, 0.1])
    sizes = np.maximum(1, np.exp(generator.normal(2, 1, groups))).astype(int)
    rows = []
    for size in sizes:
        mix = generator.dirichlet(shares * 3) if several else np.eye(4)[generator.choice(4, p=shares)]
        rows.append(generator.multinomial(size, mix))
    return samples_of(np.array(rows))


@pytest.mark.parametrize(("groups", "folds"), [(20, 2), (30, 3), (60, 5), (300, 5)])
def test_balance_beside_scikit_learn(groups: int, folds: int) -> None:
    """Mean of three sets: no worse than StratifiedGroupKFold, or within 3% of even shares."""
    ours, theirs = [], []
    for seed in range(3):
        labels, of_group = patients(seed, groups)
        ours.append(imbalance(labels, group_folds(labels, of_group, folds, seed), folds))
        folds_of = np.empty(len(labels), dtype=int)
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for fold, (_, held_out) in enumerate(splitter.split(labels, labels, of_group)):
            folds_of[held_out] = fold
        theirs.append(imbalance(labels, folds_of, folds))
    assert np.mean(ours) <= max(0.03, 1.05 * float(np.mean(theirs)))


def test_the_seed_draws_another_partition() -> None:
    labels, groups = patients(0, 30)
    found = [group_folds(labels, groups, 5, seed) for seed in range(10)]
    together = [[tuple(fold == fold[place]) for place in range(len(labels))] for fold in found]
    assert len({tuple(each) for each in together}) >= 9, "other groups together, not only other numbers"
    neighbours = np.mean([fold[:, None] == fold for fold in found], axis=0)
    first = np.unique(groups, return_index=True)[1]
    apart = neighbours[np.ix_(first, first)][np.triu_indices(30, 1)]
    assert 0.1 < apart.mean() < 0.3 and (apart < 1).all(), "no two patients are always in one fold"


def test_names_and_order_of_samples_decide_nothing() -> None:
    labels, groups = patients(1, 100, several=False)
    found = group_folds(labels, groups, 3, 7)
    order = np.random.default_rng(0).permutation(len(labels))
    again = group_folds([labels[place] for place in order], [groups[place] for place in order], 3, 7)
    assert (again == found[order]).all()
    renamed = group_folds(labels, [f"patient {group:03d}" for group in groups], 3, 7)  # same order of names
    assert (renamed == found).all()


def test_the_same_on_every_machine() -> None:
    """Pinned: depends on numpy's bit generator and whole numbers only."""
    labels, groups = samples_of(np.array([[3, 1], [2, 2], [5, 0], [1, 4], [0, 3], [2, 1], [4, 1], [1, 1]]))
    first = np.unique(groups, return_index=True)[1]
    assert group_folds(labels, groups, 3, 0)[first].tolist() == PINNED


PINNED = [2, 2, 0, 0, 1, 1, 1, 2]


def test_many_groups() -> None:
    labels, groups = patients(2, 3000)
    assert imbalance(labels, group_folds(labels, groups, 10, 0), 10) < 0.031


@pytest.mark.parametrize(
    ("labels", "groups", "folds", "message"),
    [
        ("aabb", [1, 2, 3, 4], 1, "folds is 1"),
        ("aabb", [1, 2, 3, 4], 2.0, "folds is 2.0"),
        ("aabb", [1, 2, 3, 4], True, "folds is True"),
        ("aaaa", [1, 1, 1, 1], 2, "one group"),
        ("aaaa", [1, 1, 2, 2], 3, "3 folds of 2 groups"),
        ("aaab", [1, 2, 3, 4], 2, r"class b \(1\)"),
        ("abbcac", [1, 1, 2, 2, 3, 3], 2, "overlap"),  # every two classes share a group
        ("aabb", [1, 2, 3], 2, "4 labels for 3 groups"),
        ("aabb", [1, 2, None, 4], 2, "no group"),
        ("", [], 2, "no samples"),
    ],
)
def test_bad_input(labels: str, groups: Any, folds: Any, message: str) -> None:
    with pytest.raises(RelayError, match=message):
        group_folds(list(labels), groups, folds, 0)


def test_bad_seed() -> None:
    for seed in (-1, 0.5, True):
        with pytest.raises(RelayError, match="seed"):
            group_folds(["a", "a"], [1, 2], 2, seed)  # type: ignore[arg-type]
