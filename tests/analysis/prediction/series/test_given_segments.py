"""A mask that is a DICOM SEG: of both lungs, of other organs, of some slices, of another series."""

import csv
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from analysis.prediction.series.command import predict_series
from analysis.prediction.series.mask_files import open_mask
from analysis.prediction.series.volume import CTVolume, open_volume
from stages.errors import RelayError
from tests.analysis.prediction.series.test_find_lungs import MM, Values, lungs_of, thorax
from tests.analysis.prediction.series.test_series_command import task_of
from tests.helpers.fake_hrct import write_series
from tests.helpers.fake_regions import TAGS, Scan, write_segments, write_structures

SLICES = 5


def write_ct(folder: Path, values: Values, **tags: Any) -> Scan:
    tags = {**TAGS, "SliceThickness": 10.0, "PixelSpacing": [MM, MM], **tags}
    changes = {number: tags for number in range(len(values))}
    series = str(tags.pop("SeriesInstanceUID", "1.2.3"))
    return Scan.of(write_series(folder, values, step=10, falling=False, changes=changes, series=series))


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scan, CTVolume, npt.NDArray[np.uint8]]:
    """A series, opened, and its lungs: 1 right, 2 left."""
    values, true = thorax(SLICES)
    folder = tmp_path_factory.mktemp("series") / "ct"
    return write_ct(folder, values), open_volume(folder), true.astype(np.uint8)


CT = tuple[Scan, CTVolume, npt.NDArray[np.uint8]]


@pytest.mark.usefixtures("undrawn")
def test_two_segments_typed_are_the_right_and_the_left_lung(
    ct: CT, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, _, true = ct
    write_segments(tmp_path / "seg.dcm", scan, np.where(true > 0, 3 - true, 0), ["LUNG_L", "Right lung"])
    predict_series(
        task_of(scan.files[0].parent, tmp_path / "out", f"mask={tmp_path / 'seg.dcm'}", "stride=16")
    )
    assert "segment" not in capsys.readouterr().out
    pattern = np.asarray(nibabel.load(tmp_path / "out" / "pattern.nii.gz").dataobj)
    assert ((pattern > 0) == (true > 0).transpose(2, 1, 0)).all()
    rows = list(csv.DictReader((tmp_path / "out" / "measurements.csv").read_text().splitlines()))
    for side, region in ((1, "right lung"), (2, "left lung")):
        ml = sum(
            float(row["ml"]) for row in rows if row["region"] == region and row["pattern"] != "uncertain"
        )
        assert ml == pytest.approx((true == side).sum() * MM * MM * 10 / 1000)


@pytest.mark.parametrize(
    ("names", "used", "note"),
    [
        (
            ["Right lung", "LUNG_LEFT", "heart"],
            (1, 2),
            "Of 3 segments of the mask, those that are named lung are used: 2",
        ),
        (
            ["Lungs", "Lung nodule", "heart"],
            (1,),
            "Of 3 segments of the mask, those that are named lung are used: 1",
        ),
        (
            ["Segment_1", "Segment_2", "heart"],
            (1, 2, 3),
            "No segment of the mask is named lung: 3 segments of",
        ),
    ],
)
def test_segments_that_are_named_lung_are_used(
    ct: CT, tmp_path: Path, names: list[str], used: tuple[int, ...], note: str
) -> None:
    scan, volume, true = ct
    labels = true.copy()
    labels[:, 50:55, 60:66] = 3
    labels[labels > len(names)] = 0
    write_segments(tmp_path / "seg.dcm", scan, labels, names)
    assert [said for said in open_mask(tmp_path / "seg.dcm", volume).notes if note in said]
    found = lungs_of(volume, tmp_path, tmp_path / "seg.dcm")
    assert ((found > 0) == np.isin(labels, used)).all()


def test_a_mask_of_some_slices_says_which_it_was_drawn_on(ct: CT, tmp_path: Path) -> None:
    scan, volume, true = ct
    part = Scan(scan.files[1:4], scan.affine)
    write_segments(tmp_path / "seg.dcm", part, (true[1:4] > 0).astype(np.uint8), ["lung"])
    mask = open_mask(tmp_path / "seg.dcm", volume)
    assert [said for said in mask.notes if f"covers 3 of {SLICES} slices" in said]
    found = lungs_of(volume, tmp_path, tmp_path / "seg.dcm")
    assert (found[1:4] == true[1:4]).all() and not found[[0, 4]].any()
    drawn = (true > 0).astype(np.uint8)
    drawn[[0, 4]] = 0  # drawn on all, and two of them are empty
    write_segments(tmp_path / "all.dcm", scan, drawn, ["lung"])
    assert not open_mask(tmp_path / "all.dcm", volume).notes


def test_a_mask_of_another_series_is_refused(ct: CT, tmp_path: Path) -> None:
    """Also where its pixels lie in the same places, as those of the next patient of a scanner can."""
    _, volume, true = ct
    drawn = (true > 0).astype(np.uint8)

    def refusal(name: str, **tags: Any) -> str:
        other = write_ct(tmp_path / name, thorax(SLICES)[0], SeriesInstanceUID="1.2.4", **tags)
        write_segments(tmp_path / f"{name}.dcm", other, drawn, ["lung"])
        with pytest.raises(RelayError) as refused:
            open_mask(tmp_path / f"{name}.dcm", volume)
        assert f"mask={tmp_path / name}.dcm" in str(refused.value)
        return str(refused.value)

    assert "names are not those of the source" in refusal("patient", FrameOfReferenceUID="1.2.5")
    moved = refusal("moved", ImageOrientationPatient=[1, 0, 0, 0, -1, 0])
    assert "do not lie on those of the series" in moved
    kernel = write_ct(tmp_path / "kernel", thorax(SLICES)[0], SeriesInstanceUID="1.2.6")
    write_segments(tmp_path / "kernel.dcm", kernel, drawn, ["lung"])
    same = lungs_of(volume, tmp_path, tmp_path / "kernel.dcm")  # another reconstruction of the same scan
    assert (same == true).all()


def test_lungs_without_a_pixel_are_no_reason_to_take_the_heart(ct: CT, tmp_path: Path) -> None:
    scan, volume, true = ct
    heart = np.zeros_like(true)
    heart[:, 60:70, 60:68] = 2
    write_segments(tmp_path / "seg.dcm", scan, heart, ["lung", "heart"])
    with pytest.raises(RelayError, match="its segments of lungs hold no pixel"):
        open_mask(tmp_path / "seg.dcm", volume)


def test_other_objects_of_dicom_are_named(ct: CT, tmp_path: Path) -> None:
    scan, volume, _ = ct
    write_structures(tmp_path / "rt.dcm", scan, [("Lung", 0, [(40, 30), (40, 50), (80, 50)])])
    for file, what in ((tmp_path / "rt.dcm", "structure sets"), (scan.files[0], "a slice of CT")):
        with pytest.raises(RelayError, match=f"it holds {what}, and a mask in DICOM is a segmentation"):
            open_mask(file, volume)
