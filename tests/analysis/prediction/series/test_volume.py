"""A series is opened from DICOM, NIfTI and image files, and lies where they say."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from analysis.prediction.series.volume import open_volume
from stages.errors import RelayError
from tests.helpers.fake_hrct import IDENTIFIERS, SPACING, hounsfield, write_series, write_tiff


def test_a_dicom_series_is_read_from_the_lowest_slice_on_with_its_own_geometry(tmp_path: Path) -> None:
    values = hounsfield(5)
    places = write_series(
        tmp_path,
        values,
        step=2.5,
        changes={place: {"SliceThickness": 1.25, "ConvolutionKernel": "B70f"} for place in range(5)},
    )
    volume = open_volume(tmp_path)

    assert volume.shape == (5, 48, 40)
    assert volume.spacing == pytest.approx((2.5, *SPACING))
    assert (volume.kernels, volume.thickness, volume.hounsfield) == (("B70f",), 1.25, True)
    headers = {float(data.ImagePositionPatient[2]): data for data in map(dcmread, places)}
    for number, height in enumerate(sorted(headers)):
        data = headers[height]
        assert volume.scan.instances[number] == data.SOPInstanceUID
        assert (volume.slice(number) == data.pixel_array.astype(int) - 1024).all()
        # PS3.3, C.7.6.2.1.1, by hand: x and y are to the left and to the back, NIfTI's to the right and front
        row, column = 7, 11
        x = float(data.ImagePositionPatient[0]) + column * float(data.PixelSpacing[1])
        y = float(data.ImagePositionPatient[1]) + row * float(data.PixelSpacing[0])
        assert volume.affine @ [column, row, number, 1] == pytest.approx([-x, -y, height, 1])
    assert not volume.notes
    assert not any(word in repr(volume) for word in IDENTIFIERS)


def test_missing_slices_are_noted_and_each_slice_stands_for_half_the_way_to_its_neighbours(
    tmp_path: Path,
) -> None:
    places = write_series(tmp_path, hounsfield(6), step=2.0)
    places[2].unlink()
    volume = open_volume(tmp_path)
    assert volume.extents is not None
    assert volume.extents.tolist() == pytest.approx([2, 2, 3, 3, 2])
    assert any("Slices are missing in 1 place: steps are up to 4.00 mm" in note for note in volume.notes)
    assert any("unequal" in note for note in volume.notes)


def test_a_single_slice_without_a_thickness_says_why_there_are_no_millilitres(tmp_path: Path) -> None:
    (place,) = write_series(tmp_path, hounsfield(1))
    (note,) = open_volume(tmp_path).notes
    assert "millilitres and thirds are not" in note
    data = dcmread(place)
    data.SliceThickness = 1.25
    data.save_as(place)
    volume = open_volume(tmp_path)
    assert not volume.notes and volume.extents is not None and volume.extents.tolist() == [1.25]


@pytest.mark.parametrize(
    ("affine", "noted"), [([1, 1, 1, 1], True), ([-1, -1, 1, 1], True), ([-1, -1, 1.5, 1], False)]
)
def test_a_nifti_file_without_a_place_of_its_own_is_noted(
    tmp_path: Path, affine: list[float], noted: bool
) -> None:
    """The first is numpy's and nibabel's, the second SimpleITK's."""
    nibabel.save(nibabel.Nifti1Image(hounsfield(4).transpose(2, 1, 0), np.diag(affine)), tmp_path / "a.nii")
    notes = open_volume(tmp_path / "a.nii").notes
    assert any("where they know none (1 mm, no origin)" in note for note in notes) == noted


def test_a_tilted_gantry_is_noted_and_the_affine_leans(tmp_path: Path) -> None:
    lean = np.radians(15)
    cosines = [1, 0, 0, 0, np.cos(lean), -np.sin(lean)]
    changes = {place: {"ImageOrientationPatient": cosines} for place in range(4)}
    write_series(tmp_path, hounsfield(4), step=5.0, changes=changes)
    volume = open_volume(tmp_path)
    assert any("tilted by 15.0 degrees" in note for note in volume.notes)
    assert volume.affine[:3, 2] == pytest.approx([0, 0, 5])
    assert volume.spacing[0] == pytest.approx(5 * np.cos(lean))  # across the slices


@pytest.mark.parametrize("axes", [("L", "P", "S"), ("R", "A", "S"), ("I", "A", "L"), ("P", "S", "R")])
def test_nifti_is_shown_as_ct_whatever_the_order_of_its_axes(
    tmp_path: Path, axes: tuple[str, str, str]
) -> None:
    plain = nibabel.Nifti1Image(np.moveaxis(hounsfield(6), 0, 2), np.diag([0.7, 0.8, 3.0, 1.0]))  # R, A, S
    target = nibabel.orientations.axcodes2ornt(axes)
    turned = plain.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), target)
    )
    nibabel.save(turned, tmp_path / "ct.nii.gz")
    volume = open_volume(tmp_path / "ct.nii.gz")
    world = np.linalg.inv(plain.affine)
    for number in (0, 3):
        seen = volume.slice(number)
        for row, column in ((0, 0), (5, 9), (30, 17)):
            voxel = np.rint(world @ volume.affine @ [column, row, number, 1]).astype(int)
            assert seen[row, column] == plain.dataobj[tuple(voxel[:3])]
    assert volume.affine[0, 0] < 0 > volume.affine[1, 1]  # rows to the left, columns to the back
    assert volume.spacing == pytest.approx((3.0, 0.8, 0.7))


def test_slices_as_images_have_no_place_and_millilitres_only_with_a_spacing(tmp_path: Path) -> None:
    for number, plane in enumerate(hounsfield(3), start=1):
        write_tiff(tmp_path / f"s{number}.tif", plane)
    volume = open_volume(tmp_path)
    assert (volume.placed, volume.spacing, volume.extents) == (False, (None, None, None), None)
    assert any("millilitres are not" in note for note in volume.notes)
    known = open_volume(tmp_path, spacing=(10, 0.7, 0.6))
    assert known.spacing == (10, 0.7, 0.6)
    assert known.pixel_mm2 == pytest.approx(0.42)
    assert (known.slice(1) == hounsfield(3)[1]).all()


def test_several_series_are_named_by_number_and_one_is_chosen(tmp_path: Path) -> None:
    kernel = {place: {"ConvolutionKernel": "BONE", "SliceThickness": 1.0} for place in range(3)}
    write_series(tmp_path, hounsfield(3), series="1.2.3", changes=kernel)
    write_series(tmp_path, hounsfield(4), series="1.2.4", first_name=50)
    message = r"1: DICOM, 3 slices of 48 x 40, 1 mm thick, kernel BONE; 2: DICOM, 4 slices of 48 x 40"
    with pytest.raises(RelayError, match=message):
        open_volume(tmp_path)
    assert open_volume(tmp_path, 2).shape[0] == 4
    with pytest.raises(RelayError, match=r"series=3: source=.* holds 2 series"):
        open_volume(tmp_path, 3)


def test_nifti_series_that_read_alike_are_told_apart_by_name(tmp_path: Path) -> None:
    for name in ("ct_a", "ct_b"):
        image = nibabel.Nifti1Image(np.moveaxis(hounsfield(3), 0, 2), np.eye(4))
        nibabel.save(image, tmp_path / f"{name}.nii")
    with pytest.raises(RelayError, match=r"1: NIfTI, 3 slices of 40 x 48, ct_a.nii; 2: .*, ct_b.nii\."):
        open_volume(tmp_path)


def test_a_mask_beside_a_nifti_series_is_not_a_series(tmp_path: Path) -> None:
    for name in ("ct", "ct_mask"):
        nibabel.save(
            nibabel.Nifti1Image(np.moveaxis(hounsfield(3), 0, 2), np.eye(4)), tmp_path / f"{name}.nii"
        )
    volume = open_volume(tmp_path)
    assert any("masks by their names" in note for note in volume.notes)


def _write_bad(folder: Path, what: str) -> None:
    values = hounsfield(4)
    folder.mkdir()
    if what in ("MR", "PT"):
        write_series(folder, values, changes={place: {"Modality": what} for place in range(4)})
    elif what == "orientations":
        coronal = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
        write_series(folder, values, changes={2: coronal, 3: coronal})
    elif what == "coronal":
        changes = {
            place: {
                "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
                "ImagePositionPatient": [0, 3 * place, 0],
            }
            for place in range(4)
        }
        write_series(folder, values, changes=changes)
    elif what == "copies":
        write_series(folder, values)
        write_series(folder, values, first_name=50)
    elif what == "unsigned":
        Image.fromarray((values[0].astype(int) + 1024).astype(np.uint16)).save(folder / "s1.png")
    elif what == "no HU":
        write_series(folder, (values + 3000).astype(np.int16))
    elif what == "damaged":
        places = write_series(folder, values)
        places[1].write_bytes(b"\0" * 128 + b"DICMxx")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("empty", "holds no series of CT. A series is a folder of DICOM files"),
        ("MR", r"no series of CT. Passed over: 4 images of another modality than CT \(MR\)"),
        ("PT", r"no series of CT. Passed over: 4 images of another modality than CT \(PT\)"),
        ("orientations", "its slices are not parallel"),
        ("coronal", "its slices are not axial"),
        ("copies", "4 of its 8 slices are where another one is"),
        ("unsigned", "set unsigned_offset"),
        (
            "no HU",
            "slice 1, counted from the lowest: its values cannot be Hounsfield units: the lowest is 2000",
        ),
        ("damaged", "DICOM file 2 of source: its DICOM header"),
    ],
)
def test_what_is_no_series_is_refused_with_the_path_as_typed(tmp_path: Path, what: str, message: str) -> None:
    source = tmp_path / "scan"
    _write_bad(source, what)
    with pytest.raises(RelayError, match=message) as error:
        open_volume(source).slice(0)
    assert f"source={source}" in str(error.value)


def test_spacing_is_one_two_or_three_numbers(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match=r"spacing=0\.7,-1: give mm"):
        open_volume(tmp_path, spacing=(0.7, -1))
