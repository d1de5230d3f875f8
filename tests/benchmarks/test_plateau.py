"""benchmarks.plateau: the new rule is seldom false where the old one often is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.plateau import EPOCHS, FAMILIES, RULES, Truth, draw, judge, new, old, table

RULE = RULES["min_delta 0.03, patience 7, smoothing 4"]
AIMED = [family for family in FAMILIES if "outside" not in family]


@pytest.mark.parametrize("family", AIMED)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_new_rule_is_seldom_false(family: str, noise: float) -> None:
    """At most 1% false, of 60 curves: at most 3 (chance of more below 1 in 1000)."""
    assert judge(family, noise, 60, new, RULE).false <= 3 / 60


def test_the_old_rule_is_often_wrong() -> None:
    assert judge("never learns", 0.02, 20, old, RULE).false == 1
    assert judge("delayed start", 0.02, 40, old, RULE).false > 0.5
    assert judge("to zero", 0.0, 20, old, RULE).missed == 1
    assert judge("to zero", 0.0, 20, new, RULE).missed == 0


def test_the_true_onset_by_hand() -> None:
    """To a floor of 1 from 2 with constant 1: e^-3 = 0.0498 is the third epoch's remainder."""
    losses = 1 + np.exp(-np.arange(1.0, EPOCHS + 1))
    truth = Truth(losses, 2.0, 1.0)
    assert truth.onset == 2 and truth.to_come[0] == pytest.approx(np.exp(-1))
    assert Truth(np.full(EPOCHS, 2.0), 2.0, 2.0).onset == EPOCHS
    generator = np.random.default_rng(0)
    for family in FAMILIES:
        drawn = draw(family, generator)
        assert drawn.losses.shape == (EPOCHS,) and drawn.floor <= drawn.losses.min() + 1e-12


def test_a_row_for_each_family_and_noise() -> None:
    lines = table(RULE, 2, (0.0,)).splitlines()
    assert len(lines) == 2 + len(FAMILIES)
    assert len({line.count("|") for line in lines}) == 1
