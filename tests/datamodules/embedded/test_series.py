"""Synthetic series: what is drawn agrees with the maps, and NIfTI and DICOM say the same."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydicom import dcmread
from scipy import ndimage

from datamodules.embedded.dld_series import CLASSES, Series, draw_series
from datamodules.embedded.series import main
from datamodules.embedded.thorax import draw_anatomy


@pytest.fixture(scope="module")
def series() -> Series:
    return draw_series(10, 256, 3)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series") / "made"
    main([f"out={folder}", "slices=3", "size=96", "seed=5"])
    return folder


def test_types_shapes_and_where_patterns_are(series: Series) -> None:
    shape = (10, 256, 256)
    assert series.hounsfield.shape == series.patterns.shape == series.lungs.shape == shape
    assert (series.hounsfield.dtype, series.patterns.dtype, series.lungs.dtype) == (
        np.int16,
        np.uint8,
        np.uint8,
    )
    assert_array_equal(series.patterns > 0, series.lungs > 0)
    assert set(np.unique(series.patterns)) == set(range(len(CLASSES) + 1))
    rows = np.indices(shape)[2]
    # The patient's right lung is at the left of the picture, and neither crosses the middle.
    assert rows[series.lungs == 1].max() < 128 <= rows[series.lungs == 2].min()
    # 0.62 to 0.70 mm a pixel; from a little above the lungs to a little below them.
    between, *within = series.spacing
    assert within[0] == within[1]
    assert 0.62 <= within[0] <= 0.70
    assert 10 * between == pytest.approx(1.1 * 1.5 * 128 * within[0])


def test_each_region_shows_the_pattern_of_its_label(series: Series) -> None:
    inner = np.stack(
        [
            ndimage.binary_erosion(series.patterns[number] == label, iterations=4) * label
            for number in range(10)
            for label in range(1, 8)
        ]
    ).reshape(10, 7, 256, 256)
    median, contrast, dense = {}, {}, {}
    for index, name in enumerate(CLASSES):
        values = series.hounsfield[inner[:, index] > 0]
        assert len(values) > 500, name
        median[name] = np.median(values)
        contrast[name] = np.subtract(*np.percentile(values, [90, 10]))
        dense[name] = (values > -500).mean()
    # The patches' order (test_dld.py), and what each pattern is: opaque, hazy, holes, cysts, lines.
    assert median["CON"] > -150
    assert median["CON"] > median["GGO"] > median["NOR"] > median["EMP"]
    assert contrast["HCM"] > 1.3 * max(contrast[name] for name in ("GGO", "EMP", "NOR", "NOD", "RET"))
    assert dense["RET"] > 2 * dense["NOR"]
    assert dense["NOD"] > dense["NOR"]


def test_the_same_arguments_draw_the_same_bits_and_another_seed_another_patient() -> None:
    first, again, other = (draw_series(2, 96, seed) for seed in (1, 1, 2))
    for name in ("hounsfield", "patterns", "lungs"):
        assert_array_equal(getattr(first, name), getattr(again, name))
        assert (getattr(first, name) != getattr(other, name)).any()


def test_lungs_lie_between_apex_and_base_within_the_body() -> None:
    for height, seen in ((-0.02, False), (0.3, True), (0.6, True), (1.02, False)):
        anatomy = draw_anatomy(np.random.default_rng(0), 128, height)
        assert bool(anatomy.lungs.any()) is seen
        inside = anatomy.lungs.sum(axis=0) > 0.5
        assert anatomy.lungs.sum(axis=0).max() <= 1.0
        # Air outside of the lungs is around the body or in the airways, and no lung touches either.
        air = anatomy.tissue < -500
        assert not (ndimage.binary_dilation(inside, iterations=2) & air).any()
        assert anatomy.tissue.max() > 400  # bone


def test_nifti_and_dicom_are_the_same_series_in_the_same_place(written: Path) -> None:
    drawn = draw_series(3, 96, 5)
    series, patterns, lungs = (
        nibabel.load(written / f"{name}.nii.gz") for name in ("series", "patterns", "lungs")
    )
    assert_array_equal(np.asarray(series.dataobj).transpose(2, 1, 0), drawn.hounsfield)
    assert_array_equal(np.asarray(patterns.dataobj).transpose(2, 1, 0), drawn.patterns)
    assert_array_equal(np.asarray(lungs.dataobj).transpose(2, 1, 0), drawn.lungs)
    assert_allclose(patterns.affine, series.affine)
    assert_allclose(lungs.affine, series.affine)
    assert_allclose(series.header.get_zooms(), drawn.spacing[::-1], rtol=1e-6)
    for number, path in enumerate(sorted((written / "dicom").iterdir())):
        slice_ = dcmread(path)
        assert_array_equal(slice_.pixel_array, drawn.hounsfield[number])
        # NIfTI's axes point to the right, the front and the head; DICOM's to the left, the back, the head.
        place = (series.affine @ [0, 0, number, 1])[:3] * [-1, -1, 1]
        assert_allclose([float(value) for value in slice_.ImagePositionPatient], place, atol=1e-4)
        across = (series.affine @ [1, 0, 0, 0])[:3] * [-1, -1, 1]
        assert_allclose(across, [float(slice_.PixelSpacing[1]), 0, 0], atol=1e-5)
        assert not any((str(slice_.PatientName), slice_.PatientID, slice_.StudyDate))
    assert number == 2


def test_files_are_never_put_beside_others(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"out={written}"])
    assert "is not empty" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["slices=3"])
    assert "out is missing" in capsys.readouterr().err


def test_help_says_what_each_key_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    said = capsys.readouterr().out
    assert "python -m datamodules.embedded.series out=DIR" in said
    assert "slices=60" in said and "From above the lungs to below them." in said
