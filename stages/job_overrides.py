"""Hydra overrides with which a job composes the stage run that was planned."""

import re
from collections.abc import Sequence
from dataclasses import asdict

from stages.plan import StageRun
from stages.recipe import Recipe
from stages.store import Store


def job_overrides(
    run: StageRun,
    store: Store,
    *,
    index: int,
    count: int,
    images_after: int,
    execution: Sequence[str] = (),
) -> list[str]:
    """Hydra overrides with which a job composes exactly this stage run, in any process and folder.

    The job computes the id again and refuses to train another one, so it notices an edit of `conf/` that
    was made while it was queued.

    Args:
        run: a planned stage run.
        store: where it is kept.
        index: its number in the sweep, from 1.
        count: number of stage runs in the sweep.
        images_after: most images that later stage runs train on.
        execution: more overrides, of keys that are not part of the id.
    """
    config, recipe = run.config, run.recipe
    return [
        *run.overrides,
        f"+stage={_name(run.stage)}",
        *_rule(recipe),
        f"seed={config.seed}",
        "source_seed=null",
        f"data_ratio={config.data_ratio}",
        f"folds={'null' if config.folds is None else config.folds}",
        f"fold={'null' if config.fold is None else config.fold}",
        f"test_fraction={'null' if config.test_fraction is None else config.test_fraction}",
        f"callbacks.plateau.start_from_epoch={config.callbacks.plateau.start_from_epoch}",
        f"optim.layer_decay={config.optim.layer_decay}",
        f"optim.unfreeze_epochs={config.optim.unfreeze_epochs}",
        f"trainer.accelerator={config.trainer.accelerator}",
        f"trainer.threads={config.trainer.threads}",
        f"trainer.precision={recipe.arithmetic.precision}",
        f"trainer.memory_format={recipe.arithmetic.memory_format}",
        f"data.image_size={recipe.data.image_size}",
        f"data.mean={_numbers(recipe.data.mean)}",
        f"data.std={_numbers(recipe.data.std)}",
        f"init_from={quoted(config.init_from)}",
        f"paths.runs_dir={quoted(str(store.runs_dir))}",
        f"paths.data_dir={quoted(config.paths.data_dir)}",
        f"paths.cache_dir={quoted(config.paths.cache_dir)}",
        f"job.chain=[{','.join(map(_name, run.chain))}]",
        f"job.parent={recipe.parent or 'null'}",
        f"job.given={quoted(config.job.given)}",
        f"job.license={quoted(config.job.license)}",
        f"job.id={run.id}",
        f"job.index={index}",
        f"job.count={count}",
        f"job.images_after={images_after}",
        *execution,
    ]


def _rule(recipe: Recipe) -> list[str]:
    """A run's transfer rule as overrides: its name and its layers, as the plan has resolved them."""
    if recipe.transfer_layers is None:
        return []
    return [
        f"transfer.name={quoted(recipe.transfer)}",
        *(
            f"transfer.{key}=[{','.join(map(quoted, layers))}]"
            for key, layers in asdict(recipe.transfer_layers).items()
        ),
    ]


def _numbers(values: Sequence[float] | None) -> str:
    return "null" if values is None else f"[{','.join(map(repr, values))}]"


def _name(name: str) -> str:
    """A name, in quotes if the grammar needs them: for blanks and umlauts."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else quoted(name)


def quoted(text: str | None) -> str:
    """A string as Hydra's override grammar quotes it."""
    if text is None:
        return "null"
    # Hydra takes a backslash for itself, except in front of a quote.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"
