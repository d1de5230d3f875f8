"""What a user asks for: one chain at one seed and one data ratio."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from stages.config import Config
from stages.errors import RelayError


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
    """

    chain: tuple[str, ...]
    rule: str | None
    between: str | None
    overrides: tuple[str, ...]
    seed: int
    source_seed: int | None
    data_ratio: float

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
        )


def with_absolute_paths(config: DictConfig) -> DictConfig:
    """A copy in which paths do not depend on the folder that the command was typed in: a job has another."""
    config = config.copy()
    for name in ("runs_dir", "data_dir", "cache_dir"):
        OmegaConf.update(config, f"paths.{name}", _absolute(config.paths[name]))
    if config.init_from is not None:
        config.init_from = _absolute(config.init_from)
    return config


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
