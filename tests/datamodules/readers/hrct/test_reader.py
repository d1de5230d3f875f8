"""HRCT sets as providers ship them become patches with classes, patients and places."""

import csv
import json
import logging
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import RLELossless

from datamodules.faults import Faults, Problem
from datamodules.packing.units import Sample
from datamodules.readers.hrct.reader import HrctOptions, survey
from datamodules.readers.hrct.sources.folders import find_slice_folders
from stages.errors import RelayError
from tests.helpers.fake_hrct import (
    FOLDER,
    IDENTIFIERS,
    PATIENT_ID,
    SPACING,
    hounsfield,
    rectangle,
    write_contours,
    write_series,
    write_tiff,
)
from tests.helpers.fake_units import read_all
from tests.helpers.hrct_sets import PAIRS, SMALL, VOLUME, med_gift, pairs
from tests.helpers.ordinary_user import ordinary_user


def places(samples: list[Sample]) -> list[tuple[object, ...]]:
    return [(sample.label, *sample.columns.values()) for sample in samples]


def test_a_medgift_patient_becomes_patches_with_class_slice_region_place_and_share(tmp_path: Path) -> None:
    med_gift(tmp_path, syntax=RLELossless)
    found = survey(tmp_path, SMALL, "raise")
    samples, problems = read_all(found)
    assert found.domain == "dld" and found.classes == ("GGO", "NOR")
    assert places(samples) == [
        ("GGO", 2, 1, 8, 8, 1.0), ("GGO", 2, 1, 16, 8, 1.0),
        ("NOR", 5, 2, 0, 0, 1.0), ("NOR", 5, 2, 0, 8, 1.0),
        ("NOR", 5, 2, 0, 16, 1.0), ("NOR", 5, 2, 0, 24, 1.0),
    ]  # fmt: skip
    assert list(samples[0].columns) == ["slice", "roi", "row", "column", "share"]
    assert samples[0].image.dtype == np.int16
    assert np.array_equal(samples[0].image, VOLUME[1, 8:24, 8:24])
    assert np.array_equal(samples[5].image, VOLUME[4, 0:16, 24:40])
    assert {sample.group for sample in samples} == {PATIENT_ID}
    assert samples[0].name == "{group}/series-00001/0002-0008-0008" and samples[0].split is None
    assert len({sample.name for sample in samples}) == len(samples)
    assert found.notes == ("Regions that class_map leaves out: fibrosis (1).",)
    assert problems == []


def test_the_settings_hold_the_window_and_are_json(tmp_path: Path) -> None:
    med_gift(tmp_path)
    settings = survey(tmp_path, SMALL, "raise").settings
    assert settings["window"] == [-1000.0, 400.0] and settings["size"] == 16
    assert json.loads(json.dumps(settings)) == settings


def test_slice_1_is_where_the_image_numbers_start_unless_asked_otherwise(tmp_path: Path) -> None:
    for falling in (True, False):
        med_gift(tmp_path / str(falling), falling=falling)
        (first, *_), _ = read_all(survey(tmp_path / str(falling), SMALL, "raise"))
        assert np.array_equal(first.image, VOLUME[1, 8:24, 8:24])
    descending = replace(SMALL, slice_order="descending")
    (first, *_), _ = read_all(survey(tmp_path / "False", descending, "raise"))
    assert np.array_equal(first.image, VOLUME[4, 8:24, 8:24])


def test_a_folder_of_two_series_becomes_two_units_and_contours_go_to_the_series_they_name(
    tmp_path: Path,
) -> None:
    folder = med_gift(tmp_path)
    other = hounsfield(4, seed=9)
    write_series(folder, other, series="1.2.3.99", first_name=60)
    write_contours(folder / "second.txt", [("emphysema", 4, rectangle(0, 0, 16, 16))], series="1.2.3.99")
    found = survey(tmp_path, SMALL, "raise")
    samples, _ = read_all(found)
    assert len(found.units) == 2 and found.classes == ("EMP", "GGO", "NOR")
    emphysema = [sample for sample in samples if sample.label == "EMP"]
    assert len(emphysema) == 1 and np.array_equal(emphysema[0].image, other[3, :16, :16])
    assert {sample.group for sample in samples} == {PATIENT_ID}


def test_series_without_regions_are_noted_where_their_patient_has_some_elsewhere(tmp_path: Path) -> None:
    med_gift(tmp_path)
    write_series(tmp_path / "b" / "1", VOLUME, patient="B")
    write_contours(tmp_path / "b" / "1" / "r.txt", [("fibrosis", 1, rectangle(0, 0, 16, 16))])
    write_series(tmp_path / "b" / "2", VOLUME, patient="B", series="1.2.3.99")
    found = survey(tmp_path, SMALL, "raise")
    assert len(found.units) == 1
    assert found.problems == (
        Problem("series 1 of folder 2", "all its regions have labels that class_map leaves out"),
    )
    assert any(note.startswith("1 series without regions are left out") for note in found.notes)


def test_contours_of_a_series_that_cannot_be_used_are_not_drawn_on_the_other_one(tmp_path: Path) -> None:
    folder = med_gift(tmp_path, changes={2: {"RescaleSlope": None}})
    write_series(folder, VOLUME, series="1.2.3.99", first_name=60)
    write_contours(folder / "second.txt", [("emphysema", 4, rectangle(0, 0, 16, 16))], series="1.2.3.99")
    samples, problems = read_all(survey(tmp_path, SMALL, "skip"), "skip")
    assert [sample.label for sample in samples] == ["EMP"]
    assert Problem("contour file 1 of folder 1", "its series cannot be used") in problems
    write_contours(folder / "DOE_JANE.txt", [("healthy", 2, rectangle(0, 0, 16, 16))], series="1.2.3.4")
    _, problems = read_all(survey(tmp_path, SMALL, "skip"), "skip")
    assert any("does not name one of the 2 series" in problem.why for problem in problems)


def test_patients_are_told_apart_by_tag_by_folder_or_by_a_file(tmp_path: Path) -> None:
    for folder, patient in (("a", "P1"), ("b", "P1"), ("c", "")):
        write_series(tmp_path / folder / "x", VOLUME, patient=patient)
        write_contours(tmp_path / folder / "x" / "r.txt", [("healthy", 1, rectangle(0, 0, 16, 16))])

    def groups(options: HrctOptions) -> list[str]:
        return [sample.group for sample in read_all(survey(tmp_path, options, "raise"))[0]]

    assert groups(SMALL) == ["P1", "P1", "c"]
    assert groups(replace(SMALL, patient="folder")) == ["a", "b", "c"]
    (tmp_path / "who.csv").write_text("path,group\nb/x,c\n", encoding="utf-8")
    assert groups(replace(SMALL, groups=tmp_path / "who.csv")) == ["P1", "c", "c"]


def test_one_patient_in_all_folders_is_noted(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        med_gift(tmp_path / folder, patient="ANON")
    assert any("set patient=folder" in note for note in survey(tmp_path, SMALL, "raise").notes)


def test_boxes_and_masks_give_the_patches_that_contours_give(tmp_path: Path) -> None:
    med_gift(tmp_path / "contours")
    write_series(tmp_path / "boxes" / "P", VOLUME)
    (tmp_path / "boxes" / "P" / "r.csv").write_text(
        "slice,top,left,height,width,label\n2,8,8,24,16,ground glass\n5,0,0,16,40,healthy\n", encoding="utf-8"
    )
    files = write_series(tmp_path / "masks" / "P", VOLUME)
    (tmp_path / "masks" / "P" / "masks").mkdir()
    for index, value, window in ((1, 1, np.s_[8:32, 8:24]), (4, 7, np.s_[0:16, 0:40])):
        mask = np.zeros(VOLUME.shape[1:], np.uint8)
        mask[window] = value
        Image.fromarray(mask).save(tmp_path / "masks" / "P" / "masks" / f"{files[index].stem}.png")
    labelled = replace(SMALL, labels={1: "ground_glass", 7: "NOR"})
    expected, _ = read_all(survey(tmp_path / "contours", SMALL, "raise"))
    for kind in ("boxes", "masks"):
        found, _ = read_all(survey(tmp_path / kind, labelled, "raise"))
        assert [sample.name for sample in found] == [sample.name for sample in expected]
        assert [sample.label for sample in found] == [sample.label for sample in expected]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(found, expected, strict=True))
        assert [sample.columns["share"] for sample in found] == [1.0] * 6


def test_patches_are_cut_after_resampling(tmp_path: Path) -> None:
    med_gift(tmp_path)
    options = replace(SMALL, size=8, stride=8, mm_per_pixel=1.2)
    samples, _ = read_all(survey(tmp_path, options, "raise"))
    # 48 x 40 pixels of 0.7 x 0.6 mm are 28 x 20 of 1.2 mm; region 1 is rows 4.67 to 18.67 and columns 4
    # to 12, which hold no window whole enough, region 2 is rows 0 to 9.33.
    assert places(samples) == [
        ("NOR", 5, 2, 0, 0, 1.0), ("NOR", 5, 2, 0, 8, 1.0),
    ]  # fmt: skip
    plane = Image.fromarray(VOLUME[4].astype(np.float32))
    resized = plane.resize((20, 28), Image.Resampling.BICUBIC)
    assert np.array_equal(samples[1].image, np.rint(np.asarray(resized))[0:8, 8:16])
    assert samples[0].image.dtype == np.int16


def test_tiff_slices_of_a_patient_are_ordered_by_the_numbers_in_their_names(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    for number in range(1, 11):
        write_tiff(folder / f"slice{number}.tif", VOLUME[number % 3])
    write_contours(folder / "r.txt", [("healthy", 10, rectangle(0, 0, 16, 16))])
    options = replace(SMALL, spacing=SPACING)
    ((sample,), _) = read_all(survey(tmp_path, options, "raise"))
    assert sample.group == FOLDER and sample.image.dtype == np.int16
    assert np.array_equal(sample.image, VOLUME[1, :16, :16])
    (folder / "slice4.tif").unlink()
    with pytest.raises(RelayError, match="its 9 slices have numbers from 1 to 10, so that slices are miss"):
        survey(tmp_path, options, "raise")
    write_contours(folder / "r.txt", [("healthy", 9, rectangle(0, 0, 16, 16))])
    ((sample,), _) = read_all(survey(tmp_path, replace(options, slice_order="ascending"), "raise"))
    assert np.array_equal(sample.image, VOLUME[1, :16, :16])


@pytest.mark.parametrize("lost", ["gone", "empty", "another series"])
def test_outlines_are_not_drawn_on_another_slice_where_the_first_one_is_missing(
    tmp_path: Path, lost: str
) -> None:
    folder = tmp_path / FOLDER
    write_series(folder, hounsfield(4, (32, 32)))
    assert len(list(folder.iterdir())) == 4
    first = next(file for file in folder.iterdir() if pydicom.dcmread(file).InstanceNumber == 1)
    if lost == "gone":
        first.unlink()
    elif lost == "empty":
        first.rename(folder / "IM0001")
        (folder / "IM0001").write_bytes(b"")
    else:
        data = pydicom.dcmread(first)
        data.SeriesInstanceUID = "1.2.3"
        data.save_as(first)
    write_contours(folder / "r.txt", [("healthy", 3, rectangle(0, 0, 16, 16))])
    with pytest.raises(RelayError, match="its 3 slices have numbers from 2 to 4, so that slices are missing"):
        survey(tmp_path, SMALL, "raise")
    with pytest.raises(RelayError, match="no region of a class"):
        survey(tmp_path, SMALL, "skip")


def test_a_file_of_groups_that_names_nothing_here_is_refused_and_the_rest_is_counted(tmp_path: Path) -> None:
    for name in ("A", "B"):
        write_series(tmp_path / "in" / name, hounsfield(3, (32, 32)), patient=name, series=f"1.2.{ord(name)}")
        contours = [("healthy", 2, rectangle(0, 0, 16, 16))]
        write_contours(tmp_path / "in" / name / "r.txt", contours, series=f"1.2.{ord(name)}")
    who = tmp_path / "who.csv"
    who.write_text("path,group\nX,one\nA/gone,two\n")
    with pytest.raises(RelayError, match="none of the 2 paths in the file that groups names is"):
        survey(tmp_path / "in", replace(SMALL, groups=who), "raise")
    who.write_text("path,group\nA,one\nC,two\n")
    found = survey(tmp_path / "in", replace(SMALL, groups=who), "raise")
    assert "1 of 2 paths in the file of groups are not in the source." in found.notes
    assert "1 series are not in the file of groups and keep the groups that they have." in found.notes
    assert found.secret != survey(tmp_path / "in", SMALL, "raise").secret


def test_a_source_that_may_not_be_read_is_not_named(open_dir: Path) -> None:
    (open_dir / "DOE").mkdir(mode=0o300)
    with ordinary_user(), pytest.raises(RelayError, match=r"source cannot be read \(Permission denied\)"):
        survey(open_dir / "DOE", SMALL, "raise")


def test_a_link_with_an_endless_name_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "in" / FOLDER
    write_series(folder, hounsfield(3, (32, 32)))
    write_contours(folder / "r.txt", [("healthy", 2, rectangle(0, 0, 16, 16))])
    (tmp_path / "in" / "DOE").symlink_to("x" * 300)
    with pytest.raises(RelayError, match="a file that cannot be reached") as caught:
        survey(tmp_path / "in", SMALL, "raise")
    assert "DOE" not in str(caught.value)
    assert len(survey(tmp_path / "in", SMALL, "skip").units) == 1


def test_pairs_of_images_and_masks_keep_their_split_their_grey_values_and_a_group_a_slice(
    tmp_path: Path,
) -> None:
    pairs(tmp_path, "train")
    pairs(tmp_path, "test")
    found = survey(tmp_path, PAIRS, "raise")
    samples, problems = read_all(found)
    assert found.classes == ("CON", "GGO") and len(found.units) == 22
    train = [sample for sample in samples if sample.split == "train"]
    # names are counted as numbers: 10.png is the tenth slice
    assert places(train) == [("GGO", 2, 1, 0, 0, 1.0), ("CON", 10, 1, 8, 8, 1.0)]
    assert [sample.split for sample in samples] == ["test", "test", "train", "train"]
    assert train[0].image.dtype == np.uint8
    assert np.array_equal(train[0].image, np.asarray(Image.open(tmp_path / "train/Imgs/2.png"))[:16, :16])
    assert len({sample.group for sample in samples}) == 4
    assert found.settings["window"] is None and found.settings["labels"] == {"1": "GGO", "2": "CON"}
    assert any("22 slices or volumes do not name a patient" in note for note in found.notes)
    assert any("no Hounsfield units" in note for note in found.notes)
    assert Problem("slice 1 of folder 1", "its regions or masks hold no pixel") in problems


def test_slices_of_one_patient_are_named_in_a_file(tmp_path: Path) -> None:
    pairs(tmp_path)
    (tmp_path / "who.csv").write_text("path,group\nImgs/2,P\nImgs/10,P\n", encoding="utf-8")
    samples, _ = read_all(survey(tmp_path, replace(PAIRS, groups=tmp_path / "who.csv"), "raise"))
    assert [sample.group for sample in samples] == ["P", "P"]


def test_regions_too_small_for_a_patch_are_counted_whatever_on_error_is(tmp_path: Path) -> None:
    folder = med_gift(tmp_path)
    write_contours(folder / "DOE_JANE.txt", [
        ("healthy", 2, rectangle(0, 0, 16, 16)), ("healthy", 2, rectangle(30, 0, 9, 9)),
        ("healthy", 2, rectangle(24, 16, 16, 16)), ("healthy", 4, rectangle(0, 0, 12, 12)),
    ])  # fmt: skip
    for on_error in ("raise", "skip"):
        samples, problems = read_all(survey(tmp_path, SMALL, on_error), on_error)
        assert len(samples) == 2
        why = "2 of its 4 regions hold no window of 16 x 16 pixels on the grid with 75% of it inside"
        assert problems == [Problem("series 1 of folder 1", why)]


def test_pixels_in_regions_of_two_classes_are_counted_and_not_used(tmp_path: Path) -> None:
    folder = med_gift(tmp_path)
    regions = [("healthy", 2, rectangle(0, 0, 16, 16)), ("emphysema", 2, rectangle(8, 0, 24, 16))]
    write_contours(folder / "DOE_JANE.txt", regions)
    samples, problems = read_all(survey(tmp_path, SMALL, "raise"))
    assert places(samples) == [("EMP", 2, 2, 16, 0, 1.0)]
    assert any("128 pixels lie in regions of different classes" in problem.why for problem in problems)


def test_the_fingerprint_changes_with_a_slice_and_with_its_regions(tmp_path: Path) -> None:
    folder = med_gift(tmp_path)
    before = survey(tmp_path, SMALL, "raise")
    assert survey(tmp_path, SMALL, "raise").units[0].fingerprint == before.units[0].fingerprint
    for place in (next(folder.glob("*.dcm")), folder / "DOE_JANE.txt"):
        os.utime(place, ns=(1, 1))
        after = survey(tmp_path, SMALL, "raise")
        assert after.units[0].fingerprint != before.units[0].fingerprint
        assert after.secret == before.secret
        before = after
    (folder / "DOE_JANE.txt").write_text((folder / "DOE_JANE.txt").read_text() + "\n")
    assert survey(tmp_path, SMALL, "raise").secret != before.secret


def test_no_identifier_leaves_the_reader(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    med_gift(tmp_path / "S")
    for path in (tmp_path / "S").rglob("*.*"):  # a hash of changing times holds any four digits now and then
        os.utime(path, ns=(1, 1))
    with caplog.at_level(logging.DEBUG):
        found = survey(tmp_path / "S", SMALL, "raise")
        samples, problems = read_all(found)
    kept = [(sample.label, sample.name, dict(sample.columns)) for sample in samples]
    said = repr((found.classes, found.notes, found.settings, found.units, kept, problems))
    said += (
        "".join(unit.key + unit.fingerprint for unit in found.units)
        + caplog.text
        + "".join(capfd.readouterr())
    )
    said += repr(find_slice_folders(tmp_path / "S", Faults("raise")).folders)
    assert samples and not any(word.lower() in said.lower() for word in IDENTIFIERS)


def test_the_survey_is_equal_wherever_the_source_lies(tmp_path: Path) -> None:
    for place in ("one", "two/deeper"):
        med_gift(tmp_path / place)
    first, second = (survey(tmp_path / place, SMALL, "raise") for place in ("one", "two/deeper"))
    assert [unit.key for unit in first.units] == [unit.key for unit in second.units]
    assert first.secret == second.secret and first.settings == second.settings
    assert [sample.name for sample in read_all(first)[0]] == [sample.name for sample in read_all(second)[0]]


@pytest.mark.skipif(
    "RELAY_REAL_DATA" not in os.environ, reason="RELAY_REAL_DATA is not set to a folder of real images"
)
def test_the_real_slices_give_the_patches_that_were_cut_from_them_before() -> None:
    root = Path(os.environ["RELAY_REAL_DATA"]) / "lung"
    if not (root / "semiseg-slices").is_dir():
        pytest.skip("RELAY_REAL_DATA has no lung/semiseg-slices")
    found = survey(root / "semiseg-slices", HrctOptions(labels={1: "GGO", 2: "CON"}), "raise")
    samples, _ = read_all(found)
    counts = Counter(sample.label for sample in samples)
    with open(root / "semiseg-patches32" / "manifest.csv", newline="") as file:
        before = Counter(row["class"] for row in csv.DictReader(file))
    assert len(found.units) == 98 and len({sample.group for sample in samples}) <= 98
    assert counts == {"GGO": before["ground_glass"], "CON": before["consolidation"]}
    assert {sample.split for sample in samples} == {"train", "test"}


def test_names_are_matched_whatever_unicode_form_they_have(tmp_path: Path) -> None:
    folder = pairs(tmp_path)
    (folder / "Imgs/2.png").rename(folder / "Imgs/Mu\u0308ller.png")
    (folder / "GT/2.png").rename(folder / "GT/M\u00fcller.png")
    samples, problems = read_all(survey(tmp_path, PAIRS, "raise"))
    assert sorted(sample.label for sample in samples) == ["CON", "GGO"]
    assert "ller" not in repr(problems) + "".join(sample.name for sample in samples)


def test_files_that_may_not_be_read_are_named(open_dir: Path) -> None:
    folder = med_gift(open_dir)
    (folder / "DOE_JANE.txt").chmod(0)
    with (
        ordinary_user(),
        pytest.raises(RelayError, match=r"contour file 1 of folder 1: .* Permission denied"),
    ):
        survey(open_dir, SMALL, "raise")
