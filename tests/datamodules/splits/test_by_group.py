"""Whole groups on one side, every class as near to its share as whole groups allow."""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from datamodules.splits import check_split, split_by_group, split_report
from stages.errors import RelayError

FRACTIONS = st.sampled_from([0.1, 0.2, 0.33, 0.5, 0.8])


@st.composite
def samples(draw: st.DrawFn) -> tuple[list[str], list[int]]:
    """Samples of up to 9 groups; groups may hold several of up to 4 classes."""
    held = draw(
        st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 9)), max_size=4), max_size=9)
    )
    labels = [label for group in held for label, count in group for _ in range(count)]
    groups = [number for number, group in enumerate(held) for _, count in group for _ in range(count)]
    assume(len(set(groups)) >= 2)
    return labels, groups


def groups_of(labels: Any, groups: Any, label: Any) -> set[Any]:
    return {group for name, group in zip(labels, groups, strict=True) if name == label}


def groups_with_a_class_of_their_own(labels: Any, groups: Any) -> set[Any]:
    by_class = [groups_of(labels, groups, label) for label in set(labels)]
    return set().union(*(holders for holders in by_class if len(holders) == 1))


def deviation(labels: Any, evaluation: npt.NDArray[np.bool_], fraction: float) -> float:
    """Sum over the classes of the squared distance of the share from the fraction."""
    names = np.asarray(labels)
    return float(sum((evaluation[names == name].mean() - fraction) ** 2 for name in set(labels)))


def feasible_divisions(labels: Any, groups: Any) -> list[npt.NDArray[np.bool_]]:
    """Every division by group that may be returned, in the plainest way: all of them, tried."""
    names, members, classes = sorted(set(groups)), np.asarray(groups), np.asarray(labels)
    found = []
    for choice in product([False, True], repeat=len(names)):
        held_out = np.isin(members, [name for name, chosen in zip(names, choice, strict=True) if chosen])
        sides = {label: set(held_out[classes == label].tolist()) for label in set(labels)}
        if held_out.any() and all(
            seen == ({False} if len(groups_of(labels, groups, label)) == 1 else {False, True})
            for label, seen in sides.items()
        ):
            found.append(held_out)
    return found


@given(samples(), FRACTIONS, st.integers(0, 2**40))
@settings(max_examples=70, deadline=None)
def test_no_group_is_on_both_sides_and_no_class_misses_one(
    drawn: tuple[list[str], list[int]], fraction: float, seed: int
) -> None:
    labels, groups = drawn
    allowed = {tuple(held_out.tolist()) for held_out in feasible_divisions(labels, groups)}
    if allowed:
        assert tuple(split_by_group(labels, groups, fraction, seed).tolist()) in allowed
    else:
        with pytest.raises(RelayError, match=r"no split by group was found|leaves nothing to evaluate"):
            split_by_group(labels, groups, fraction, seed)


@given(samples(), FRACTIONS, st.integers(0, 99), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_samples_in_another_order_get_the_same_sides(
    drawn: tuple[list[str], list[int]], fraction: float, seed: int, random: Any
) -> None:
    labels, groups = drawn
    order = list(range(len(labels)))
    random.shuffle(order)
    assume(len(groups_with_a_class_of_their_own(labels, groups)) < len(set(groups)))
    expected = split_by_group(labels, groups, fraction, seed, impossible="report")
    shuffled = split_by_group(
        [labels[place] for place in order],
        [groups[place] for place in order],
        fraction,
        seed,
        impossible="report",
    )
    assert shuffled.tolist() == [bool(expected[place]) for place in order]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("classes", [1, 3])
def test_small_sets_come_near_the_best_of_all_divisions(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, (10, classes)) * (rng.random((10, classes)) < 0.7)
    sizes[:2] += 1  # every class in two groups at least
    groups = [group for group in range(10) for count in sizes[group] for _ in range(count)]
    labels = [label for group in range(10) for label, count in enumerate(sizes[group]) for _ in range(count)]
    best = min(deviation(labels, held_out, 0.3) for held_out in feasible_divisions(labels, groups))
    reached = [deviation(labels, split_by_group(labels, groups, 0.3, draw), 0.3) for draw in range(8)]
    assert min(reached) <= best + 1e-4 * classes  # a share off by a hundredth
    assert max(reached) <= best + 2e-3 * classes  # by less than five hundredths


def test_a_small_set_of_mixed_groups_is_divided_as_well_as_can_be() -> None:
    """One large group that holds all classes against some small ones of one class."""
    held = [
        {"a": 8, "b": 7, "c": 10, "d": 7}, {"c": 1}, {"d": 7}, {"b": 2}, {"a": 10}, {"a": 9}, {"a": 6},
        {"c": 1}, {"c": 6},
    ]  # fmt: skip
    labels = [name for group in held for name, count in group.items() for _ in range(count)]
    groups = [number for number, group in enumerate(held) for _ in range(sum(group.values()))]
    best = min(deviation(labels, each, 0.1) for each in feasible_divisions(labels, groups))
    for seed in range(4):
        assert deviation(labels, split_by_group(labels, groups, 0.1, seed), 0.1) <= best + 0.01


def test_groups_of_one_size_reach_the_share_exactly() -> None:
    labels = np.repeat(np.arange(61), 92)  # CUReT: each condition shows every material
    groups = np.tile(np.arange(92), 61)
    evaluation = split_by_group(labels, groups, 0.5, 3)
    assert evaluation.reshape(61, 92).sum(axis=1).tolist() == [46] * 61
    assert (evaluation.reshape(61, 92) == evaluation[:92]).all()


def test_two_large_groups_are_not_both_kept_for_evaluation() -> None:
    groups = ["big"] * 50 + ["other"] * 40 + ["one"] * 5 + ["two"] * 5
    evaluation = split_by_group(["a"] * 100, groups, 0.1, 0)
    assert set(np.asarray(groups)[evaluation]) == {"one", "two"}


def test_another_seed_draws_another_split() -> None:
    labels, groups = np.repeat([0, 1], 50), np.arange(100)
    splits = {tuple(split_by_group(labels, groups, 0.2, seed).tolist()) for seed in range(20)}
    assert len(splits) == 20


def test_the_split_of_a_seed_never_changes() -> None:
    """On any machine, with any version of numpy; a change here changes every packed set."""
    labels = ["abc"[number % 3] for number in range(24)]
    groups = [f"patient {number % 8}" for number in range(24)]
    evaluation = split_by_group(labels, groups, 0.25, 7)
    assert sorted(set(np.asarray(groups)[evaluation])) == ["patient 3", "patient 6"]
    evaluation = split_by_group([0] * 20 + [1] * 20, [number // 2 for number in range(40)], 0.25, 7)
    assert np.flatnonzero(evaluation[::2]).tolist() == [3, 6, 18, 19]


@pytest.mark.parametrize(
    "names",
    [
        list(range(6)),
        [f"p{number}" for number in range(6)],
        [("study", number) for number in range(6)],
        [frozenset({"a", str(number)}) for number in range(6)],
        [number if number % 2 else f"{number}" for number in range(6)],
        np.arange(6, dtype=np.int16),
        np.asarray([b"a", b"b", b"c", b"d", b"e", b"f"]),
    ],
    ids=["int", "str", "tuple", "frozenset", "mixed", "array", "bytes"],
)
def test_groups_may_have_any_hashable_name(names: Any) -> None:
    evaluation = split_by_group(["a"] * 6, names, 0.5, 1)
    assert evaluation.sum() == 3
    backwards = split_by_group(["a"] * 6, names[::-1], 0.5, 1)
    assert backwards[::-1].tolist() == evaluation.tolist()


def test_a_class_of_one_group_is_all_for_training_and_the_report_says_so() -> None:
    labels = ["rare", "rare", *"aaaaaa"]
    groups = [0, 0, 0, 1, 2, 3, 4, 5]
    evaluation = split_by_group(labels, groups, 0.3, 0)
    assert not evaluation[np.asarray(groups) == 0].any()
    report = split_report(labels, groups, evaluation, asked=0.3).set_index("class")
    assert report.loc["rare", "note"] == "in one group only: all for training"
    assert report.loc["a", "note"] == ""


def test_the_report_counts_samples_and_groups() -> None:
    labels, groups = ["a", "a", "a", "b", "b"], [1, 2, 2, 2, 3]
    report = split_report(labels, groups, np.asarray([False, True, True, True, False]), asked=0.5)
    assert report["class"].tolist() == ["a", "b", "(all)"]
    assert report["train_samples"].tolist() == [1, 1, 2]
    assert report["val_samples"].tolist() == [2, 1, 3]
    assert report["train_groups"].tolist() == [1, 1, 2]
    assert report["val_groups"].tolist() == [1, 1, 1]
    assert report["share"].tolist() == pytest.approx([2 / 3, 1 / 2, 3 / 5])
    assert report["asked"].tolist() == [0.5] * 3
    assert report["crossing_groups"].tolist() == [0] * 3


def test_what_whole_groups_cannot_do_is_an_error_or_is_reported() -> None:
    labels, groups = list("abacbc"), [1, 1, 2, 2, 3, 3]  # each two of three groups share a class
    with pytest.raises(RelayError, match=r"no split by group was found that has class \w on both sides"):
        split_by_group(labels, groups, 0.3, 0)
    evaluation = split_by_group(labels, groups, 0.3, 0, impossible="report")
    notes = split_report(labels, groups, evaluation)["note"].tolist()
    assert sum(note != "" for note in notes) == 1


def test_a_division_that_is_hard_to_find_is_found() -> None:
    """A ring of six groups, a class between each two: only odd against even gives all classes both sides."""
    counts = [(5, 3), (5, 4), (4, 2), (4, 1), (3, 3), (5, 1)]  # of class k in groups k and k + 1
    labels = [label for label, held in enumerate(counts) for _ in range(sum(held))]
    groups = [
        (label + next_) % 6
        for label, held in enumerate(counts)
        for next_ in (0, 1)
        for _ in range(held[next_])
    ]
    for seed in range(4):
        evaluation = split_by_group(labels, groups, 0.2, seed)
        assert len({group % 2 for group in np.asarray(groups)[evaluation]}) == 1


def test_classes_keep_a_training_side_where_nearly_all_is_evaluated() -> None:
    pairs = [(f"pair {group // 2}", group) for group in range(16) for _ in range(5)]
    labels, groups = zip(*pairs, *(("all", group) for group in range(16)), strict=True)
    report = split_report(labels, groups, split_by_group(labels, groups, 0.9, 0))
    assert (report["train_groups"] > 0).all()
    assert report["val_groups"].tolist()[:-1] == [8, *[1] * 8]


@pytest.mark.parametrize(
    ("labels", "groups", "fraction", "seed", "message"),
    [
        ("ab", [1], 0.5, 0, "2 labels for 1 groups"),
        ("", [], 0.5, 0, "there are no samples"),
        ("aa", [1, 2], 0.0, 0, "fraction is 0.0"),
        ("aa", [1, 2], 1.0, 0, "fraction is 1.0"),
        ("aa", [1, 2], float("nan"), 0, "fraction is nan"),
        ("aa", [1, 2], 0.5, -1, "seed is -1"),
        ("aa", [1, 2], 0.5, 1.5, "seed is 1.5"),
        ("aa", [1, float("nan")], 0.5, 0, "a sample has no group"),
        (["a", None], [1, 2], 0.5, 0, "a sample has no label"),
        ("aa", [[1], [2]], 0.5, 0, "a group cannot be hashed"),
        ("aa", [object(), object()], 0.5, 0, "of type object have no order"),
        ("aa", [1, 1], 0.5, 0, "leaves nothing to evaluate"),
        ("ab", [1, 2], 0.5, 0, "each of the 2 groups holds a class that no other group holds"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(
    labels: Any, groups: Any, fraction: float, seed: Any, message: str
) -> None:
    with pytest.raises(RelayError, match=message):
        split_by_group(list(labels), groups, fraction, seed)


def test_crossing_groups_are_counted_and_not_named() -> None:
    labels, groups, sides = list("aabb"), ["Ann", "Ann", "Bob", "Eve"], ["train", "val", "train", "val"]
    with pytest.raises(
        RelayError, match=r"1 of 3 groups are on both sides of the split, in class a;"
    ) as caught:
        check_split(labels, groups, sides)
    assert "Ann" not in str(caught.value)
    assert check_split(labels, groups, sides, allow_crossing=True) == 1
    assert check_split(labels, ["Ann", "Tom", "Bob", "Eve"], np.asarray(sides)) == 0


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (["train", "val", "dev", "val"], "1 samples have a side that is not train, val or test"),
        (["train", "test", "train", "val"], "class b has no samples in the test set"),
        (["train"] * 4, "no val samples"),
        (["val"] * 4, "no train samples"),
        (["train", "train", "val", "val"], "class b has evaluation samples but none for training"),
        (["train"], "1 sides for 4 samples"),
    ],
)
def test_a_provided_split_that_cannot_be_used_is_refused(sides: list[str], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        check_split(list("aabb"), [1, 2, 3, 4], sides)


def test_a_report_of_another_length_is_refused() -> None:
    with pytest.raises(RelayError, match=r"is_evaluation has shape \(1,\), there are 2 samples"):
        split_report(["a", "a"], [1, 2], np.asarray([True]))


@pytest.mark.slow
def test_twenty_thousand_groups_of_a_thousand_classes_take_seconds() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20_000), rng.integers(1, 30, 20_000))
    labels = rng.integers(0, 1000, 20_000)[groups]
    report = split_report(labels, groups, split_by_group(labels, groups, 0.2, 0))
    assert (report["share"][:-1] - 0.2).abs().max() < 0.02


def test_two_thousand_groups_of_mixed_classes_take_seconds() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(2000), rng.integers(1, 60, 2000))
    labels = (rng.integers(0, 50, 2000)[groups] + rng.integers(0, 4, len(groups))) % 50
    report = split_report(labels, groups, split_by_group(labels, groups, 0.2, 0))
    assert (report["share"][:-1] - 0.2).abs().max() < 0.005
