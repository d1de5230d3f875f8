"""Tiny sets in the layouts that `data=real`, `data=ultrasound` and `data=paper` read."""

from collections.abc import Iterable
from pathlib import Path

from datamodules.packing.finish import SplitRule
from datamodules.packing.pack import pack
from tests.helpers.fake_images import write_image
from tests.helpers.fake_units import FakeUnit, fake_survey


def write_class_folders(root: Path, sides: tuple[str, ...], suffix: str, size: int) -> None:
    for side in sides:
        for name in ("n01", "n02", "n03"):
            for index in range(5):
                path = root / side / name / f"{index}{suffix}"
                write_image(path, seed=10 * len(path.parts) + index, size=(size, size))


def write_manifest(root: Path, columns: str, images: Iterable[tuple[str, int, str]], size: int) -> None:
    """A manifest and its images: path, seed of the pixels, and what stands behind the path."""
    lines = [columns]
    for path, seed, row in images:
        write_image(root / path, seed=seed, size=(size, size))
        lines.append(f"{path},{row}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")


def write_patches(root: Path) -> None:
    images = [
        (f"{name}/{side}-{index}.png", index, f"{name},{side}-{index},{side}")
        for side in ("train", "val", "test")
        for name in ("normal", "ground_glass", "consolidation")
        for index in range(5)
    ]
    write_manifest(root, "path,class,group,split", images, 32)


def write_pictures(root: Path) -> None:
    images = [
        (f"{name}/{name} ({index}).png", index, f"{name},{name}-{index // 2}")
        for name in ("benign", "malignant", "normal")
        for index in range(6)
    ]
    write_manifest(root, "path,class,group", images, 70)


def write_domains(data_dir: Path) -> None:
    """The layouts of data=real, data=ultrasound and data=paper."""
    write_class_folders(data_dir / "natural/imagenette-224", ("train", "val"), ".JPEG", 64)
    write_class_folders(data_dir / "texture/KTH-TIPS-grey", (".",), ".png", 70)
    write_patches(data_dir / "lung/semiseg-patches32")
    write_pictures(data_dir / "ultrasound/BUSI-256")
    for name in ("natural", "texture", "dld"):
        units = [FakeUnit(number, dtype="uint8", size=32) for number in range(5)]
        pack(fake_survey(units), data_dir / name, SplitRule(), on_error="raise", workers=1)
