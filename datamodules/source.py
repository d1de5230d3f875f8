"""Where do a domain's images come from, and how are they read?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

from stages.errors import RelayError

Kind = Literal["embedded", "folder", "manifest", "packed"]
Generator = Literal["natural", "texture", "dld"]
Color = Literal["auto", "grey", "rgb"]

_READING = frozenset({"decode_size", "window", "color"})
_REQUIRED: dict[str, frozenset[str]] = {
    "embedded": frozenset({"generator", "classes", "train_images", "val_images", "size", "seed"}),
    "folder": frozenset({"root"}),
    "manifest": frozenset({"root", "manifest"}),
    "packed": frozenset({"root"}),
}
_OPTIONAL: dict[str, frozenset[str]] = {
    "embedded": frozenset({"window"}),
    "folder": _READING | {"val_fraction", "split_seed"},
    "manifest": _READING,
    "packed": frozenset({"window"}),
}
_LEAST = {
    "classes": 2,
    "train_images": 1,
    "val_images": 1,
    "size": 8,
    "seed": 0,
    "split_seed": 0,
    "decode_size": 1,
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A domain's origin. Which fields belong together depends on `kind`; the others stay unset.

    Attributes:
        kind: "embedded" draws images with a generator of this package, "folder" reads
            `root/{train,val}/class/*` or `root/class/*`, "manifest" reads the images that a CSV lists,
            "packed" a set made by `python -m datamodules.prepare`.
        generator: embedded: which generator, "natural", "texture" or "dld".
        classes: embedded: number of classes.
        train_images: embedded: training images, the total over the classes.
        val_images: embedded: evaluation images, the total over the classes.
        size: embedded: side of a square image in pixels.
        seed: embedded: seed of the generator.
        root: folder and manifest: the folder that relative paths start from; packed: the set's folder, or its
            address in a bucket, such as s3://bucket/set. Not part of the identity.
        val_fraction: folder, layout `root/class/*` only: share of each class for evaluation, in (0, 1).
        split_seed: folder, layout `root/class/*` only: which images that share is; 0 where unset.
        manifest: manifest: the CSV file (`path,class,group,split`), relative to `root` unless absolute.
        decode_size: folder and manifest: shorter side resized to this many pixels, then centre crop to a
            square. None keeps the pixels of the file, which then must all have one size.
        window: (low, high), grey values mapped linearly to 0..255. Needed for files with signed or 32-bit
            values; 16-bit unsigned files map 0..65535 where unset, generated Hounsfield units
            -1000..400. 8-bit images are never windowed.
        color: folder and manifest: "auto" is rgb as soon as one file is in colour, else grey.

    Raises:
        RelayError: A field is missing, has a wrong type or value, or does not belong to the kind.
    """

    kind: Kind
    generator: Generator | None = None
    classes: int | None = None
    train_images: int | None = None
    val_images: int | None = None
    size: int | None = None
    seed: int | None = None
    root: str | None = None
    val_fraction: float | None = None
    split_seed: int | None = None
    manifest: str | None = None
    decode_size: int | None = None
    window: Sequence[float] | None = None
    color: Color = "auto"

    def __post_init__(self) -> None:
        _check_choice("kind", self.kind, get_args(Kind))
        self._check_belonging()
        if self.generator is not None:
            _check_choice("generator", self.generator, get_args(Generator))
        _check_choice("color", self.color, get_args(Color))
        for name, least in _LEAST.items():
            _check_whole_number(name, getattr(self, name), least)
        for name in ("root", "manifest"):
            _check_text(name, getattr(self, name))
        self._check_enough_images()
        _check_fraction(self.val_fraction)
        # A tuple of floats whatever the config gave, so that 400 and 400.0 are one identity.
        object.__setattr__(self, "window", _checked_window(self.window))

    def _check_belonging(self) -> None:
        given = {f.name for f in fields(self) if f.name != "kind" and getattr(self, f.name) != f.default}
        allowed = _REQUIRED[self.kind] | _OPTIONAL[self.kind]
        foreign = sorted(given - allowed)
        if foreign:
            raise RelayError(
                f"data source: {', '.join(f'`{name}`' for name in foreign)} cannot be set for "
                f"kind={self.kind}; remove it or choose another kind. "
                f"kind={self.kind} takes {', '.join(sorted(allowed))}."
            )
        missing = sorted(_REQUIRED[self.kind] - given)
        if missing:
            raise RelayError(
                f"data source: kind={self.kind} needs {', '.join(f'`{name}`' for name in missing)}; set it."
            )

    def _check_enough_images(self) -> None:
        for name in ("train_images", "val_images"):
            images = getattr(self, name)
            if images is not None and self.classes is not None and images < self.classes:
                raise RelayError(
                    f"data source: `{name}` is {images}, fewer than the {self.classes} classes; "
                    "every class needs an image on each side."
                )


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RelayError(f"data source: `{name}` is {value!r}; choose one of {', '.join(choices)}.")


def _check_whole_number(name: str, value: object, least: int) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RelayError(f"data source: `{name}` is {value!r}; give a whole number of {least} or more.")


def _check_text(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise RelayError(f"data source: `{name}` is {value!r}; give a path.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_fraction(value: object) -> None:
    if value is not None and not (_is_number(value) and 0 < float(str(value)) < 1):
        raise RelayError(f"data source: `val_fraction` is {value!r}; give a number between 0 and 1.")


def _checked_window(window: Sequence[float] | None) -> tuple[float, float] | None:
    if window is None:
        return None
    problem = f"data source: `window` is {window!r}; give two numbers, low then high, such as [-1000, 400]."
    if isinstance(window, str) or not isinstance(window, Sequence):
        raise RelayError(problem)
    values = list(window)
    if len(values) != 2 or not all(_is_number(value) for value in values) or values[0] >= values[1]:
        raise RelayError(problem)
    return (float(values[0]), float(values[1]))
