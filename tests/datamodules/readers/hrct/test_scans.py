"""A path's series without any option of the reader: pixels, geometry and header facts."""

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from datamodules.faults import Faults, UnusableError
from datamodules.readers.hrct.scans.find import read_scans
from datamodules.readers.hrct.scans.scan import Scan
from tests.helpers.fake_hrct import SPACING, hounsfield, write_tiff
from tests.helpers.fake_regions import ORIENTATIONS, STEP, write_nifti, write_scan

SHAPE = (40, 48)
VOLUME = hounsfield(4, SHAPE)
TO_NIFTI = np.diag([-1.0, -1.0, 1.0, 1.0])


def only(path: Path, **how: int) -> Scan:
    faults = Faults("raise")
    (scan,) = read_scans(path, faults, **how).scans  # type: ignore[arg-type]
    faults.settle()
    return scan


def where(affine: npt.NDArray[np.float64], voxel: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    return (affine @ (*voxel, 1))[:3]


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_dicom_series_is_read_slice_by_slice_and_lies_where_it_was_written(
    tmp_path: Path, name: str
) -> None:
    written = write_scan(tmp_path / "ct" / "series", VOLUME, ORIENTATIONS[name])
    scan = only(tmp_path)
    assert (len(scan.slices), scan.shape, scan.spacing) == (4, SHAPE, pytest.approx(SPACING))
    assert scan.thickness == {STEP} and scan.holes == "" and len(set(scan.instances)) == 4
    assert scan.affine is not None
    values = scan.hounsfield(0, 4)
    first = scan.instances.index(f"{scan.uid}.1")  # slice 1 as written, wherever it is by its height
    order = range(4) if first == 0 else range(3, -1, -1)
    for place, index in enumerate(order):
        assert np.array_equal(values[place], VOLUME[index])
        assert np.allclose(where(scan.affine, (7, 5, place)), where(written.affine, (7, 5, index)), atol=1e-3)
    assert np.array_equal(scan.hounsfield(1, 3), values[1:3])


@pytest.mark.parametrize("codes", [None, "RAS", "LPI", "ASR", "SAR", "PIR"])
def test_a_nifti_series_is_turned_upright_and_back_into_the_axes_of_its_file(
    tmp_path: Path, codes: str | None
) -> None:
    affine = np.diag([0.6, 0.7, STEP, 1.0])
    affine[:3, 3] = (-120.5, -110.25, 30.0)
    write_nifti(tmp_path / "ct.nii.gz", VOLUME, affine, codes)
    scan = only(tmp_path / "ct.nii.gz")
    assert scan.affine is not None and np.allclose(scan.affine, affine, atol=1e-4)
    assert np.array_equal(scan.hounsfield(0, 4), VOLUME)
    voxels, back = scan.as_nifti(VOLUME)
    image = nibabel.load(tmp_path / "ct.nii.gz")
    assert np.array_equal(voxels, np.asarray(image.dataobj)) and np.allclose(back, image.affine)


def test_a_dicom_series_becomes_nifti_of_the_same_places(tmp_path: Path) -> None:
    written = write_scan(tmp_path, VOLUME, ORIENTATIONS["tilted"], falling=False)
    voxels, affine = only(tmp_path).as_nifti(VOLUME)
    assert voxels.shape == (48, 40, 4) and voxels[7, 5, 2] == VOLUME[2, 5, 7]
    assert np.allclose(where(affine, (7, 5, 2)), where(TO_NIFTI @ written.affine, (7, 5, 2)), atol=1e-3)


def test_image_files_are_in_the_order_of_their_numbers_and_lie_nowhere(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        write_tiff(tmp_path / f"s{number}.tif", VOLUME[number % 3])
    scan = only(tmp_path)
    assert np.array_equal(scan.hounsfield(0, 3), VOLUME[[1, 2, 1]])
    assert scan.affine is None and scan.spacing is None
    with pytest.raises(UnusableError, match="do not say where they lie"):
        scan.as_nifti(VOLUME)


def test_each_series_of_a_mixed_folder_is_one_and_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    write_scan(tmp_path / "a", VOLUME, series="1.2.1")
    write_scan(tmp_path / "b", VOLUME[:2], series="1.2.2")
    (tmp_path / "c").mkdir()
    write_tiff(tmp_path / "c" / "s1.tif", VOLUME[0])
    write_tiff(tmp_path / "c" / "s2.tif", VOLUME[0, :-1])
    faults = Faults("skip")
    found = read_scans(tmp_path, faults)
    assert [len(scan.slices) for scan in found.scans] == [4, 2]
    assert [(one.what, one.why.partition(";")[0]) for one in faults.problems] == [
        ("folder 1 of image files", "its slices differ in size or in bits")
    ]
