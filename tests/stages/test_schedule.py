"""Schedule and plateau: what each asks of the other, refused, settled or said before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.build import build_recipe
from stages.errors import RelayError
from stages.plateau import PlateauRule, judged, plateau_onset
from stages.schedule import after_unfreezing, agreed
from tests.helpers.plain_optim import PLAIN
from tests.helpers.stage_helpers import composed, plan_of, request

RULE = PlateauRule(min_delta=0.05, patience=6, length=4, smoothing=2, max_epochs=16, start_from_epoch=0)
STEP = replace(PLAIN, schedule="step", step_factor=0.1)


def test_what_has_no_effect_does_not_enter() -> None:
    given_both = replace(PLAIN, step_factor=0.1, step_patience=3)
    assert agreed(given_both, RULE) == (PLAIN, RULE)
    cosine = replace(given_both, schedule="cosine")
    assert agreed(cosine, RULE) == (replace(PLAIN, schedule="cosine"), replace(RULE, patience=None))


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
