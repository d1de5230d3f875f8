"""The size of images and that at which they are trained, as the plan says them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from datamodules.from_config import Listings
from datamodules.native_size import native_size, size_notes
from lightning_modules.resolve import resolve
from stages.config import Config
from stages.plan import Plan
from stages.planner import build_plan
from stages.source import Source
from tests.helpers.stage_helpers import compose_stage, request


def folder(root: Path, width: int, height: int, **more: object) -> Source:
    for name in ("a", "b"):
        for number in range(4):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (width, height), number).save(path)
    return Source(kind="folder", root=str(root), val_fraction=0.25, **more)  # type: ignore[arg-type]


def planned(source: Source, size: int) -> Plan:
    def compose(stage: str, overrides: tuple[str, ...]) -> Config:
        config = compose_stage(stage, overrides)
        assert config.stage is not None
        data = replace(config.data, image_size=size)
        return replace(config, data=data, stage=replace(config.stage, source=source))

    return build_plan([request("dld")], compose, Listings().of, resolve)


@pytest.mark.parametrize(
    ("width", "height", "decode", "size", "said"),
    [
        (224, 224, None, 64, "dld: images of 224 x 224 px, reduced to 64 x 64 px (data.image_size=64); "
         "data.image_size=224 keeps their detail"),
        (300, 280, 224, 64, "dld: images of 224 x 224 px, reduced to 64 x 64 px (data.image_size=64); "
         "data.image_size=224 keeps their detail"),
        (32, 32, None, 64, "dld: images of 32 x 32 px, enlarged to 64 x 64 px (data.image_size=64)"),
        (90, 64, None, 64, "dld: images of 64 x 90 px, squeezed to 64 x 64 px (data.image_size=64)"),
        (64, 64, None, 64, "dld: images of 64 x 64 px"),
    ],
)  # fmt: skip
def test_the_plan_says_the_size(
    tmp_path: Path, width: int, height: int, decode: int | None, size: int, said: str
) -> None:
    source = folder(tmp_path, width, height, decode_size=decode)
    assert size_notes(planned(source, size).runs.values(), Listings().of) == [said]


def test_an_image_that_cannot_be_read_is_left_to_the_decoder(tmp_path: Path) -> None:
    listing = Listings().of(folder(tmp_path, 8, 8))
    (tmp_path / "a" / "0.png").write_bytes(b"no image")
    assert native_size(listing) is None
