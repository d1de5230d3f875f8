"""The recipe of a stage run, and its id.

A recipe is everything that can change the result. It is built once, from the typed configuration, and
compared whole wherever a stored run is opened; its SHA-256 is the stage run's id.
"""

import hashlib
import json
import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# Raise it when the code changes what an equal configuration computes: every id moves then.
RECIPE_VERSION = 1

# Digits of the SHA-256 in a folder's name. 16 hex digits collide with probability 3e-12 at 10,000 runs; the
# stored recipe is compared on every open all the same.
SHORT_ID = 16


def _no_negative_zero(value: float) -> float:
    return 0.0 if value == 0.0 else value


Number = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_no_negative_zero)]


class _Part(BaseModel):
    # strict: True is not 1, "1e-5" is not a number; integers are taken as floats where a float stands
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ModelRecipe(_Part):
    """The network."""

    name: str
    dropout: Number
    initialisation: str
    width: Number


class OptimRecipe(_Part):
    """Stochastic gradient descent; `lr` is the rate that this run uses."""

    lr: Number
    momentum: Number
    weight_decay: Number
    batch_size: int
    warmup_steps: int
    gradient_clip: Number | None


class DataRecipe(_Part):
    """Which images (`digest`, see `datamodules.listing`) and how a batch of them is made ready."""

    digest: str
    image_size: int
    mean: tuple[Number, ...] | None
    std: tuple[Number, ...] | None
    augment: str
    ratio: Number
    ratio_unit: str


class ArithmeticRecipe(_Part):
    """How numbers are rounded and added."""

    precision: str
    memory_format: str
    compile: bool


class PlateauRecipe(_Part):
    """When training ends."""

    min_delta: Number
    patience: int
    length: int
    smoothing: int
    max_epochs: int


class Recipe(_Part):
    """All that can change a stage run's result.

    `parent` is the parent's full id, `init_from` the SHA-256 of a checkpoint file of the user's; `transfer`
    is None for a run that starts from random weights.
    """

    version: int
    stage: str
    parent: str | None
    init_from: str | None
    transfer: str | None
    seed: int
    model: ModelRecipe
    optim: OptimRecipe
    data: DataRecipe
    arithmetic: ArithmeticRecipe
    plateau: PlateauRecipe

    def canonical_json(self) -> str:
        """The recipe as JSON with sorted keys, no spaces and shortest round-trip numbers."""
        return json.dumps(
            _without_legacy(self.model_dump(mode="json")), sort_keys=True, separators=(",", ":")
        )

    @property
    def id(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex digits."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


# A recipe key added after the first release stands here with the value that means "as before it existed":
# at exactly that value it is left out of the hash, so old ids stay. Never change a value once it stands here.
LEGACY_VALUES: dict[str, Any] = {}


def _without_legacy(recipe: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in recipe.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, dict):
            if inner := _without_legacy(value, f"{dotted}."):  # a part of legacy values only is no part
                kept[name] = inner
        elif dotted not in LEGACY_VALUES or LEGACY_VALUES[dotted] != value:
            kept[name] = value
    return kept


def short_id(full: str) -> str:
    """The part of an id that names its folder."""
    return full[:SHORT_ID]


def is_ratio(value: float) -> bool:
    """Whether a data ratio is in (0, 1]."""
    return math.isfinite(value) and 0.0 < value <= 1.0
