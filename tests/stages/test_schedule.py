"""Schedule and plateau: what each asks of the other, refused, settled or said before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.build import build_recipe
from stages.errors import RelayError
from stages.job_overrides import job_overrides
from stages.plateau import PlateauRule, judged, plateau_onset
from stages.schedule import after_unfreezing, after_warm_up, agreed
from stages.store import Store
from tests.helpers.plain_optim import PLAIN
from tests.helpers.stage_helpers import composed, plan_of, request

RULE = PlateauRule(min_delta=0.05, patience=6, length=4, smoothing=2, max_epochs=16, start_from_epoch=0)
STEP = replace(PLAIN, schedule="step", step_factor=0.1)


def test_what_has_no_effect_does_not_enter() -> None:
    given_both = replace(PLAIN, step_factor=0.1, step_patience=3)
    assert agreed(given_both, RULE) == (PLAIN, RULE)
    cosine = replace(given_both, schedule="cosine")
    none = replace(RULE, patience=None, min_delta=0.0, smoothing=1)  # how a plateau would be looked for
    assert agreed(cosine, replace(RULE, start_from_epoch=3)) == (replace(PLAIN, schedule="cosine"), none)
    assert agreed(PLAIN, replace(RULE, patience=None, start_from_epoch=3)) == (PLAIN, none)
    step = replace(STEP, step_patience=2)
    assert agreed(step, replace(RULE, patience=None)) == (step, replace(RULE, patience=None)), "of the rate"


def test_a_warm_up_of_one_step_is_none() -> None:
    one = replace(PLAIN, warmup_steps=1)
    assert agreed(one, RULE)[0] == agreed(PLAIN, RULE)[0] != agreed(replace(PLAIN, warmup_steps=2), RULE)[0]
    cosine = replace(one, schedule="cosine")
    assert agreed(cosine, RULE)[0].warmup_steps == 1, "its cosine begins a step later"


@pytest.mark.parametrize(
    ("rule", "network", "settings_"),
    [
        ("finetune", (), ("optim.unfreeze_epochs=2",)),
        ("finetune", ("model=timm", "model.architecture=test_resnet"), ("optim.layer_decay=0.5",)),
    ],
)
def test_what_a_rule_leaves_without_effect_moves_no_id(
    rule: str, network: tuple[str, ...], settings_: tuple[str, ...]
) -> None:
    """finetune freezes what it keeps: no layer waits, and of a network with one fresh layer none differs."""
    plans = [
        plan_of(request("texture", "dld", rule=chosen, overrides=(*network, *more)))
        for chosen in (rule, "feature")
        for more in ((), settings_)
    ]
    frozen, same, kept, other = (set(plan.runs) for plan in plans)
    assert frozen == same and kept != other
    (target,) = (run for run in plans[1].runs.values() if run.stage == "dld")
    store = Store(Path("runs"))
    again = composed(*job_overrides(target, store, index=1, count=1, images_after=0))
    assert build_recipe(again, data_digest=target.recipe.data.digest, parent=target.recipe.parent).id == (
        target.id
    ), "the job composes what was planned"


def test_a_plateau_waits_for_the_warm_up_of_a_rate_that_falls_in_steps() -> None:
    """100 images in batches of 64 are two steps an epoch: nine of them end in the fifth epoch."""
    step = replace(STEP, warmup_steps=9, batch_size=64)
    assert after_warm_up(RULE, step, (60, 40)).start_from_epoch == 4
    assert after_warm_up(RULE, replace(step, warmup_steps=8), (60, 40)).start_from_epoch == 3
    assert after_warm_up(RULE, replace(step, sampling="balanced"), (60, 69)).start_from_epoch == 2
    assert after_warm_up(RULE, replace(step, warmup_steps=0), (60, 40)) == RULE
    assert after_warm_up(RULE, replace(step, schedule="constant"), (60, 40)) == RULE
    assert after_warm_up(RULE, replace(step, warmup_steps=999), (60, 40)).start_from_epoch == 12
    later = replace(RULE, start_from_epoch=7)
    assert after_warm_up(later, step, (60, 40)) == later


@pytest.mark.parametrize(("patience", "half"), [(2, 1), (6, 3), (7, 3)])
def test_the_rate_waits_for_half_of_the_plateaus_patience(patience: int, half: int) -> None:
    optim, rule = agreed(STEP, replace(RULE, patience=patience))
    assert (optim.step_patience, rule.patience) == (half, patience)


def test_a_step_that_the_plateau_forestalls_is_refused() -> None:
    for patience in (6, 9):
        with pytest.raises(RelayError, match=rf"step_patience is {patience}.*patience 6: the plateau would"):
            agreed(replace(STEP, step_patience=patience), RULE)
    assert agreed(replace(STEP, step_patience=5), RULE)[0].step_patience == 5
    for patience_ in (1, None):
        with pytest.raises(RelayError, match=r"give optim\.step_patience"):
            agreed(STEP, replace(RULE, patience=patience_))
    fixed = replace(RULE, patience=None)
    assert agreed(replace(STEP, step_patience=9), fixed) == (replace(STEP, step_patience=9), fixed)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0.0, 1.2), min_size=20, max_size=40), st.integers(2, 5), st.data())
def test_no_plateau_begins_before_the_rate_has_waited(
    losses: list[float], patience: int, data: st.DataObject
) -> None:
    """Whatever the losses: of the epochs that make up a plateau's patience, the rate has counted each."""
    rule = replace(RULE, patience=patience, smoothing=data.draw(st.integers(1, 3)))
    onset = plateau_onset(losses, rule, chance=1.0)
    if onset is None:
        return
    best, waited, longest = float("inf"), 0, 0
    for epoch in range(onset):
        if (found := judged(losses[: epoch + 1], rule, chance=1.0)) is not None:
            value, counts = found
            best, waited = (value, 0) if value < best - counts else (best, waited + 1)
            longest = max(longest, waited)
    assert longest >= patience


def test_a_plateau_waits_for_the_last_layers() -> None:
    optim = composed("+stage=dld", "optim.unfreeze_epochs=3").optim
    assert after_unfreezing(RULE, optim, 5) == replace(RULE, start_from_epoch=12)
    assert after_unfreezing(replace(RULE, start_from_epoch=7), optim, 3).start_from_epoch == 7
    assert after_unfreezing(RULE, replace(optim, unfreeze_epochs=0), 9) == RULE
    with pytest.raises(RelayError, match=r"from epoch 15 on.*max_epochs to 19 or more"):
        after_unfreezing(RULE, optim, 6)


def test_values_without_meaning_are_refused() -> None:
    for text, said in (
        ("optim.accumulate=65", r"accumulate \(65\) is more parts than batch_size \(64\)"),
        ("optim.name=adam", "one of sgd, adamw"),
        ("optim.schedule=linear", "one of constant, cosine, step"),
        ("optim.label_smoothing=1", "label_smoothing"),
        ("optim.layer_decay=0", "layer_decay"),
    ):
        with pytest.raises(RelayError, match=said):
            composed("+stage=dld", text)
    with pytest.raises(RelayError, match="give step_factor"):
        composed("+stage=dld", "optim.schedule=step", "optim.step_factor=null")


def test_what_lowers_the_rate_moves_the_id_with_step_alone() -> None:
    for schedule, number in (("constant", 1), ("cosine", 1), ("step", 3)):
        given_ = ["+stage=dld", f"optim.schedule={schedule}"]
        ids = {
            build_recipe(composed(*given_, *more), data_digest="b" * 64, parent=None).id
            for more in ((), ("optim.step_factor=0.5",), ("optim.step_patience=2",))
        }
        assert len(ids) == number, schedule


def test_decay_and_unfreezing_are_of_stages_that_start_from_weights() -> None:
    overrides = ("optim.layer_decay=0.5", "optim.unfreeze_epochs=2")
    source, target = plan_of(request("texture", "dld", overrides=overrides)).runs.values()
    assert source.recipe == plan_of(request("texture")).runs[source.id].recipe, "shared with runs without"
    assert (target.recipe.optim.layer_decay, target.recipe.optim.unfreeze_epochs) == (0.5, 2)
    # fc7 and fc8 are fresh; fc6 and five convolutions begin after 2, 4, ... 12 epochs
    assert target.recipe.plateau.start_from_epoch == 12


def notes(*overrides: str) -> list[str]:
    """Of a stage of 100 images in two steps an epoch."""
    return plan_of(request("dld", overrides=overrides)).notes


def test_notes_say_how_long_a_cosine_trains_and_that_a_rate_is_of_sgd() -> None:
    short = ("optim.warmup_steps=20", "optim.schedule=cosine", "optim.name=adamw")
    long, rate = notes(*short)
    assert "trains for all 100 epochs" in long
    assert "learning rate of 0.08 (dld), as sgd takes" in rate
    assert not notes("optim.name=adamw", "optim.lr_scratch=0.001")


def test_a_note_says_that_a_warm_up_is_as_long_as_its_cosine() -> None:
    assert len(notes("optim.schedule=cosine", "optim.warmup_steps=199")) == 1
    assert "optim.warmup_steps=200, but dld has 200 steps in all" in notes("optim.schedule=cosine")[1]
    for schedule, said in (("constant", "never comes to its height"), ("step", "never falls")):
        assert not notes(f"optim.schedule={schedule}"), "the last step has the whole rate"
        (note,) = notes(f"optim.schedule={schedule}", "optim.warmup_steps=201")
        assert f"dld has 200 steps in all: its rate only rises and {said}" in note
