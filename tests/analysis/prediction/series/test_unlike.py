"""Each rule on what does not look like the training set: a case that warns, one beside it that does not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.prediction.series.overview import Overview
from analysis.prediction.series.unlike import find_unlike
from analysis.prediction.series.volume import CTVolume
from datamodules.readers.hrct.scans.scan import Scan
from stages.record import Record
from tests.helpers.stage_helpers import recipe, record_content

TRAINED = {"spacing_mm": [0.6, 0.7, 0.8], "thickness_mm": [1.0, 1.0, 1.25], "kernels": {"B70f": 2, "LUNG": 1}}


def overview(*levels: int, **changes: Any) -> Overview:
    """Lungs of these grey levels, one pixel each; air, clipped and dense as the training images."""
    histogram = np.bincount(levels or (51, 153), minlength=256)  # 0.4 +- 0.2, as the record says
    usual = Overview(
        np.array([[60, 40]]), np.array([25]), histogram, 0.25, 0.0, 0.01, 0.0, (slice(0, 4), slice(0, 4)), ()
    )
    return replace(usual, **changes)


def volume(spacing: float | None = 0.7, thickness: float | None = 1.0, *kernels: str) -> CTVolume:
    pixels = None if spacing is None else (spacing, spacing)
    scan = Scan("DICOM", (), (4, 4), pixels, kernels=frozenset(kernels or ("b70F ",)))
    scan = replace(scan, thickness=frozenset(() if thickness is None else (thickness,)))
    return CTVolume(scan, Path(), np.eye(4), (1.0, spacing, spacing), None, None)


def records(count: int = 2, **changes: Any) -> list[Record]:
    """Of networks of one study; changes go into parts of the record, as in `data={"train_groups": 3}`."""
    found = []
    for seed in range(count):
        content = record_content(recipe(seed=seed))
        content["input"]["acquisition"] = TRAINED
        content["data"] |= {"grouped": True, "train_groups": 30}
        for part, values in changes.items():
            content[part] = content[part] | values if isinstance(content[part], dict) else values
        found.append(Record.model_validate(content))
    return found


def test_what_looks_like_the_training_set_has_no_warning() -> None:
    assert find_unlike(overview(), volume(), records()) == []


WARNED = {
    # of 0.4 and 0.2: the mean of 154 is 0.604, of 152 0.596
    "brighter": (overview(154, 154), volume(), records(), "brighter"),
    "darker": (overview(50, 50), volume(), records(), "darker"),
    "contrast": (overview(0, 0, 0, 255, 255), volume(), records(), "more contrast"),
    "air": (overview(air=0.51), volume(), records(), "51.0% of the lungs' pixels are below -900 HU, 25.0%"),
    "dense": (overview(dense=0.011), volume(), records(), "1.1% of the lungs' pixels are above 1000 HU"),
    "clipped": (overview(below=0.05, above=0.07), volume(), records(), "12.0% of the lungs' pixels become"),
    "large pixels": (overview(), volume(0.9), records(), "0.9 mm, the training set's of 0.6 to 0.8 mm"),
    "small pixels": (overview(), volume(0.5), records(), "0.5 mm, the training set's of 0.6 to 0.8 mm"),
    "thick": (overview(), volume(0.7, 5.0), records(), "5 mm thick, the training set's 1 to 1.25 mm"),
    "kernel": (overview(), volume(0.7, 1.0, "B70f", "DOE"), records(), "are B70f (2), LUNG (1)"),
    "uncertain": (overview(uncertain=np.array([26])), volume(), records(), "26% of the lungs are uncertain"),
    "alone": (overview(), volume(), records(1), "One network: no interval"),
    "few": (overview(), volume(), records(data={"train_groups": 9}), "learned from 9 patients"),
    "early": (overview(), volume(), records(plateau={"reached": False}), "2 of 2 networks did not reach"),
    "dull": (overview(), volume(), records(plateau={"learning": False}), "2 of 2 networks never learned"),
}  # fmt: skip
FINE = {
    "bright": (overview(152, 152, 140, 160, 40), volume(), records()),
    "air": (overview(air=0.49), volume(), records()),
    "dense": (overview(dense=0.009), volume(), records()),
    "clipped": (overview(below=0.05, above=0.05), volume(), records()),
    "large pixels": (overview(), volume(0.87), records()),
    "small pixels": (overview(), volume(0.56), records()),
    "thick": (overview(), volume(0.7, 1.5), records()),
    "kernel": (overview(), volume(0.7, 1.0, "lung", "B70F"), records()),
    "few": (overview(), volume(), records(data={"train_groups": 10})),
}


@pytest.mark.parametrize("case", WARNED)
def test_a_rule_warns_with_its_numbers(case: str) -> None:
    looked, series, of, expected = WARNED[case]
    found = [f"{caveat.title}. {caveat.text}" for caveat in find_unlike(looked, series, of)]
    assert any(expected in text for text in found) and "DOE" not in "".join(found)


@pytest.mark.parametrize("case", FINE)
def test_what_is_just_beside_a_rule_does_not_warn(case: str) -> None:
    assert find_unlike(*FINE[case]) == []


@pytest.mark.parametrize(("spacing", "serious"), [(0.9, False), (1.3, True)])
def test_pixels_of_another_size_are_a_note_and_far_off_a_warning(spacing: float, serious: bool) -> None:
    assert [caveat.serious for caveat in find_unlike(overview(), volume(spacing), records())] == [serious]


def test_what_is_not_known_is_said_once_and_on_which_side() -> None:
    (caveat,) = find_unlike(overview(), volume(None, None), records(input={"acquisition": None}))
    assert not caveat.serious and list(caveat.items) == [
        "pixel spacing (known neither of the series nor of the training set)",
        "slice thickness (known neither of the series nor of the training set)",
        "reconstruction kernel (not known of the training set)",
    ]


def test_older_records_and_grey_levels_of_eight_bits_leave_rules_out() -> None:
    older = [record.model_copy(update={"input": None}) for record in records(data={"values": None})]
    eight_bit = overview(255, air=None, dense=None, below=None, above=None)
    assert [caveat.title for caveat in find_unlike(eight_bit, volume(), older)] == [
        "Not everything could be compared with the training set"
    ]
