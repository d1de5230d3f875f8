"""NIfTI masks fall on the slices that they were made from; NIfTI series are axial slices of CT."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from datamodules.readers.hrct.reader import survey
from stages.errors import RelayError
from tests.helpers.fake_hrct import FOLDER, IDENTIFIERS, hounsfield
from tests.helpers.fake_regions import ORIENTATIONS, STEP, drawn_masks, write_nifti, write_scan
from tests.helpers.fake_units import read_all
from tests.helpers.hrct_sets import SMALL

SHAPE = (40, 48)
VOLUME = hounsfield(4, SHAPE)
OPTIONS = replace(SMALL, labels={1: "GGO", 2: "NOR"})
CODES = ("RAS", "LPI", "ASR", "SAR", "LAS", "PIR")


def labelled() -> npt.NDArray[np.uint8]:
    """A mask without symmetry: (slices, H, W)."""
    mask = np.zeros((4, *SHAPE), np.uint8)
    mask[1, 2:20, 5:40], mask[1, 2:8, 30:40] = 1, 0
    mask[2, 20:39, 1:19], mask[2, 0:17, 30:48] = 2, 1
    return mask


def assert_drawn(masks: dict[int, npt.NDArray[np.uint8]], expected: npt.NDArray[np.uint8]) -> None:
    for number, plane in enumerate(expected, start=1):
        assert np.array_equal(masks.get(number, np.zeros_like(plane)), plane), number


@pytest.mark.parametrize("codes", [None, *CODES])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_mask_beside_a_dicom_series_is_turned_to_it(tmp_path: Path, name: str, codes: str | None) -> None:
    scan = write_scan(tmp_path / FOLDER / "ct", VOLUME, ORIENTATIONS[name], falling=codes != "RAS")
    write_nifti(tmp_path / FOLDER / "ct" / "mask.nii.gz", labelled(), scan.affine, codes)
    assert_drawn(drawn_masks(survey(tmp_path, OPTIONS, "raise")), labelled())


PLACES = (
    "ct/mask.nii",
    "ct/masks/x.nii.gz",
    "lung_seg.nii.gz",
    "segmentations/all.nii.gz",
    "labels/a.nii.gz",
)


@pytest.mark.parametrize("place", PLACES)
def test_masks_are_found_in_and_around_the_folder_of_their_series(tmp_path: Path, place: str) -> None:
    scan = write_scan(tmp_path / FOLDER / "ct", VOLUME)
    write_nifti(tmp_path / FOLDER / place, labelled().astype(np.float32), scan.affine)
    assert_drawn(drawn_masks(survey(tmp_path, OPTIONS, "raise")), labelled())


def test_one_mask_per_patient_in_one_folder_goes_to_the_patient_that_it_is_named_after(
    tmp_path: Path,
) -> None:
    for patient, mask in (("P1", labelled()), ("P2", labelled()[:, ::-1, ::-1])):
        scan = write_scan(tmp_path / "images" / patient, VOLUME, series=f"1.2.{patient[1]}", patient=patient)
        write_nifti(tmp_path / "labels" / f"{patient}_seg.nii.gz", mask, scan.affine)
    found = survey(tmp_path, OPTIONS, "raise")
    first, second = (drawn_masks(replace(found, units=(unit,))) for unit in found.units)
    assert_drawn(first, labelled())
    assert_drawn(second, labelled()[:, ::-1, ::-1])


@pytest.mark.parametrize("codes", [None, *CODES])
def test_a_nifti_series_has_axial_slices_in_hounsfield_units(tmp_path: Path, codes: str | None) -> None:
    affine = np.diag([0.6, 0.7, STEP, 1.0])
    affine[:3, 3] = (-120.5, -110.25, 30.0)
    write_nifti(tmp_path / "P1" / "ct.nii.gz", VOLUME + np.float32(0.25), affine, codes)
    write_nifti(tmp_path / "P1" / "ct_mask.nii.gz", labelled(), affine, "LPS" if codes == "RAS" else codes)
    found = survey(tmp_path, OPTIONS, "raise")
    (unit,) = found.units
    assert_drawn(drawn_masks(found), labelled())
    assert unit.spacing == pytest.approx((0.7, 0.6))  # type: ignore[attr-defined]
    assert np.array_equal(found.wholes[0].read(), VOLUME[1]) and np.array_equal(
        found.wholes[1].read(), VOLUME[2]
    )
    samples, _ = read_all(found)
    assert {sample.group for sample in samples} == {"P1"} and {sample.label for sample in samples} == {
        "GGO",
        "NOR",
    }


def test_scl_slope_and_inter_make_the_values(tmp_path: Path) -> None:
    place = tmp_path / "P1" / "ct.nii"
    affine = np.diag([0.6, 0.7, STEP, 1.0])
    write_nifti(tmp_path / "P1" / "ct_mask.nii", labelled(), affine)
    stored = (VOLUME // 2 + 512).astype(np.int16)
    image = nibabel.Nifti1Image(stored.transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
    image.header.set_slope_inter(2.0, -1024.0)
    nibabel.save(image, place)
    (whole, *_) = survey(tmp_path, OPTIONS, "raise").wholes
    assert np.array_equal(whole.read(), nibabel.load(place).get_fdata()[:, :, 1].T)
    assert np.array_equal(whole.read(), VOLUME[1] // 2 * 2)


def test_volumes_in_images_with_labels_of_their_names_are_a_patient_each(tmp_path: Path) -> None:
    affine = np.diag([0.6, 0.7, STEP, 1.0])
    for name, mask in (("lung_1", labelled()), ("lung_2", labelled()[:, ::-1])):
        write_nifti(tmp_path / "imagesTr" / f"{name}_0000.nii.gz", VOLUME, affine)
        write_nifti(tmp_path / "labelsTr" / f"{name}.nii.gz", mask, affine)
    found = survey(tmp_path, OPTIONS, "raise")
    first, second = (drawn_masks(replace(found, units=(unit,))) for unit in found.units)
    assert_drawn(first, labelled())
    assert_drawn(second, labelled()[:, ::-1])
    assert len({sample.group for sample in read_all(found)[0]}) == 2


def test_a_mask_of_a_picture_is_taken_as_itk_writes_it_and_otherwise_refused(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "P1").mkdir()
    Image.fromarray((VOLUME[0] % 251).astype(np.uint8)).save(tmp_path / "P1" / "s01.png")
    write_nifti(tmp_path / "P1" / "s01_seg.nii.gz", labelled()[2:3], np.eye(4))
    assert np.array_equal(drawn_masks(survey(tmp_path, OPTIONS, "raise"))[1], labelled()[2])
    write_nifti(tmp_path / "P1" / "s01_seg.nii.gz", labelled()[2:3], np.diag([-1.0, -1.0, 1.0, 1.0]))
    with pytest.raises(
        RelayError, match="image files of 40 x 48 pixels without a position, and it has 48 x 40 x 1"
    ):
        survey(tmp_path, OPTIONS, "raise")


def _bad(
    case: str, affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.float64]]:
    mask, moved = labelled(), affine.copy()
    if case == "a smaller shape":
        return mask[:, :-1], affine
    if case == "fewer slices":
        return mask[:3], affine
    if case == "half a pixel away":
        moved[:3, 3] += affine[:3, 0] / 2
    if case == "a slice away":
        moved[:3, 3] += affine[:3, 2]
    if case == "another spacing":
        moved[:3, 0] *= 1.1
    if case == "rotated":
        turn = np.radians(10)
        rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        moved[:3, :3] = rotation @ moved[:3, :3]
    return mask, moved


@pytest.mark.parametrize(
    "case",
    ["a smaller shape", "fewer slices", "half a pixel away", "a slice away", "another spacing", "rotated"],
)
def test_a_mask_of_another_geometry_is_refused_with_both(tmp_path: Path, case: str) -> None:
    scan = write_scan(tmp_path / FOLDER / "ct", VOLUME)
    write_nifti(tmp_path / FOLDER / "ct" / "mask.nii.gz", *_bad(case, scan.affine))
    with pytest.raises(
        RelayError, match=r"it has .* mm.*, the series 4 slices of 40 x 48 pixels of 0.7 x 0.6 mm"
    ) as caught:
        survey(tmp_path, OPTIONS, "raise")
    assert not any(word in str(caught.value) for word in IDENTIFIERS)


def test_slices_that_were_left_out_of_the_series_are_counted(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / FOLDER / "ct", VOLUME)
    write_nifti(tmp_path / FOLDER / "ct" / "mask.nii.gz", labelled(), scan.affine)
    scan.files[1].unlink()
    found = survey(tmp_path, OPTIONS, "raise")
    assert_drawn(drawn_masks(found), np.delete(labelled(), 1, axis=0))
    assert "1 planes of NIfTI masks lie on no slice of their series and are left out." in found.notes


def test_a_mask_without_a_region_is_left_out_and_listed(tmp_path: Path) -> None:
    for patient, mask in (("P1", labelled()), ("P2", labelled() * 0)):
        scan = write_scan(tmp_path / patient, VOLUME, series=f"1.2.{patient[1]}", patient=patient)
        write_nifti(tmp_path / patient / "mask.nii.gz", mask, scan.affine)
    found = survey(tmp_path, OPTIONS, "skip")
    assert len(found.units) == 1
    assert any(one.why == "all its values on its series are 0" for one in found.problems)


def _over_time(image: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image(np.stack([image.get_fdata()] * 3, axis=-1), image.affine)


def _unplaced(image: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    return image


def _torn(image: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    image.set_sform(np.diag([1.0, 1.0, 1.0, 1.0]), code=1)
    image.set_qform(np.diag([-1.0, -1.0, 1.0, 1.0]), code=1)
    return image


def _soft(image: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image(image.get_fdata() * 0.7, image.affine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_over_time, "it holds 3 volumes"),
        (_unplaced, "sform_code and qform_code are 0"),
        (_torn, "its sform and its qform differ by"),
        (_soft, "values that are not whole numbers"),
    ],
)
def test_files_that_do_not_say_one_thing_are_refused(tmp_path: Path, change: object, message: str) -> None:
    scan = write_scan(tmp_path / FOLDER / "ct", VOLUME)
    place = tmp_path / FOLDER / "ct" / "mask.nii.gz"
    write_nifti(place, labelled(), scan.affine)
    image = nibabel.load(place)
    nibabel.save(change(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine)), place)  # type: ignore[operator]
    with pytest.raises(RelayError, match=message):
        read_all(survey(tmp_path, OPTIONS, "raise"))


def test_damaged_files_and_values_that_are_no_ct_are_refused(tmp_path: Path) -> None:
    affine = np.diag([0.6, 0.7, STEP, 1.0])
    write_nifti(tmp_path / "P1" / "ct_mask.nii.gz", labelled(), affine)
    for values, message in (
        (np.full(VOLUME.shape, np.nan, np.float32), "1920 of its values are NaN or infinite"),
        (VOLUME.astype(np.float32) * 100, "beyond 16 bits"),
        (np.abs(VOLUME % 200), "cannot be Hounsfield units"),
    ):
        write_nifti(tmp_path / "P1" / "ct.nii.gz", values, affine)
        with pytest.raises(RelayError, match=message):
            read_all(survey(tmp_path, OPTIONS, "raise"))
    whole = (tmp_path / "P1" / "ct_mask.nii.gz").read_bytes()
    write_nifti(tmp_path / "P1" / "ct.nii.gz", VOLUME, affine)
    (tmp_path / "P1" / "ct_mask.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        RelayError, match=r"voxels end early|not a NIfTI file that can be read|cannot be read"
    ):
        read_all(survey(tmp_path, OPTIONS, "raise"))
    write_nifti(tmp_path / "P1" / "ct.nii.gz", VOLUME.transpose(1, 0, 2)[:4], np.diag([0.6, 5.0, 0.7, 1.0]))
    with pytest.raises(RelayError, match="its slices are not axial: 48 x 4 x 4 voxels"):
        survey(tmp_path, OPTIONS, "raise")
