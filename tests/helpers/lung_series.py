"""Two patients whose patterns have known means, as hospitals' DICOM files: NOR about -620 HU, GGO about -360.

The left half of each slice is normal lung, the right half ground glass; a quarter of the pixels are vessels.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from datamodules.readers.hrct.reader import HrctOptions, survey
from tests.helpers.fake_hrct import write_series
from tests.helpers.fake_units import read_all

LABELS = {1: "NOR", 2: "GGO"}
TRUE = {"NOR": -625, "GGO": -362}  # 0.75 * -850 + 0.25 * 50, and of -500
Volume = npt.NDArray[np.int16]
Change = Callable[[Dataset, int], object]


def lungs(slices: int = 4, seed: int = 0) -> Volume:
    """Hounsfield units, int16 (slices, 64, 64)."""
    rng = np.random.default_rng(seed)
    lung = rng.normal(-850, 30, (slices, 64, 64))
    lung[:, :, 32:] = rng.normal(-500, 60, (slices, 64, 32))
    vessels = rng.random(lung.shape) < 0.25
    lung[vessels] = rng.uniform(20, 80, int(vessels.sum()))
    return np.rint(lung).astype(np.int16)


def write_patient(
    folder: Path, number: int, change: Change | None = None, regions: bool = True, **how: Any
) -> list[Path]:
    """Write `s01.dcm` to `s04.dcm`, 2 mm apart, with masks of their names; change each data set before."""
    how = {
        "intercept": 0,
        "signed": True,
        "step": 2.0,
        "series": f"1.2.{number}",
        "patient": f"P{number}",
    } | how
    places = write_series(folder, lungs(how.pop("slices", 4), number), **how)
    named = []
    for index, place in enumerate(places, start=1):
        named.append(place.rename(folder / f"s{index:02d}.dcm"))
        if change is not None:
            data = dcmread(named[-1])
            change(data, index - 1)
            data.save_as(named[-1])
        if regions:
            write_mask(folder / "masks" / f"s{index:02d}.png")
    return named


def write_mask(location: Path) -> None:
    """Left half 1, right half 2."""
    location.parent.mkdir(exist_ok=True)
    values = np.ones((64, 64), np.uint8)
    values[:, 32:] = 2
    Image.fromarray(values).save(location)


def write_patients(source: Path, change: Change | None = None, **how: Any) -> None:
    """Two of them, P1 and P2."""
    for number in (1, 2):
        write_patient(source / f"P{number}", number, change, **how)


def read_means(source: Path, **options: Any) -> tuple[dict[str, float], tuple[str, ...], set[str]]:
    """The mean of each class's patches, the survey's notes, and the groups."""
    found = survey(source, HrctOptions(**{"labels": LABELS} | options), "raise")
    samples, _ = read_all(found)
    means = {
        name: float(np.mean([sample.image.mean() for sample in samples if sample.label == name]))
        for name in found.classes
    }
    return means, found.notes, {sample.group for sample in samples}


def pixels(data: Dataset, values: npt.NDArray[Any], **tags: Any) -> None:
    """Replace a data set's stored values, and set tags."""
    data.PixelData = values.tobytes()
    for tag, value in tags.items():
        setattr(data, tag, value)
