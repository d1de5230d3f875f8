"""What the schedule of the rate and the rule of the plateau ask of each other."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stages.balance import images_of_epoch
from stages.config import OptimConfig
from stages.errors import RelayError
from stages.parameters import shown
from stages.plan import StageRun
from stages.plateau import PlateauRule
from stages.recipe import Optim

_MOST_OF_ADAMW = 0.01  # AdamW's steps are about as long as its rate, whatever the gradient


def agreed(optim: Optim, rule: PlateauRule) -> tuple[Optim, PlateauRule]:
    """Schedule and plateau as a run uses them: what has no effect is None, and `step_patience` is a number.

    A cosine has an end, and before it the loss is level only because the rate is still high: no plateau is
    looked for, and the last epochs stand for it. Where none is looked for, how it would be has no effect, and
    neither has a warm-up of one step, whose rate is the whole.

    Raises:
        RelayError: if the plateau would be found before the rate has fallen a single time.
    """
    if optim.schedule == "cosine":
        rule = replace(rule, patience=None)
    elif optim.warmup_steps == 1:
        optim = replace(optim, warmup_steps=0)
    if optim.schedule != "step":
        if rule.patience is None:
            rule = replace(rule, min_delta=0.0, smoothing=1, start_from_epoch=0)
        return replace(optim, step_factor=None, step_patience=None), rule
    patience = optim.step_patience or (rule.patience or 0) // 2
    if patience == 0:
        raise RelayError(
            f"optim.schedule is step, callbacks.plateau.patience {shown(rule.patience)}, which has no half "
            "for the rate to wait: give optim.step_patience, such as 5, less than that patience"
        )
    if rule.patience is not None and patience >= rule.patience:
        raise RelayError(
            f"optim.step_patience is {patience}, callbacks.plateau.patience {rule.patience}: the plateau "
            "would begin, and the training end, before the rate falls. Set optim.step_patience to less, null "
            "for half, or callbacks.plateau.patience to more"
        )
    return replace(optim, step_patience=patience), rule


def after_unfreezing(rule: PlateauRule, optim: OptimConfig, rounds: int) -> PlateauRule:
    """The rule of a plateau that does not begin while layers still wait for their training.

    Args:
        rule: the rule as it was given.
        optim: every `unfreeze_epochs` a round of layers joins.
        rounds: in how many rounds the network's layers begin.

    Raises:
        RelayError: if the last layer would not begin in time.
    """
    last = max(0, rounds - 1) * optim.unfreeze_epochs
    if last + rule.length > rule.max_epochs:
        raise RelayError(
            f"optim.unfreeze_epochs is {optim.unfreeze_epochs}: the last of {rounds} rounds of layers is "
            f"trained from epoch {last} on, and callbacks.plateau.max_epochs={rule.max_epochs} leaves no "
            f"plateau of {rule.length} epochs after it. Set optim.unfreeze_epochs to less or "
            f"callbacks.plateau.max_epochs to {last + rule.length} or more"
        )
    return replace(rule, start_from_epoch=max(rule.start_from_epoch, last))


def after_warm_up(rule: PlateauRule, optim: Optim, counts: Sequence[int]) -> PlateauRule:
    """The rule of a plateau that does not begin before a rate that falls in steps could: after the warm-up.

    Args:
        rule: the recipe's.
        optim: the recipe's.
        counts: training images of each class.
    """
    if optim.schedule != "step":
        return rule
    steps = math.ceil(images_of_epoch(optim, counts) / optim.batch_size)
    first = math.ceil(optim.warmup_steps / steps) - 1  # the first epoch whose last step has the whole rate
    return replace(
        rule, start_from_epoch=max(rule.start_from_epoch, min(first, rule.max_epochs - rule.length))
    )


def schedule_notes(runs: Iterable[StageRun], images: Mapping[str, int]) -> list[str]:
    """What a person should know of how stage runs are trained, a line each.

    Args:
        runs: planned stage runs.
        images: training images of each run's epoch, by id.
    """
    notes = dict[str, None]()
    for run in runs:
        optim, rule = run.recipe.optim, run.recipe.plateau
        if optim.schedule == "cosine":
            notes[
                f"optim.schedule=cosine: a stage trains for all {rule.max_epochs} epochs "
                f"(callbacks.plateau.max_epochs), and the last {rule.length} stand for its plateau"
            ] = None
        steps = math.ceil(images[run.id] / optim.batch_size) * rule.max_epochs
        if optim.warmup_steps >= steps + (optim.schedule != "cosine"):
            what = {"constant": "never comes to its height", "cosine": "has no cosine", "step": "never falls"}
            notes[
                f"optim.warmup_steps={optim.warmup_steps}, but {run.stage} has {steps} steps in all: its "
                f"rate only rises and {what[optim.schedule]}; set optim.warmup_steps to less"
            ] = None
        if optim.name == "adamw" and optim.lr > _MOST_OF_ADAMW:
            notes[
                f"optim.name=adamw with a learning rate of {optim.lr:g} ({run.stage}), as sgd takes: AdamW "
                "learns at 0.0001 to 0.001 as a rule; optim=adamw has such rates"
            ] = None
    return list(notes)
