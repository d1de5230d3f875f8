"""A map as a DICOM segmentation: on its series' instances, read by highdicom and by Relay's own reader."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from highdicom.seg import segread

from analysis.prediction.series.dicom_seg import SEGMENTATION, Maker, write_segmentation
from datamodules.readers.hrct.reader import survey
from tests.helpers.fake_hrct import FOLDER, PATIENT_ID, PATIENT_NAME, SERIES_UID, STUDY_UID, hounsfield
from tests.helpers.fake_regions import FRAME_UID, ORIENTATIONS, Scan, drawn_masks, write_scan
from tests.helpers.hrct_sets import SMALL

CLASSES = ("normal", "GGO", "Käse^2", "CON")
MAKER = Maker("natural > texture > dld", "0.1.0", "20101001", {"networks": "a1, b2", "stride": "8"})


def patterns() -> npt.NDArray[np.uint8]:
    """(4, 48, 40) without symmetry: three of the four patterns, and a slice without any."""
    found = np.zeros((4, 48, 40), np.uint8)
    found[0, 3:20, 5:17], found[0, 20:31, 5:11], found[2, 7:45, 9:33] = 1, 2, 2
    found[3, 1:5, 30:38] = 4
    return found


def write(folder: Path, scan: Scan, name: str = SEGMENTATION, maker: Maker = MAKER) -> str:
    files = [str(file) for file in scan.files]
    return write_segmentation(folder / name, files, patterns(), CLASSES, maker)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_both_readers_find_each_pattern_on_its_pixels(tmp_path: Path, name: str) -> None:
    scan = write_scan(tmp_path / FOLDER / "ct", hounsfield(4), ORIENTATIONS[name])
    assert write(tmp_path / FOLDER, scan) == ""
    read = segread(tmp_path / FOLDER / SEGMENTATION)
    uids = [str(header.SOPInstanceUID) for header in scan.headers]
    found = read.get_pixels_by_source_instance(uids, combine_segments=True)
    assert np.array_equal(found, patterns())
    labels = {"normal": "NOR", "GGO": "GGO", "Käse^2": "HCM", "CON": "CON"}
    read_again = survey(tmp_path, replace(SMALL, labels=labels), "raise")
    own = np.array([0, *(read_again.classes.index(labels[each]) + 1 for each in CLASSES)])
    masks = drawn_masks(read_again)
    assert sorted(masks) == [1, 3, 4]
    assert all(np.array_equal(mask, own[patterns()[number - 1]]) for number, mask in masks.items())


def test_it_refers_to_the_series_and_has_of_the_patient_what_the_standard_demands(tmp_path: Path) -> None:
    scan = write_scan(tmp_path, hounsfield(4))
    assert write(tmp_path, scan) == ""
    data = pydicom.dcmread(tmp_path / SEGMENTATION)
    assert (data.PatientName, data.PatientID, data.PatientBirthDate) == (PATIENT_NAME, PATIENT_ID, "19470815")
    assert (data.PatientSex, data.AccessionNumber, data.StudyDate) == ("F", "ACC9001", "20110203")
    assert (data.StudyInstanceUID, data.FrameOfReferenceUID) == (STUDY_UID, FRAME_UID)
    (series,) = data.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == SERIES_UID != data.SeriesInstanceUID
    assert {image.ReferencedSOPInstanceUID for image in series.ReferencedInstanceSequence} == {
        header.SOPInstanceUID for header in scan.headers
    }
    assert data.SegmentationType == "BINARY" and data.SegmentsOverlap == "NO"
    names = [segment.SegmentLabel for segment in data.SegmentSequence]
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in data.SegmentSequence]
    assert names == list(CLASSES)
    codes = [(kind.CodingSchemeDesignator, kind.CodeValue, kind.CodeMeaning) for kind in kinds]
    assert codes[0] == ("SCT", "39607008", "Lung") and codes[1] == ("DCM", "112120", "Ground glass opacity")
    assert codes[2][0] == "99RELAY" and codes[2][2] == "Käse^2" and codes[3][1] == "95436008"
    (algorithm,) = data.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (
        "Relay: natural > texture > dld",
        "0.1.0",
    )
    # Nothing else of the series' headers is in it.
    content = (tmp_path / SEGMENTATION).read_bytes()
    assert all(text not in content for text in (b"Osaka", b"smoker"))


def test_equal_maps_are_equal_files_and_others_are_other_objects(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "ct", hounsfield(4))
    later = replace(MAKER, finished="20261101")
    for name, maker in (("1.dcm", MAKER), ("2.dcm", MAKER), ("3.dcm", later)):
        assert write(tmp_path, scan, name, maker) == ""
    first, again, other = (pydicom.dcmread(tmp_path / f"{number}.dcm") for number in (1, 2, 3))
    assert (tmp_path / "1.dcm").read_bytes() == (tmp_path / "2.dcm").read_bytes()
    assert first.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID
    # The latest date of what it was made from: the study's, or that of the networks.
    assert (first.ContentDate, other.ContentDate) == ("20110203", "20261101")


def test_headers_as_hospitals_have_them(tmp_path: Path) -> None:
    scan = write_scan(tmp_path, hounsfield(4))
    for file in scan.files:
        data = pydicom.dcmread(file)
        data.SpecificCharacterSet, data.PatientName = "ISO_IR 100", "Müßig^Käthe"
        data.PatientBirthDate, data.PatientSex = "", "W"
        for tag in ("FrameOfReferenceUID", "SliceThickness", "StudyID", "StudyTime", "AccessionNumber"):
            delattr(data, tag)
        data.save_as(file)
    assert write(tmp_path, scan) == ""
    read = segread(tmp_path / SEGMENTATION)
    assert str(read.PatientName) == "Müßig^Käthe" and read.PatientSex == "" and read.StudyID == ""
    assert read.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 2.5


@pytest.mark.parametrize("tag", ["StudyInstanceUID", "ImagePositionPatient", "SOPInstanceUID"])
def test_a_series_that_cannot_be_referred_to_has_none_and_says_why(tmp_path: Path, tag: str) -> None:
    scan = write_scan(tmp_path, hounsfield(4))
    data = pydicom.dcmread(scan.files[1])
    delattr(data, tag)
    data.save_as(scan.files[1])
    assert tag in write(tmp_path, scan) and not (tmp_path / SEGMENTATION).exists()


def test_what_the_standard_forbids_is_said_without_quoting_it(tmp_path: Path) -> None:
    scan = write_scan(tmp_path, hounsfield(4))
    data = pydicom.dcmread(scan.files[1])
    data.StudyInstanceUID = "1.2.3"  # of another study than the other slices
    data.save_as(scan.files[1])
    why = write(tmp_path, scan)
    assert "ValueError" in why and "1.2.3" not in why and not (tmp_path / SEGMENTATION).exists()


def test_no_pattern_is_no_segmentation(tmp_path: Path) -> None:
    scan = write_scan(tmp_path, hounsfield(4))
    nothing = np.zeros_like(patterns())
    why = write_segmentation(tmp_path / "p.dcm", [str(file) for file in scan.files], nothing, CLASSES, MAKER)
    assert why == "no patch was in the lungs" and not (tmp_path / "p.dcm").exists()
