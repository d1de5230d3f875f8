"""The typed configuration: every key of `conf/`, its type, its meaning and its role.

Hydra merges the files of `conf/` into these classes, so an unknown key or a wrong type is an error before
anything is trained. No value stands here: values are in `conf/`. A key's role decides whether it enters a
stage run's id (see `stages.recipe`):

- recipe: it can change the result;
- execution: how and where it is computed;
- reporting: what is shown or logged.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_type_hints

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stages.errors import RelayError

Role = Literal["recipe", "execution", "reporting"]


def recipe() -> Any:
    """A key that can change the result and is therefore part of the id."""
    return field(default=MISSING, metadata={"role": "recipe"})


def execution() -> Any:
    """A key that says how and where to compute, never what comes out."""
    return field(default=MISSING, metadata={"role": "execution"})


def reporting() -> Any:
    """A key that says what is shown or logged."""
    return field(default=MISSING, metadata={"role": "reporting"})


def part() -> Any:
    """A group of keys with a class of its own."""
    return field(default=MISSING, metadata={"role": None})


@dataclass
class SourceConfig:
    """Where a domain's images come from and how they are read; see `datamodules.source.Source`.

    Every key but `kind` may be left out. What enters the id is the data identity: a digest of the list of
    files with their sizes, labels and groups, or of the generator's parameters, and of how they are read.
    """

    kind: str = field(default=MISSING, metadata={"role": "recipe"})
    generator: str | None = field(default=None, metadata={"role": "recipe"})
    classes: int | None = field(default=None, metadata={"role": "recipe"})
    train_images: int | None = field(default=None, metadata={"role": "recipe"})
    val_images: int | None = field(default=None, metadata={"role": "recipe"})
    size: int | None = field(default=None, metadata={"role": "recipe"})
    seed: int | None = field(default=None, metadata={"role": "recipe"})
    root: str | None = field(default=None, metadata={"role": "execution"})
    manifest: str | None = field(default=None, metadata={"role": "execution"})
    val_fraction: float | None = field(default=None, metadata={"role": "recipe"})
    split_seed: int | None = field(default=None, metadata={"role": "recipe"})
    decode_size: int | None = field(default=None, metadata={"role": "recipe"})
    window: list[float] | None = field(default=None, metadata={"role": "recipe"})
    color: str | None = field(default=None, metadata={"role": "recipe"})


@dataclass
class StageConfig:
    """Training on one domain: `conf/stage/NAME.yaml`.

    `name` is the file's name. `domain` looks the images up in `data.domains`, so that one stage serves the
    embedded, the real and the paper's data; `source` gives them here instead, for a domain of the user's.
    """

    name: str = recipe()
    domain: str | None = field(default=None, metadata={"role": "execution"})
    source: SourceConfig | None = field(default=None, metadata={"role": None})


@dataclass
class ProcessConfig:
    """A learning process: a named chain with a transfer rule (paper, section 6).

    `transfer` is the target's rule; without it, `transfer=` decides. `between` is the rule of the stages
    between the first and the target; without it, the usual one. `title` stands before the name in tables and
    figures.
    """

    name: str = reporting()
    title: str = field(default="", metadata={"role": "reporting"})
    chain: list[str] = execution()
    transfer: str | None = field(default=None, metadata={"role": "execution"})
    between: str | None = field(default=None, metadata={"role": "execution"})


@dataclass
class DataConfig:
    """The images of each domain, and how a batch of them is made ready for the network.

    `image_size` in pixels; `mean` and `std` of the three channels after division by 255, both null to take
    them from the domain's training images; `augment` is none, flip or dihedral. A set larger than
    `memory_limit_gb` once decoded is streamed by `workers`.
    """

    name: str = reporting()
    domains: dict[str, SourceConfig] = part()
    image_size: int = recipe()
    mean: list[float] | None = recipe()
    std: list[float] | None = recipe()
    augment: str = recipe()
    memory_limit_gb: float = execution()
    workers: int = execution()


@dataclass
class ModelConfig:
    """The network: `alexnet` (2012, exact) or `torchvision_alexnet`.

    `width` is the share of every hidden layer's channels, in (0, 1]: 1 is the exact network, less is for
    trying things out.
    """

    name: str = recipe()
    dropout: float = recipe()
    initialisation: str = recipe()
    width: float = recipe()


@dataclass
class TransferConfig:
    """Which layers a stage keeps of its parent: feature, conv_only, reuse_fc or finetune."""

    rule: str = recipe()


@dataclass
class OptimConfig:
    """Stochastic gradient descent with momentum (paper, section 6).

    `lr_scratch` and `gradient_clip_scratch` when the stage starts from random weights, `lr_transfer` and
    `gradient_clip_transfer` when it starts from a parent or a checkpoint. A clip bounds the norm of the whole
    gradient. `warmup_steps` raises the rate linearly from zero.
    """

    lr_scratch: float = recipe()
    lr_transfer: float = recipe()
    momentum: float = recipe()
    weight_decay: float = recipe()
    batch_size: int = recipe()
    warmup_steps: int = recipe()
    gradient_clip_scratch: float | None = recipe()
    gradient_clip_transfer: float | None = recipe()


@dataclass
class TrainerConfig:
    """The machine: precision and memory format (`auto`: what it does best), devices, threads.

    `precision`: auto, 32-true, bf16-mixed or 16-mixed; `memory_format`: auto, contiguous or channels_last.
    `threads` null uses all cores. `checkpoint_seconds` is the least time between two resume checkpoints.
    `keep_last`: whether the last of them stays when the run is complete.
    """

    precision: str = recipe()
    memory_format: str = recipe()
    compile: bool = recipe()
    accelerator: str = execution()
    devices: int = execution()
    threads: int | None = execution()
    checkpoint_seconds: float = execution()
    keep_last: bool = execution()


@dataclass
class PlateauConfig:
    """When a stage has been trained long enough; see `stages.plateau.PlateauRule`."""

    min_delta: float = recipe()
    patience: int = recipe()
    length: int = recipe()
    smoothing: int = recipe()
    max_epochs: int = recipe()


@dataclass
class CallbacksConfig:
    """What watches the training."""

    plateau: PlateauConfig = part()
    progress: bool = reporting()


@dataclass
class LoggerConfig:
    """Weights & Biases: `auto` is online if logged in and offline otherwise; online, offline, disabled."""

    wandb: str = reporting()
    project: str = reporting()
    entity: str | None = reporting()
    study: str = reporting()


@dataclass
class PathsConfig:
    """Folders; relative ones are taken from where the command was typed."""

    runs_dir: str = execution()
    data_dir: str = execution()
    cache_dir: str = execution()
    lock: str = execution()


@dataclass
class JobConfig:
    """What the sweeper tells a job; never typed by hand.

    `chain` is the stage's path from the first source, `parent` and `id` are stage runs' ids, `index` of
    `count` its place in the sweep, `images_after` the images that later stage runs will train on at most.
    """

    chain: list[str] | None = execution()
    parent: str | None = execution()
    id: str | None = execution()
    index: int = execution()
    count: int = execution()
    images_after: int = execution()


@dataclass
class Config:
    """One stage run, as `train.py` receives it.

    `source_seed` null gives the sources their target's seed. `data_ratio` is the share of the target's
    training set, in (0, 1], counted in `ratio_unit` (patch or patient). `init_from` is a checkpoint of the
    user's for the chain's first stage. `plan` prints what would run and stops.
    """

    stage: StageConfig | None = field(default=None, metadata={"role": None})
    process: ProcessConfig | None = field(default=None, metadata={"role": None})
    data: DataConfig = part()
    model: ModelConfig = part()
    transfer: TransferConfig = part()
    optim: OptimConfig = part()
    trainer: TrainerConfig = part()
    callbacks: CallbacksConfig = part()
    logger: LoggerConfig = part()
    paths: PathsConfig = part()
    job: JobConfig = part()
    seed: int = recipe()
    source_seed: int | None = recipe()
    data_ratio: float = recipe()
    ratio_unit: str = recipe()
    init_from: str | None = recipe()
    plan: bool = execution()


def leaf_roles(schema: type = Config, prefix: str = "") -> dict[str, Role | None]:
    """Role of every key of the configuration by its dotted name; a dict's entries share the name `*`.

    A leaf without a role maps to None, which a test refuses.
    """
    roles: dict[str, Role | None] = {}
    hints = get_type_hints(schema)
    for entry in fields(schema):
        name = f"{prefix}{entry.name}"
        nested, star = _nested_class(hints[entry.name])
        if nested is None:
            roles[name] = entry.metadata.get("role")
        else:
            roles.update(leaf_roles(nested, f"{name}.*." if star else f"{name}."))
    return roles


def _nested_class(hint: Any) -> tuple[type | None, bool]:
    """The configuration class inside a type hint, and whether it is the value type of a dict."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint, False
    for inner in get_args(hint):
        nested, _ = _nested_class(inner)
        if nested is not None:
            return nested, getattr(hint, "__origin__", None) is dict
    return None, False


def to_config(config: DictConfig) -> Config:
    """The typed configuration of what Hydra composed, every interpolation resolved.

    Raises:
        RelayError: if a value is missing or an interpolation fails; names the key.
    """
    plain = OmegaConf.create({key: config._get_node(key) for key in config if key != "hydra"})
    try:
        # As plain values: merged as it is, a typed part keeps a key that `+optim.learning_rate=1` appended.
        typed = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.to_container(plain, resolve=True))
        result = OmegaConf.to_object(typed)
    except OmegaConfBaseException as error:
        raise RelayError(f"configuration: {error}") from None
    assert isinstance(result, Config)
    return result
