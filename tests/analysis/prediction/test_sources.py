"""What a source is taken for, by its names and headers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from analysis.prediction.sources import recognise
from stages.errors import RelayError
from tests.helpers.fake_images import write_image


def networks(
    shape: tuple[int, int] = (32, 32), *, color: bool = False, decode_size: int | None = None
) -> Any:
    return SimpleNamespace(shape=shape, input=SimpleNamespace(color=color, decode_size=decode_size))


def deep(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size), 3000, np.uint16)).save(path)


def test_files_and_folders(tmp_path: Path) -> None:
    for name, size in (("slices", 64), ("patches", 32)):
        for number in range(2):
            deep(tmp_path / name / f"{number}.png", size)
    write_image(tmp_path / "grey" / "class" / "1.png", 0, (64, 64))
    nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_filename(tmp_path / "grey" / "ct.nii.gz")
    (tmp_path / "list.csv").write_text("path\n")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "set.json").write_text("{}")

    def form(name: str, kind: Any = "auto", ensemble: Any = None) -> str:
        return recognise(str(tmp_path / name), kind, ensemble or networks()).form

    assert form("slices") == "series"
    assert form("slices", "pictures") == "folder"
    assert form("slices", ensemble=networks(decode_size=32)) == "folder", (
        "the networks cut pictures themselves"
    )
    assert form("slices", ensemble=networks((64, 64))) == "folder"
    assert form("patches") == "folder"
    assert form("patches", "series") == "series"
    assert form("grey") == "series", "it holds a volume"
    assert form("grey/class") == "folder"
    assert form("grey/class/1.png") == "picture"
    assert form("grey/ct.nii.gz") == "series"
    assert form("list.csv") == "manifest"
    assert form("set") == "packed"
    with pytest.raises(RelayError, match="not a series"):
        form("set", "series")
