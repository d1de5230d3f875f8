from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.batches.subset import stratified_subset
from datamodules.rounding import share
from stages.errors import RelayError
from stages.seeds import seeded_order, seeded_word

RATIOS = [0.01, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0]
Labelled = tuple[npt.NDArray[np.int64], tuple[str, ...]]


@st.composite
def labelled(draw: Any) -> Labelled:
    """Labels of 2 to 4 classes, none empty, and groups that may hold several classes."""
    classes = draw(st.integers(2, 4))
    extra = draw(st.lists(st.integers(0, classes - 1), max_size=60))
    labels = draw(st.permutations([*range(classes), *extra]))
    groups = draw(st.lists(st.integers(0, 9), min_size=len(labels), max_size=len(labels)))
    return np.array(labels, dtype=np.int64), tuple(f"p{number}" for number in groups)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(labelled(), st.integers(0, 2**64))
def test_patches_are_exactly_stratified_and_nested(sample: Labelled, seed: int) -> None:
    labels, groups = sample
    smaller: set[int] = set()
    for ratio in RATIOS:
        subset = stratified_subset(labels, groups, ratio, "patch", seed)
        assert subset.tolist() == sorted(set(subset.tolist()))
        assert smaller <= set(subset.tolist())
        smaller = set(subset.tolist())
        for label, count in Counter(labels.tolist()).items():
            half_up = int(Fraction(str(ratio)) * count + Fraction(1, 2))
            assert np.sum(labels[subset] == label) == max(half_up, 1)
        np.testing.assert_array_equal(subset, stratified_subset(labels, groups, ratio, "patch", seed))
    assert len(smaller) == len(labels)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(labelled(), st.integers(0, 2**64))
def test_patients_are_whole_and_nested(sample: Labelled, seed: int) -> None:
    labels, groups = sample
    largest = max(Counter(groups).values())
    smaller: set[int] = set()
    for ratio in RATIOS:
        subset = set(stratified_subset(labels, groups, ratio, "patient", seed).tolist())
        kept = {groups[index] for index in subset}
        assert subset == {index for index, group in enumerate(groups) if group in kept}
        assert smaller <= subset
        assert set(labels[list(subset)]) == set(labels)
        # As near as whole groups allow, or no more than a group for each class.
        assert abs(len(subset) - ratio * len(labels)) <= largest / 2 or len(kept) <= labels.max() + 1
        smaller = subset


def patients(count: int) -> Labelled:
    """Each patient has 20 normal patches, 10 of one of three patterns."""
    labels: list[int] = []
    for number in range(count):
        labels += [0] * 20 + [1 + number % 3] * 10
    return np.array(labels), tuple(f"p{index // 30}" for index in range(30 * count))


@pytest.mark.parametrize("seed", range(5))
def test_patients_keep_the_proportions(seed: int) -> None:
    labels, groups = patients(60)
    for ratio in (0.1, 0.2, 0.4, 0.8):
        subset = stratified_subset(labels, groups, ratio, "patient", seed)
        shares = np.bincount(labels[subset]) / np.bincount(labels)
        np.testing.assert_allclose(shares, ratio, atol=0.05)


@pytest.mark.parametrize("unit", ["patch", "patient"])
def test_seeds_draw_other_subsets(unit: Any) -> None:
    labels, groups = patients(30)
    drawn = {tuple(stratified_subset(labels, groups, 0.2, unit, seed)) for seed in range(10)}
    assert len(drawn) == 10


def test_many_small_groups_are_quick() -> None:
    labels = np.arange(20_000) % 5
    groups = tuple(str(index) for index in range(20_000))
    subset = stratified_subset(labels, groups, 0.2, "patient", 0)
    assert len(subset) == 4000
    assert np.ptp(np.bincount(labels[subset])) == 0


def test_subset_is_pinned() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    assert stratified_subset(labels, tuple("abcdeabcde"), 0.4, "patch", 7).tolist() == PATCHES
    assert stratified_subset(labels, tuple("abcdeabcde"), 0.4, "patient", 7).tolist() == PATIENTS


PATCHES = [3, 4, 6, 8]
PATIENTS = [3, 4, 8, 9]


@pytest.mark.parametrize("ratio", [0, -0.2, 1.01, float("nan"), float("inf")])
def test_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(RelayError, match="data_ratio is"):
        stratified_subset(np.array([0, 1]), ("a", "b"), ratio, "patch", 0)


def test_class_without_samples_and_unknown_unit() -> None:
    for labels in ([0, 2], []):
        with pytest.raises(RelayError, match=r"class . has no training samples"):
            stratified_subset(np.array(labels, dtype=np.int64), ("a",) * len(labels), 0.5, "patch", 0)
    with pytest.raises(RelayError, match="ratio_unit is 'slice'"):
        stratified_subset(np.array([0, 1]), ("a", "b"), 0.5, "slice", 0)  # type: ignore[arg-type]


def test_share_rounds_decimals_half_up() -> None:
    assert [share(0.29, 50), share(0.5, 5), share(0.2, 2), share(0.25, 2), share(1.0, 7)] == [15, 3, 0, 1, 7]


def test_seeded_order_is_pinned() -> None:
    # From numpy's documented PCG64 words: np.argsort(PCG64(SeedSequence((1, 2))).random_raw(6)).
    assert seeded_order(6, 1, 2).tolist() == ORDER
    assert seeded_order(0, 1).tolist() == []
    assert sorted(seeded_order(100, 3).tolist()) == list(range(100))
    assert seeded_word(1, 2) == np.random.SeedSequence((1, 2)).generate_state(1, np.uint64)[0]


ORDER = [5, 3, 2, 1, 0, 4]
