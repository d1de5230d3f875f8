"""A store with networks that can be applied, the set they were trained on, and sets elsewhere."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from stages.store import RunFolder
from tests.helpers.explained_store import CLASSES, NATIVE, write_store
from tests.helpers.stage_helpers import seal


def write_networks(folder: Path) -> list[RunFolder]:
    """A store whose records say what an input is made of; the targets of two_stage."""
    write_store(folder)
    runs = []
    for path in sorted((folder / "runs" / "dld").iterdir()):
        run = RunFolder(path)
        content = json.loads(run.record.read_text())
        content["input"] = {
            "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "color": False, "window": None,
            "decode_size": None, "precision": "32-true", "memory_format": "contiguous",
        }  # fmt: skip
        seal(run, content)
        if len(content["chain"]) > 1:
            runs.append(run)
    return runs


def write_set(
    folder: Path, *, classes: tuple[str, ...] = CLASSES, images: int = 6, patients: int = 3
) -> Path:
    """Class folders with a folder of each patient: grey noise that no network has seen."""
    draw = np.random.default_rng(7)
    for name in classes:
        for number in range(images):
            place = folder / name / f"DOE-{number % patients}"
            place.mkdir(parents=True, exist_ok=True)
            write_image(place / f"{number}.png", draw.integers(0, 256, (NATIVE, NATIVE), dtype=np.uint8))
    return folder


def write_image(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def training_images(folder: Path, split: str = "train") -> list[tuple[Path, str, str]]:
    """Path, class and group of the images of a side of the training set that `write_networks` made."""
    with (folder / "ward-7" / "manifest.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == split]
    return [(folder / "ward-7" / row["path"], row["class"], row["group"]) for row in rows]
