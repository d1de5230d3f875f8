"""The contact sheet of a packed set."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from datamodules.packing.layout import part_name
from datamodules.pixels.contact_sheet import contact_sheet
from datamodules.pixels.window import HOUNSFIELD_WINDOW, Window, window_to_uint8

_COLUMNS = 8
_MOST_CLASSES = 61


def sheet_of_set(folder: Path, manifest: pd.DataFrame, window: Window | None) -> Image.Image:
    """Up to eight training images of each class, evenly spread over the manifest.

    Args:
        folder: The set's.
        manifest: With the columns class, split, part and place.
        window: Of Hounsfield units; the default lung window for int16 images if None.

    Returns:
        For sets with more than 61 classes, the first 61 by name.
    """
    train = manifest[manifest["split"] == "train"]
    rows = {}
    for name in sorted(train["class"].unique())[:_MOST_CLASSES]:
        of_class = train[train["class"] == name]
        count = len(of_class)
        chosen = np.unique(np.linspace(0, count - 1, min(_COLUMNS, count)).round().astype(int))
        rows[f"{name[:18]} ({count})"] = [
            window_to_uint8(
                np.load(folder / part_name(int(part)), mmap_mode="r")[place], window or HOUNSFIELD_WINDOW
            )
            for part, place in of_class.iloc[chosen][["part", "place"]].itertuples(index=False)
        ]
    return contact_sheet(rows, _COLUMNS)
