"""Balanced classes: weights as scikit-learn's, the loss of chance, refusals, whose they are in a chain."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from stages.balance import (
    check_classes,
    class_weights,
    images_of_each_class,
    least_and_fall,
    least_loss,
    loss_of_chance,
)
from stages.config import Config
from stages.errors import RelayError
from stages.plan import Plan
from stages.recipe import Optim
from tests.helpers.stage_helpers import composed, plan_of, recipe, request, with_value

CHAIN = ("natural", "texture", "dld")


def optim(**changes: str) -> Optim:
    return with_value(recipe().optim, *changes.popitem()) if changes else recipe().optim  # type: ignore[no-any-return]


def test_weights_are_those_of_scikit_learn() -> None:
    for counts in ((3, 1), (5, 5, 5), (143, 609, 282, 210, 4406, 762, 5371)):
        labels = np.repeat(np.arange(len(counts)), counts)
        expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
        assert class_weights(optim(class_weights="balanced"), counts) == pytest.approx(expected, rel=1e-15)
    assert class_weights(optim(class_weights="balanced"), (3, 1)) == pytest.approx((2 / 3, 2.0))
    assert class_weights(optim(), (3, 1)) is None


def test_an_epoch_draws_as_many_images_as_the_set_has_in_equal_shares() -> None:
    assert [images_of_each_class(counts) for counts in ((3, 1), (4, 1), (1, 1, 8))] == [2, 3, 4]


def test_the_loss_sees_equal_classes_where_they_are_balanced() -> None:
    """So the loss of chance, -sum p log p, is the logarithm of the number of classes."""
    counts = (6, 3, 1)
    assert loss_of_chance(optim(), counts) == pytest.approx(entropy(counts))
    for balanced in (optim(class_weights="balanced"), optim(sampling="balanced")):
        assert loss_of_chance(balanced, counts) == pytest.approx(math.log(3))


@pytest.mark.parametrize("balance", [{}, {"class_weights": "balanced"}, {"sampling": "balanced"}])
@pytest.mark.parametrize("alike", [True, False])
def test_losses_with_smoothed_labels_are_the_least_of_torch(balance: dict[str, str], alike: bool) -> None:
    """Found by descent over outputs: the same for every image, which is chance, or those of its class."""
    counts, settings = (6, 3, 1), replace(optim(**balance), label_smoothing=0.2)
    drawn = (4, 4, 4) if balance.get("sampling") else counts
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(drawn))
    weights = class_weights(settings, counts)
    loss = nn.CrossEntropyLoss(
        None if weights is None else torch.tensor(weights, dtype=torch.float64), label_smoothing=0.2
    ).double()
    outputs = torch.zeros(1 if alike else 3, 3, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([outputs], max_iter=100, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        descent.zero_grad()
        found: torch.Tensor = loss(outputs.expand(3, 3)[labels], labels)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    descent.step(closure)  # type: ignore[no-untyped-call]
    found = loss_of_chance if alike else least_loss
    assert found(settings, counts) == pytest.approx(closure().item(), rel=1e-9)
    assert least_loss(optim(**balance), counts) == 0.0


def test_labels_that_are_hardly_any_leave_a_fall_above_nothing() -> None:
    for smoothing in (0.5, 0.99, 1 - 1e-9, 1 - 1e-16):
        settings = replace(optim(), label_smoothing=smoothing)
        assert least_and_fall(settings, (6, 3, 1))[1] > 0


@pytest.mark.parametrize("setting", ["class_weights", "sampling"])
def test_an_empty_class_is_refused(setting: str) -> None:
    check_classes(optim(), ("CON", "GGO"), (3, 0))
    check_classes(optim(**{setting: "balanced"}), ("CON", "GGO"), (3, 1))
    with pytest.raises(
        RelayError, match=rf"optim\.{setting}=balanced, but there is no training image of GGO"
    ):
        check_classes(optim(**{setting: "balanced"}), ("CON", "GGO"), (3, 0))


def test_both_at_once_are_refused() -> None:
    with pytest.raises(RelayError, match=r"class_weights and sampling are both balanced.*choose one"):
        composed("+stage=dld", "optim.class_weights=balanced", "optim.sampling=balanced")


def balances(plan: Plan) -> dict[str, tuple[str, str]]:
    return {
        run.stage: (run.recipe.optim.class_weights, run.recipe.optim.sampling) for run in plan.runs.values()
    }


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["optim.class_weights=balanced", "++optim.class_weights=balanced"])
def test_what_is_typed_for_a_chain_is_its_targets(typed: str) -> None:
    plain = plan_of(request(*CHAIN))
    plan = plan_of(
        request(*CHAIN, overrides=(typed,)), request(*CHAIN, overrides=("optim.sampling=balanced",))
    )
    assert sorted(run.stage for run in plan.runs.values()) == ["dld", "dld", "natural", "texture"]
    shared = {run.id for run in plain.runs.values() if run.stage != "dld"}
    assert shared < plan.runs.keys(), "the sources are those of runs without it"
    targets = [run.recipe.optim for run in plan.runs.values() if run.stage == "dld"]
    assert {(found.class_weights, found.sampling) for found in targets} == {
        ("balanced", "natural"), ("none", "balanced"),
    }  # fmt: skip
    assert balances(plan_of(request("natural", overrides=(typed,)))) == {"natural": ("balanced", "natural")}


def test_a_stages_file_says_it_for_that_stage() -> None:
    def compose(stage: str, overrides: tuple[str, ...]) -> Config:
        config = composed(*overrides, f"+stage={stage}")
        return with_value(config, "optim.sampling", "balanced") if stage == "texture" else config  # type: ignore[no-any-return]

    plan = plan_of(request(*CHAIN, overrides=("optim.class_weights=balanced",)), compose_with=compose)
    assert balances(plan) == {
        "natural": ("none", "natural"), "texture": ("none", "balanced"), "dld": ("balanced", "natural"),
    }  # fmt: skip
