"""The plateau rule: by hand, written a second time, and on curves of which the onset is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, scoreatpercentile

from stages.errors import RelayError
from stages.plateau import (
    PlateauRule,
    chance_loss,
    find_plateau,
    plateau_onset,
    representative_value,
    should_stop,
    smoothed,
)

CHANCE_24 = math.log(24)


def rule(
    min_delta: float = 0.1,
    patience: int | None = 2,
    length: int = 3,
    smoothing: int = 1,
    max_epochs: int = 60,
    start_from_epoch: int = 0,
) -> PlateauRule:
    return PlateauRule(
        min_delta=min_delta,
        patience=patience,
        length=length,
        smoothing=smoothing,
        max_epochs=max_epochs,
        start_from_epoch=start_from_epoch,
    )


USUAL = rule(0.01, patience=4, length=4, smoothing=2)


@pytest.mark.parametrize(
    ("losses", "onset"),
    [
        ([], None),
        ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], None),  # flat before the fall has begun
        ([1.0, 0.96, 0.96, 0.96, 0.96], None),  # a fall of 4% of chance is none
        ([1.0, 0.5, 0.5, 0.5], None),  # two epochs without, but the bend at the start is taken for unrest
        ([1.0, 0.5, 0.5, 0.5, 0.5], 5),
        ([0.5, 0.5, 0.5, 0.5], 3),  # below chance from the first epoch on
        ([0.5, 0.45, 0.4, 0.35, 0.3, 0.25], None),  # 0.05 of 0.5 to 0.75 is no tenth; it falls on
        ([0.5, 0.46, 0.46, 0.46, 0.46], 3),  # 0.04 of 0.54 is less than a tenth
        ([0.5, 0.44, 0.44, 0.44, 0.44], 4),  # 0.06 of 0.56 is more
        ([0.5, 0.5, 1.0, 0.5, 0.5, 0.5], None),  # lost again: counting starts anew
        ([2.0, 3.0, 4.0, 5.0], None),
        ([0.0, 0.0, 0.0], 3),  # nothing left to fall
    ],
)
def test_onset_by_hand(losses: list[float], onset: int | None) -> None:
    assert plateau_onset(losses, rule(), chance=1.0) == onset


def test_smoothing_by_hand() -> None:
    assert smoothed([4.0, 2.0, 3.0, 7.0], 1) == [4.0, 2.0, 3.0, 7.0]
    assert smoothed([4.0, 2.0, 3.0, 7.0], 2) == [4.0, 3.0, 2.5, 5.0]
    assert smoothed([4.0, 2.0, 3.0, 7.0], 3) == [4.0, 3.0, 3.0, 4.0]
    assert smoothed([4.0, 2.0], 9) == [4.0, 3.0]


def test_a_fall_of_exactly_min_delta_does_not_count() -> None:
    """From 2 to 1 and then by a quarter of the whole fall, 1.3333: to 0.6667, or a little less."""
    strict = rule(min_delta=0.25, patience=1)
    assert plateau_onset([1.0, 0.75, 0.75], strict, chance=1.75) == 2, "0.25 is a quarter of 1.75 - 0.75"
    assert plateau_onset([1.0, 0.7499], strict, chance=1.75) is None
    assert plateau_onset([1.0, 1.0], rule(min_delta=0.0, patience=1), chance=2.0) == 2
    assert plateau_onset([1.0, 0.999999], rule(min_delta=0.0, patience=1), chance=2.0) is None


def test_epochs_trained_beyond_the_plateau_are_not_of_it() -> None:
    plateau = find_plateau([1.0] * 10, rule(), chance=2.0)
    assert (plateau.onset, plateau.length, plateau.reached) == (3, 3, True)
    assert list(plateau.epochs) == [3, 4, 5]


def test_max_epochs_within_the_plateau() -> None:
    """The plateau began at epoch 3. Two of its three epochs are too few; it may end at max_epochs."""
    plateau = find_plateau([1.0] * 5, rule(max_epochs=5), chance=2.0)
    assert (list(plateau.epochs), plateau.reached, plateau.learning) == ([2, 3, 4], False, True)
    assert find_plateau([1.0] * 6, rule(max_epochs=6), chance=2.0).reached is True


def test_without_the_loss_of_chance_the_first_loss_is_taken() -> None:
    losses = [2.0, *exponential(3, 0.2)]
    assert plateau_onset(losses, USUAL) == plateau_onset(losses, USUAL, chance=2.0) is not None
    learned_before = [0.3] * 8
    assert plateau_onset(learned_before, rule()) is None
    assert plateau_onset(learned_before, rule(), chance=2.0) == 3


def test_a_first_loss_that_is_high_by_chance_is_no_fall_of_the_others() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        losses = [3.5, *(CHANCE_24 * (1 + 0.05 * generator.standard_normal(60))).tolist()]
        assert not find_plateau(losses, USUAL).reached
    assert find_plateau([3.5, *[CHANCE_24] * 60], USUAL).reached, "as far as it can be known without chance"
    assert not find_plateau([3.5, *[CHANCE_24] * 60], USUAL, chance=CHANCE_24).reached


def test_losses_that_were_once_counted_as_a_plateau() -> None:
    """24 classes; the old rule called the first six epochs flat (issue)."""
    losses = [3.20, 3.19, 3.18, 3.18, 3.15, 3.04, 2.92]
    assert plateau_onset(losses, USUAL, chance=CHANCE_24) is None
    assert plateau_onset(losses, USUAL) is None
    plateau = find_plateau([*losses[:4], 3.17, 3.18], USUAL, chance=CHANCE_24)
    assert not plateau.reached and not plateau.learning
    assert find_plateau(losses, USUAL, chance=CHANCE_24).learning is False, "mean of the last four: 3.07"


def exponential(constant: float, floor: float, start: int = 0, epochs: int = 60) -> list[float]:
    since = np.maximum(np.arange(1, epochs + 1) - start, 0)
    return (CHANCE_24 * (floor + (1 - floor) * np.exp(-since / constant))).tolist()


@pytest.mark.parametrize("constant", [1, 2, 4, 8])
@pytest.mark.parametrize("floor", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("start", [0, 12])
def test_smooth_curves_are_reached_after_95_percent_of_their_fall(
    constant: int, floor: float, start: int
) -> None:
    losses = exponential(constant, floor, start)
    plateau = find_plateau(losses, USUAL, chance=CHANCE_24)
    assert plateau.reached and plateau.learning
    settled = start + 3 * constant  # e^-3 is 5%
    assert settled < plateau.onset <= settled + 4 * constant + 8
    assert plateau_onset([1e-6 * loss for loss in losses], USUAL, chance=1e-6 * CHANCE_24) == plateau.onset


def test_a_network_that_loses_what_it_learned_does_not_reach() -> None:
    losses = [*exponential(2, 0.2, epochs=8), *[CHANCE_24] * 20]
    plateau = find_plateau(losses, rule(0.01, 4, 4, 1), chance=CHANCE_24)
    assert not plateau.reached and not plateau.learning
    onset = plateau_onset(losses[:8] + [losses[7]] * 10, rule(0.01, 4, 4, 1), chance=CHANCE_24)
    assert onset is not None
    collapsed = [*losses[:8], *[losses[7]] * (onset - 8), *[CHANCE_24] * 4]
    plateau = find_plateau(collapsed, rule(0.01, 4, 4, 1), chance=CHANCE_24)
    assert (plateau.onset, plateau.reached, plateau.learning) == (onset, False, False)


def test_a_restless_loss_is_waited_for_longer_up_to_three_times() -> None:
    quiet = [2.0, *[1.0] * 30]
    restless = [2.0, *[1.0 + 0.02 * (-1) ** epoch for epoch in range(30)]]
    wild = [2.0, *[1.0 + 0.2 * (-1) ** epoch for epoch in range(30)]]
    settings_ = rule(0.05, patience=4, length=1, smoothing=1)
    # second differences of +-0.08: e = 0.08 / 0.6745 / sqrt 6 = 0.0484; 4 * 2 e / (0.05 * 0.98) = 7.9 epochs
    onsets = [plateau_onset(losses, settings_, chance=2.0) for losses in (restless, wild)]
    assert onsets == [10, 15]
    assert plateau_onset(quiet, settings_, chance=2.0) == 6, "one steep fall is no unrest"


def test_stopping_and_finding_agree() -> None:
    losses = exponential(3, 0.2)
    stops = [epochs for epochs in range(61) if should_stop(losses[:epochs], USUAL, chance=CHANCE_24)]
    assert stops == list(range(stops[0], 61))
    plateau = find_plateau(losses[: stops[0]], USUAL, chance=CHANCE_24)
    assert plateau.reached and plateau.epochs[-1] == stops[0] - 1 and plateau.length == 4


def test_max_epochs_first() -> None:
    falling = exponential(20, 0.0, epochs=10)
    limited = rule(0.01, 4, 4, 2, max_epochs=10)
    assert should_stop(falling, limited, chance=CHANCE_24)
    plateau = find_plateau(falling, limited, chance=CHANCE_24)
    assert (list(plateau.epochs), plateau.reached, plateau.learning) == ([6, 7, 8, 9], False, True)
    short = find_plateau([1.0, 0.5], limited, chance=1.1)
    assert (list(short.epochs), short.reached) == ([0, 1], False)


RULES = st.builds(
    rule,
    min_delta=st.floats(0.0, 0.5),
    patience=st.integers(1, 4),
    length=st.integers(1, 5),
    smoothing=st.integers(1, 4),
    start_from_epoch=st.integers(0, 2),
)
LOSSES = st.lists(st.floats(0.0, 10.0), max_size=30)


@settings(deadline=None, derandomize=True)
@given(LOSSES, LOSSES, RULES, st.floats(0.1, 10.0))
def test_the_onset_depends_on_losses_up_to_it_only(
    losses: list[float], other: list[float], any_rule: PlateauRule, chance: float
) -> None:
    onset = plateau_onset(losses, any_rule, chance=chance)
    if onset is None:
        assert all(plateau_onset(losses[:n], any_rule, chance=chance) is None for n in range(len(losses)))
    else:
        assert any_rule.patience is not None
        assert any_rule.start_from_epoch + any_rule.patience + 1 <= onset <= len(losses)
        assert plateau_onset(losses[:onset] + other, any_rule, chance=chance) == onset
        assert plateau_onset(losses[: onset - 1], any_rule, chance=chance) is None


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0.0, 1.2), max_size=30), RULES)
def test_the_onset_in_the_plainest_words(losses: list[float], any_rule: PlateauRule) -> None:
    """Written a second time, with numpy: an epoch that sets no new best, `patience` times running."""
    assert any_rule.patience is not None
    width, best, without = any_rule.smoothing, math.inf, 0
    onset = None
    for epoch in range(len(losses)):
        mean = float(np.mean(losses[max(0, epoch + 1 - width) : epoch + 1]))
        fall, recent = 1.0 - mean, losses[: epoch + 1][-max(3, 2 * any_rule.patience) :]
        bends = np.abs(np.diff(recent, 2))
        noise = 0.0 if len(bends) == 0 else float(np.median(bends)) / 0.6745 / 6**0.5
        hidden, counts = 2 * noise / width**0.5, any_rule.min_delta * fall
        for one, other in ((fall, 0.05), (mean, best - counts), (hidden, counts)):  # rounded in two ways
            assume(one == other or not np.isclose(one, other, rtol=1e-9, atol=1e-12))
        needed = any_rule.patience * min(3.0, max(1.0, hidden / counts if counts else math.inf))
        needed = any_rule.patience if hidden == counts == 0 else needed
        assume(needed == round(needed) or abs(needed - round(needed)) > 1e-9)
        if fall <= 0.05 or epoch < any_rule.start_from_epoch:
            best, without = math.inf, 0
        elif mean < best - (counts if best < math.inf else 0.0):
            best, without = mean, 0
        else:
            without += 1
            if without >= needed:
                onset = epoch + 1
                break
    assert plateau_onset(losses, any_rule, chance=1.0) == onset


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0.0, 10.0), min_size=30, max_size=30), RULES, st.floats(0.1, 10.0))
def test_training_stops_once_and_where_the_plateau_is_found(
    losses: list[float], any_rule: PlateauRule, chance: float
) -> None:
    limited = replace(any_rule, max_epochs=any_rule.length + 12)
    stops = [epochs for epochs in range(31) if should_stop(losses[:epochs], limited, chance=chance)]
    assert stops == list(range(stops[0], 31)), "once flat, always flat"
    trained = losses[: stops[0]]
    plateau = find_plateau(trained, limited, chance=chance)
    assert len(trained) <= limited.max_epochs
    assert plateau.length == limited.length
    assert plateau.epochs[-1] == len(trained) - 1, "the plateau is the last thing trained"
    onset = plateau_onset(trained, limited, chance=chance)
    assert plateau.reached == (onset == plateau.onset and plateau.learning)
    if onset != plateau.onset:
        assert len(trained) == limited.max_epochs


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0.96, 10.0), min_size=1, max_size=30), RULES)
def test_what_does_not_fall_below_chance_is_never_reached(losses: list[float], any_rule: PlateauRule) -> None:
    plateau = find_plateau(losses, any_rule, chance=1.0)
    assert not plateau.reached and not plateau.learning
    assert plateau.epochs.stop == len(losses)


def test_losses_of_numpy_and_pandas_are_losses() -> None:
    losses = [2.0 * 0.8**epoch for epoch in range(40)]
    for chance in (None, 2.0):
        found = find_plateau(losses, rule(), chance=chance)
        for kind in (np.asarray, pd.Series, list):
            same = kind(np.asarray(losses))
            assert plateau_onset(same, rule(), chance=chance) == found.onset
            assert find_plateau(same, rule(), chance=chance) == found
            assert find_plateau(same, rule(), chance=chance).learning is True
    with pytest.raises(ValueError, match="no epoch was trained"):
        find_plateau(np.array([]), rule())


def test_the_loss_of_chance_is_the_entropy() -> None:
    assert chance_loss([1] * 24) == pytest.approx(CHANCE_24)
    assert chance_loss([5, 3, 0, 2]) == pytest.approx(entropy([5, 3, 2]))
    assert chance_loss([7]) == 0.0
    for counts in ([], [0, 0], [1, -1, 3], [math.nan, 1]):
        with pytest.raises(ValueError, match="counts"):
            chance_loss(counts)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="no epoch was trained"):
        find_plateau([], rule())
    for losses in ([1.0, math.nan], [math.inf]):
        with pytest.raises(ValueError, match="not finite"):
            plateau_onset(losses, rule())
    for chance in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="chance"):
            find_plateau([1.0], rule(), chance=chance)


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


@pytest.mark.parametrize(
    ("key", "value"),
    [("min_delta", -0.1), ("min_delta", 1.0), ("min_delta", float("nan")), ("patience", 0), ("length", 0),
     ("smoothing", 0), ("max_epochs", 2)],
)  # fmt: skip
def test_a_rule_without_meaning(key: str, value: float) -> None:
    with pytest.raises(RelayError, match=key):
        rule(**{key: value})  # type: ignore[arg-type]
    rule(length=3, max_epochs=3)
