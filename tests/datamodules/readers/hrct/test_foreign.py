"""JSON files of annotation programs are told apart by what stands in them."""

import json
from pathlib import Path

import pytest

from datamodules.readers.hrct.sources.foreign import foreign_kinds
from datamodules.readers.hrct.sources.source_file import SourceFile

LONG = [{"id": number, "segmentation": [[1.5, 2.5, 3.5, 4.5]]} for number in range(4000)]  # over 128 KiB


@pytest.mark.parametrize(
    ("content", "begins", "cure"),
    [
        ({"version": "5.0", "shapes": [], "imagePath": "s01.png"}, "LabelMe:", "labelme_export_json"),
        ({"images": LONG, "annotations": LONG, "categories": [{"id": 1}]}, "COCO:", "annToMask"),
        ({"info": {}, "annotations": []}, "COCO:", "annToMask"),
        ({"type": "FeatureCollection", "features": []}, "QuPath,", "LabeledImageServer"),
        ({"slices": 3}, "JSON:", "label masks"),
    ],
)
def test_each_has_its_own_advice(tmp_path: Path, content: object, begins: str, cure: str) -> None:
    place = tmp_path / "a.json"
    place.write_text(json.dumps(content))
    file = SourceFile("P1/a.json", str(place), place.stat().st_size, 0)
    ((kind, count),) = foreign_kinds([file]).items()
    assert count == 1 and kind.startswith(begins) and cure in kind
