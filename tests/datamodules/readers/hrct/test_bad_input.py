"""What is wrong in an HRCT set is named, or left out and listed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from datamodules.readers.hrct.reader import HrctOptions, survey
from stages.errors import RelayError
from tests.helpers.fake_hrct import IDENTIFIERS, PATIENT_ID, rectangle, write_contours, write_series
from tests.helpers.fake_units import read_all
from tests.helpers.hrct_sets import PAIRS, SMALL, VOLUME, med_gift, pairs

Break = Callable[[Path], object]


def _contour(label: str = "healthy", number: int = 1, points: Any = None) -> Break:
    def write(folder: Path) -> None:
        write_contours(folder / "DOE_JANE.txt", [
            ("healthy", 2, rectangle(0, 0, 16, 16)), (label, number, points or rectangle(0, 0, 16, 16)),
        ])  # fmt: skip

    return write


def _first(folder: Path) -> Path:
    return sorted(folder.glob("*.dcm"))[1]


def _cut_slice_2(folder: Path) -> None:
    place = folder / "CT-DOE-0008.dcm"
    place.write_bytes(place.read_bytes()[:-900])


def _add_mask(folder: Path) -> None:
    (folder / "masks").mkdir()
    Image.new("L", (40, 48)).save(folder / "masks" / f"{_first(folder).stem}.png")


# What breaks a good patient, beside a second one that stays good; the message; whether the survey finds it;
# and how many patches of the broken patient are left when it is skipped.
BAD: dict[str, tuple[Break, str, bool, int]] = {
    "a missing slice": (
        lambda f: _first(f).unlink(),
        "series 1 of folder 1: slices are missing",
        True,
        0,
    ),
    "a slice twice": (
        lambda f: write_series(f, VOLUME[:1], first_name=50),
        "are where another one is",
        True,
        0,
    ),
    "a text file named .dcm": (
        lambda f: (f / "x.dcm").write_text("DOE"),
        "file 7 of folder 1: .*not a DICOM file",
        True,
        6,
    ),
    "an empty file": (lambda f: (f / "x.dcm").touch(), "file 7 of folder 1: .*not a DICOM file", True, 6),
    "missing rescale tags": (
        lambda f: write_series(f, VOLUME, changes={2: {"RescaleSlope": None}}),
        "1 of its 6 files cannot be used, the first since it has no rescale slope",
        True,
        0,
    ),
    "a rescale slope of 0": (
        lambda f: write_series(f, VOLUME, changes={2: {"RescaleSlope": 0}}),
        "the first since its rescale slope is 0",
        True,
        0,
    ),
    "a header that names more pixels than any slice has": (
        lambda f: write_series(
            f, VOLUME, changes={place: {"Rows": 65535, "Columns": 65535} for place in range(6)}
        ),
        "it says that it has 65535 x 65535 pixels, more than any slice",
        True,
        0,
    ),
    "truncated pixels": (
        _cut_slice_2,
        "slice 2 of series 1 of folder 1: .*end early",
        False,
        4,
    ),
    "several patients": (
        lambda f: write_series(f, VOLUME, changes={2: {"PatientID": "MRN448812B"}}),
        "its files name several patients",
        True,
        0,
    ),
    "image numbers that tell no order": (
        lambda f: write_series(f, VOLUME, changes={2: {"InstanceNumber": 9}}),
        "set slice_order",
        True,
        0,
    ),
    "an unknown label": (
        _contour("Jane Doe"),
        "region 2 of series 1 of folder 1: .*label is not in class_map",
        True,
        1,
    ),
    "a contour of 2 points": (
        _contour(points=[(1, 1), (5, 5)]),
        "region 2 of .* 2 different points",
        True,
        1,
    ),
    "a contour outside the image": (
        _contour(points=rectangle(40, 0, 20, 10)),
        "region 2 .* leaves the image",
        True,
        1,
    ),
    "a contour on a slice that is not there": (
        _contour(number=7),
        "drawn on slice 7, the series has slices 1 to 6",
        True,
        1,
    ),
    "an empty region file": (
        lambda f: (f / "DOE_JANE.txt").write_text(""),
        "contour file 1 of folder 1: .*it is empty",
        True,
        0,
    ),
    "two region files": (
        lambda f: write_contours(f / "b.txt", [("healthy", 1, rectangle(0, 0, 9, 9))]),
        "regions are given 2 times",
        True,
        0,
    ),
    "a patient without class": (
        lambda f: (f / "DOE_JANE.txt").unlink(),
        "its patient has no region, and so no class",
        True,
        0,
    ),
    "a broken link": (
        lambda f: (f / "x.dcm").symlink_to("gone"),
        "source: it holds a file that cannot",
        True,
        6,
    ),
    "a cyclic link": (
        lambda f: (f / "loop").symlink_to(f),
        "a link to a folder that contains it, 1 in all",
        True,
        6,
    ),
    "DICOM and images": (
        lambda f: Image.new("L", (9, 9)).save(f / "x.png"),
        "both DICOM files and image slices",
        True,
        0,
    ),
    "outlines and masks": (_add_mask, "given 2 times", True, 0),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_named_or_left_out_and_listed(tmp_path: Path, case: str) -> None:
    breaking, message, at_survey, left = BAD[case]
    breaking(med_gift(tmp_path))
    write_series(tmp_path / "whole", VOLUME, patient="OTHER")
    write_contours(tmp_path / "whole" / "r.txt", [("healthy", 1, rectangle(0, 0, 16, 16))])
    options = replace(SMALL, labels={1: "GGO"})
    with pytest.raises(RelayError, match=message) as caught:
        read_all(survey(tmp_path, options, "raise"))
    assert "set on_error=skip" in str(caught.value)
    found = survey(tmp_path, options, "skip")
    assert len(found.problems) == at_survey
    samples, problems = read_all(found, "skip")
    assert Counter(sample.group for sample in samples) == Counter({"OTHER": 1, PATIENT_ID: left})
    said = str(caught.value) + repr(problems) + repr(found.notes)
    assert not any(word.lower() in said.lower() for word in IDENTIFIERS)


BAD_PAIRS: dict[str, tuple[Break, str, bool, int]] = {
    "a mask of another size": (
        lambda f: Image.new("L", (30, 30)).save(f / "GT/2.png"),
        "slice 2 of folder 1: .*mask has 30 x 30 pixels",
        False,
        1,
    ),
    "an unknown value": (
        lambda f: Image.new("L", (48, 40), 5).save(f / "GT/3.png"),
        r"slice 3 of folder 1: .*1 values that labels does not have \(5\)",
        False,
        2,
    ),
    "a slice without mask": (
        lambda f: (f / "GT/2.png").unlink(),
        "slice 2 of folder 1: .*no mask of its name",
        True,
        1,
    ),
    "a mask without slice": (
        lambda f: (f / "Imgs/2.png").unlink(),
        "mask 2 of folder 1: .*no slice of its name",
        True,
        1,
    ),
    "a text file named .png": (
        lambda f: (f / "Imgs/2.png").write_text("DOE"),
        "slice 2 of folder 1: .*not a JPEG, PNG, TIFF or BMP image",
        True,
        1,
    ),
    "a palette image": (
        lambda f: Image.new("RGB", (48, 40), (9, 200, 9)).convert("P").save(f / "Imgs/2.png"),
        "slice 2 .* mode P",
        True,
        1,
    ),
    "a CMYK image": (
        lambda f: Image.new("CMYK", (48, 40)).save(f / "Imgs/2.png", format="JPEG"),
        "slice 2 .* mode CMYK",
        True,
        1,
    ),
    "a truncated image": (
        lambda f: (f / "Imgs/2.png").write_bytes((f / "Imgs/2.png").read_bytes()[:100]),
        "slice 2 of folder 1: its pixels cannot be decoded",
        False,
        1,
    ),
}


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_pairs_that_cannot_be_used_are_named_or_left_out_and_listed(tmp_path: Path, case: str) -> None:
    breaking, message, at_survey, left = BAD_PAIRS[case]
    breaking(pairs(tmp_path))
    with pytest.raises(RelayError, match=message):
        read_all(survey(tmp_path, PAIRS, "raise"))
    found = survey(tmp_path, PAIRS, "skip")
    assert len(found.problems) == at_survey
    samples, problems = read_all(found, "skip")
    assert len(samples) == left
    assert "DOE" not in repr(problems)


def _mixed(source: Path) -> None:
    med_gift(source)
    (source / "b" / "Imgs").mkdir(parents=True)
    (source / "b" / "GT").mkdir()
    for folder in ("Imgs", "GT"):
        Image.new("L", (48, 40), 1).save(source / "b" / folder / "1.png")


WRONG: dict[str, tuple[Break, HrctOptions, str]] = {
    "no folder": (lambda source: None, SMALL, "source is not a folder that exists"),
    "no slices": (lambda source: source.mkdir(), SMALL, "source has no slices"),
    "masks without labels": (pairs, SMALL, "set labels to what their values mean"),
    "8-bit beside Hounsfield units": (_mixed, PAIRS, "1 series of 8-bit slices, .* beside 1 with them"),
    "resampling without spacing": (
        pairs,
        replace(PAIRS, mm_per_pixel=0.6),
        "no pixel spacing, which resampling needs",
    ),
    "one side of a split": (
        lambda source: pairs(source, "train"),
        PAIRS,
        "source has the folders train; a split",
    ),
    "a file of groups that is not there": (
        pairs,
        replace(PAIRS, groups=Path("gone.csv")),
        "the file that groups names cannot be read: No such file",
    ),
    "only labels that are left out": (
        med_gift,
        replace(SMALL, class_map={"healthy": None, "ground_glass": None, "fibrosis": None, "x": "X"}),
        "no region of a class on any of them",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_source_that_cannot_be_followed_is_an_error(tmp_path: Path, case: str) -> None:
    write, options, message = WRONG[case]
    source = tmp_path / "DOE"
    write(source)
    with pytest.raises(RelayError, match=message) as caught:
        survey(source, options, "raise")
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"window": (400, -1000)}, r"window is \[400, -1000\]"),
        ({"labels": {1: "GG0"}}, "labels gives 1 the class 'GG0'"),
        ({"labels": {0: "GGO"}}, "labels has the value 0"),
        ({"slice_order": "up"}, "slice_order is 'up'"),
        ({"labels": {"1:GGO": ""}}, "labels gives 1:GGO no class; write a blank behind each colon"),
        ({"mm_per_pixel": 0.0}, "mm_per_pixel is 0.0"),
    ],
)
def test_an_option_that_cannot_be_followed_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        replace(PAIRS, **changes)
