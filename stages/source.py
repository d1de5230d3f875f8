"""Where a domain's images come from and how they are read."""

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import AfterValidator, Strict, StringConstraints

from stages.parameters import Number, Says, execution, group, recipe
from stages.recipe import Augment, Contrast, Crop, Intensity, IntensityUnit, Rotation

Kind = Literal["embedded", "folder", "manifest", "packed"]
Generator = Literal["natural", "texture", "dld"]
Color = Literal["auto", "grey", "rgb"]
Split = Literal["provided", "ignore"]


def _ascending(window: tuple[float, float]) -> tuple[float, float]:
    if window[0] >= window[1]:
        raise ValueError("the second must be greater")
    return window


Path = Annotated[str, StringConstraints(pattern=r"\S"), Says("a path")]
# A list becomes a tuple of floats, so that [0, 400] and (0.0, 400.0) are one identity.
Window = Annotated[
    tuple[Number, Number],
    Strict(False),
    AfterValidator(_ascending),
    Says("two numbers, low then high, such as [-1000, 400]"),
]


def _of(
    meaning: str,
    *,
    needed: tuple[Kind, ...] = (),
    taken: tuple[Kind, ...] = (),
    role: Callable[..., Any] = recipe,
    unit: str = "",
) -> Any:
    """A parameter of some kinds only: which need it, and which take it."""
    kinds = ", ".join((*needed, *taken))
    return role(f"{kinds}: {meaning}", unit=unit, default=None, needed=needed, taken=taken)


def _own_of(name: str, unit: str = "") -> Any:
    """A domain's own setting of what is drawn while training, in place of that of all domains."""
    return _of(
        f"as data.{name}, for this domain; null: data.{name}.",
        taken=("embedded", "folder", "manifest", "packed"),
        unit=unit,
    )


@group
class Source:
    """Where a domain's images come from and how they are read.

    What enters the id is the data identity: a digest of the list of files with their sizes, labels and
    groups, or of the generator's parameters, and of how they are read. Where the files lie does not count.
    """

    kind: Kind = recipe(
        "embedded draws images with a generator of this package; folder reads "
        "`root/{train,val,test}/class/*` or `root/class/*`; manifest reads the images that a CSV file lists; "
        "packed reads a set made by `python -m datamodules.prepare`."
    )
    generator: Generator | None = _of("which generator.", needed=("embedded",))
    classes: Annotated[int, Ge(2)] | None = _of("number of classes.", needed=("embedded",))
    train_images: Annotated[int, Ge(1)] | None = _of(
        "training images, the total over the classes; at least one of each.", needed=("embedded",)
    )
    val_images: Annotated[int, Ge(1)] | None = _of(
        "evaluation images, the total over the classes; at least one of each.", needed=("embedded",)
    )
    size: Annotated[int, Ge(8)] | None = _of("side of a square image.", needed=("embedded",), unit="px")
    seed: Annotated[int, Ge(0)] | None = _of("seed of the generator.", needed=("embedded",))
    root: Path | None = _of(
        "the folder that relative paths start from; the packed set's folder, or its address in a bucket, "
        "such as s3://bucket/set.",
        needed=("folder", "manifest", "packed"),
        role=execution,
    )
    manifest: Path | None = _of(
        "the CSV file (`path,class,group,split`), relative to `root` unless absolute.",
        needed=("manifest",),
        role=execution,
    )
    groups: Path | None = _of(
        "a CSV file (`path,group`) that says which images show one patient or object, relative to `root` "
        "unless absolute; null: each image is a group of its own.",
        taken=("folder",),
        role=execution,
    )
    split: Split | None = _of(
        "whether the source's own evaluation images are kept for it; ignore pools them with the training "
        "images, to be divided by `folds` or `val_fraction`; null: provided. A test side stays apart.",
        taken=("folder", "manifest", "packed"),
    )
    val_fraction: Annotated[Number, Gt(0), Lt(1)] | None = _of(
        "share of each class for evaluation, drawn by group; only where no image is kept for it; unused "
        "with folds.",
        taken=("folder", "manifest", "packed"),
    )
    split_seed: Annotated[int, Ge(0)] | None = _of(
        "which images `val_fraction` draws; null: 0.", taken=("folder", "manifest", "packed")
    )
    decode_size: Annotated[int, Ge(1)] | None = _of(
        "the shorter side is resized to this, then the centre is cropped to a square; null keeps the pixels "
        "of the file, which then must all have one size.",
        taken=("folder", "manifest"),
        unit="px",
    )
    window: Window | None = _of(
        "grey values mapped linearly to 0..255. Needed for files with signed or 32-bit values. null: 16-bit "
        "unsigned files map 0..65535, generated and packed Hounsfield units -1000..400. 8-bit images are "
        "never windowed.",
        taken=("embedded", "folder", "manifest", "packed"),
    )
    augment: Augment | None = _of(
        "symmetries drawn while training on this domain; null: those of data.augment.",
        taken=("embedded", "folder", "manifest", "packed"),
    )
    rotation: Rotation | None = _own_of("rotation", "degrees")
    crop: Crop | None = _own_of("crop")
    brightness: Intensity | None = _own_of("brightness")
    contrast: Contrast | None = _own_of("contrast")
    noise: Intensity | None = _own_of("noise")
    intensity_unit: IntensityUnit | None = _own_of("intensity_unit")
    color: Color | None = _of(
        "grey or colour; auto, and null, is rgb as soon as one file is in colour, else grey.",
        taken=("folder", "manifest"),
    )

    def __post_init__(self) -> None:
        known = fields(self)[1:]
        taken = {f.name for f in known if self.kind in f.metadata["needed"] + f.metadata["taken"]}
        given = {f.name for f in known if getattr(self, f.name) is not None}
        if foreign := sorted(given - taken):
            raise ValueError(
                f"{', '.join(foreign)} cannot be set for kind={self.kind}; remove it or choose another kind. "
                f"kind={self.kind} takes {', '.join(sorted(taken))}"
            )
        needed = {f.name for f in known if self.kind in f.metadata["needed"]}
        if missing := sorted(needed - given):
            raise ValueError(f"kind={self.kind} needs {', '.join(missing)}; set it")
        for name in ("train_images", "val_images"):
            images = getattr(self, name)
            if images is not None and self.classes is not None and images < self.classes:
                raise ValueError(
                    f"{name} is {images}, fewer than the {self.classes} classes; every class needs an image "
                    "on each side"
                )
