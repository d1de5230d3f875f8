"""Small HRCT sets that the reader's tests share, and how they are read through."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datamodules.readers.hrct.reader import HrctOptions
from tests.helpers.fake_hrct import FOLDER, hounsfield, rectangle, write_contours, write_pairs, write_series

SMALL = HrctOptions(size=16, stride=8)
PAIRS = replace(SMALL, labels={1: "GGO", 2: "CON"})
VOLUME = hounsfield(6)


def med_gift(source: Path, **changes: Any) -> Path:
    """One patient with two regions that hold patches, and one that class_map leaves out."""
    folder = source / FOLDER / "CT_4711"
    write_series(folder, VOLUME, **changes)
    write_contours(
        folder / "DOE_JANE.txt",
        [
            ("ground_glass", 2, rectangle(8, 8, 24, 16)),
            ("healthy", 5, rectangle(0, 0, 16, 40)),
            ("fibrosis", 3, rectangle(0, 0, 30, 30)),
        ],
    )
    return folder


def pairs(source: Path, side: str = "", count: int = 11) -> Path:
    masks = [np.zeros((40, 48), np.uint8) for _ in range(count)]
    images = [
        Image.fromarray((np.arange(1920) % 251 + index).astype(np.uint8).reshape(40, 48))
        for index in range(count)
    ]
    masks[9][8:24, 8:24] = 2
    masks[1][0:18, 0:18] = 1
    write_pairs(source / side, images, masks)
    return source / side
