"""Tiny image sets in the layouts that the readers read."""

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from datamodules.domain import Domain, Side

CLASSES = ("brick", "cotton")


def pixels(seed: int, size: tuple[int, int] = (8, 8), channels: int = 1) -> npt.NDArray[np.uint8]:
    """Random uint8 pixels, (height, width) or (height, width, channels); `size` is (width, height)."""
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(seed: int, shape: tuple[int, int] = (160, 200)) -> npt.NDArray[np.uint8]:
    """Clouds with fine grain, as slices and photographs have."""
    rng = np.random.default_rng(seed)
    clouds = gaussian_filter(rng.normal(size=shape), min(shape) / 20)
    grain = gaussian_filter(rng.normal(size=shape), 1)
    return np.clip(128 + 45 * clouds / clouds.std() + 12 * grain / grain.std(), 0, 255).astype(np.uint8)


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (8, 8), channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, size, channels)).save(path)
    return path


def split_folders(root: Path, classes: Sequence[str] = CLASSES, train: int = 3, val: int = 2) -> Path:
    """`root/{train,val}/class/*.png`, 8x8 grey, each image another."""
    seed = 0
    for side, images in (("train", train), ("val", val)):
        for name in classes:
            for number in range(images):
                write_image(root / side / name / f"{number:03d}.png", seed)
                seed += 1
    return root


def class_folders(root: Path, classes: Sequence[str] = CLASSES, images: int = 5) -> Path:
    """`root/class/*.png`, 8x8 grey."""
    for place, name in enumerate(classes):
        for number in range(images):
            write_image(root / name / f"{number:03d}.png", 100 * place + number)
    return root


ROWS = (
    ("a/1.png", "con", "p1", "train"),
    ("a/2.png", "ggo", "p1", "train"),
    ("b/3.png", "con", "p2", "train"),
    ("b/4.png", "con", "p3", "eval"),
    ("b/5.png", "ggo", "p3", "val"),
)


def manifest(
    root: Path,
    rows: Iterable[Sequence[str]] = ROWS,
    columns: Sequence[str] = ("path", "class", "group", "split"),
    encoding: str = "utf-8",
) -> Path:
    """`root/manifest.csv` and an 8x8 grey image for each row."""
    rows = list(rows)
    root.mkdir(parents=True, exist_ok=True)
    with (root / "manifest.csv").open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    for seed, row in enumerate(rows):
        write_image(root / row[0], seed)
    return root


def fake_generator(monkeypatch: pytest.MonkeyPatch, images: npt.NDArray[np.generic]) -> ModuleType:
    """Put a generator in the place of the embedded dld whose sides both consist of `images`."""

    def generate(*, classes: int, train_images: int, val_images: int, size: int, seed: int) -> Domain:
        generator.calls += 1  # type: ignore[attr-defined]
        labels = np.arange(len(images), dtype=np.int64) % classes

        def side(name: str) -> Side:
            names = tuple(f"{name}/{number}" for number in range(len(images)))
            return Side(images, labels, names, names)

        return Domain(class_names(classes), side("train"), side("val"))

    def class_names(classes: int) -> tuple[str, ...]:
        return tuple(f"class{number}" for number in range(classes))

    generator = ModuleType("datamodules.embedded.dld")
    vars(generator).update(VERSION=1, generate=generate, class_names=class_names, calls=0)
    monkeypatch.setitem(sys.modules, "datamodules.embedded.dld", generator)
    return generator
