"""Images that are replaced by others of the same names and sizes are not the same data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.runs import find_studies, load_runs
from tests.helpers.fake_images import split_folders
from tests.helpers.relay import TINY, run

pytestmark = pytest.mark.slow


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Images whose files' sizes do not depend on their pixels."""
    root = split_folders(tmp_path / "own", train=8, val=4)
    for file in root.rglob("*.png"):
        Image.open(file).resize((32, 32)).save(file.with_suffix(".bmp"))
        file.unlink()
    return root


def replace_one(root: Path) -> bytes:
    file = root / "train" / "brick" / "000.bmp"
    before = file.read_bytes()
    Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    return before


TINY_ELSE = tuple(each for each in TINY if not each.startswith("data.domains.dld"))


def typed(root: Path, seed: int = 0) -> tuple[str, ...]:
    generator = ("generator", "classes", "train_images", "val_images", "size", "seed")
    own = {"kind": "folder", "+root": root} | dict.fromkeys(generator, "null")
    source = (f"{'+' * key.startswith('+')}data.domains.dld.{key.strip('+')}={own[key]}" for key in own)
    return ("process=scratch", "-m", *source, f"seed={seed}")


def test_replaced_between_runs(own: Path, tmp_path: Path) -> None:
    places = {"runs_dir": tmp_path / "runs", "cache_dir": tmp_path / "cache"}

    def train(seed: int) -> str:
        done = run(*typed(own, seed), **places, tiny=TINY_ELSE)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "were replaced" not in train(0) + train(0)
    replace_one(own)
    for seed in (0, 1):
        assert "the images of dld were replaced by others of the same names" in train(seed)
    runs = load_runs(places["runs_dir"])
    assert len(runs) == 2 and runs["data_digest"].nunique() == 1 and runs["content"].nunique() == 2
    assert [len(study.runs) for study in find_studies(runs)] == [1, 1]
