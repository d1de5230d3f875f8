"""Checkpoints of the user's, tried before anything is trained: whether they fit, and how they are read."""

from collections.abc import Callable, Iterable
from pathlib import Path

from stages.plan import StageRun
from stages.record import TransferRecord


def try_given(runs: Iterable[StageRun], classes: Callable[[StageRun], int]) -> list[str]:
    """Start the network of each run that begins with a checkpoint of the user's, as its job will.

    What does not depend on the seed is tried once for each checkpoint, network, transfer rule and head.

    Args:
        runs: Planned stage runs, those that are to be trained.
        classes: Number of classes of a run's images.

    Returns:
        How names were read and what is not taken, a line for each checkpoint.

    Raises:
        RelayError: If one cannot be read, or does not fit.
    """
    notes, tried = dict[str, None](), set()
    for run in runs:
        recipe, path = run.recipe, run.config.init_from
        if path is None:
            continue
        # Loaded here: a plan without a checkpoint does without torch.
        from lightning_modules.start import first_weights, network_of

        heads = classes(run)
        key = (recipe.init_from, recipe.given, recipe.model, recipe.transfer_layers, heads)
        if key in tried:
            continue
        tried.add(key)
        report = first_weights(network_of(recipe, heads), recipe, Path(path))
        if said := TransferRecord.model_validate(report.as_dict()).note(recipe.given):
            notes[said] = None
    return list(notes)
