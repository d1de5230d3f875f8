"""Each carrier of regions gives the patterns of the same two patients their means, wherever it may lie."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from datamodules.prepare import main
from stages.errors import RelayError
from tests.helpers.fake_hrct import write_tiff
from tests.helpers.fake_regions import TAGS, Scan, write_nifti, write_segments, write_structures
from tests.helpers.lung_series import TRUE, lungs, read_means, write_mask, write_patients

HALVES = np.ones((4, 64, 64), np.uint8)
HALVES[:, :, 32:] = 2
NAMES = ("NOR", "ggo")
LEFT = [(-0.5, -0.5), (-0.5, 31.5), (63.5, 31.5), (63.5, -0.5)]
RIGHT = [(row, column + 32) for row, column in LEFT]


def tagged(data: Dataset, _: int) -> None:
    for tag, value in TAGS.items():
        setattr(data, tag, value)


def structures(folder: Path, scan: Scan) -> None:
    halves = list(zip(NAMES, (LEFT, RIGHT), strict=True))
    regions = [(name, place, loop) for place in range(4) for name, loop in halves]
    write_structures(folder / "rtstruct" / "1-1.dcm", scan, regions)


def binary(folder: Path, scan: Scan) -> None:
    write_segments(folder / "seg" / "1-1.dcm", scan, HALVES, NAMES)


def fractional(folder: Path, scan: Scan) -> None:
    write_segments(folder / "segmentation.dcm", scan, HALVES, NAMES, "FRACTIONAL")


def label_map(folder: Path, scan: Scan) -> None:
    write_segments(folder / "labels" / "all.dcm", scan, HALVES, NAMES, "LABELMAP")


def nifti(folder: Path, scan: Scan) -> None:
    write_nifti(folder / "mask.nii.gz", HALVES, scan.affine, "RAS")


def nifti_of_slices(folder: Path, scan: Scan) -> None:
    for place, plane in enumerate(HALVES):
        affine = scan.affine.copy()
        affine[:3, 3] += place * affine[:3, 2]
        write_nifti(folder / f"s{place + 1:02d}_seg.nii.gz", plane[None], affine)


def nifti_series(folder: Path, scan: Scan) -> None:
    volume = lungs(4, int(folder.name[1:]))
    shutil.rmtree(folder)
    write_nifti(folder / "ct.nii.gz", volume, scan.affine, "LPI")
    write_nifti(folder / "ct_label.nii.gz", HALVES, scan.affine, "ASR")


def images_and_masks(folder: Path, _: Scan) -> None:
    for file in folder.glob("*.dcm"):
        (folder / "images").mkdir(exist_ok=True)
        file.rename(folder / "images" / file.name)
        write_mask(folder / "masks" / f"{file.stem}.png")


def mirrored(folder: Path, _: Scan) -> None:
    source = folder.parent
    for file in sorted(folder.glob("*.dcm")):
        for kind in ("images", "annotations"):
            (source / kind / folder.name).mkdir(parents=True, exist_ok=True)
        file.rename(source / "images" / folder.name / file.name)
        write_mask(source / "annotations" / folder.name / f"{file.stem}_mask.png")


def beside(folder: Path, _: Scan) -> None:
    volume = lungs(4, int(folder.name[1:]))
    shutil.rmtree(folder)
    folder.mkdir()
    for place, plane in enumerate(volume, start=1):
        write_tiff(folder / f"s{place:02d}.tif", plane)
        write_mask(folder / f"s{place:02d}-label.png")


Carrier = Callable[[Path, Scan], None]
CARRIERS: tuple[Carrier, ...] = (
    structures, binary, fractional, label_map, nifti, nifti_of_slices, nifti_series, images_and_masks,
    mirrored, beside,
)  # fmt: skip


def write(source: Path, carrier: Carrier) -> None:
    write_patients(source, tagged, regions=False)
    for number in (1, 2):
        folder = source / f"P{number}"
        carrier(folder, Scan.of(sorted(folder.glob("*.dcm"))))


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_patterns_of_both_patients_have_their_means(tmp_path: Path, carrier: Carrier) -> None:
    write(tmp_path, carrier)
    means, _, groups = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=6) and groups == {"P1", "P2"}


@pytest.mark.slow
def test_prepare_makes_a_set_of_them(tmp_path: Path) -> None:
    write(tmp_path / "S", structures)
    words = ["domain=dld", f"source={tmp_path / 'S'}", f"out={tmp_path / 'O'}", "workers=1", "fraction=0.5"]
    assert main([*words, "labels={ggo: GGO, NOR: NOR}"]) in (None, 0)
    assert json.loads((tmp_path / "O" / "set.json").read_text())["settings"]["class_map"]["ggo"] == "GGO"


FOREIGN = {
    "s01.json": "JSON: write its regions", "s01.roi": "ImageJ or Fiji", "RoiSet.zip": "ImageJ or Fiji",
    "s01.geojson": "QuPath", "s01.seg.nrrd": "3D Slicer", "s01.mhd": "MetaImage", "s01.itksnap": "ITK-SNAP",
    "s01.xml": "XML, such as LIDC",
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_programs_are_named_with_the_way_to_convert_them(tmp_path: Path, name: str) -> None:
    write_patients(tmp_path, tagged, regions=False)
    place = tmp_path / "P1" / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("0001.roi", b"Iout")
    else:
        place.write_bytes(b"{}" + bytes(200))
    with pytest.raises(RelayError, match=f"no region, and so no class; not read: 1 file of {FOREIGN[name]}"):
        read_means(tmp_path)
    for number in (1, 2):
        for file in (tmp_path / f"P{number}").glob("*.dcm"):
            write_mask(tmp_path / f"P{number}" / "masks" / f"{file.stem}.png")
    means, notes, _ = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=6)
    assert any(note.startswith(f"Not read: 1 file of {FOREIGN[name]}") for note in notes)


def test_masks_in_two_places_and_words_for_masks_in_names_of_slices_are_no_guess(tmp_path: Path) -> None:
    write(tmp_path, images_and_masks)
    (tmp_path / "P1" / "labels").mkdir()
    Image.fromarray(HALVES[0]).save(tmp_path / "P1" / "labels" / "s01.png")
    with pytest.raises(RelayError, match="masks of its slices lie in 2 places"):
        read_means(tmp_path)


def test_slices_of_pairs_are_a_patient_each_whatever_their_folders_are_called(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for place, plane in enumerate(lungs(3)):
        write_tiff(tmp_path / "images" / f"a{place}.tif", plane)
        write_mask(tmp_path / "labels" / f"a{place}.png")
    means, notes, groups = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=6) and len(groups) == 3
    assert any("3 slices or volumes do not name a patient" in note for note in notes)
