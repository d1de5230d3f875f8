"""Series and folders as hospitals have them: taken where nothing can shift, refused where something could."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from datamodules.readers.hrct.scans.order import Direction
from stages.errors import RelayError
from tests.helpers.fake_hrct import write_tiff
from tests.helpers.lung_series import (
    TRUE,
    lungs,
    read_means,
    write_mask,
    write_patient,
    write_patients,
)

HEIGHTS = (0, -3, -6, -9, -15, -18)


def gaps(data: Dataset, index: int) -> None:
    data.ImagePositionPatient = [0, 0, HEIGHTS[index]]


def copies(data: Dataset, index: int) -> None:
    data.ImagePositionPatient = [0, 0, -index // 2]
    data.ConvolutionKernel = "B30f" if index % 2 else "B70f"


def no_positions(data: Dataset, index: int) -> None:
    del data.ImagePositionPatient


def positions_that_are_no_numbers(data: Dataset, index: int) -> None:
    if index == 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data.ImagePositionPatient = ["nan", 0, 0]


def several_directions(data: Dataset, index: int) -> None:
    if index == 1:
        data.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]


HOLES = (gaps, copies, no_positions, positions_that_are_no_numbers, several_directions)


def as_boxes(folder: Path) -> None:
    """Boxes on the first two slices instead of masks."""
    shutil.rmtree(folder / "masks")
    halves = ((0, "NOR"), (32, "GGO"))
    rows = [f"{number},0,{left},64,32,{label}" for number in (1, 2) for left, label in halves]
    (folder / "boxes.csv").write_text("slice,top,left,height,width,label\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize("change", HOLES)
def test_holes_in_a_series_do_not_matter_to_masks_by_name_and_are_noted(
    tmp_path: Path, change: Callable[[Dataset, int], None]
) -> None:
    write_patients(tmp_path, change, slices=6)
    means, notes, _ = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15)
    (note,) = (note for note in notes if "2 series lack slices or have no known order" in note)
    assert "nothing shifts" in note


@pytest.mark.parametrize("change", HOLES)
@pytest.mark.parametrize("order", ["image_numbers", "ascending"])
def test_holes_in_a_series_are_refused_where_boxes_name_slices_by_number(
    tmp_path: Path, change: Callable[[Dataset, int], None], order: Direction
) -> None:
    write_patients(tmp_path, change, slices=6)
    for name in ("P1", "P2"):
        as_boxes(tmp_path / name)
    with pytest.raises(RelayError, match=r"name slices by number, and may fall on others. Masks named as"):
        read_means(tmp_path, slice_order=order)


@pytest.mark.parametrize("order", ["image_numbers", "descending"])
def test_only_annotated_slices_may_have_been_kept(tmp_path: Path, order: Direction) -> None:
    for number in (1, 2):
        places = write_patient(tmp_path / f"P{number}", number, slices=12)
        for place in (*places[:2], *places[3:7], places[8]):
            place.unlink()
            (place.parent / "masks" / f"{place.stem}.png").unlink()
    means, notes, _ = read_means(tmp_path, slice_order=order)
    assert means == pytest.approx(TRUE, abs=15)
    assert any("nothing shifts" in note for note in notes)


def test_several_kernels_of_a_patient_are_noted_and_boxes_need_to_know_which(tmp_path: Path) -> None:
    def kernel(name: str) -> Callable[[Dataset, int], None]:
        return lambda data, index: setattr(data, "ConvolutionKernel", name)

    for number in (1, 2):
        write_patient(tmp_path / f"P{number}/soft", number, kernel("B30f"))
        write_patient(
            tmp_path / f"P{number}/sharp", number, kernel("B70f"), series=f"1.3.{number}", regions=False
        )
    means, notes, groups = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15) and groups == {"P1", "P2"}
    assert any(note.startswith("2 series without regions are left out") for note in notes)
    for number in (1, 2):
        for place in (tmp_path / f"P{number}/sharp").glob("*.dcm"):
            place.rename(tmp_path / f"P{number}/soft/sharp-{place.name}")
            write_mask(tmp_path / f"P{number}/soft/masks/sharp-{place.stem}.png")
    means, notes, _ = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15)
    assert any("4 series with regions have 2 reconstruction kernels" in note for note in notes)
    as_boxes(tmp_path / "P1/soft")
    with pytest.raises(RelayError, match="does not name one of the 2 series of its folder"):
        read_means(tmp_path)


@pytest.mark.parametrize("other", ["mrn001", " MRN 001", "MRN-1", "MRN^001", "Mrn0001 "])
def test_one_patient_under_two_spellings_is_one(tmp_path: Path, other: str) -> None:
    patients = {"P1/a": "MRN001", "P1/b": other, "P2/a": "MRN002", "P2/b": "MRN 0020"}
    for number, (place, patient) in enumerate(patients.items()):
        write_patient(tmp_path / place, number, patient=patient)
    _, notes, groups = read_means(tmp_path)
    assert len(groups) == 3
    assert any("1 patients are spelled in several ways (2 in all" in note for note in notes)
    assert any("1 of 2 patients' folders hold series of several PatientIDs" in note for note in notes)
    assert not any("001" in note for note in notes)


def test_one_series_may_spell_its_patient_in_two_ways(tmp_path: Path) -> None:
    def spell(data: Dataset, index: int) -> None:
        data.PatientID = data.PatientID.lower() if index % 2 else data.PatientID

    write_patients(tmp_path, spell)
    assert len(read_means(tmp_path)[2]) == 2


@pytest.mark.parametrize(("tagged", "groups"), [(True, {"P1", "P2"}), (False, {"PA0", "PA1"})])
def test_a_disc_is_read_with_and_without_patient_ids(tmp_path: Path, tagged: bool, groups: set[str]) -> None:
    for number in (1, 2):
        folder = tmp_path / f"DICOM/PA{number - 1}/ST0/SE0"
        for place in write_patient(folder, number, patient=f"P{number}" if tagged else ""):
            mask = folder / "masks" / f"{place.stem}.png"
            mask.rename(mask.with_name(f"IM{place.stem[1:]}.png"))
            place.rename(folder / f"IM{place.stem[1:]}")
        (folder / "VERSION").write_text("1")
    (tmp_path / "DICOMDIR").write_bytes(bytes(200))
    (tmp_path / "VERSION").write_text("1")
    means, _, found = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15) and found == groups


def test_studies_of_a_disc_are_no_patients(tmp_path: Path) -> None:
    for number in (1, 2):
        write_patient(tmp_path / f"DICOM/ST{number}/SE0", number, patient="")
    assert read_means(tmp_path)[2] == {"DICOM"}


def test_series_of_another_modality_beside_ct_are_passed_over_by_kind(tmp_path: Path) -> None:
    def positrons(data: Dataset, index: int) -> None:
        data.Modality = "PT"

    def localizer(data: Dataset, index: int) -> None:
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_patients(tmp_path)
    write_patient(tmp_path / "P1/pet", 5, positrons, patient="P1", regions=False)
    write_patient(tmp_path / "P1/scout", 6, localizer, patient="P1", regions=False)
    means, notes, _ = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15)
    assert any("4 images of another modality than CT (PT), 4 localizers." in note for note in notes)


def test_what_is_odd_about_slices_is_noted(tmp_path: Path) -> None:
    def odd(data: Dataset, index: int) -> None:
        data.BurnedInAnnotation = "YES"
        data.add_new((0x6000, 0x0010), "US", 64)
        data.RescaleType = "US"
        data.LossyImageCompression = "01"
        data.ImageType = ["DERIVED", "SECONDARY", "MIP"]
        if index:
            data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"

    write_patients(tmp_path, odd)
    means, notes, _ = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15)
    for text in ("8 slices say that text is burned", "8 slices have overlays", "8 slices leave the unit",
                 "8 slices are projections", "8 slices were compressed with loss",
                 "6 slices are secondary captures"):  # fmt: skip
        assert any(text in note for note in notes), text


@pytest.mark.parametrize(
    ("names", "noted"),
    [
        (("subject1_bottom", "subject1_middle", "subject1_top"), True),
        (("subject1_slice01_0.625mm", "subject1_slice02_0.625mm", "subject1_slice03_0.625mm"), False),
        (("1_bottom", "2_middle", "3_top"), False),
    ],
)
def test_numbers_in_front_of_names_are_no_numbers_of_slices(
    tmp_path: Path, names: tuple[str, ...], noted: bool
) -> None:
    for number in (1, 2):
        (tmp_path / f"P{number}/masks").mkdir(parents=True)
        for name, plane in zip(names, lungs(3, number), strict=True):
            write_tiff(tmp_path / f"P{number}" / f"{name}.tif", plane)
        as_boxes(tmp_path / f"P{number}")
    means, notes, _ = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15)
    assert any("slice 1 is the first by name" in note for note in notes) == noted


def coloured(folder: Path, first: tuple[int, ...], values: tuple[int, ...] = (1, 2)) -> None:
    """Masks that hold some of the values, with a palette: 1 has the first colour, 2 is blue."""
    for place in folder.iterdir():
        numbers = np.ones((64, 64), np.uint8)
        numbers[:, 32:] = 2
        numbers[~np.isin(numbers, values)] = 0
        mask = Image.fromarray(numbers).convert("P")
        mask.putdata(numbers.ravel().tolist())
        mask.putpalette([0, 0, 0, *first, 0, 0, 255])
        mask.save(place)


def test_masks_whose_palettes_give_a_value_two_colours_are_refused(tmp_path: Path) -> None:
    write_patients(tmp_path)
    for name in ("P1", "P2"):
        coloured(tmp_path / name / "masks", (0, 255, 0))
    assert read_means(tmp_path)[0] == pytest.approx(TRUE, abs=15)
    coloured(tmp_path / "P2/masks", (255, 0, 0))
    places = (
        "of slice 1 of series 1 of folder 1 and of slice 1 of series 1 of folder 2 draw the value 1 in two"
    )
    with pytest.raises(RelayError, match=places):
        read_means(tmp_path)
    coloured(tmp_path / "P2/masks", (255, 0, 0), values=(2,))  # a colour that no pixel has
    assert read_means(tmp_path)[0] == pytest.approx(TRUE, abs=15)


def test_grey_masks_beside_ones_with_a_palette_are_noted(tmp_path: Path) -> None:
    write_patients(tmp_path)
    assert not any("palette" in note for note in read_means(tmp_path)[1])
    coloured(tmp_path / "P1/masks", (0, 255, 0))
    means, notes, _ = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15)
    assert any(note.startswith("4 of 8 masks have a palette, the others are grey") for note in notes)


def test_a_tilted_gantry_and_two_series_in_a_folder_are_read(tmp_path: Path) -> None:
    def tilt(data: Dataset, index: int) -> None:
        data.ImagePositionPatient = [0, 0.5 * index, -2 * index]

    write_patients(tmp_path, tilt)
    for place in write_patient(tmp_path / "more", 3, patient="P1", regions=False):
        data = dcmread(place)
        data.save_as(tmp_path / "P1" / f"t{place.name}")
        place.unlink()
        write_mask(tmp_path / f"P1/masks/t{place.stem}.png")
    means, notes, _ = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15) and notes == ()


LITTER = ("VERSION", "desktop.ini", "._s01.dcm", ".DS_Store", "Thumbs.db", "notes.txt", "__MACOSX/._s01.dcm",
          "@eaDir/s01.dcm/SYNO.jpg")  # fmt: skip


@pytest.mark.parametrize("order", ["image_numbers", "descending"])
def test_litter_among_slices_is_passed_over_and_counted(tmp_path: Path, order: Direction) -> None:
    write_patients(tmp_path)
    for folder in ("P1", "P1/masks", "P2", "."):
        for name in LITTER:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_text("1")
    as_boxes(tmp_path / "P2")
    (tmp_path / "P2/__MACOSX/._boxes.csv").write_text("1")
    means, notes, groups = read_means(tmp_path, slice_order=order)
    assert means == pytest.approx(TRUE, abs=15) and groups == {"P1", "P2"}
    (note,) = (note for note in notes if note.startswith("Passed over as litter"))
    for kind in ("Windows", "macOS", "network drives", "2 of texts without contours"):
        assert kind in note


def test_a_text_is_no_region(tmp_path: Path) -> None:
    write_patients(tmp_path)
    write_patient(tmp_path / "P3", 3, regions=False)
    (tmp_path / "P3/notes.txt").write_text("look at this one again")
    with pytest.raises(RelayError, match="series 1 of folder 3: its patient has no region"):
        read_means(tmp_path)


def test_names_that_end_in_a_number_are_whole_names(tmp_path: Path) -> None:
    write_patients(tmp_path)
    for place in tmp_path.glob("*/*.dcm"):
        name = f"1.2.840.{place.stem[1:]}"
        (place.parent / f"masks/{place.stem}.png").rename(place.parent / f"masks/{name}.png")
        place.rename(place.parent / name)
    assert read_means(tmp_path)[0] == pytest.approx(TRUE, abs=15)


def test_a_mask_that_two_slices_could_have_is_refused(tmp_path: Path) -> None:
    write_patients(tmp_path)
    shutil.copy(tmp_path / "P1/s01.dcm", tmp_path / "P1/s01.ima")
    with pytest.raises(RelayError, match="folder 1: 1 masks have a name that several of its slices have"):
        read_means(tmp_path)


@pytest.mark.parametrize("folders", [("P1", "P2"), ("DICOM/0000A1/AA", "DICOM/0000A2/AA")])
def test_folders_that_count_as_patients_are_noted(tmp_path: Path, folders: tuple[str, str]) -> None:
    for number, folder in enumerate(folders):
        write_patient(tmp_path / folder, number, patient="")
    _, notes, groups = read_means(tmp_path)
    assert len(groups) == 2 and any(note.startswith("2 series have no PatientID") for note in notes)
