"""Contours, boxes and masks become pixels of regions, or a reason why not."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from datamodules.faults import UnusableError
from datamodules.readers.hrct.classes import (
    PAPER_COUNTS,
    SEVEN_PATTERNS,
    checked_class_map,
    compare_with_paper,
    plain_label,
)
from datamodules.readers.hrct.regions.carriers import Outlines
from datamodules.readers.hrct.regions.drawing import fill_outline, label_mask
from datamodules.readers.hrct.regions.rois import (
    Region,
    contour_regions,
    read_boxes,
    read_contours,
    region_fault,
)
from stages.errors import RelayError
from tests.helpers.fake_hrct import IDENTIFIERS, SERIES_UID, SPACING, rectangle, write_contours

KNOWN = frozenset(SEVEN_PATTERNS)


def region(*outline: tuple[float, float], label: str = "healthy", number: int = 1, on: int = 1) -> Region:
    return Region(number, label, on, outline)


def box(top: float, left: float, bottom: float, right: float, number: int = 1) -> Region:
    return region((top, left), (top, right), (bottom, right), (bottom, left), number=number)


def regions_of(text: str, place: Path) -> tuple[Region, ...]:
    place.write_text(text, encoding="utf-8")
    return contour_regions(read_contours(str(place)), SPACING)


HEAD = "SpacingX: 0.6\nSpacingY: 0.7\nlabel: healthy\nslice_number: 3\n"


def test_contours_become_outlines_in_pixels(tmp_path: Path) -> None:
    write_contours(
        tmp_path / "DOE.txt",
        [
            ("ground_glass", 2, rectangle(10, 5, 20, 30)),
            ("healthy", 12, [(6.0, 7.0), (12.0, 7.0), (9.0, 14.0)]),
        ],
    )
    found = read_contours(str(tmp_path / "DOE.txt"))
    assert found.series == SERIES_UID and found.spacing == SPACING
    first, second = contour_regions(found, SPACING)
    assert (first.number, first.label, first.slice_number) == (1, "ground_glass", 2)
    assert first.outline == ((10, 5), (10, 35), (30, 35), (30, 5))
    assert (second.number, second.label, second.slice_number) == (2, "healthy", 12)
    assert second.outline == ((10, 10), (10, 20), (20, 15))
    assert not any(word in repr((found, first)) for word in IDENTIFIERS)


def test_a_label_and_a_slice_hold_until_the_next_one(tmp_path: Path) -> None:
    triangle = "nb_points_on_contour: 3\n0 0\n6 0\n0 7\n"
    text = HEAD + triangle + triangle + "slice_number: 4\n" + triangle + "label: emphysema\n" + triangle
    found = regions_of(text, tmp_path / "a.txt")
    assert [(one.label, one.slice_number) for one in found] == [
        ("healthy", 3), ("healthy", 3), ("healthy", 4), ("emphysema", 4),
    ]  # fmt: skip


def test_a_contour_file_without_spacing_takes_that_of_the_series(tmp_path: Path) -> None:
    write_contours(tmp_path / "a.txt", [("healthy", 1, rectangle(10, 5, 20, 30))], header=False)
    found = read_contours(str(tmp_path / "a.txt"))
    assert contour_regions(found, SPACING)[0].outline[0] == (10, 5)
    with pytest.raises(UnusableError, match=r"neither it .* nor its series has a pixel spacing"):
        contour_regions(found, None)


def test_a_contour_file_of_another_spacing_is_refused(tmp_path: Path) -> None:
    write_contours(tmp_path / "a.txt", [("healthy", 1, rectangle(10, 5, 20, 30))])
    with pytest.raises(UnusableError, match=r"0.7 x 0.6 mm is not that of the series, 0.9 x 0.9 mm"):
        contour_regions(read_contours(str(tmp_path / "a.txt")), (0.9, 0.9))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_boxes_as_excel_saves_them(tmp_path: Path, encoding: str) -> None:
    text = "Slice;Top;Left;Height;Width;LABEL;;\r\n1;2,5;3;4,25;5;Milchglas für;;\r\n;;;;;;;\r\n"
    (tmp_path / "a.csv").write_text(text, encoding, newline="")
    (only,) = read_boxes(str(tmp_path / "a.csv"))
    assert (only.label, only.slice_number) == ("Milchglas für", 1)
    assert only.outline == ((2.5, 3), (2.5, 8), (6.75, 8), (6.75, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        (" \r\n\n", "it is empty"),
        ("Patient: DOE\nSeries: 1.2.3\n", "holds no contour"),
        ("SpacingX: 0.6\0", "not a text file"),
        ("nb_points_on_contour: 3\n1 1\n", "line 1: a contour comes before the first label"),
        (HEAD + "nb_points_on_contour: 4\n1 1\n2 2\n", "it ends inside a contour"),
        (HEAD + "nb_points_on_contour: 3\n1 1\n2 DOE\n3 3\n", "line 7: a number is expected"),
        (HEAD + "nb_points_on_contour: 3\n1 1\n2 2\nlabel: DOE\n", "line 8: a number is expected"),
        (HEAD + "nb_points_on_contour: 3\n1 1\n2 2 2\n", "line 7: a point of a contour is two numbers"),
        (HEAD + "nb_points_on_contour: 2.5\n", "line 5: a whole number"),
        (HEAD + "nb_points_on_contour: 3\n1 1\nnan 2\n3 3\n", "line 7: a number"),
        ("SpacingX: 0\n", "line 1: a number is expected above 0"),
    ],
)
def test_contour_files_that_break_the_format_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UnusableError, match=message) as caught:
        regions_of(text, tmp_path / "DOE.txt")
    assert "DOE" not in str(caught.value)


def test_boxes_become_outlines_that_hold_height_times_width_pixels(tmp_path: Path) -> None:
    text = "\ufeffLabel,slice,top,left,height,width\nground glass,2,3,4,5,6\n\nhealthy,1,0,0,1,1\n"
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    first, second = read_boxes(str(tmp_path / "a.csv"))
    assert (first.label, first.slice_number, second.number) == ("ground glass", 2, 2)
    filled = fill_outline(first.outline, (20, 20))
    assert filled[3:8, 4:10].all() and filled.sum() == 30
    assert fill_outline(second.outline, (20, 20)).sum() == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("slice,top,left,height,width,label\n", "it holds no box"),
        ("slice;top;left;height;width;label\n1;1.000;2,5;3;4;x\n", "commas and points"),
        ("slice;top;left;height;width;label\n1;1,000;2;3;4;x\n", "marks of thousands or of decimals"),
        ("slice,top,left,label\n1,2,3,healthy\n", "the column height, width is missing"),
        ("slice,top,left,height,width,label\n1,2,3,4,5,healthy\n1,2,DOE,4,5,healthy\n", "line 3: a number"),
        ("slice,top,left,height,width,label\n1,2,3\n", "line 2: a number"),
        ("slice,top,left,height,width,label\n1,2,3,0,5,healthy\n", "line 2: a box needs a height"),
        ("slice,top,left,height,width,label\n1.5,2,3,4,5,healthy\n", "line 2: a whole number"),
    ],
)
def test_box_files_that_break_the_format_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "DOE.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UnusableError, match=message) as caught:
        read_boxes(str(tmp_path / "DOE.csv"))
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (box(0, 0, 5, 5), None),
        (box(0, 0, 30, 40), None),
        (region((0, 0), (0, 5), (5, 5), label="Jane Doe"), "its label is not in class_map"),
        (region((0, 0), (0, 5), (5, 5), on=0), "drawn on slice 0, the series has slices 1 to 9"),
        (region((0, 0), (0, 5), (5, 5), on=10), "drawn on slice 10, the series has slices 1 to 9"),
        (region((0, 0), (0, 5)), "it has 2 different points"),
        (region((1, 1), (1, 1), (1, 1), (1, 1)), "it has 1 different points"),
        (box(-2, 0, 5, 5), "leaves the image of 30 x 40 pixels"),
        (box(0, 0, 31, 5), "leaves the image of 30 x 40 pixels"),
        (box(0, 30, 5, 41), "leaves the image of 30 x 40 pixels"),
    ],
)
def test_regions_that_cannot_be_drawn_say_why(one: Region, message: str | None) -> None:
    fault = region_fault(one, 9, (30, 40), KNOWN)
    assert (fault is None) if message is None else (fault is not None and message in fault)
    assert fault is None or "Jane" not in fault


@given(st.lists(st.tuples(st.floats(-3, 23), st.floats(-3, 18)), min_size=3, max_size=8))
def test_filled_outlines_are_those_of_crossings_counted_pixel_by_pixel(
    outline: list[tuple[float, float]],
) -> None:
    filled = fill_outline(outline, (20, 15))
    for row in range(20):
        for column in range(15):
            crossings = 0
            near = False
            for (r0, c0), (r1, c1) in zip(outline, outline[1:] + outline[:1], strict=True):
                if (r0 <= row) != (r1 <= row):
                    at = c0 + (row - r0) / (r1 - r0) * (c1 - c0)
                    near |= abs(at - column) < 1e-6
                    crossings += at <= column
            assert near or filled[row, column] == (crossings % 2 == 1)


@pytest.mark.parametrize("seed", range(20))
def test_a_contour_fills_what_matplotlib_calls_inside(seed: int) -> None:
    generator = np.random.default_rng(seed)
    angles = np.sort(generator.uniform(0, 2 * np.pi, 12))
    radii = generator.uniform(3, 9, 12)
    corners = np.column_stack([10.13 + radii * np.sin(angles), 9.71 + radii * np.cos(angles)])
    rows, columns = np.mgrid[:20, :20]
    inside = Outline(corners).contains_points(np.column_stack([rows.ravel(), columns.ravel()]))
    outline = [(float(row), float(column)) for row, column in corners]
    assert np.array_equal(fill_outline(outline, (20, 20)), inside.reshape(20, 20))


def test_outlines_that_share_an_edge_share_no_pixel() -> None:
    left = fill_outline(((0, 0), (0, 5), (10, 5), (10, 0)), (10, 10))
    right = fill_outline(((0, 5), (0, 10), (10, 10), (10, 5)), (10, 10))
    assert not (left & right).any() and (left | right).all()


def test_pixels_in_regions_of_two_labels_belong_to_neither() -> None:
    regions = Outlines(((box(0, 0, 4, 4, 1), "A"), (box(0, 2, 4, 6, 2), "A"), (box(3, 0, 6, 6, 5), "B")))
    drawing = regions.draw((8, 8), {"A": 1, "B": 2})
    numbers = drawing.numbers
    expected = np.zeros((8, 8), int)
    expected[0:3, 0:6] = 1
    expected[4:6, 0:6] = 2
    assert drawing.labels.tolist() == expected.tolist() and drawing.disputed == 6
    assert numbers[0].tolist() == [1, 1, 2, 2, 2, 2, 0, 0] and numbers[3].sum() == 0 and numbers[5, 0] == 5


def test_areas_of_a_mask_are_numbered_and_unknown_values_named() -> None:
    mask: npt.NDArray[np.int32] = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [1, 0, 9, 0], [0, 1, 0, 4]], np.int32)
    drawing = label_mask(mask, {1: 2, 2: 1, 4: 0})
    assert drawing.labels.tolist() == [[2, 2, 0, 1], [0, 0, 0, 1], [2, 0, 0, 0], [0, 2, 0, 0]]
    assert drawing.numbers.tolist() == [[2, 2, 0, 1], [0, 0, 0, 1], [3, 0, 0, 0], [0, 3, 0, 0]]
    assert drawing.unknown == (9,)


def test_labels_of_medgift_are_known() -> None:
    named = {
        "consolidation": "CON", "ground_glass": "GGO", "Ground-Glass": "GGO", "honeycombing": "HCM",
        "reticulation": "RET", "emphysema": "EMP", "micronodules": "NOD", "peripheral micronodules": "NOD",
        "healthy": "NOR", "fibrosis": None,
    }  # fmt: skip
    assert {label: SEVEN_PATTERNS[plain_label(label)] for label in named} == named
    assert {name for name in SEVEN_PATTERNS.values() if name} == set(PAPER_COUNTS)


def test_a_class_map_that_contradicts_itself_or_has_no_class_is_refused() -> None:
    assert checked_class_map({"Ground Glass": "GGO"}) == {"ground_glass": "GGO"}
    with pytest.raises(RelayError, match="gives 'ground_glass' two classes, 'GGO' and 'CON'"):
        checked_class_map({"Ground Glass": "GGO", "ground_glass": "CON"})
    with pytest.raises(RelayError, match="no class"):
        checked_class_map({"fibrosis": None})


def test_counts_are_compared_only_where_the_set_is_as_large_as_the_papers() -> None:
    assert compare_with_paper(dict(PAPER_COUNTS)) == ("The class counts are those of the paper.",)
    other = dict(PAPER_COUNTS) | {"CON": (140, 29)}
    assert compare_with_paper(other) == (
        "CON: 140 patches for training and 29 for evaluation, 143 and 26 in the paper.",
    )
    assert compare_with_paper(dict(PAPER_COUNTS) | {"NOR": (50, 5)}) == ()
    assert compare_with_paper({"CON": (143, 26)}) == ()
