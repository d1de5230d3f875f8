"""The recipe of a stage run, and its id.

A recipe is everything that can change the result. It is built once, from the typed configuration, and
compared whole wherever a stored run is opened; its SHA-256 is the stage run's id. The configuration
(`stages.config`) has the recipe's groups and adds what does not change a result.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BaseModel, ConfigDict, Strict

from stages.parameters import Number, Says, group, recipe, shown
from stages.plateau import PlateauRule

# Raise it when the code changes what an equal configuration computes: every id moves then.
RECIPE_VERSION = 4

# Digits of the SHA-256 in a folder's name. 16 hex digits collide with probability 3e-12 at 10,000 runs; the
# stored recipe is compared on every open all the same.
SHORT_ID = 16


Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
MemoryFormat = Literal["auto", "contiguous", "channels_last"]
Initialisation = Literal["lecun_normal", "krizhevsky", "caffe", "timm"]
Augment = Literal["none", "flip", "dihedral"]
IntensityUnit = Literal["grey", "HU"]
RatioUnit = Literal["patch", "patient"]
ClassWeights = Literal["none", "balanced"]
Sampling = Literal["natural", "balanced"]
Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["constant", "cosine", "step"]

Threads = Annotated[int, Ge(1), Le(256)]
Seed = Annotated[int, Ge(0)]
Ratio = Annotated[Number, Gt(0), Le(1)]
Folds = Annotated[int, Ge(2)]
Fold = Annotated[int, Ge(0)]
Fraction = Annotated[Number, Gt(0), Lt(1)]
LearningRate = Annotated[Number, Gt(0)]
GradientClip = Annotated[Number, Gt(0)]
Side = Annotated[int, Ge(1)]
Channels = tuple[Number, Number, Number]
Deviations = tuple[Annotated[Number, Gt(0)], Annotated[Number, Gt(0)], Annotated[Number, Gt(0)]]


def _low_then_high(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("the first must not be greater than the second")
    return limits


_Degrees = Annotated[Number, Ge(-180), Le(180)]
Rotation = Annotated[
    tuple[_Degrees, _Degrees],
    Strict(False),
    AfterValidator(_low_then_high),
    Says("two numbers from -180 to 180, low then high, such as [-10, 10]"),
]
_Share = Annotated[Number, Gt(0), Le(1)]
Crop = Annotated[
    tuple[_Share, _Share],
    Strict(False),
    AfterValidator(_low_then_high),
    Says("two numbers in (0, 1], low then high, such as [0.8, 1]: a crop is not larger than its image"),
]
Intensity = Annotated[Number, Ge(0)]
Contrast = Annotated[Number, Ge(0), Lt(1)]


@group
class Model:
    """The network."""

    name: str = recipe("Which network; choose it as model=NAME.")
    architecture: str | None = recipe(
        "With model=timm, which of timm's image classifiers, such as resnet50.tv_in1k; else null.",
        default=None,  # a recipe of version 3 has none, and its network is still explained and predicts
    )
    dropout: Annotated[Number, Ge(0), Lt(1)] = recipe(
        "Probability of dropping a unit before the head, in AlexNet at both fully connected layers (paper, "
        "section 6)."
    )
    initialisation: Initialisation = recipe(
        "How random weights are drawn; see `lightning_modules.initialisation`. timm's networks take `timm`, "
        "what timm itself does; the others do not."
    )
    width: Annotated[Number, Gt(0), Le(1)] = recipe(
        "Share of every hidden layer's channels: 1 is the exact network, less is for trying things out. Not "
        "used with model=timm."
    )


RANGE = "-"
"""Stands between the first and the last layer of a range; no layer's name has it."""


@group
class TransferLayers:
    """What a transfer rule does with layers; all others are kept and trained.

    Layers are names, ranges FIRST-LAST in the network's order, and words that fit any network, such as
    `classifier` (see `lightning_modules.specification`). A recipe holds each layer's name.
    """

    reinitialise: tuple[str, ...] = recipe(
        "Layers that start with fresh weights: names, ranges FIRST-LAST, or words such as classifier."
    )
    freeze: tuple[str, ...] = recipe("Layers that keep their parent's weights and are not trained.")


@group
class Descent:
    """Gradient descent, however a stage starts; docs/training.md. The paper's is sgd (section 6)."""

    name: Optimiser = recipe(
        "The optimiser: sgd has momentum, adamw is Adam with decoupled weight decay; its rates are a "
        "hundredth of sgd's."
    )
    schedule: Schedule = recipe(
        "The rate over time: cosine falls to zero in `callbacks.plateau.max_epochs` epochs, which are all "
        "trained; step falls each time the loss is level for `step_patience` epochs."
    )
    step_factor: Fraction | None = recipe("What the rate is multiplied by then; no effect but with step.")
    step_patience: Annotated[int, Ge(1)] | None = recipe(
        "Epochs without a fall that counts (`callbacks.plateau.min_delta`) until then; null is half of "
        "`callbacks.plateau.patience`.",
        unit="epochs",
    )
    momentum: Annotated[Number, Ge(0), Lt(1)] = recipe(
        "Momentum of the gradient's running sum; with adamw beta1, of its running mean."
    )
    weight_decay: Annotated[Number, Ge(0)] = recipe(
        "Share of a weight that is added to its gradient; with adamw, that a rate of 1 takes off the weight, "
        "of matrices and kernels alone: biases and normalisations do not decay."
    )
    batch_size: Annotated[int, Ge(1)] = recipe("Images in one step, over all devices.", unit="images")
    accumulate: Annotated[int, Ge(1)] = recipe(
        "Parts in which a step's images go through the network, one after another, their gradients added: "
        "the step of the whole batch in the memory of a part. A batch normalisation sees a part."
    )
    warmup_steps: Annotated[int, Ge(0)] = recipe(
        "Steps over which the rate rises linearly from zero.", unit="steps"
    )
    label_smoothing: Annotated[Number, Ge(0), Lt(1)] = recipe(
        "Share of each training label that is spread evenly over all classes."
    )
    layer_decay: Annotated[Number, Gt(0), Le(1)] = recipe(
        "What the rate of each layer is of that of the layer after it; 1 trains all alike. No effect from "
        "random weights."
    )
    unfreeze_epochs: Annotated[int, Ge(0)] = recipe(
        "Epochs after which one more kept layer is trained, from the head backwards; fresh layers are from "
        "the first. 0 trains all from the first. No effect from random weights.",
        unit="epochs",
    )
    class_weights: ClassWeights = recipe(
        "Weights of the classes in the training loss; balanced makes them N / (C n), of N training images in "
        "C classes, n of the class. Typed for a chain it is the target's, in a file every stage's."
    )
    sampling: Sampling = recipe(
        "How an epoch draws training images; natural draws each once, balanced as many of each class, in "
        "all as many as there are. Typed for a chain it is the target's, in a file every stage's."
    )

    ema_decay: Annotated[Number, Gt(0), Lt(1)] | None = recipe(
        "Decay of a running mean of the weights, taken after each step; the mean is what is evaluated, kept "
        "and handed to the next stage. null: the weights themselves.",
        default=None,
    )

    def __post_init__(self) -> None:
        if self.class_weights == self.sampling == "balanced":
            raise ValueError(
                "class_weights and sampling are both balanced, which would favour the small classes twice; "
                "choose one"
            )
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate ({self.accumulate}) is more parts than batch_size ({self.batch_size}) has images"
            )
        if self.schedule == "step" and self.step_factor is None:
            raise ValueError("schedule is step; give step_factor, such as 0.1")


@group
class Rate:
    """The rate, apart: a file's keys are in the order of the classes, and it stands first."""

    lr: LearningRate = recipe("Learning rate.")


@group
class Optim(Descent, Rate):
    """Gradient descent as a run uses it: what hangs on its start is that of its start.

    `step_factor` and `step_patience` are None without the schedule step.
    """

    gradient_clip: GradientClip | None = recipe("Bound of the whole gradient's norm.")


@group
class Sized:
    """The input's size, apart: a configuration may leave it to the network."""

    image_size: Side = recipe("Side of the network's square input.", unit="px")


@group
class Distortions:
    """What is drawn anew for each training image in each epoch, beside the symmetries of `augment`.

    null is none of it. An image that is evaluated is never changed. `datamodules.batches.augment` says how.
    """

    rotation: Rotation | None = recipe(
        "Least and greatest angle by which a training image is turned, against the clock.",
        unit="degrees",
        default=None,
    )
    crop: Crop | None = recipe(
        "Least and greatest share of a training image's sides that is kept, at a place drawn at random, and "
        "scaled to the whole.",
        default=None,
    )
    brightness: Intensity | None = recipe(
        "Greatest shift of a training image's values, up or down, in `intensity_unit`.", default=None
    )
    contrast: Contrast | None = recipe(
        "Greatest change of a training image's contrast: differences from its mean are multiplied by a "
        "number from 1 - contrast to 1 + contrast.",
        default=None,
    )
    noise: Intensity | None = recipe(
        "Standard deviation of the noise that is added to each pixel of a training image, in "
        "`intensity_unit`.",
        default=None,
    )
    intensity_unit: IntensityUnit | None = recipe(
        "What brightness and noise are counted in: grey, levels of 0 to 255, or HU, Hounsfield units of "
        "images that are windowed from CT. null: HU where they are, else grey.",
        default=None,
    )


@group
class Preprocessing(Distortions):
    """How a batch of images is made ready for the network."""

    mean: Channels | None = recipe(
        "Subtracted from the three channels after division by 255; null is what timm says of its network, "
        "with other networks the mean of the domain's training images. null exactly where `std` is."
    )
    std: Deviations | None = recipe("What the three channels are divided by then.")
    augment: Augment = recipe(
        "Symmetries drawn while training: flip mirrors left and right, dihedral is one of the square's eight "
        "rotations and reflections."
    )

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ValueError(
                f"mean is {shown(self.mean)} and std is {shown(self.std)}; they must be null together"
            )


@group
class Identified:
    """The digest, apart: see `Rate`."""

    digest: str = recipe("Which images; see `datamodules.listing`.")


@group
class Data(Preprocessing, Sized, Identified):
    """Which images, how many of them, and how a batch of them is made ready."""

    ratio: Ratio = recipe("Share of the training images.")
    ratio_unit: RatioUnit = recipe("What the share counts.")


@group
class Rounding:
    """How numbers are rounded. A recipe holds what `auto` was on its machine."""

    precision: Precision = recipe(
        "How numbers are rounded; auto is bf16-mixed where the machine has bfloat16, else 32-true; on a "
        "processor 32-true with model=timm, too."
    )
    memory_format: MemoryFormat = recipe(
        "Order of numbers in memory; auto is channels_last where convolutions are faster so."
    )
    compile: bool = recipe("Whether torch.compile is used: faster steps after minutes of compiling.")


@group
class Arithmetic(Rounding):
    """How numbers are rounded and added."""

    threads: Threads | None = recipe("CPU threads among which a sum is divided; null on an accelerator.")


class Recipe(BaseModel):
    """All that can change a stage run's result.

    `parent` is the parent's full id, `init_from` the SHA-256 of a checkpoint file of the user's, `given` the
    name of the given stage that it is, None where it was typed as `init_from`. `transfer` is the transfer
    rule's name and `transfer_layers` what it does; both are None for a run that starts from random weights.
    `folds` and `fold` are None together; these and `test_fraction` are None in a source.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: int
    stage: str
    parent: str | None
    init_from: str | None
    given: str | None
    transfer: str | None
    transfer_layers: TransferLayers | None
    seed: Seed
    test_fraction: Fraction | None
    model: Model
    optim: Optim
    data: Data
    arithmetic: Arithmetic
    plateau: PlateauRule
    folds: Folds | None
    fold: Fold | None

    def document(self) -> dict[str, Any]:
        """The recipe as JSON data."""
        return self.model_dump(mode="json")

    def canonical_json(self) -> str:
        """The recipe as JSON with sorted keys, no spaces and shortest round-trip numbers."""
        return json.dumps(self.document(), sort_keys=True, separators=(",", ":"))

    @property
    def id(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex digits."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


def short_id(full: str) -> str:
    """The part of an id that names its folder."""
    return full[:SHORT_ID]
