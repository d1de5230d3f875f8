"""How a set's scans were taken stands in its description."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datamodules.packing.finish import SplitRule
from datamodules.packing.pack import pack
from datamodules.readers.hrct.reader import survey
from stages.record import AcquisitionRecord
from tests.helpers.fake_hrct import hounsfield, rectangle, write_contours, write_series
from tests.helpers.hrct_sets import PAIRS, SMALL, pairs


def scans(source: Path) -> None:
    """Four patients; the third names something that is no kernel, the last nothing."""
    taken: list[dict[str, Any]] = [
        {"PixelSpacing": [0.6, 0.6], "SliceThickness": 1, "ConvolutionKernel": "B70f"},
        {"PixelSpacing": [0.65, 0.65], "SliceThickness": 1.25, "ConvolutionKernel": ["I70f", "3"]},
        {"PixelSpacing": [0.7, 0.7], "SliceThickness": 5, "ConvolutionKernel": "JANE DOE*1951"},
        {"PixelSpacing": [0.66, 0.68]},
    ]
    for number, tags in enumerate(taken):
        folder = source / f"PAT{number}" / "CT"
        volume = hounsfield(4, seed=number)
        write_series(
            folder,
            volume,
            series=f"1.2.{number}",
            patient=f"P-{number}",
            changes=dict.fromkeys(range(4), tags),
        )
        regions = [
            (name, number, rectangle(0, 0, 34, 34)) for name, number in (("ground_glass", 2), ("healthy", 3))
        ]
        write_contours(folder / "regions.txt", regions, header=False)


def test_over_series(tmp_path: Path) -> None:
    scans(tmp_path)
    found = survey(tmp_path, SMALL, "raise").acquisition
    assert found is not None
    assert found.spacing_mm == pytest.approx([0.6, 0.66, 0.7])
    assert found.thickness_mm == [1.0, 1.25, 5.0]
    assert found.kernels == {"B70f": 1, "['I70f', '3']": 1, "another one": 1}


def test_it_stands_in_the_description(tmp_path: Path) -> None:
    scans(tmp_path / "source")
    found = survey(tmp_path / "source", SMALL, "raise")
    pack(found, tmp_path / "set", SplitRule(duplicates=False), on_error="raise", workers=1)
    kept = json.loads((tmp_path / "set" / "set.json").read_text())["acquisition"]
    assert found.acquisition is not None and kept == found.acquisition.model_dump()


@pytest.mark.parametrize("millimetres", [None, 0.8])
def test_files_that_say_nothing(tmp_path: Path, millimetres: float | None) -> None:
    """Resampled patches all have the spacing that was asked for."""
    pairs(tmp_path)
    options = replace(PAIRS, mm_per_pixel=millimetres, spacing=millimetres and (0.5, 0.5))
    spacing = millimetres and [millimetres] * 3
    assert survey(tmp_path, options, "skip").acquisition == AcquisitionRecord(
        spacing_mm=spacing, thickness_mm=None, kernels={}
    )
