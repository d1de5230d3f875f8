"""The plateau rule, by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import scoreatpercentile

from stages.errors import RelayError
from stages.plateau import (
    PlateauRule,
    find_plateau,
    plateau_onset,
    representative_value,
    should_stop,
    smoothed,
)


def rule(
    min_delta: float = 0.1, patience: int = 2, length: int = 3, smoothing: int = 1, max_epochs: int = 20
) -> PlateauRule:
    return PlateauRule(
        min_delta=min_delta, patience=patience, length=length, smoothing=smoothing, max_epochs=max_epochs
    )


@pytest.mark.parametrize(
    ("losses", "onset"),
    [
        ([], None),
        ([1.0], None),
        ([1.0, 0.8, 0.6, 0.4, 0.2], None),  # always better by more than a tenth
        ([1.0, 1.0], None),  # one epoch without improvement, patience is two
        ([1.0, 1.0, 1.0], 3),  # the epoch after the second one without
        ([1.0, 0.95, 0.89], None),  # the best stays 1.0 after 0.95, and 0.89 improves on it
        ([1.0, 0.95, 0.91], 3),
        ([1.0, 0.5, 0.6, 0.44], None),  # patience starts again with 0.44 < 0.9 * 0.5
        ([1.0, 0.5, 0.6, 0.44, 0.45, 0.43], 6),
        ([1.0, 1.0, 1.0, 0.1, 0.01], 3),  # a later improvement does not undo it
        ([1.0, 2.0, 3.0], 3),  # rising
        ([0.0, 0.0, 0.0], 3),  # nothing is less than nothing
        ([1.0, float("nan"), float("nan")], 3),
    ],
)
def test_onset_by_hand(losses: list[float], onset: int | None) -> None:
    assert plateau_onset(losses, rule()) == onset


def test_an_improvement_of_exactly_min_delta_does_not_count() -> None:
    """Fallen below (1 - min_delta) times the best: 0.5 is not below 0.5."""
    assert plateau_onset([1.0, 0.5], rule(min_delta=0.5, patience=1)) == 2
    assert plateau_onset([1.0, 0.499], rule(min_delta=0.5, patience=1)) is None
    assert plateau_onset([1.0, 1.0], rule(min_delta=0.0, patience=1)) == 2
    assert plateau_onset([1.0, 0.999999], rule(min_delta=0.0, patience=1)) is None


def test_smoothing_by_hand() -> None:
    assert smoothed([4.0, 2.0, 3.0, 7.0], 1) == [4.0, 2.0, 3.0, 7.0]
    assert smoothed([4.0, 2.0, 3.0, 7.0], 2) == [4.0, 3.0, 2.5, 5.0]
    assert smoothed([4.0, 2.0, 3.0, 7.0], 3) == [4.0, 3.0, 3.0, 4.0]
    assert smoothed([4.0, 2.0], 9) == [4.0, 3.0]
    # 4, 3, 2.5, 2.5, 2.5: the last two do not fall below 2.25; unsmoothed, 2 and 2 come one epoch earlier
    assert plateau_onset([4.0, 2.0, 3.0, 2.0, 3.0], rule(smoothing=2)) == 5
    assert plateau_onset([4.0, 2.0, 3.0, 2.0, 3.0], rule(smoothing=1)) == 4


def test_a_reached_plateau() -> None:
    losses = [1.0, 0.5, 0.5, 0.5, 0.4, 0.3, 0.2]
    assert [should_stop(losses[:epochs], rule()) for epochs in range(8)] == [False] * 7 + [True]
    plateau = find_plateau(losses, rule())
    assert (plateau.onset, plateau.length, plateau.reached) == (4, 3, True)
    assert list(plateau.epochs) == [4, 5, 6]


def test_epochs_trained_beyond_the_plateau_are_not_of_it() -> None:
    assert list(find_plateau([1.0] * 10, rule()).epochs) == [3, 4, 5]


def test_max_epochs_first() -> None:
    improving = [2.0**-epoch for epoch in range(8)]
    limited = rule(max_epochs=8)
    assert [should_stop(improving[:epochs], limited) for epochs in range(9)] == [False] * 8 + [True]
    plateau = find_plateau(improving, limited)
    assert (plateau.onset, plateau.length, plateau.reached) == (5, 3, False)
    assert list(plateau.epochs) == [5, 6, 7]


def test_max_epochs_within_the_plateau() -> None:
    """The plateau began at epoch 3 but only two of its three epochs were trained."""
    plateau = find_plateau([1.0] * 5, rule(max_epochs=5))
    assert (list(plateau.epochs), plateau.reached) == ([2, 3, 4], False)


def test_the_plateau_may_end_exactly_at_max_epochs() -> None:
    assert find_plateau([1.0] * 6, rule(max_epochs=6)).reached is True


def test_fewer_epochs_than_the_plateau_is_long() -> None:
    plateau = find_plateau([1.0, 0.5], rule(length=3))
    assert (list(plateau.epochs), plateau.reached) == ([0, 1], False)


RULES = st.builds(
    lambda min_delta, patience, length, smoothing, more: PlateauRule(
        min_delta=min_delta, patience=patience, length=length, smoothing=smoothing, max_epochs=length + more
    ),
    st.floats(0.0, 0.9),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 25),
)
LOSSES = st.lists(st.floats(0.0, 10.0), max_size=30)


@settings(deadline=None, derandomize=True)
@given(LOSSES, LOSSES, RULES)
def test_the_onset_depends_on_losses_up_to_it_only(
    losses: list[float], other: list[float], any_rule: PlateauRule
) -> None:
    onset = plateau_onset(losses, any_rule)
    if onset is None:
        assert all(plateau_onset(losses[:epochs], any_rule) is None for epochs in range(len(losses)))
    else:
        assert any_rule.patience + 1 <= onset <= len(losses)
        assert plateau_onset(losses[:onset] + other, any_rule) == onset
        assert plateau_onset(losses[: onset - 1], any_rule) is None


@settings(deadline=None, derandomize=True)
@given(LOSSES, RULES)
def test_the_onset_in_the_plainest_words(losses: list[float], any_rule: PlateauRule) -> None:
    """Written a second time: the first epoch whose last `patience` predecessors all failed to improve."""
    means = [float(np.mean(losses[max(0, i - any_rule.smoothing + 1) : i + 1])) for i in range(len(losses))]
    best = float("inf")
    improved = []
    for mean in means:
        least = best * (1 - any_rule.min_delta)
        assume(
            not np.isclose(mean, least, rtol=1e-9, atol=0.0) or mean == 0.0
        )  # two ways of adding may disagree
        improved.append(mean < least)
        best = mean if improved[-1] else best
    onsets = [
        epoch
        for epoch in range(any_rule.patience, len(losses) + 1)
        if not any(improved[epoch - any_rule.patience : epoch])
    ]
    assert plateau_onset(losses, any_rule) == (onsets[0] if onsets else None)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0.0, 10.0), min_size=30, max_size=30), RULES)
def test_training_stops_once_and_where_the_plateau_is_found(
    losses: list[float], any_rule: PlateauRule
) -> None:
    stops = [epochs for epochs in range(31) if should_stop(losses[:epochs], any_rule)]
    assert stops == list(range(stops[0], 31)), "once flat, always flat"
    trained = losses[: stops[0]]
    plateau = find_plateau(trained, any_rule)
    assert len(trained) <= any_rule.max_epochs
    assert plateau.length == any_rule.length
    assert plateau.epochs[-1] == len(trained) - 1, "the plateau is the last thing trained"
    onset = plateau_onset(trained, any_rule)
    assert plateau.reached == (onset == plateau.onset)
    if not plateau.reached:
        assert len(trained) == any_rule.max_epochs


def test_representative_value_by_hand() -> None:
    assert representative_value([1.0, 2.0, 3.0, 4.0]) == 3.25
    assert representative_value([4.0, 1.0, 3.0, 2.0]) == 3.25
    assert representative_value([7.0]) == 7.0
    assert representative_value([0.0, 1.0], 50.0) == 0.5
    assert representative_value([5.0, 1.0, 3.0], 0.0) == 1.0
    assert representative_value([5.0, 1.0, 3.0], 100.0) == 5.0


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0.0, 100.0))
def test_representative_value_is_scipys(values: list[float], percentile: float) -> None:
    expected = scoreatpercentile(values, percentile, interpolation_method="fraction")
    assert representative_value(values, percentile) == pytest.approx(expected, rel=1e-12, abs=1e-6)


def test_no_values_and_no_such_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        representative_value([])
    for percentile in (-1.0, 100.1):
        with pytest.raises(ValueError, match="ercentile"):
            representative_value([1.0], percentile)
    with pytest.raises(ValueError, match="no epoch was trained"):
        find_plateau([], rule())


@pytest.mark.parametrize(
    ("key", "value"),
    [("min_delta", -0.1), ("min_delta", 1.0), ("min_delta", float("nan")), ("patience", 0), ("length", 0),
     ("smoothing", 0), ("max_epochs", 2)],
)  # fmt: skip
def test_a_rule_without_meaning(key: str, value: float) -> None:
    with pytest.raises(RelayError, match=key):
        rule(**{key: value})  # type: ignore[arg-type]
    rule(length=3, max_epochs=3)
