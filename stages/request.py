"""What a user asks for: one chain at one seed and one data ratio."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stages.config import Config, to_config, unresolved
from stages.errors import RelayError
from stages.own_folders import check_own_folders, own_processes
from stages.processes import keep_processes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One chain that the user asks for, at one seed and one data ratio.

    Attributes:
        chain: the stages, the target last.
        rule: the target's transfer rule; None leaves it to the configuration.
        between: the rule of the stages between the first and the target; None is the usual one.
        overrides: Hydra's, without those of stage, process, seeds and ratio.
        seed: the target's seed.
        source_seed: the seed of the stages before it; None is the target's.
        data_ratio: share of the target's training images, in (0, 1].
        folds: number of folds of the target's groups; None without folds.
        fold: which of them is evaluated; None without folds.
    """

    chain: tuple[str, ...]
    rule: str | None
    between: str | None
    overrides: tuple[str, ...]
    seed: int
    source_seed: int | None
    data_ratio: float
    folds: int | None = None
    fold: int | None = None

    @classmethod
    def of(
        cls, config: Config, chain: Sequence[str] | None = None, overrides: Sequence[str] = ()
    ) -> "Request":
        """The request that a composed configuration makes.

        Args:
            config: a process or a stage, seeds and ratio are read from it.
            chain: the stages as typed; None for those of the configuration's process or its single stage.
            overrides: what the configuration was composed with.

        Raises:
            RelayError: if there is nothing to train.
        """
        process, stage = config.process, config.stage
        if chain is None and process is not None:
            chain = process.chain
        elif chain is None and stage is not None:
            chain = [stage.name]
        elif chain is None:
            raise RelayError(
                "nothing to train: give +stage=NAME, or a chain as +stage=natural,texture,dld -m"
            )
        return cls(
            chain=tuple(chain),
            rule=None if process is None else process.transfer,
            between=None if process is None else process.between,
            overrides=tuple(overrides),
            seed=config.seed,
            source_seed=config.source_seed,
            data_ratio=config.data_ratio,
            folds=config.folds,
            fold=config.fold,
        )


def alone(config: Config) -> tuple[Request, Callable[[str, tuple[str, ...]], Config]]:
    """The request of a command without a sweep, and what composes its stage by other overrides.

    Raises:
        RelayError: if there is nothing to train, or it is a chain.
    """
    if config.process is not None:
        raise RelayError(f"process={config.process.name} is a chain of stage runs: add -m")
    hydra_config = HydraConfig.get()
    check_alone(hydra_config)
    typed = tuple(hydra_config.overrides.task)

    def compose_again(_: str, overrides: tuple[str, ...]) -> Config:
        if overrides == typed:
            return config
        every = [*hydra_config.overrides.hydra, *overrides]
        return to_config(with_absolute_paths(compose(hydra_config.job.config_name, every)))

    return Request.of(config, overrides=typed), compose_again


def keep_own_processes(config: Config) -> None:
    """Keep processes of the user's folders in the store: those whose chain is the stage that was typed alone.

    Raises:
        RelayError: as `stages.processes.keep_processes`.
    """
    assert config.stage is not None, "a request has one"
    folders, runs_dir = HydraConfig.get().runtime.config_sources, Path(config.paths.runs_dir)
    keep_processes(runs_dir, own_processes(folders, [config.stage.name], runs_dir), write=True)


def check_folders(hydra_config: HydraConf) -> None:
    """Refuse to let Hydra change the folder: relative paths are from where the command was typed.

    Raises:
        RelayError: if `hydra.job.chdir` is set, or Hydra would not use a file of the user's own folders.
    """
    check_own_folders(hydra_config.runtime.config_sources)
    if hydra_config.job.chdir:
        raise RelayError(
            "hydra.job.chdir=true would take relative paths from another folder; leave it out, a stage run's "
            "files are in paths.runs_dir"
        )


def check_alone(hydra_config: HydraConf) -> None:
    """Refuse a launcher without `-m`, which Hydra would ignore; say that an experiment's sweep is none then.

    Raises:
        RelayError: for a launcher that was typed, and as `check_folders`.
    """
    check_folders(hydra_config)
    launcher = next(
        (text for text in hydra_config.overrides.hydra if re.match(r"\+*hydra[/.]launcher[=.]", text)), None
    )
    if launcher is not None:
        raise RelayError(f"{launcher} is for stage runs of a sweep: add -m")
    if several := hydra_config.sweeper.get("params"):
        values = " ".join(f"{key}={value}" for key, value in several.items())
        log.warning("The experiment's %s is for a sweep, and is not used without -m.", values)


def check_typed_rules(requests: Sequence[Request]) -> None:
    """Say of what is typed about the transfer rule for which chains it has no effect.

    Raises:
        RelayError: if that is all of them: each has a rule of its process's.
    """
    deaf = {}
    for request in requests:
        typed = [text for text in request.overrides if text.startswith(("transfer=", "transfer."))]
        if typed and request.rule is not None:
            deaf[request] = (
                f"{' '.join(typed)} is for processes that leave the transfer rule open; that of "
                f"{' -> '.join(request.chain)} is {request.rule}"
            )
    if deaf and len(deaf) == len(requests):
        raise RelayError(f"{next(iter(deaf.values()))}. To change it, type process.transfer=RULE")
    for line in dict.fromkeys(deaf.values()):
        log.warning("%s.", line)


def check_folds(folds: int | None, fold: int | None) -> None:
    """Refuse a number of folds, or a fold, that makes no sense.

    Args:
        folds: number of folds; None without folds.
        fold: which is evaluated; None if that was not said.

    Raises:
        RelayError: says what to give.
    """
    if folds is None:
        if fold is not None:
            raise RelayError(f"fold={fold} without folds: say into how many the groups are divided, folds=5")
        return
    if folds < 2:
        raise RelayError(
            f"folds={folds}: give 2 or more, so that each fold is evaluated by a run trained on the others; "
            "or folds=null to use the images' own sides"
        )
    if fold is None:
        raise RelayError(
            f"folds={folds} without fold: add -m to train all of them, or choose one of fold=0 to "
            f"fold={folds - 1}"
        )
    if not 0 <= fold < folds:
        raise RelayError(f"fold={fold} of folds={folds}: folds are counted from 0, to {folds - 1}")


def with_absolute_paths(config: DictConfig) -> DictConfig:
    """A copy in which paths do not depend on the folder that the command was typed in: a job has another.

    Raises:
        RelayError: for a path that is empty, or that refers to what is not there.
    """
    config = config.copy()
    for key in ("paths.runs_dir", "paths.data_dir", "paths.cache_dir", "init_from", "stage.weights"):
        try:
            path = OmegaConf.select(config, key)
        except OmegaConfBaseException as error:
            raise unresolved(key, error) from None
        if path is not None:
            OmegaConf.update(config, key, _absolute(key, path))
    return config


def _absolute(key: str, path: str) -> str:
    if not path.strip():
        raise RelayError(f"{key} is empty: is a variable of the shell not set? Type a path, or leave it out")
    if re.match(r"https?://", path):
        raise RelayError(f"{key}={path} is an address: download the file, and type its path")
    return str(Path(path).expanduser().absolute())
