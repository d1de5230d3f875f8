"""Maps as NIfTI lie on the series voxel by voxel, as nibabel reads them."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread

from analysis.prediction.series.nifti import write_pattern, write_probabilities
from analysis.prediction.series.pattern_map import PatternMap
from analysis.prediction.series.volume import CTVolume, open_volume
from tests.helpers.fake_hrct import hounsfield, write_series, write_tiff
from tests.helpers.made_maps import made_map

CLASSES = ("EMP", "GGO", "NOR")


def map_of(folder: Path, volume: CTVolume) -> PatternMap:
    """A pattern that follows from the pixel's value, so that it can be found again: 1 below -500, 2, 3."""
    values = np.stack([volume.slice(number) for number in range(volume.shape[0])])
    patterns = (1 + (values > -500) + (values > 0)).astype(np.uint8)
    lungs = np.where(values % 5 == 0, 0, 1).astype(np.uint8)
    return made_map(folder, volume, lungs, patterns, CLASSES)


def expected(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(values % 5 == 0, 0, 1 + (values > -500) + (values > 0))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(("axes", "more"), [("LPS", ()), ("RAS", (1,)), ("IAL", ()), ("PSR", ())])
def test_of_a_nifti_series_they_have_its_own_shape_axes_and_affine_bit_for_bit(
    tmp_path: Path, kind: type, axes: str, more: tuple[int, ...]
) -> None:
    lean = np.array([[0.7, 0.02, 0, -31.7], [-0.02, 0.8, 0, 12.1], [0, 0, 3.1, -205.3], [0, 0, 0, 1]])
    plain = nibabel.Nifti1Image(np.moveaxis(hounsfield(6), 0, 2), lean)
    ras = nibabel.orientations.axcodes2ornt("RAS")
    turned = plain.as_reoriented(
        nibabel.orientations.ornt_transform(ras, nibabel.orientations.axcodes2ornt(axes))
    )
    image = kind(np.asarray(turned.dataobj).reshape(*turned.shape, *more), None, turned.header)
    image.header.set_sform(turned.affine, 4)
    image.header.set_qform(turned.affine, 1)
    image.header["descrip"] = b"DOE^JANE"
    nibabel.save(image, tmp_path / "ct.nii.gz")
    source = nibabel.load(tmp_path / "ct.nii.gz")

    made = map_of(tmp_path / "map", open_volume(tmp_path / "ct.nii.gz"))
    write_pattern(tmp_path / "pattern.nii.gz", made)
    write_probabilities(tmp_path / "probabilities.nii.gz", made)

    pattern, probabilities = (nibabel.load(tmp_path / f"{n}.nii.gz") for n in ("pattern", "probabilities"))
    for written in (pattern, probabilities):
        assert type(written) is kind
        assert written.affine.tobytes() == source.affine.tobytes()
        for code in ("sform_code", "qform_code", "quatern_b", "pixdim"):
            assert (written.header[code].ravel()[:4] == source.header[code].ravel()[:4]).all()
        assert b"DOE" not in gzip.decompress(Path(written.get_filename()).read_bytes())
    assert pattern.shape == source.shape
    assert pattern.get_data_dtype() == np.uint8
    assert (np.asarray(pattern.dataobj) == expected(source.get_fdata())).all()
    assert probabilities.shape == (*turned.shape, 3)
    told = probabilities.get_fdata()
    inside = np.asarray(pattern.dataobj).reshape(turned.shape) > 0
    assert told.sum(-1)[inside] == pytest.approx(1, abs=1e-4)
    assert told[inside].max(-1) == pytest.approx(0.8, abs=1e-4)
    assert (told.argmax(-1) + 1)[inside].tolist() == pattern.get_fdata().reshape(turned.shape)[
        inside
    ].tolist()
    assert not told[~inside].any()


@pytest.mark.parametrize("degrees", [0, 12])
def test_of_a_dicom_series_a_voxel_is_where_its_pixel_is(tmp_path: Path, degrees: float) -> None:
    lean = np.radians(degrees)
    cosines = {"ImageOrientationPatient": [1, 0, 0, 0, np.cos(lean), -np.sin(lean)]}
    places = write_series(
        tmp_path / "ct", hounsfield(5), step=2.5, changes={number: cosines for number in range(5)}
    )
    made = map_of(tmp_path / "map", open_volume(tmp_path / "ct"))
    write_pattern(tmp_path / "pattern.nii.gz", made)
    written = nibabel.load(tmp_path / "pattern.nii.gz")
    assert written.header.get_xyzt_units()[0] == "mm"
    assert (int(written.header["qform_code"]) > 0) == (degrees == 0), "a quaternion cannot lean"
    for data in map(dcmread, places):
        origin, rows = (
            np.array(data.ImagePositionPatient, float),
            np.array(data.ImageOrientationPatient, float),
        )
        for row, column in ((0, 0), (20, 33), (47, 39)):
            step = np.array(data.PixelSpacing, float)
            at = (
                origin + rows[:3] * step[1] * column + rows[3:] * step[0] * row
            )  # PS3.3, equation C.7.6.2.1-1
            voxel = np.linalg.inv(written.affine) @ [-at[0], -at[1], at[2], 1]
            assert voxel == pytest.approx(np.rint(voxel), abs=1e-3)
            found = written.dataobj[tuple(np.rint(voxel[:3]).astype(int))]
            assert found == expected(np.array(float(data.pixel_array[row, column]) - 1024))


def test_of_image_files_nothing_is_said_of_the_patient(tmp_path: Path) -> None:
    for number, plane in enumerate(hounsfield(3)):
        write_tiff(tmp_path / f"s{number}.tif", plane)
    made = map_of(tmp_path / "map", open_volume(tmp_path, spacing=(5, 0.7, 0.6)))
    write_pattern(tmp_path / "pattern.nii.gz", made)
    written = nibabel.load(tmp_path / "pattern.nii.gz")
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (0, 0)
    assert written.header.get_zooms() == pytest.approx((0.6, 0.7, 5))
    assert (np.asarray(written.dataobj)[:, :, 2] == made.pattern(2).T).all()


def test_equal_maps_are_equal_files(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", hounsfield(3))
    made = map_of(tmp_path / "map", open_volume(tmp_path / "ct"))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_probabilities(tmp_path / name, made)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
