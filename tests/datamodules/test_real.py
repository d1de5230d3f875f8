"""The readers on real sets, where RELAY_REAL_DATA names the folder that holds them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import functional

from datamodules.division import divide
from datamodules.domain import SIDES
from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.splits import Division
from stages.source import Source

ROOT = os.environ.get("RELAY_REAL_DATA", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ROOT, reason="RELAY_REAL_DATA is not set to a folder of real images"),
]
LIMIT = 2**31


def test_imagenette_as_torchvision_reads_it(tmp_path: Path) -> None:
    root = Path(ROOT, "natural", "imagenette-224")
    source = Source(kind="folder", root=str(root), decode_size=64)
    identity = list_source(source)
    reference = ImageFolder(str(root / "val"))
    assert identity.classes == tuple(reference.classes)
    assert (identity.train_images, identity.val_images) == (3000, 750)
    domain = load(list_source(source), tmp_path, memory_limit_bytes=0)
    assert domain.shape == (64, 64, 3)
    assert domain.val.labels.tolist() == reference.targets
    for place in range(0, 750, 75):
        image, _ = reference[place]
        resized = functional.resize(image, [64], functional.InterpolationMode.BICUBIC)
        expected = np.asarray(functional.center_crop(resized, [64, 64]))
        np.testing.assert_array_equal(domain.val.images.gather([place])[0], expected)  # type: ignore[union-attr]


def test_kth_tips_is_split_and_cropped(tmp_path: Path) -> None:
    source = Source(
        kind="folder", root=str(Path(ROOT, "texture", "KTH-TIPS-grey")), val_fraction=0.2, decode_size=64
    )
    domain = divide(load(list_source(source), tmp_path, memory_limit_bytes=LIMIT), source, Division())
    assert len(domain.classes) == 10
    assert np.asarray(domain.train.images).shape == (650, 64, 64)
    assert np.bincount(domain.val.labels).tolist() == [16] * 10  # 81 a class


def test_lung_patches_keep_patients_apart(tmp_path: Path) -> None:
    root = str(Path(ROOT, "lung", "semiseg-patches32"))
    domain = load(
        list_source(Source(kind="manifest", root=root, manifest="manifest.csv")),
        tmp_path,
        memory_limit_bytes=LIMIT,
    )
    assert domain.classes == ("consolidation", "ground_glass", "normal")
    counts = sum(np.bincount(domain.side(name).labels) for name in SIDES)
    assert np.asarray(counts).tolist() == [995, 1683, 532]
    groups = [set(domain.side(name).groups) for name in SIDES]
    assert all(groups) and len(set.union(*groups)) == sum(map(len, groups))
    assert torch.from_numpy(np.asarray(domain.train.images)).shape[1:] == (32, 32)
