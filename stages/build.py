"""From a stage run's configuration to its recipe."""

from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from stages.config import Config, source_of
from stages.errors import RelayError
from stages.machine.digest import file_digest
from stages.parameters import part_of
from stages.recipe import RANGE, RECIPE_VERSION, Arithmetic, Data, Distortions, Recipe, TransferLayers
from stages.schedule import agreed


def build_recipe(config: Config, *, data_digest: str, parent: str | None) -> Recipe:
    """The recipe of one stage run.

    Keys that have no effect on this run do not enter: the transfer rule and `lr_transfer` of a run that
    starts from random weights, `lr_scratch` of one that does not, the ratio's unit when all data are used,
    `data.augment` and what else of the augmentation where the domain has its own, a rotation by nothing and
    the like, the CPU threads of a run on an accelerator, the width of a network of timm's, the plateau's rule
    and what lowers the rate where the schedule has no use for them.

    Args:
        config: the stage run's own configuration: `seed` and `data_ratio` are its own, `trainer.precision`
            and what else was `auto` resolved, the transfer rule's layers named one by one.
        data_digest: identity of its images.
        parent: full id of the stage run that it starts from, or None.

    Raises:
        RelayError: if `init_from` is not a file, or schedule and plateau contradict each other.
    """
    assert config.stage is not None, "a stage run has a stage"
    trainer = config.trainer
    unresolved = (trainer.accelerator, trainer.precision, trainer.memory_format)
    assert "auto" not in unresolved, "resolve the arithmetic first"
    given, path = config.job.given, config.init_from
    init_from = None if path is None else users_digest(Path(path), given)
    layers = part_of(TransferLayers, config.transfer)
    transferred = parent is not None or init_from is not None
    assert not transferred or RANGE not in "".join(layers.reinitialise + layers.freeze), (
        "resolve ranges first"
    )
    optim, plateau = agreed(config.optim.of_start(transferred=transferred), config.callbacks.plateau)
    return Recipe(
        version=RECIPE_VERSION,
        stage=config.stage.name,
        parent=parent,
        init_from=init_from,
        given=given,
        transfer=config.transfer.name if transferred else None,
        transfer_layers=layers if transferred else None,
        seed=config.seed,
        # A network of timm's has one width; an experiment may set that of the AlexNets.
        model=config.model if config.model.architecture is None else replace(config.model, width=1.0),
        optim=optim,
        data=part_of(
            Data,
            config.data,
            digest=data_digest,
            augment=source_of(config).augment or config.data.augment,
            **_distortions(config),
            ratio=config.data_ratio,
            ratio_unit=config.ratio_unit if config.data_ratio < 1.0 else "patch",
        ),
        arithmetic=part_of(
            Arithmetic, trainer, threads=trainer.threads if trainer.accelerator == "cpu" else None
        ),
        plateau=plateau,
        folds=config.folds,
        fold=config.fold,
        test_fraction=config.test_fraction,
    )


def _distortions(config: Config) -> dict[str, Any]:
    """What is drawn for training images: the domain's own values first; None what changes no image."""
    source, chosen = source_of(config), dict[str, Any]()
    for name in (entry.name for entry in fields(Distortions)):
        own = getattr(source, name)
        chosen[name] = getattr(config.data, name) if own is None else own
    nothing = {"rotation": (0, 0), "crop": (1, 1), "brightness": 0, "contrast": 0, "noise": 0}
    chosen |= {name: None for name, value in nothing.items() if chosen[name] == value}
    if chosen["brightness"] is None and chosen["noise"] is None:
        chosen["intensity_unit"] = None
    return chosen


def weights_named(path: Path | str, given: str | None) -> str:
    """A checkpoint of the user's as messages name it: by where it was typed.

    Args:
        path: of the file.
        given: the name of the given stage that it is; None where it was typed as `init_from`.
    """
    return f"init_from={path}" if given is None else f"stage {given}, weights: {path}"


def users_digest(path: Path, given: str | None) -> str:
    """SHA-256 of a checkpoint of the user's, read once for a given size and time of change.

    Args:
        path: of the file.
        given: see `weights_named`.

    Raises:
        RelayError: if there is no such file.
    """
    named = weights_named(path, given)
    try:
        if path.is_file():
            status = path.stat()
            return _users_digest(path.resolve(), status.st_size, status.st_mtime_ns)
        if path.exists():
            what = "a folder" if path.is_dir() else "a pipe or a device"
            raise RelayError(f"{named} is {what}; give the file of the weights itself")
    except OSError as error:
        raise RelayError(f"{named} cannot be read: {error.strerror or error}") from None
    raise RelayError(
        f"{named}: there is no such file. If it was moved, type its new path: content counts, not names"
    )


@lru_cache(maxsize=64)
def _users_digest(path: Path, size: int, changed: int) -> str:
    return file_digest(path)
