"""The lungs of drawn thoraxes are found, and told apart by the patient's geometry."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from analysis.prediction.series.lungs import write_lungs
from analysis.prediction.series.mask_files import open_mask
from analysis.prediction.series.volume import CTVolume, open_volume
from stages.errors import RelayError
from tests.helpers.fake_hrct import write_series, write_tiff

SIDE, MM = 128, 2.6  # a slice of 333 mm
TRUE_RIGHT, TRUE_LEFT = 1, 2
Values = npt.NDArray[np.int16]


def ellipse(row: float, column: float, height: float, width: float) -> npt.NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside: npt.NDArray[np.bool_] = ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 < 1
    return inside


def thorax(slices: int = 12, *, one_lung: bool = False, dense: bool = True) -> tuple[Values, Values]:
    """Hounsfield units, int16 (S, H, W), the lowest slice first; and the lungs, the right one at the left.

    A body on a table with a cavity in it, a trachea and two bronchi, noisy lungs with vessels, and dense
    disease at the left lung's back, open to the chest wall, and inside of the right lung.
    """
    rng = np.random.default_rng(1)
    values, lungs = np.full((slices, SIDE, SIDE), -1000.0), np.zeros((slices, SIDE, SIDE), np.int16)
    for number in range(slices):
        size = 0.45 + 0.55 * np.sin(np.pi * (number + 1) / (slices + 1))
        body = ellipse(60, 64, 40, 56)
        values[number][body] = 40
        values[number][ellipse(60, 64, 37, 53) & ~ellipse(60, 64, 35, 51)] = -90
        table = (np.abs(np.mgrid[:SIDE, :SIDE][0] - 106) <= 6) & (np.mgrid[:SIDE, :SIDE][1] % 127 > 8)
        values[number][table] = 150
        values[number][106:108, 12:116] = -990
        sides = [(TRUE_RIGHT, 38), (TRUE_LEFT, 90)][: 1 if one_lung else 2]
        for side, column in sides:
            lung = ellipse(60, column, 29 * size, 18 * size)
            lungs[number][lung] = side
            values[number][lung] = -850
        values[number][(lungs[number] > 0) & (rng.random((SIDE, SIDE)) < 0.05)] = 30
        values[number][ellipse(58, 64, 3.2, 3.2)] = -995
        if dense and size > 0.8:
            values[number][ellipse(88, 92, 12, 10) & (lungs[number] > 0)] = 40
            values[number][ellipse(60, 38, 6, 6)] = 40
    noisy = np.rint(values + rng.normal(0, 20, values.shape)).clip(-1024)
    return noisy.astype(np.int16), lungs


def write_ct(folder: Path, values: Values, step: float = 10.0, **tags: Any) -> CTVolume:
    changes = {number: {"PixelSpacing": [MM, MM], **tags} for number in range(len(values))}
    write_series(folder, values, step=step, falling=False, changes=changes)
    return open_volume(folder)


def lungs_of(volume: CTVolume, folder: Path, mask: Path | None = None) -> npt.NDArray[np.uint8]:
    write_lungs(folder / "lungs.raw", volume, None if mask is None else open_mask(mask, volume))
    return np.fromfile(folder / "lungs.raw", np.uint8).reshape(volume.shape)


def dice(found: npt.NDArray[Any], true: npt.NDArray[Any]) -> float:
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def test_a_back_that_is_all_dense_is_found_by_the_other_lung(tmp_path: Path) -> None:
    values, true = thorax(dense=False)
    dense = (true == TRUE_LEFT) & (np.mgrid[:SIDE, :SIDE][0] > 64)
    values[dense] = 40
    found = lungs_of(write_ct(tmp_path / "ct", values), tmp_path)
    assert (found[dense] == TRUE_LEFT).mean() > 0.6, "none of it without the other lung"
    assert dice(found == TRUE_LEFT, true == TRUE_LEFT) > 0.9
    assert dice(found == TRUE_RIGHT, true == TRUE_RIGHT) > 0.95


@pytest.mark.parametrize("step", [1.0, 10.0])
def test_lungs_with_dense_disease_beside_a_table_and_a_trachea(tmp_path: Path, step: float) -> None:
    values, true = thorax()
    found = lungs_of(write_ct(tmp_path / "ct", values, step), tmp_path)
    for side in (TRUE_RIGHT, TRUE_LEFT):
        assert dice(found == side, true == side) > 0.95
    dense = (true > 0) & (values > -200)
    assert (found[dense] > 0).mean() > 0.8  # a chord across the outer wall, not its curve
    assert not found[:, 58, 64].any(), "the trachea"
    assert not found[:, 100:].any(), "the table"


def test_the_right_lung_is_the_patients_also_of_one_who_lies_prone(tmp_path: Path) -> None:
    values, true = thorax()
    turned = np.ascontiguousarray(values[:, ::-1, ::-1])
    volume = write_ct(tmp_path / "ct", turned, ImageOrientationPatient=[-1, 0, 0, 0, -1, 0])
    found = lungs_of(volume, tmp_path)
    for side in (TRUE_RIGHT, TRUE_LEFT):
        assert dice(found == side, true[:, ::-1, ::-1] == side) > 0.95


def test_one_lung_is_one_lung(tmp_path: Path) -> None:
    values, true = thorax(one_lung=True)
    found = lungs_of(write_ct(tmp_path / "ct", values), tmp_path)
    assert dice(found == TRUE_RIGHT, true == TRUE_RIGHT) > 0.95
    assert not (found == TRUE_LEFT).any()


def test_lungs_that_touch_are_cut_between_them(tmp_path: Path) -> None:
    values, true = thorax(dense=False)
    values[:, 38:42, 50:80] = -850  # the junction in front of the heart
    found = lungs_of(write_ct(tmp_path / "ct", values), tmp_path)
    for side in (TRUE_RIGHT, TRUE_LEFT):
        assert dice(found == side, true == side) > 0.9


def test_image_files_do_not_say_which_lung_is_which(tmp_path: Path) -> None:
    values, true = thorax(6)
    (tmp_path / "ct").mkdir()
    for number, plane in enumerate(values):
        write_tiff(tmp_path / "ct" / f"s{number}.tif", plane)
    found = lungs_of(open_volume(tmp_path / "ct"), tmp_path)
    assert set(np.unique(found)) == {0, 3}
    assert dice(found > 0, true > 0) > 0.93


def test_a_series_without_lungs_is_refused(tmp_path: Path) -> None:
    values = thorax(4)[0]
    values[:, 25:95, 15:115] = 40
    with pytest.raises(RelayError, match=r"no lung was found.*give a mask of them .* with mask=FILE"):
        lungs_of(write_ct(tmp_path / "ct", values), tmp_path)


def test_8_bit_slices_need_a_mask(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    Image.fromarray(np.full((64, 64), 90, np.uint8)).save(tmp_path / "ct" / "s1.png")
    with pytest.raises(RelayError, match="8-bit grey levels, by which lungs are not found"):
        lungs_of(open_volume(tmp_path / "ct"), tmp_path)


def write_mask(place: Path, volume: CTVolume, labels: npt.NDArray[Any], shift: float = 0.0) -> Path:
    affine = volume.affine.copy()
    affine[0, 3] += shift
    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0).astype(np.int16), affine), place)
    return place


def test_a_nifti_mask_is_taken_as_it_is_with_sides_by_geometry(tmp_path: Path) -> None:
    values, true = thorax(6)
    volume = write_ct(tmp_path / "ct", values)
    swapped = np.select([true == 1, true == 2], [2, 1])  # lungmask counts so, others the other way round
    lobes = np.where(true == 2, 7, np.where(np.arange(SIDE)[:, None] < 60, 3, 5)) * (true > 0)
    for name, labels in (("one", true > 0), ("two", swapped), ("lobes", lobes)):
        found = lungs_of(volume, tmp_path, write_mask(tmp_path / f"{name}.nii.gz", volume, labels))
        assert (found == true).all(), name


def test_a_file_for_each_lobe_gives_both_lungs(tmp_path: Path) -> None:
    """As TotalSegmentator writes them, among other organs."""
    values, true = thorax(4)
    volume = write_ct(tmp_path / "ct", values)
    above, right = np.arange(SIDE)[:, None] < 60, true == TRUE_RIGHT
    masks = tmp_path / "masks"
    masks.mkdir()
    for name, labels in {
        "lung_upper_lobe_left": (true == TRUE_LEFT) & above,
        "lung_lower_lobe_left": (true == TRUE_LEFT) & ~above,
        "lung_upper_lobe_right": right & above,
        "lung_lower_lobe_right": right & ~above,
        "lung_vessels": true == 0,
        "heart": true == 0,
    }.items():
        write_mask(masks / f"{name}.nii.gz", volume, labels)
    mask = open_mask(masks, volume)
    assert mask.notes == ("Of 6 files of the mask, those that are named lung are used: 4.",)
    assert (lungs_of(volume, tmp_path, masks) == true).all()
    for file in masks.glob("lung_*_lobe_*"):
        file.unlink()
    with pytest.raises(RelayError, match=r"holds 2 files that can be a mask; .* for each lung or lobe"):
        open_mask(masks, volume)


@pytest.mark.parametrize("names", ["s{}", "s{}_mask", "other{}"])
def test_a_picture_for_each_slice_by_name_or_in_order(tmp_path: Path, names: str) -> None:
    values, true = thorax(3)
    (tmp_path / "ct").mkdir()
    (tmp_path / "masks").mkdir()
    for number, plane in enumerate(values):
        write_tiff(tmp_path / "ct" / f"s{number}.tif", plane)
        picture = Image.fromarray(((true[number] > 0) * 255).astype(np.uint8))
        picture.save(tmp_path / "masks" / f"{names.format(number)}.png")
    volume = open_volume(tmp_path / "ct")
    assert (lungs_of(volume, tmp_path, tmp_path / "masks") == 3 * (true > 0)).all()
    assert bool(open_mask(tmp_path / "masks", volume).notes) == names.startswith("other")


def test_a_mask_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    values, true = thorax(4)
    volume = write_ct(tmp_path / "ct", values)

    def refusal(mask: Path) -> str:
        with pytest.raises(RelayError) as error:
            lungs_of(volume, tmp_path, mask)
        assert f"mask={mask}" in str(error.value)
        return str(error.value)

    shifted = write_mask(tmp_path / "shifted.nii.gz", volume, true, shift=40.0)
    assert "its pixels do not lie on those of the series" in refusal(shifted)
    between = tmp_path / "between.nii.gz"
    half = volume.affine @ np.diag([1, 1, 0.5, 1])
    nibabel.save(nibabel.Nifti1Image(true.transpose(2, 1, 0).astype(np.int16), half), between)
    assert "it lies on 2 of the 4 slices of its series" in refusal(between)
    empty = write_mask(tmp_path / "empty.nii.gz", volume, 0 * true)
    assert "is empty on this series" in refusal(empty)
    assert "is not there; a mask is a NIfTI file" in refusal(tmp_path / "none.nii.gz")
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.ones((SIDE, SIDE), np.uint8)).save(tmp_path / "pictures" / "a.png")
    assert "holds 1 pictures for 4 slices" in refusal(tmp_path / "pictures")
    (tmp_path / "pictures" / "a.png").rename(tmp_path / "pictures" / f"{Path(volume.files[2]).stem}.png")
    Image.fromarray(np.ones((SIDE, SIDE), np.uint8)).save(tmp_path / "pictures" / "b.png")
    assert "1 of its 2 pictures are named as no slice of the series, such as b.png" in refusal(
        tmp_path / "pictures"
    )


@pytest.mark.parametrize("kind", ["NIfTI", "pictures"])
def test_a_mask_of_some_slices_maps_these_and_says_so(tmp_path: Path, kind: str) -> None:
    values, true = thorax(6)
    volume = write_ct(tmp_path / "ct", values)
    mask = tmp_path / "mask.nii.gz"
    if kind == "NIfTI":
        image = nibabel.load(write_mask(mask, volume, true))
        nibabel.save(image.slicer[:, :, 2:5], mask)
    else:
        mask = tmp_path / "masks"
        mask.mkdir()
        for number in (2, 3, 4):
            name = f"{Path(volume.files[number]).stem}_mask.png"
            Image.fromarray((true[number] > 0).astype(np.uint8)).save(mask / name)
    expected = np.where(np.isin(np.arange(6), (2, 3, 4))[:, None, None], true, 0)
    assert (lungs_of(volume, tmp_path, mask) == expected).all()
    (said,) = open_mask(mask, volume).notes
    assert said.startswith("The mask covers 3 of 6 slices: the others are not mapped")


def test_a_mask_of_three_values_is_lung_in_all_of_them_and_says_so(tmp_path: Path) -> None:
    values, true = thorax(6)
    volume = write_ct(tmp_path / "ct", values)
    labels = np.where(ellipse(60, 64, 3, 3), 3, true)
    labels[3] = 0
    mask = write_mask(tmp_path / "three.nii.gz", volume, labels)
    found = lungs_of(volume, tmp_path, mask)
    assert ((found > 0) == (labels > 0)).all() and set(np.unique(found)) == {0, 1, 2}
    said = " ".join(open_mask(mask, volume).notes)
    assert "3 values above 0 (1, 2, 3): all of them count as lung" in said
    assert "1 slice without lungs in the mask between slices with lungs" in said
