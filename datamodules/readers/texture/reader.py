"""The reader of CUReT, its Oxford crops and KTH-TIPS."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from pydantic import Strict

from datamodules.faults import Faults, OnError, Problem, UnusableError
from datamodules.files.names import first_and_more
from datamodules.packing.reader import Reader
from datamodules.packing.units import Sample, Survey, Value
from datamodules.readers.texture.listing import TextureImage, list_textures
from datamodules.readers.texture.names import CURET_MATERIALS, KTH_TIPS_MATERIALS
from datamodules.readers.texture.pixels import decoded, file_bytes, resized
from datamodules.readers.texture.region import textured_square
from stages.errors import RelayError
from stages.parameters import Says, group, recipe

_VERSION = 2  # raise it when pixels, names or groups change
_FILES_A_UNIT = 200
_CONDITIONS = {"columbia": 205, "oxford": 92, "kth-tips": 81}  # images per class, as published
_CONDITIONS_OF_KTH_TIPS2 = 432  # 4 objects, 9 scales, 12 poses and lights

Together = Literal["condition", "scale", "sample", "none"]
Materials = Annotated[
    tuple[Annotated[int, Ge(1), Le(len(CURET_MATERIALS))], ...],
    Strict(False),
    Says(f"a list of numbers of samples, 1 to {len(CURET_MATERIALS)}"),
]


@group
class TextureOptions:
    """How a texture database is read."""

    size: Annotated[int, Ge(1), Le(4096)] = recipe(
        "Side of the samples; bicubic, from the largest centred square (the full release: from the largest "
        "square inside the material).",
        unit="px",
        default=224,
    )
    color: bool = recipe("Whether samples have three channels; grey is ITU-R 601-2 luma.", default=False)
    together: Together | None = recipe(
        "What the split keeps on one side: condition, all images of one viewing and lighting condition, of "
        "every material (KTH-TIPS: pose and light, at every scale); scale, all images of one of KTH-TIPS' "
        "scales; sample, all images of one of KTH-TIPS2's objects; none, each image on its own. null: sample "
        "for KTH-TIPS2, else condition.",
        default=None,
    )
    least: Annotated[int, Ge(1)] = recipe(
        "Least side of the material's square in the full release; 200 leaves 92 of the 205 conditions in the "
        "providers' usual selection.",
        unit="px",
        default=200,
    )
    materials: Materials = recipe(
        "Numbers of the CUReT samples to take, of KTH-TIPS too; none for all.", default=()
    )


@dataclass(frozen=True)
class TextureUnit:
    """Some hundred images.

    Attributes:
        key: `texture-00000` and on.
        images: What it reads, in order.
        size: As in `TextureOptions`.
        color: As in `TextureOptions`.
        together: As in `TextureOptions`.
        least: As in `TextureOptions`.
    """

    key: str
    images: tuple[TextureImage, ...]
    size: int
    color: bool
    together: Together
    least: int

    @property
    def fingerprint(self) -> str:
        """Changes with the files' sizes and times of change."""
        lines = (f"{image.path}\t{image.size}\t{image.stamp}" for image in self.images)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def read(self, on_error: OnError) -> tuple[list[Sample], list[Problem]]:
        """Decode the images.

        Images of the full release that show too little of the material are left out for any `on_error`:
        that is the usual selection, not a fault.

        Raises:
            RelayError: A file cannot be used and `on_error` is `raise`.
        """
        faults = Faults(on_error)
        samples: list[Sample] = []
        for image in self.images:
            try:
                sample = self._sample(image, faults)
            except UnusableError as error:
                faults.add(image.name, error)
            else:
                samples += [] if sample is None else [sample]
        faults.settle()
        return samples, faults.problems

    def _sample(self, image: TextureImage, faults: Faults) -> Sample | None:
        picture, remarks = decoded(file_bytes(image.location, image.member))
        columns: dict[str, Value] = {"material": image.material, "condition": image.condition}
        if image.layout == "columbia":
            square = textured_square(np.asarray(picture.convert("L")))
            if square.side < self.least:
                shown = f"{square.side} x {square.side} pixels"
                faults.left_out(
                    image.name, f"it shows {shown} of the material, fewer than least={self.least}"
                )
                return None
            side, left, top = square.side, square.left, square.top
            columns["visible"] = side
        else:
            side = min(picture.size)
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            if image.scale:
                columns["scale"] = image.scale
        picture = picture.convert("RGB" if self.color else "L")
        return Sample(
            image=resized(picture, (left, top, left + side, top + side), self.size),
            label=image.label,
            group=_group(image, self.together),
            name=_name(image),
            columns=columns,
            remarks=remarks,
        )


def survey(source: Path, options: TextureOptions, on_error: OnError = "raise") -> Survey:
    """List a texture database.

    Args:
        source: A folder in one of the layouts of `listing`.
        options: How it is read.
        on_error: Whether a file that cannot be used, or a missing class, ends the survey or is left out.

    Returns:
        The survey; units of 200 images.

    Raises:
        RelayError: The source is not a folder, has no images of a known layout or
            of several; with `on_error="raise"` also the first file that cannot be used, and missing classes.
    """
    if not source.is_dir():
        raise RelayError("the source is not a folder; give the folder that holds the class folders or zips.")
    faults = Faults(on_error)
    images = list_textures(source, faults)
    _check_one_database(images, options, faults)
    together = options.together or ("sample" if any(image.sample for image in images) else "condition")
    chosen = [image for image in images if not options.materials or image.material in options.materials]
    _check_classes(chosen, options, faults)
    faults.settle()
    if not chosen:
        first = faults.problems[0]
        raise RelayError(f"no image of the source can be used; {first.what}: {first.why}.")
    starts = range(0, len(chosen), _FILES_A_UNIT)
    return Survey(
        domain=READER.domain,
        classes=tuple(sorted({image.label for image in chosen})),
        units=tuple(
            TextureUnit(
                f"texture-{number:05d}",
                tuple(chosen[start : start + _FILES_A_UNIT]),
                options.size,
                options.color,
                together,
                options.least,
            )
            for number, start in enumerate(starts)
        ),
        problems=tuple(faults.problems),
        notes=(*_notes(chosen), *faults.notes),
        settings={
            "reader": _VERSION,
            "layout": chosen[0].layout,
            "size": options.size,
            "color": options.color,
            "together": together,
            "least": options.least if chosen[0].layout == "columbia" else None,
            "materials": sorted(set(options.materials)),
        },
        secret="\n".join(sorted(image.path for image in images)),
    )


def _check_one_database(images: list[TextureImage], options: TextureOptions, faults: Faults) -> None:
    layouts = Counter(image.layout for image in images)
    if len(layouts) > 1:
        found = ", ".join(f"{count} files of {layout}" for layout, count in sorted(layouts.items()))
        raise RelayError(f"the source holds several databases ({found}); give one folder for each.")
    if not images and not faults.problems:
        raise RelayError(
            "the source holds no images of CUReT (BMP, .bmp.Z, zips), its Oxford crops or KTH-TIPS. Other "
            "sets need no preparing: give them to training as class folders or with a manifest "
            "(docs/real-data.md)."
        )
    if layouts and "kth-tips" not in layouts and options.together == "scale":
        raise RelayError("together=scale is for KTH-TIPS: CUReT has no scales; choose condition or none.")
    if options.together == "sample" and not all(image.sample for image in images):
        raise RelayError(
            "together=sample is for KTH-TIPS2, whose folders are CLASS/sample_a; choose another."
        )


def _check_classes(images: list[TextureImage], options: TextureOptions, faults: Faults) -> None:
    """Add the classes that were asked for, or that the database has, and that have no image."""
    labels = {image.label for image in images}
    if not images:
        faults.add("the materials asked for", "the source has no image of them")
        return
    if images[0].layout == "kth-tips":
        known = dict(KTH_TIPS_MATERIALS)
        if not labels <= known.keys():  # KTH-TIPS2, or a set of one's own in its layout
            return
    else:
        known = {name: number for number, name in enumerate(CURET_MATERIALS, start=1)}
    asked = set(options.materials) or set(known.values())
    for name, number in known.items():
        if number in asked and name not in labels:
            faults.add(
                f"class {name} (sample {number:02d})",
                "its folder is missing, or has no image; copy it again",
            )


def _notes(images: list[TextureImage]) -> list[str]:
    """Which classes have other counts than the published ones."""
    expected = _CONDITIONS[images[0].layout]
    if any(image.sample for image in images):
        expected = _CONDITIONS_OF_KTH_TIPS2
    counts = Counter(image.label for image in images)
    by_count: defaultdict[int, list[str]] = defaultdict(list)
    for label, count in sorted(counts.items()):
        if count != expected:
            by_count[count].append(label)
    notes = [
        f"{count} images instead of the published {expected} in class {first_and_more(labels, 3)}"
        for count, labels in sorted(by_count.items())
    ]
    if any(image.sample for image in images):
        notes.append(
            "KTH-TIPS2: classes are the upper folders, and each holds several objects, sample a to d"
        )
    if images[0].layout == "columbia":
        notes.append("images that show too little of the material are left out and listed; see `least`")
    return notes


def _group(image: TextureImage, together: Together) -> str:
    if together == "none":
        return _name(image)
    if together == "sample":
        return f"{image.label}, sample {image.sample}"
    return f"scale {image.scale}" if together == "scale" else f"condition {image.condition}"


def _name(image: TextureImage) -> str:
    scale = f"scale-{image.scale}-" if image.scale else ""
    return f"{image.label}/{image.material:02d}{image.sample}-{scale}{image.condition}"


READER = Reader(
    domain="texture",
    title="CUReT (the full Columbia release or the Oxford crops), or KTH-TIPS",
    options=TextureOptions,
    survey=survey,
    usual=True,
)
