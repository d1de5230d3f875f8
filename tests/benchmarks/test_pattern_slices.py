"""The comparison with radiologists' masks, on slices whose answer is known."""

import csv
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from benchmarks.agreement import confusion
from benchmarks.pattern_slices import (
    Drawn,
    fit_thresholds,
    grey_lungs,
    map_of,
    print_comparison,
    slices_of,
    true_map,
    write_patches,
)

REAL = os.environ.get("RELAY_REAL_DATA")


def thorax(dense: int = 210) -> Drawn:
    """Two lungs at level 30 in a body at 220, with ground glass at 100 and dense disease inside the first."""
    rows, columns = np.mgrid[:120, :160]
    image = np.full((120, 160), 220, np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    for middle in (45, 115):
        image[((rows - 60) / 45.0) ** 2 + ((columns - middle) / 28.0) ** 2 < 1] = 30
    image[45:60, 35:55], mask[45:60, 35:55] = 100, 1
    image[70:80, 35:50], mask[70:80, 35:50] = dense, 2
    return Drawn(1, image, mask)


def test_lungs_from_grey_levels_keep_what_lies_within_them() -> None:
    drawn = thorax()
    truth = np.zeros((120, 160), bool)
    rows, columns = np.mgrid[:120, :160]
    for middle in (45, 115):
        truth |= ((rows - 60) / 45.0) ** 2 + ((columns - middle) / 28.0) ** 2 < 1
    found = grey_lungs(drawn.image)
    assert (found == truth).mean() > 0.97
    assert found[drawn.mask > 0].all()


def test_thresholds_are_the_ones_that_separate() -> None:
    drawn = thorax()
    lungs = grey_lungs(drawn.image) & (drawn.image < 220)
    fitted = fit_thresholds([(drawn, lungs)], (0.0,))
    assert fitted.dice == pytest.approx(1.0)
    assert 30 < fitted.glass <= 100 < fitted.dense <= 210
    assert_array_equal(fitted.map_of(drawn.image, lungs), true_map(drawn, lungs))


def test_dice_of_thresholds_is_that_of_their_map() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50)).astype(np.uint8)
    mask = rng.choice(3, (40, 50), p=[0.6, 0.25, 0.15]).astype(np.uint8)
    drawn, lungs = Drawn(1, image, mask), rng.random((40, 50)) < 0.8
    fitted = fit_thresholds([(drawn, lungs)], (1.0,))
    true, found = true_map(drawn, lungs), fitted.map_of(image, lungs)
    scores = [
        2 * ((true == label) & (found == label)).sum() / ((true == label).sum() + (found == label).sum())
        for label in (2, 3)
    ]
    assert fitted.dice == pytest.approx(np.mean(scores))


def test_classes_of_networks_are_matched_by_name() -> None:
    def bright_is_dense(pixels: torch.Tensor) -> torch.Tensor:
        level = pixels.float().mean(dim=(1, 2))
        scores = torch.stack([level > 150, (level > 60) & (level <= 150), level <= 60], dim=1).float()
        return scores[None].repeat(2, 1, 1)

    networks = SimpleNamespace(
        shape=(8, 8), classes=("consolidation", "ground_glass", "normal"), probabilities=bright_is_dense
    )
    drawn = thorax()
    found = map_of(networks, drawn.image, drawn.image < 215, 2)  # type: ignore[arg-type]
    assert (found[50:55, 42:48] == 2).all()
    assert (found[74:76, 40:45] == 3).all()
    assert (found[55:65, 110:120] == 1).all()
    assert not found[drawn.image >= 215].any()


def test_the_table_names_both_methods_and_their_difference(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(1, 4, (5, 300)).astype(np.uint8)
    guess = rng.integers(1, 4, (5, 300)).astype(np.uint8)
    pairs = print_comparison(
        {
            "networks": np.stack([confusion(each, each, 3) for each in true]),
            "thresholds": np.stack([confusion(*each, 3) for each in zip(true, guess, strict=True)]),
        },
        "title",
    )
    out = capsys.readouterr().out
    assert "| ground glass | networks | 1.000 (1.000 to 1.000) | +0.0 | +0.0 to +0.0 |" in out
    assert "| consolidation | networks - thresholds | +0." in out
    found = pairs["ground glass"]["networks"]
    assert_array_equal(found[0], found[1])
    assert_allclose(found[0], 100 * (true == 2).mean(axis=1))


def test_patches_take_the_sides_of_their_slices(tmp_path: Path) -> None:
    lung = tmp_path / "lung"
    for side, numbers in (("train", (1, 4)), ("test", (7, 91))):
        for kind in ("Imgs", "GT"):
            (lung / "semiseg-slices" / side / kind).mkdir(parents=True)
        for number in numbers:
            Image.new("L", (40, 40)).save(lung / "semiseg-slices" / side / "Imgs" / f"{number}.jpg")
            Image.new("L", (40, 40)).save(lung / "semiseg-slices" / side / "GT" / f"{number}.png")
    (lung / "semiseg-patches32").mkdir()
    rows = [f"normal/semiseg_img{number:02d}_y0x0.png,normal,g{number},test" for number in (1, 4, 7, 91)]
    (lung / "semiseg-patches32" / "manifest.csv").write_text("\n".join(["path,class,group,split", *rows]))
    counts = write_patches(tmp_path, tmp_path / "out.csv")
    assert counts == {("train", "normal"): 2, ("val", "normal"): 1}
    assert "img91" not in (tmp_path / "out.csv").read_text()


@pytest.mark.skipif(REAL is None, reason="RELAY_REAL_DATA is not set to a folder of real images")
def test_no_patient_is_on_both_sides(tmp_path: Path) -> None:
    assert REAL is not None
    assert len(list(slices_of(Path(REAL), "test"))) == 46
    write_patches(Path(REAL), tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="") as file:
        groups: dict[str, set[str]] = {"train": set(), "val": set()}
        for row in csv.DictReader(file):
            groups[row["split"]].add(row["group"])
    assert groups["train"]
    assert groups["val"]
    assert not groups["train"] & groups["val"]
