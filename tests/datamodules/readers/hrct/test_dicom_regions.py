"""Structure sets and segmentations fall on the pixels that they were drawn on, in any orientation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from highdicom import Volume
from matplotlib.path import Path as Polygon

from datamodules.readers.hrct.reader import survey
from stages.errors import RelayError
from tests.helpers.fake_hrct import FOLDER, IDENTIFIERS, hounsfield
from tests.helpers.fake_regions import (
    ORIENTATIONS,
    Scan,
    drawn_masks,
    write_scan,
    write_segments,
    write_structures,
)
from tests.helpers.fake_units import read_all
from tests.helpers.hrct_sets import SMALL

SHAPE = (40, 48)
VOLUME = hounsfield(4, SHAPE)
LESION = [(3.3, 4.4), (3.3, 30.4), (9.3, 41.6), (27.7, 22.4), (20.6, 9.3)]
HOLE = [(8.3, 14.4), (8.3, 20.4), (15.7, 17.4)]
ISLAND = [(30.3, 30.4), (30.3, 44.4), (37.6, 44.4)]


def inside(*loops: list[tuple[float, float]]) -> npt.NDArray[np.bool_]:
    """Pixels in an odd number of polygons, by matplotlib."""
    rows, columns = np.indices(SHAPE)
    centres = np.column_stack([rows.ravel(), columns.ravel()])
    odd = np.zeros(SHAPE, bool)
    for loop in loops:
        odd ^= Polygon(np.array([*loop, loop[0]])).contains_points(centres).reshape(SHAPE)
    return odd


def labelled() -> npt.NDArray[np.uint8]:
    """A mask without symmetry on two of four slices: 1 and 2."""
    mask = np.zeros((4, *SHAPE), np.uint8)
    mask[1][inside(LESION)] = 1
    mask[2][inside(LESION, HOLE)] = 2
    mask[2][inside(ISLAND)] = 1
    return mask


def scan(source: Path, name: str = "as usual", **changes: object) -> Scan:
    return write_scan(source / FOLDER / "ct", VOLUME, ORIENTATIONS[name], **changes)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("falling", [True, False])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_contours_lie_on_their_slices_with_holes_and_islands(
    tmp_path: Path, name: str, falling: bool, named: bool
) -> None:
    drawn = scan(tmp_path, name, falling=falling)
    regions = [
        ("Ground glass", 1, LESION),
        ("Normal lung", 2, LESION),
        ("Normal lung", 2, HOLE),
        ("Normal lung", 2, LESION),  # twice, as some systems write it
        ("Ground glass", 2, ISLAND),
    ]
    write_structures(tmp_path / FOLDER / "rt" / "1.dcm", drawn, regions, named=named)
    found = survey(tmp_path, replace(SMALL, labels={"normal-lung": "NOR"}), "raise")
    masks = drawn_masks(found)
    assert found.classes == ("GGO", "NOR") and list(masks) == [2, 3]
    assert np.array_equal(masks[2], labelled()[1]) and np.array_equal(masks[3], labelled()[2])


def test_a_keyhole_is_a_hole(tmp_path: Path) -> None:
    drawn = scan(tmp_path)
    keyhole = [*LESION, LESION[0], *HOLE, HOLE[0]]
    write_structures(tmp_path / FOLDER / "rt.dcm", drawn, [("ggo", 0, keyhole)])
    assert np.array_equal(drawn_masks(survey(tmp_path, SMALL, "raise"))[1], inside(LESION, HOLE))


def test_names_may_be_in_any_alphabet_and_contours_that_cross_are_noted(tmp_path: Path) -> None:
    drawn = scan(tmp_path)
    crossing = [(row + 5, column + 5) for row, column in LESION]
    place = tmp_path / FOLDER / "rt.dcm"
    write_structures(place, drawn, [("GGO", 1, LESION), ("GGO", 1, crossing)])
    data = pydicom.dcmread(place)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.StructureSetROISequence[0].ROIName = "\u3059\u308a\u30ac\u30e9\u30b9 "
    data.save_as(place)
    found = survey(tmp_path, replace(SMALL, labels={"\u3059\u308a\u30ac\u30e9\u30b9": "GGO"}), "raise")
    assert np.array_equal(drawn_masks(found)[2], inside(LESION, crossing))
    assert found.notes == (
        "1 regions have contours that cross on a slice: pixels in two of them are outside.",
    )


def test_what_encloses_nothing_lies_on_no_slice_or_has_no_class_is_counted(tmp_path: Path) -> None:
    drawn = scan(tmp_path)
    regions = [
        ("ggo", 1, LESION), ("ggo", 1, HOLE[:1]), ("ggo", 2, HOLE), ("ggo", 2.4, LESION),
        ("Heart", 2, ISLAND),
    ]  # fmt: skip
    kinds = {1: "POINT", 2: "OPEN_PLANAR"}
    write_structures(tmp_path / FOLDER / "rt.dcm", drawn, regions, named=False, kinds=kinds)
    found = survey(tmp_path, SMALL, "raise")
    assert list(drawn_masks(found)) == [2]
    assert found.notes == (
        "1 contours of type POINT enclose no area and are left out.",
        "1 contours of type OPEN_PLANAR enclose no area and are left out.",
        "1 contours lie on no slice of their series and are left out.",
        "1 DICOM regions have a name that is in neither labels nor class_map.",
    )


REFUSED = {
    "another series": ({"series": "1.2.3"}, [("ggo", 1, LESION)], "another series than those of the source"),
    "another frame": ({"frame": "1.2.3"}, [("ggo", 1, LESION)], "frame of reference is not that of"),
    "between slices": ({"named": False}, [("ggo", 1.5, LESION)], "none of its 1 contours lies on a slice"),
    "unknown names": ({}, [("Heart", 1, LESION)], "none of the names of its 1 regions is in labels"),
    "outside": ({}, [("ggo", 1, [(1, 1), (1, 90), (9, 9)])], "leaves the image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_structures_that_do_not_fit_are_refused(tmp_path: Path, case: str) -> None:
    changes, regions, message = REFUSED[case]
    drawn = scan(tmp_path)
    write_structures(tmp_path / FOLDER / "rt.dcm", drawn, regions, **changes)  # type: ignore[arg-type]
    with pytest.raises(RelayError, match=message) as caught:
        survey(tmp_path, SMALL, "raise")
    assert not any(word in str(caught.value) for word in IDENTIFIERS)


def test_a_contour_that_names_a_slice_and_lies_on_another_is_refused(tmp_path: Path) -> None:
    drawn = scan(tmp_path)
    write_structures(tmp_path / FOLDER / "rt.dcm", drawn, [("ggo", 1, LESION)])
    place = tmp_path / FOLDER / "rt.dcm"
    data = pydicom.dcmread(place)
    contour = data.ROIContourSequence[0].ContourSequence[0]
    contour.ContourImageSequence[0].ReferencedSOPInstanceUID = drawn.headers[3].SOPInstanceUID
    data.save_as(place)
    with pytest.raises(RelayError, match=r"names slice 4 and lies 5.00 mm from it"):
        survey(tmp_path, SMALL, "raise")


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("name", ["as usual", "tilted"])
def test_segments_become_the_pixels_that_they_hold(tmp_path: Path, kind: str, name: str) -> None:
    drawn = scan(tmp_path, name)
    write_segments(tmp_path / FOLDER / "seg.dcm", drawn, labelled(), ["GGO", "Normal lung"], kind)
    found = survey(tmp_path, replace(SMALL, labels={"Normal lung": "NOR"}), "raise")
    masks = drawn_masks(found)
    assert found.classes == ("GGO", "NOR")
    assert all(np.array_equal(masks.get(k + 1, 0 * plane), plane) for k, plane in enumerate(labelled()))
    assert any("0.5 and more is inside" in note for note in found.notes) == (kind == "FRACTIONAL")


@pytest.mark.parametrize("turned", [(0, 1, 2), (0, 2, 1)])
@pytest.mark.parametrize("flipped", [(), (0,), (1,), (2,), (0, 1, 2)])
def test_a_segmentation_in_another_orientation_is_turned(
    tmp_path: Path, turned: tuple[int, ...], flipped: tuple[int, ...]
) -> None:
    drawn = scan(tmp_path)
    volume = Volume(labelled(), drawn.affine[:, [2, 1, 0, 3]], coordinate_system="PATIENT")
    volume = volume.permute_spatial_axes(turned)
    for axis in flipped:
        volume = volume.flip_spatial(axis)
    write_segments(tmp_path / FOLDER / "seg.dcm", drawn, labelled(), ["GGO", "NOR"], volume=volume)
    masks = drawn_masks(survey(tmp_path, SMALL, "raise"))
    assert all(np.array_equal(masks.get(k + 1, 0 * plane), plane) for k, plane in enumerate(labelled()))


def test_a_half_and_more_is_inside_and_pixels_of_two_segments_are_used_for_none(
    tmp_path: Path,
) -> None:
    drawn = scan(tmp_path)
    fractions = np.zeros((4, *SHAPE, 2))
    fractions[1, 5:25, 5:30, 0], fractions[1, 20:39, 20:40, 1] = 0.6, 1.0
    fractions[1, 0:5, 5:30, 0] = 0.4
    write_segments(tmp_path / FOLDER / "seg.dcm", drawn, fractions, ["GGO", "NOR"], "FRACTIONAL")
    expected = np.zeros(SHAPE, np.uint8)
    expected[5:25, 5:30] = 1
    expected[20:39, 20:40] = 2
    expected[20:25, 20:30] = 0
    found = survey(tmp_path, SMALL, "raise")
    assert np.array_equal(drawn_masks(found)[2], expected)
    assert any("50 pixels lie in regions of different classes" in one.why for one in read_all(found)[1])


def test_a_segmentation_on_another_grid_or_of_another_series_is_refused_with_both(tmp_path: Path) -> None:
    drawn = scan(tmp_path)
    moved = drawn.affine[:, [2, 1, 0, 3]] @ np.array(
        [[1, 0, 0, 0], [0, 1, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    place = tmp_path / FOLDER / "seg.dcm"
    volume = Volume(labelled(), moved, coordinate_system="PATIENT")
    write_segments(place, drawn, labelled(), ["GGO", "NOR"], volume=volume)
    with pytest.raises(RelayError, match=r"has 40 x 48 pixels of 0.7 x 0.6 mm .*, the series 4 slices of 40"):
        survey(tmp_path, SMALL, "raise")
    write_segments(place, drawn, labelled(), ["GGO", "NOR"])
    data = pydicom.dcmread(place)
    data.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3"
    data.save_as(place)
    with pytest.raises(RelayError, match="segmentation 1 of folder 1: it was drawn on another series"):
        survey(tmp_path, SMALL, "raise")


def _two_segmentations(source: Path, first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> None:
    drawn = scan(source)
    for number, (mask, name) in enumerate(((first, "ggo"), (second, "normal")), start=1):
        write_segments(source / FOLDER / "seg" / f"{number}.dcm", drawn, mask, [name])


def test_segmentations_of_one_series_that_do_not_contradict_are_drawn_together(tmp_path: Path) -> None:
    """One file for each segment, as many programs write them; two slices have both."""
    whole = labelled()
    _two_segmentations(tmp_path, (whole == 1).astype(np.uint8), (whole == 2).astype(np.uint8))
    found = survey(tmp_path, SMALL, "raise")
    masks = drawn_masks(found)
    assert np.array_equal(masks[2], whole[1]) and np.array_equal(masks[3], whole[2])
    assert "2 segmentations share their series with others, and are drawn together." in found.notes
    assert read_all(found)[0]


def test_segmentations_that_give_a_pixel_two_classes_are_refused(tmp_path: Path) -> None:
    first, second = np.zeros((2, 4, *SHAPE), np.uint8)
    first[1, 2:20, 5:40] = second[1, 19:30, 5:40] = 1
    _two_segmentations(tmp_path, first, second)
    with pytest.raises(
        RelayError, match="2 segmentations are drawn on it, and give 35 pixels different classes"
    ):
        read_all(survey(tmp_path, SMALL, "raise"))


def test_two_sources_of_regions_are_refused(tmp_path: Path) -> None:
    drawn = scan(tmp_path)
    write_segments(tmp_path / FOLDER / "seg.dcm", drawn, labelled(), ["GGO", "NOR"])
    write_structures(tmp_path / FOLDER / "rt.dcm", drawn, [("ggo", 1, LESION)])
    with pytest.raises(RelayError, match=r"given 2 times \(segmentation, structure set\); keep one"):
        survey(tmp_path, SMALL, "raise")
