"""From a stage run's configuration to its recipe."""

import hashlib
from functools import lru_cache
from pathlib import Path

from stages.config import Config
from stages.recipe import (
    RECIPE_VERSION,
    ArithmeticRecipe,
    DataRecipe,
    ModelRecipe,
    OptimRecipe,
    PlateauRecipe,
    Recipe,
)


def build_recipe(config: Config, *, data_digest: str, parent: str | None) -> Recipe:
    """The recipe of one stage run.

    Keys that have no effect on this run do not enter: the transfer rule and `lr_transfer` of a run that
    starts from random weights, `lr_scratch` of one that does not, the ratio's unit when all data are used.

    Args:
        config: the stage run's own configuration: `seed` and `data_ratio` are its own, `trainer.precision`
            and `trainer.memory_format` no longer `auto`.
        data_digest: identity of its images.
        parent: full id of the stage run that it starts from, or None.
    """
    assert config.stage is not None, "a stage run has a stage"
    assert "auto" not in (config.trainer.precision, config.trainer.memory_format), (
        "resolve the arithmetic first"
    )
    init_from = None if config.init_from is None else file_digest(Path(config.init_from))
    transferred = parent is not None or init_from is not None
    optim, data, plateau = config.optim, config.data, config.callbacks.plateau
    return Recipe(
        version=RECIPE_VERSION,
        stage=config.stage.name,
        parent=parent,
        init_from=init_from,
        transfer=config.transfer.rule if transferred else None,
        seed=config.seed,
        model=ModelRecipe(
            name=config.model.name,
            dropout=config.model.dropout,
            initialisation=config.model.initialisation,
            width=config.model.width,
        ),
        optim=OptimRecipe(
            lr=optim.lr_transfer if transferred else optim.lr_scratch,
            momentum=optim.momentum,
            weight_decay=optim.weight_decay,
            batch_size=optim.batch_size,
            warmup_steps=optim.warmup_steps,
            gradient_clip=optim.gradient_clip_transfer if transferred else optim.gradient_clip_scratch,
        ),
        data=DataRecipe(
            digest=data_digest,
            image_size=data.image_size,
            mean=None if data.mean is None else tuple(data.mean),
            std=None if data.std is None else tuple(data.std),
            augment=data.augment,
            ratio=config.data_ratio,
            ratio_unit=config.ratio_unit if config.data_ratio < 1.0 else "patch",
        ),
        arithmetic=ArithmeticRecipe(
            precision=config.trainer.precision,
            memory_format=config.trainer.memory_format,
            compile=config.trainer.compile,
        ),
        plateau=PlateauRecipe(
            min_delta=plateau.min_delta,
            patience=plateau.patience,
            length=plateau.length,
            smoothing=plateau.smoothing,
            max_epochs=plateau.max_epochs,
        ),
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, read once for a given size and time of change."""
    status = path.stat()
    return _file_digest(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
