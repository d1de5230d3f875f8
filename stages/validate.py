"""Checks of a configuration's values, made before anything expensive."""

import math
from pathlib import Path

from stages.config import Config
from stages.errors import RelayError
from stages.machine.lock import KINDS
from stages.plateau import PlateauRule
from stages.recipe import is_ratio

MODELS = ("alexnet", "torchvision_alexnet")
INITIALISATIONS = ("lecun_normal", "krizhevsky", "caffe")
TRANSFER_RULES = ("feature", "conv_only", "reuse_fc", "finetune")
AUGMENTATIONS = ("none", "flip", "dihedral")
RATIO_UNITS = ("patch", "patient")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
MEMORY_FORMATS = ("auto", "contiguous", "channels_last")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
WANDB_MODES = ("auto", "online", "offline", "disabled")


def validate_config(config: Config) -> None:
    """Refuse values that have the right type but no meaning.

    Raises:
        RelayError: naming the key, its value and what is allowed.
    """
    for key, value, allowed in (
        ("model.name", config.model.name, MODELS),
        ("model.initialisation", config.model.initialisation, INITIALISATIONS),
        ("transfer.rule", config.transfer.rule, TRANSFER_RULES),
        ("data.augment", config.data.augment, AUGMENTATIONS),
        ("ratio_unit", config.ratio_unit, RATIO_UNITS),
        ("trainer.precision", config.trainer.precision, PRECISIONS),
        ("trainer.memory_format", config.trainer.memory_format, MEMORY_FORMATS),
        ("trainer.accelerator", config.trainer.accelerator, ACCELERATORS),
        ("logger.wandb", config.logger.wandb, WANDB_MODES),
        ("paths.lock", config.paths.lock, KINDS),
    ):
        if value not in allowed:
            raise RelayError(f"{key} is {value!r}; it must be one of {', '.join(allowed)}")
    if not is_ratio(config.data_ratio):
        raise RelayError(f"data_ratio is {config.data_ratio}; it must be in (0, 1]")
    for key, number, valid, bounds in (
        ("seed", config.seed, config.seed >= 0, "0 or more"),
        ("source_seed", config.source_seed, (config.source_seed or 0) >= 0, "0 or more"),
        ("model.dropout", config.model.dropout, 0.0 <= config.model.dropout < 1.0, "in [0, 1)"),
        ("model.width", config.model.width, 0.0 < config.model.width <= 1.0, "in (0, 1]"),
        ("optim.lr_scratch", config.optim.lr_scratch, config.optim.lr_scratch > 0.0, "greater than 0"),
        ("optim.lr_transfer", config.optim.lr_transfer, config.optim.lr_transfer > 0.0, "greater than 0"),
        ("optim.momentum", config.optim.momentum, 0.0 <= config.optim.momentum < 1.0, "in [0, 1)"),
        ("optim.weight_decay", config.optim.weight_decay, config.optim.weight_decay >= 0.0, "0 or more"),
        ("optim.batch_size", config.optim.batch_size, config.optim.batch_size >= 1, "1 or more"),
        ("optim.warmup_steps", config.optim.warmup_steps, config.optim.warmup_steps >= 0, "0 or more"),
        ("optim.gradient_clip_scratch", config.optim.gradient_clip_scratch,
         config.optim.gradient_clip_scratch is None or config.optim.gradient_clip_scratch > 0.0,
         "greater than 0, or null"),
        ("optim.gradient_clip_transfer", config.optim.gradient_clip_transfer,
         config.optim.gradient_clip_transfer is None or config.optim.gradient_clip_transfer > 0.0,
         "greater than 0, or null"),
        ("data.image_size", config.data.image_size, config.data.image_size >= 1, "1 or more"),
        ("data.std", config.data.std, all(value > 0.0 for value in config.data.std or ()), "greater than 0"),
        ("data.mean", config.data.mean, len(config.data.mean or "rgb") == 3, "three numbers, or null"),
        ("data.std", config.data.std, len(config.data.std or "rgb") == 3, "three numbers, or null"),
        ("data.mean", config.data.mean, (config.data.mean is None) == (config.data.std is None),
         "null exactly where data.std is"),
        ("data.workers", config.data.workers, config.data.workers >= 0, "0 or more"),
        ("trainer.devices", config.trainer.devices, config.trainer.devices >= 1, "1 or more"),
        ("trainer.threads", config.trainer.threads, config.trainer.threads is None
         or config.trainer.threads >= 1, "1 or more, or null"),
    ):  # fmt: skip
        if not valid:
            raise RelayError(f"{key} is {number}; it must be {bounds}")
        for component in number if isinstance(number, list) else [number]:
            if component is not None and not math.isfinite(component):
                raise RelayError(f"{key} is {number}; it must be finite")
    plateau_rule(config)
    if config.init_from is not None and not Path(config.init_from).is_file():
        raise RelayError(f"init_from: there is no file {config.init_from}")


def plateau_rule(config: Config) -> PlateauRule:
    """The plateau rule of a configuration.

    Raises:
        RelayError: for a rule that makes no sense.
    """
    plateau = config.callbacks.plateau
    try:
        return PlateauRule(
            min_delta=plateau.min_delta,
            patience=plateau.patience,
            length=plateau.length,
            smoothing=plateau.smoothing,
            max_epochs=plateau.max_epochs,
        )
    except ValueError as error:
        raise RelayError(f"callbacks.plateau: {error}") from None
