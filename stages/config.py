"""The typed configuration: every key of `conf/`, declared once (see `stages.parameters`).

Hydra merges the files of `conf/` into the schema of these classes, so an unknown key or a wrong type is an
error before anything is trained. docs/settings.md lists the keys with their values.
"""

import re
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import StringConstraints

from stages.errors import RelayError
from stages.machine.lock import LockKind
from stages.parameters import Name, Number, Says, execution, group, part_of, recipe, reporting, tuples
from stages.plateau import PlateauRule
from stages.processes import Process
from stages.recipe import (
    Descent,
    Fold,
    Folds,
    Fraction,
    GradientClip,
    LearningRate,
    Model,
    Optim,
    Preprocessing,
    Ratio,
    RatioUnit,
    Rounding,
    Seed,
    Side,
    Threads,
    TransferLayers,
)
from stages.source import Source

Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]
WandbMode = Literal["auto", "online", "offline", "disabled"]


# What W&B takes: else it would refuse when the training begins.
Project = Annotated[
    str,
    StringConstraints(pattern=r"^[^/\\#?%:]+$", max_length=128),
    Says("a name of at most 128 characters, without / \\ # ? % :"),
]


# It stands in tables and on pages.
License = Annotated[
    str, StringConstraints(pattern=r"^[^\r\n]*\S[^\r\n]*$", max_length=300), Says("one line of text")
]


@group
class StageConfig:
    """Training on one domain, or weights that are given instead: `conf/stage/NAME.yaml`."""

    name: Name = recipe("The file's name.")
    domain: Name | None = execution(
        "The images' name in `data.domains`: one stage serves the embedded, the real and the paper's data.",
        default=None,
    )
    source: Source | None = None  # instead of `domain`, for images of the user's
    weights: str | None = recipe(
        "A checkpoint, instead of images: the stage is given, not trained; the first of a chain. Its content "
        "enters ids, not its path (docs/weights.md).",
        default=None,
    )
    license: License | None = reporting(
        "The licence of `weights`, which records and pages name.", default=None
    )
    model: str | None = execution(
        "The network that `weights` are of, `model.name` or `model.architecture`; another one is refused.",
        default=None,
    )

    def __post_init__(self) -> None:
        if self.weights is not None and (self.domain is not None or self.source is not None):
            raise ValueError("weights are given, so that it is not trained: leave out domain and source")
        if self.weights is None and (self.license is not None or self.model is not None):
            raise ValueError("license and model say what given weights are; weights is not there")


@group
class Domains:
    """The images of each domain, apart: see `stages.recipe.Rate`."""

    name: Name = reporting("The file's name.")
    domains: dict[str, Source]


@group
class SizeConfig:
    """The input's size, apart: see `stages.recipe.Rate`."""

    image_size: Side | None = recipe(
        "Side of the network's square input; null is what timm says of its network.", unit="px"
    )


@group
class DataConfig(Preprocessing, SizeConfig, Domains):
    """The images of each domain, and how a batch of them is made ready for the network."""

    memory_limit_gb: Annotated[Number, Ge(0)] = execution(
        "A set that is larger once decoded is streamed by `workers` instead of held in memory.", unit="GiB"
    )
    workers: Annotated[int, Ge(0)] = execution("Processes that decode ahead where a set is streamed.")


@group
class TransferConfig(TransferLayers):
    """Which layers a stage keeps of its parent: a transfer rule."""

    name: str = recipe("The file's name.")


@group
class Rates:
    """The rates, apart: see `stages.recipe.Rate`."""

    lr_scratch: LearningRate = recipe("Learning rate of a stage that starts from random weights.")
    lr_transfer: LearningRate = recipe("Learning rate of a stage that starts from a parent or a checkpoint.")


@group
class OptimConfig(Descent, Rates):
    """Gradient descent: optimiser, rate, batch and loss; docs/training.md. The paper's is sgd (section 6)."""

    gradient_clip_scratch: GradientClip | None = recipe(
        "Bound of the whole gradient's norm, from random weights; null: none."
    )
    gradient_clip_transfer: GradientClip | None = recipe(
        "Bound of the whole gradient's norm, from a parent or a checkpoint; null: none."
    )

    def of_start(self, *, transferred: bool) -> Optim:
        """The values of a run that starts from random weights, or from a parent or a checkpoint."""
        start = "transfer" if transferred else "scratch"
        own = {"lr": getattr(self, f"lr_{start}"), "gradient_clip": getattr(self, f"gradient_clip_{start}")}
        if not transferred:
            own |= {"layer_decay": 1.0, "unfreeze_epochs": 0}
        return part_of(Optim, self, **own)


@group
class TrainerConfig(Rounding):
    """How a stage run computes: precision, memory format, devices, threads."""

    accelerator: Accelerator = recipe(
        "What computes; auto is a GPU where the command is typed on a machine with one, else the processor."
    )
    devices: Annotated[int, Ge(1)] = execution("Accelerators of one stage run.")
    threads: Threads = recipe(
        "CPU threads of a stage run, however many cores it is given. They divide sums among themselves, so "
        "another number has other bits and another id on a processor; on an accelerator it changes neither."
    )
    checkpoint_seconds: Annotated[Number, Ge(0)] = execution(
        "Least time between two resume checkpoints.", unit="s"
    )
    keep_last: bool = execution(
        "Whether the last resume checkpoint stays when the run is complete (0.5 GB at full size)."
    )


@group
class CallbacksConfig:
    """What watches the training."""

    plateau: PlateauRule
    progress: bool = reporting("Whether a bar shows the epoch's progress.")


@group
class LoggerConfig:
    """Weights & Biases."""

    wandb: WandbMode = reporting("Whether runs are sent; auto is online if logged in, else offline.")
    project: Project = reporting("W&B's project.")
    entity: str | None = reporting("W&B's user or team; null: the user's default.")
    study: str = reporting("First half of W&B's group, STUDY/PROCESS.")


@group
class PathsConfig:
    """Folders; relative ones are taken from where the command was typed."""

    runs_dir: str = execution("The store of all stage runs.")
    data_dir: str = execution("Images of the user's.")
    cache_dir: str = execution("Decoded and generated images.")
    lock: LockKind = execution("How a run's folder is locked; soft on NFS and Lustre.")


@group
class JobConfig:
    """What the sweeper tells a job; never typed by hand."""

    chain: tuple[str, ...] | None = execution("The stage's path from the first source.")
    parent: str | None = execution("The parent's id.")
    given: Name | None = recipe("The given stage whose weights `init_from` are.")
    license: License | None = reporting("Its licence.")
    id: str | None = execution("The stage run's id.")
    index: int = execution("Its place in the sweep, from 1.")
    count: int = execution("Stage runs of the sweep.")
    images_after: int = execution("Images that later stage runs will train on at most.", unit="images")


@group
class Config:
    """One stage run, as `train.py` receives it."""

    stage: StageConfig | None = None
    process: Process | None = None
    data: DataConfig
    model: Model
    transfer: TransferConfig
    optim: OptimConfig
    trainer: TrainerConfig
    callbacks: CallbacksConfig
    logger: LoggerConfig
    paths: PathsConfig
    job: JobConfig
    seed: Seed = recipe("Feeds initialisation, order, dropout, subset and augmentation.")
    source_seed: Seed | None = recipe("Seed of all stages but the target; null: the target's seed.")
    data_ratio: Ratio = recipe("Share of the target's training set.")
    ratio_unit: RatioUnit = recipe("What the share counts.")
    folds: Folds | None = recipe(
        "Parts into which the target's groups (patients, objects) are divided, anew for each seed; each part "
        "is evaluated by a run that was trained on the others. null: the images' own sides."
    )
    fold: Fold | None = recipe("Which part this run evaluates, from 0; with -m, null is all of them.")
    test_fraction: Fraction | None = recipe(
        "Share of the target's images that is locked away as a test set, by whole groups, the same for every "
        "seed, fold, data ratio and process; null: none but the source's own."
    )
    init_from: str | None = recipe(
        "A checkpoint of the user's for the chain's first stage (docs/weights.md says which are taken)."
    )
    plan: bool = execution("Whether to print what would be trained, and stop.")


def to_config(config: DictConfig) -> Config:
    """The typed configuration of what Hydra composed, every interpolation resolved.

    Raises:
        RelayError: if a value is missing or not allowed, or an interpolation fails; names the key, and the
            file of a group that lacks it.
    """
    plain = OmegaConf.create({key: config._get_node(key) for key in config if key != "hydra"})
    try:
        values = OmegaConf.to_container(plain, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key or "configuration"
        group = key.partition(".")[0]
        node: Any = config if "hydra" in config else HydraConfig.instance().cfg
        chosen = OmegaConf.select(node, f"hydra.runtime.choices.{group}") if node is not None else None
        file = f"conf/{group}/{chosen}.yaml: " if chosen and "." in key else ""
        raise RelayError(f"{file}{key} has no value; one is typed as {key}=VALUE") from None
    except OmegaConfBaseException as error:
        raise unresolved(error.full_key or "configuration", error) from None
    return Config(**tuples(values))


def unresolved(key: str, error: OmegaConfBaseException) -> RelayError:
    """What OmegaConf says of a value that refers to something, in the user's words."""
    said = str(error).splitlines()[0]
    if found := re.search(r"Environment variable '(.+?)' not found", said):
        said = f"the environment variable {found[1]} is not set"
    elif found := re.search(r"Interpolation key '(.+?)' not found", said):
        said = f"there is no setting {found[1]}; a variable of the environment is ${{oc.env:{found[1]}}}"
    return RelayError(f"{key}: {said}")


def config_document(config: Config) -> str:
    """A configuration as `config.yaml` keeps it."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def source_of(config: Config) -> Source:
    """Where the images of a configuration's stage come from.

    With folds no share of them is drawn for evaluation, so that a `val_fraction` changes nothing, neither
    images nor ids.

    Raises:
        RelayError: if neither the stage nor `data.domains` says it.
    """
    stage = config.stage
    assert stage is not None, "a stage run has a stage"
    source = _given_source(config, stage)
    if config.folds is None or source.val_fraction is None:
        return source
    return replace(source, val_fraction=None, split_seed=None)


def _given_source(config: Config, stage: StageConfig) -> Source:
    if stage.source is not None:
        return stage.source
    if stage.domain is None:
        raise RelayError(
            f"stage {stage.name} has neither a domain, a source nor weights: see conf/stage/natural.yaml"
        )
    if stage.domain not in config.data.domains:
        known = ", ".join(sorted(config.data.domains))
        raise RelayError(
            f"stage {stage.name}: data={config.data.name} has no domain {stage.domain!r}; it has {known}"
        )
    return config.data.domains[stage.domain]
