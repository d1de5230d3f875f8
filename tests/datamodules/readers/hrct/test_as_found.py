"""What lies on disks: missing tags, cut files, discs' directories, unusual names, files beside."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from datamodules.packing.units import Sample
from datamodules.readers.hrct.reader import HrctOptions, survey
from datamodules.readers.hrct.scans.order import Direction
from stages.errors import RelayError
from tests.helpers.fake_hrct import rectangle, write_contours, write_series, write_tiff
from tests.helpers.fake_units import read_all
from tests.helpers.hrct_sets import SMALL, VOLUME, med_gift, pairs
from tests.helpers.lung_series import TRUE, read_means, write_patients

FRAME = [("healthy", 1, rectangle(0, 0, 16, 16))]


def read(source: Path, options: HrctOptions = SMALL) -> list[Sample]:
    return read_all(survey(source, options, "raise"))[0]


def one_region(folder: Path, patient: str, number: int) -> None:
    write_series(folder, VOLUME, patient=patient, series=f"1.2.{number}")
    write_contours(folder / "r.txt", FRAME, series=f"1.2.{number}")


def test_a_patient_whose_tag_is_missing_in_some_series_stays_one(tmp_path: Path) -> None:
    for place, (folder, patient) in enumerate([("a/x", "P1"), ("a/y", ""), ("b/x", ""), ("b/y", "")]):
        one_region(tmp_path / folder, patient, place)
    assert [sample.group for sample in read(tmp_path)] == ["P1", "P1", "b", "b"]
    write_tiff_of(tmp_path / "a" / "w" / "s1.tif", VOLUME[0])
    boxes(tmp_path / "a" / "w")
    assert [sample.group for sample in read(tmp_path)] == ["P1", "P1", "P1", "b", "b"]
    one_region(tmp_path / "a/z", "P2", 9)
    with pytest.raises(RelayError, match=r"series 1 of folder 1: .*no PatientID, and beside it .* several"):
        read(tmp_path)
    (tmp_path / "who.csv").write_text("path,group\na/w,P2\na/y,P2\n")
    groups = [sample.group for sample in read(tmp_path, replace(SMALL, groups=tmp_path / "who.csv"))]
    assert groups == ["P2", "P1", "P2", "P2", "b", "b"]


def test_a_folder_named_as_its_patients_tag_may_hold_another_patient_too(tmp_path: Path) -> None:
    for place, (folder, patient) in enumerate([("P1/x", "P1"), ("P1/y", "P7"), ("later/x", "P1")]):
        one_region(tmp_path / folder, patient, place)
    found = survey(tmp_path, SMALL, "raise")
    assert sorted(sample.group for sample in read_all(found)[0]) == ["P1", "P1", "P7"]
    assert any("1 of 2 patients' folders hold series of several PatientIDs" in note for note in found.notes)


def test_a_file_of_groups_may_name_any_slice_but_not_two_patients(tmp_path: Path) -> None:
    source, who = tmp_path / "in", tmp_path / "who.csv"
    one_region(source / "a", "P1", 1)
    slices = sorted(path.relative_to(source) for path in (source / "a").glob("*.dcm"))
    who.write_text(f"path,group\n{slices[4].with_suffix('')},X\n")
    found = survey(source, replace(SMALL, groups=who), "raise")
    assert [sample.group for sample in read_all(found)[0]] == ["X"]
    assert not any("file of groups" in note for note in found.notes)
    who.write_text(f"path,group\n{slices[0]},X\n{slices[4]},Y\n")
    with pytest.raises(RelayError, match="gives slices of series 1 of folder 1 2 groups"):
        read(source, replace(SMALL, groups=who))


@pytest.mark.parametrize("content", ["", "path,group\n"])
def test_a_file_of_groups_without_rows_is_refused(tmp_path: Path, content: str) -> None:
    pairs(tmp_path / "in")
    (tmp_path / "who.csv").write_text(content)
    with pytest.raises(
        RelayError,
        match=r"the file that groups names( is empty: the column path, group is missing| has no rows)",
    ):
        read(tmp_path / "in", replace(SMALL, labels={1: "GGO"}, groups=tmp_path / "who.csv"))


@pytest.mark.parametrize(("order", "used"), [("ascending", 0), ("descending", 2)])
def test_image_slices_start_where_slice_order_says(tmp_path: Path, order: Direction, used: int) -> None:
    for number, plane in enumerate(VOLUME[:3], start=3):
        write_tiff_of(tmp_path / "a" / f"s{number}.tif", plane)
    boxes(tmp_path / "a")
    with pytest.raises(RelayError, match="set slice_order"):
        read(tmp_path)
    (sample,) = read(tmp_path, replace(SMALL, slice_order=order))
    np.testing.assert_array_equal(sample.image, VOLUME[used, :16, :16])


@pytest.mark.parametrize(
    "names", [("zz_1", "aa_2", "mm_3"), ("9.99_1", "9.50_2", "9.70_3"), ("1_3", "2_2", "3_1")]
)
def test_numbers_that_do_not_follow_the_names_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, plane in zip(names, VOLUME, strict=False):
        write_tiff_of(tmp_path / "a" / f"{name}.tif", plane)
    boxes(tmp_path / "a")
    with pytest.raises(RelayError, match=r"numbers at the end of their names do not follow .* slice_order"):
        read(tmp_path)
    (sample,) = read(tmp_path, replace(SMALL, slice_order="ascending"))
    first = sorted(names)[0]
    np.testing.assert_array_equal(sample.image, VOLUME[names.index(first), :16, :16])


def write_tiff_of(location: Path, plane: np.ndarray) -> None:
    location.parent.mkdir(parents=True, exist_ok=True)
    write_tiff(location, plane)


def boxes(folder: Path) -> None:
    (folder / "boxes.csv").write_text("slice,top,left,height,width,label\n1,0,0,16,16,healthy\n")


def cut_header(place: Path) -> None:
    """Before its size: the kind of object is there, Rows is not."""
    data = dcmread(place, stop_before_pixels=True, specific_tags=["SOPClassUID", "SeriesInstanceUID"])
    data.save_as(place, enforce_file_format=True)


def write_directory(location: Path) -> None:
    """A DICOMDIR without records."""
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.FileSetID = "DOE"
    directory.save_as(location, enforce_file_format=True)


def cut_mark(place: Path) -> None:
    place.with_suffix("").write_bytes(place.read_bytes()[:100])
    place.unlink()


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize(
    ("cut", "message"),
    [(cut_header, "header ends early"), (cut_mark, "1 files of its folder cannot be read")],
)
def test_a_slice_that_was_cut_off_does_not_shift_the_others(
    tmp_path: Path, cut: Callable[[Path], None], message: str, order: Direction
) -> None:
    folder = med_gift(tmp_path)
    cut(folder / "CT-DOE-0001.dcm")
    with pytest.raises(RelayError, match=message):
        read(tmp_path, replace(SMALL, slice_order=order))


def test_a_discs_directory_localizers_and_screenshots_are_passed_over(tmp_path: Path) -> None:
    folder = med_gift(tmp_path)
    whole = len(read(tmp_path))
    scout = {0: {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "RescaleSlope": None}}
    write_series(folder, VOLUME[:1], series="1.2.7", changes=scout, first_name=40)
    screen = {0: {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "RescaleSlope": None}}
    write_series(folder, VOLUME[:1], series="1.2.8", changes=screen, first_name=41)
    write_contours(folder / "DOE_JANE.txt", [("healthy", 2, rectangle(0, 0, 16, 16))], series="")
    write_directory(folder / "DICOMDIR")
    found = survey(tmp_path, SMALL, "raise")
    assert len(read_all(found)[0]) == 1 < whole
    assert any(note.startswith("3 DICOM files hold no image") for note in found.notes)


def test_a_point_too_many_is_refused(tmp_path: Path) -> None:
    folder = med_gift(tmp_path)
    write_contours(folder / "DOE_JANE.txt", FRAME)
    text = (folder / "DOE_JANE.txt").read_text()
    (folder / "DOE_JANE.txt").write_text(text.replace("on_contour: 4", "on_contour: 3"))
    with pytest.raises(RelayError, match=r"contour file 1 of folder 1: .*a point more than the 3"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["s{}.dcm.png", "s{}.dcm_mask.png", "S{}.PNG"])
def test_masks_may_have_the_whole_names_of_slices_in_any_case(tmp_path: Path, name: str) -> None:
    write_patients(tmp_path)
    for mask in list(tmp_path.rglob("*.png")):
        mask.rename(mask.with_name(name.format(mask.stem[1:])))
    assert read_means(tmp_path)[0] == pytest.approx(TRUE, abs=15)


def test_two_masks_for_one_slice_are_refused(tmp_path: Path) -> None:
    folder = pairs(tmp_path)
    (folder / "GT" / "2.tif").write_bytes((folder / "GT" / "2.png").read_bytes())
    with pytest.raises(RelayError, match=r"folder 1: .*1 of its slices have two masks"):
        read(tmp_path, replace(SMALL, labels={1: "GGO", 2: "CON"}))


@pytest.mark.parametrize(
    ("names", "sides"),
    [
        (("train", "test"), ("train", "test")),
        (("Train", "Val"), ("train", "val")),
        (("training", "validation", "testing"), ("train", "val", "test")),
        (("training_set", "Test Data"), ("train", "test")),
    ],
)
def test_a_providers_split_holds_whatever_lies_beside_it(
    tmp_path: Path, names: tuple[str, ...], sides: tuple[str, ...]
) -> None:
    for name in names:
        pairs(tmp_path, name)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme.md").write_text("read me")
    (tmp_path / "docs" / "LICENSE").write_text("free")
    options = replace(SMALL, labels={1: "GGO", 2: "CON"})
    assert Counter(str(sample.split) for sample in read(tmp_path, options)) == dict.fromkeys(sides, 2)
    pairs(tmp_path, "more")
    with pytest.raises(RelayError, match="1 others with slices beside them"):
        read(tmp_path, options)


def test_a_patient_may_be_named_test(tmp_path: Path) -> None:
    for place, name in enumerate(("test", "b")):
        one_region(tmp_path / name, name, place)
    assert {sample.split for sample in read(tmp_path)} == {None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spacing": (float("nan"), 1.0)}, "spacing is"),
        ({"spacing": (float("inf"), 1.0)}, "spacing is"),
        ({"window": (float("-inf"), 0.0)}, "window is"),
        ({"size": True}, "size is true"),
    ],
)
def test_numbers_that_are_none_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    pairs(tmp_path)
    with pytest.raises(RelayError, match=message):
        survey(tmp_path, replace(SMALL, **changes), "raise")  # type: ignore[arg-type]
