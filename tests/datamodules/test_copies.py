"""Copies in folders and manifests that are trained on directly."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.copies import across_sides, equal_pixels
from datamodules.from_config import load_sources
from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.splits import Division
from datamodules.stage_run import load_run
from datamodules.survey import Listings
from lightning_modules.resolve import resolve
from stages.config import Config
from stages.plan import Plan
from stages.planner import build_plan
from stages.source import Source
from tests.helpers.fake_images import class_folders, split_folders
from tests.helpers.stage_helpers import compose_stage, request, with_value


def planned(source: Source, folds: int | None = None) -> Plan:
    def compose(stage: str, overrides: tuple[str, ...]) -> Config:
        config = compose_stage(stage, overrides)
        return with_value(config, "data.domains", {**config.data.domains, "dld": source})  # type: ignore[no-any-return]

    asked = [replace(request("dld"), folds=folds, fold=None if folds is None else 0)]
    return build_plan(asked, compose, Listings().of, resolve)


def crossing(source: Source, division: Division = Division()) -> int:  # noqa: B008 - frozen
    (run,) = planned(source, division.folds).runs.values()
    domain = load_run(list_source(source), run.config, division)
    said = [note for note in domain.notes if "on several sides of the split (equal images)" in note]
    assert len(said) == (domain.crossing_pictures > 0)
    return domain.crossing_pictures


def test_equal_pixels() -> None:
    images = np.zeros((5, 2, 2), np.uint8)
    images[1, 0, 0] = images[4, 0, 0] = 7
    images[2, 1, 1] = 1
    assert equal_pixels("abcde", list(images)) == (("a", "d"), ("b", "e"))
    assert equal_pixels("abc", [image[:, ::2] for image in images[:3]]) == (("a", "c"),)
    copies = (("a", "d"), ("b", "e"))
    assert across_sides(
        copies, dict(zip("abcde", ("train", "val", "val", "train", "test"), strict=True))
    ) == (("b", "e"),)


@pytest.mark.parametrize("resaved", [False, True])
def test_an_evaluation_side_that_copies_the_training_side(tmp_path: Path, resaved: bool) -> None:
    split_folders(tmp_path, train=3, val=1)
    shutil.rmtree(tmp_path / "val")
    shutil.copytree(tmp_path / "train", tmp_path / "val")
    if resaved:
        for file in (tmp_path / "val").rglob("*.png"):
            Image.open(file).save(file.with_suffix(".bmp"))
            file.unlink()
    source = Source(kind="folder", root=str(tmp_path))
    assert crossing(source) == 6
    _, note = load_sources(planned(source).runs.values(), Listings())  # behind the values
    assert note.startswith(f"{tmp_path}: 6 pictures on several sides of the split (equal images), such as ")
    assert "train/brick/000.png and val/brick/000." in note


def test_sets_without_copies_say_nothing_and_streams_are_looked_at_too(tmp_path: Path) -> None:
    source = Source(kind="folder", root=str(split_folders(tmp_path)))
    assert crossing(source) == 0
    (values,) = load_sources(planned(source).runs.values(), Listings())
    assert values.startswith(f"{tmp_path}: values: 0 to 255, 100% of the range from 0 to 255 used")
    shutil.copy(tmp_path / "train" / "brick" / "000.png", tmp_path / "val" / "cotton" / "copy.png")
    streamed = load(list_source(source), tmp_path / "cache", memory_limit_bytes=0)
    assert not streamed.in_memory
    assert streamed.copies == (("train/brick/000.png", "val/cotton/copy.png"),)
    assert load(list_source(source), tmp_path / "cache", memory_limit_bytes=0).copies == streamed.copies


def test_copies_under_two_classes_and_copies_that_folds_separate(tmp_path: Path) -> None:
    class_folders(tmp_path, images=4)
    shutil.copy(tmp_path / "brick" / "000.png", tmp_path / "cotton" / "copy.png")
    shutil.copy(tmp_path / "brick" / "001.png", tmp_path / "brick" / "copy.png")
    source = Source(kind="folder", root=str(tmp_path))
    notes = load_sources(planned(source, folds=2).runs.values(), Listings())
    assert any(
        "1 picture under several classes (equal images), such as brick and cotton" in note for note in notes
    )
    rows = {
        path: path for path in ("brick/002.png", "brick/003.png", *(f"cotton/{n:03d}.png" for n in range(4)))
    }
    rows |= dict.fromkeys(("brick/000.png", "cotton/copy.png"), "p0")
    rows |= dict.fromkeys(("brick/001.png", "brick/copy.png"), "p1")
    (tmp_path / "groups.csv").write_text("path,group\n" + "\n".join(map(",".join, rows.items())))
    grouped = Source(kind="folder", root=str(tmp_path), groups="groups.csv")
    assert crossing(grouped, Division(folds=2, fold=0)) == 0, "copies of one group stay together"
