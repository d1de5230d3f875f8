"""DICOM files and images become slices in Hounsfield units, in order, or a reason why not."""

import logging
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)  # fmt: skip

from datamodules.faults import UnusableError
from datamodules.readers.hrct.scans.dicom_pixels import read_hounsfield
from datamodules.readers.hrct.scans.header import SliceHeader, read_slice_header
from datamodules.readers.hrct.scans.order import Direction, Ordered, order_slices
from tests.helpers.fake_hrct import IDENTIFIERS, SERIES_UID, SPACING, hounsfield, write_series

SYNTAXES = [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLosslessSV1]


def ordered(places: list[Path], direction: Direction = "image_numbers") -> Ordered:
    headers = [read_slice_header(str(place)) for place in sorted(places)]
    return order_slices([header for header in headers if isinstance(header, SliceHeader)], direction)


def numbers(found: Ordered) -> list[int | None]:
    return [header.number for header in found.headers]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("signed", [False, True])
def test_stored_values_become_hounsfield_units(tmp_path: Path, syntax: UID, signed: bool) -> None:
    volume = hounsfield(1)
    (place,) = write_series(tmp_path, volume, signed=signed, intercept=0 if signed else -1024, syntax=syntax)
    found = read_hounsfield(str(place))
    assert found.dtype == np.int16
    assert np.array_equal(found, volume[0])


def test_slope_and_intercept_are_applied_and_rounded(tmp_path: Path) -> None:
    volume = np.array([[[-1000, -999], [400, 401]]], np.int16)
    (place,) = write_series(tmp_path, volume, slope=2.5, intercept=-1000.5)
    # stored 0, 1, 560, 561 -> -1000.5, -998, 399.5, 402, halves to even
    assert read_hounsfield(str(place)).tolist() == [[-1000, -998], [400, 402]]


def test_values_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    (place,) = write_series(tmp_path, np.zeros((1, 2, 2), np.int16), intercept=-30000, slope=0.5)
    assert read_hounsfield(str(place)).max() == 0
    (place,) = write_series(tmp_path, np.zeros((1, 2, 2), np.int16), intercept=-20000,
                            changes={0: {"RescaleSlope": 3}})  # fmt: skip
    with pytest.raises(UnusableError, match="reach from 40000 to 40000, beyond 16 bits"):
        read_hounsfield(str(place))


@pytest.mark.parametrize(("signed", "stored", "tagged"), [
    (True, -2000, 63536), (True, -2000, -2000), (False, 63536, -2000),
])  # fmt: skip
def test_padding_becomes_air_whatever_sign_its_tag_was_written_with(
    tmp_path: Path, signed: bool, stored: int, tagged: int
) -> None:
    from pydicom import dcmread

    (place,) = write_series(tmp_path, np.full((1, 2, 2), 50, np.int16), signed=signed, intercept=-1000)
    data = dcmread(place)
    pixels = data.pixel_array.copy()
    pixels[0, 0] = stored
    data.PixelData = pixels.tobytes()
    data.add_new("PixelPaddingValue", "US" if tagged > 0 else "SS", tagged)
    data.save_as(place)
    assert read_hounsfield(str(place)).tolist() == [[-1000, 50], [50, 50]]


def test_padding_can_be_a_range(tmp_path: Path) -> None:
    volume = np.array([[[-1024, -1023], [-1022, 7]]], np.int16)
    (place,) = write_series(
        tmp_path, volume, changes={0: {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 1}}
    )
    assert read_hounsfield(str(place)).tolist() == [[-1000, -1000], [-1022, 7]]


def test_slices_are_ordered_by_position_and_start_where_the_image_numbers_start(tmp_path: Path) -> None:
    for falling in (True, False):
        found = ordered(write_series(tmp_path / str(falling), hounsfield(6), falling=falling))
        assert numbers(found) == [1, 2, 3, 4, 5, 6] and not found.unnumbered
    assert found.headers[0].spacing == SPACING and found.headers[0].shape == (48, 40)


def test_an_end_that_was_asked_for_wins_over_image_numbers(tmp_path: Path) -> None:
    places = write_series(tmp_path, hounsfield(3), falling=True)
    assert numbers(ordered(places, "ascending")) == [3, 2, 1]
    assert numbers(ordered(places, "descending")) == [1, 2, 3]
    assert not ordered(places, "ascending").unnumbered


def test_the_position_is_taken_along_the_normal(tmp_path: Path) -> None:
    cosine, sine = np.cos(0.3), np.sin(0.3)
    normal = np.array([0, -sine, cosine])
    changes = {
        index: {
            "ImageOrientationPatient": [1, 0, 0, 0, float(cosine), float(sine)],
            # z falls although the slices rise: they slide along their plane, too
            "ImagePositionPatient": (
                index * 2.0 * normal - index * 9.0 * np.array([0, cosine, sine])
            ).tolist(),
        }
        for index in range(4)
    }
    found = ordered(write_series(tmp_path, hounsfield(4), changes=changes))
    assert numbers(found) == [1, 2, 3, 4]
    assert numbers(ordered(list(tmp_path.iterdir()), "ascending")) == [1, 2, 3, 4]


def test_image_numbers_that_do_not_follow_the_positions_tell_no_direction(tmp_path: Path) -> None:
    places = write_series(
        tmp_path, hounsfield(3), changes={0: {"InstanceNumber": 2}, 1: {"InstanceNumber": 1}}
    )
    assert "do not follow the positions" in ordered(places).unnumbered
    places = write_series(tmp_path, hounsfield(3), changes={1: {"InstanceNumber": None}})
    assert "do not follow the positions" in ordered(places).unnumbered


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, 1, 2), ""),
        ((2, 3, 4), "its 3 slices have numbers from 2 to 4, so that slices are missing"),
        ((1, 3, 5), "its 3 slices have numbers from 1 to 5, so that slices are missing"),
        ((7,), "its 1 slices have numbers from 7 to 7, so that slices are missing"),
        ((None,), ""),
    ],
)
def test_image_numbers_show_that_a_slice_is_missing_at_an_end(
    tmp_path: Path, given: tuple[int | None, ...], said: str
) -> None:
    changes = {place: {"InstanceNumber": number} for place, number in enumerate(given)}
    places = write_series(tmp_path, hounsfield(len(given)), changes=changes)
    assert ordered(places).unnumbered == said
    assert ordered(places, "ascending").unnumbered == ""


Write = Callable[[Path], list[Path]]
HOLES: list[tuple[str, Write, str]] = [
    ("a missing slice", lambda folder: drop(write_series(folder, hounsfield(6)), 2),
     r"slices are missing: behind slice 3 of 5, .* step is 2.50 mm, the usual one 1.25 mm \(1 such gaps\)"),
    ("a slice twice", lambda folder: [*write_series(folder, hounsfield(4)),
                                      *write_series(folder, hounsfield(1), first_name=50)],
     "1 of its 5 slices are where another one is"),
    ("no position", lambda folder: changed(folder, {"ImagePositionPatient": None}),
     "1 of its 3 slices have no position"),
    ("two directions",
     lambda folder: changed(folder, {"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}),
     "not parallel"),
]  # fmt: skip
BAD_SERIES: list[tuple[str, Write, str]] = [
    ("two spacings", lambda folder: changed(folder, {"PixelSpacing": [0.9, 0.9]}),
     "differ in pixel spacing"),
    ("spacing in some", lambda folder: changed(folder, {"PixelSpacing": None}),
     "some of its slices have no pixel spacing"),
    ("two sizes", lambda folder: [*write_series(folder, hounsfield(2)),
                                  *write_series(folder, hounsfield(1, (20, 20)), first_name=50, step=0,
                                                changes={0: {"ImagePositionPatient": [0, 0, 400]}})],
     "differ in size"),
    ("two patients", lambda folder: changed(folder, {"PatientID": "MRN448812B"}),
     "name several patients"),
]  # fmt: skip


def changed(folder: Path, tags: dict[str, Any]) -> list[Path]:
    return write_series(folder, hounsfield(3), changes={1: tags})


def drop(places: list[Path], index: int) -> list[Path]:
    places[index].unlink()
    return places[:index] + places[index + 1 :]


@pytest.mark.parametrize(
    ("write", "message"), [case[1:] for case in BAD_SERIES], ids=[case[0] for case in BAD_SERIES]
)
def test_a_series_that_is_not_whole_is_refused(tmp_path: Path, write: Write, message: str) -> None:
    places = write(tmp_path)
    with pytest.raises(UnusableError, match=message) as caught:
        ordered(places)
    assert not any(word.lower() in str(caught.value).lower() for word in IDENTIFIERS)


@pytest.mark.parametrize(("write", "message"), [case[1:] for case in HOLES], ids=[case[0] for case in HOLES])
@pytest.mark.parametrize("direction", ["image_numbers", "ascending"])
def test_a_series_with_holes_says_that_its_numbers_cannot_be_believed(
    tmp_path: Path, write: Write, message: str, direction: Direction
) -> None:
    places = write(tmp_path)
    found = ordered(places, direction)
    assert re.search(message, found.holes) and len(found.headers) == len(places)
    assert not any(word.lower() in found.holes.lower() for word in IDENTIFIERS)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("kept", [0.6, 0.99])
def test_truncated_pixels_are_refused(tmp_path: Path, syntax: UID, kept: float) -> None:
    (place,) = write_series(tmp_path, hounsfield(1), syntax=syntax)
    content = place.read_bytes()
    place.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UnusableError, match="end early"):
        read_hounsfield(str(place))


@pytest.mark.parametrize(("change", "message"), [
    ({"RescaleSlope": None}, "no rescale slope or intercept"),
    ({"RescaleIntercept": None}, "no rescale slope or intercept"),
    ({"NumberOfFrames": 3}, "several frames"),
    ({"SamplesPerPixel": 3}, "colour image"),
])  # fmt: skip
def test_files_without_one_slice_in_hounsfield_units_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    (place,) = write_series(tmp_path, hounsfield(1), changes={0: change})
    with pytest.raises(UnusableError, match=message):
        read_hounsfield(str(place))
    header = read_slice_header(str(place))
    assert isinstance(header, SliceHeader) and message in header.faults[0]


@pytest.mark.parametrize(("content", "message"), [
    (b"", "not a DICOM file"), (b"name;DOE\n" * 40, "not a DICOM file"), 
    (bytes(128) + b"DICM" + b"\xff" * 60, "header is damaged"),
])  # fmt: skip
def test_files_that_are_no_dicom_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "DOE.dcm").write_bytes(content)
    with pytest.raises(UnusableError, match=message) as caught:
        read_slice_header(str(tmp_path / "DOE.dcm"))
    assert "DOE" not in str(caught.value)


def test_nothing_that_pydicom_says_of_odd_values_is_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from pydicom import config, dcmread

    (place,) = write_series(tmp_path, hounsfield(1))
    content = place.read_bytes()
    # A name and a date where a UID should stand: pydicom warns, and quotes them.
    odd = content.replace(SERIES_UID.encode(), b"DOE^JANE/MRN448812/19470815-AB")
    place.write_bytes(odd)
    with pytest.warns(UserWarning, match="DOE"):
        _ = dcmread(place).SeriesInstanceUID
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        config.debug(True)
        try:
            header = read_slice_header(str(place))
            read_hounsfield(str(place))
        finally:
            config.debug(False)
    assert header is not None and not caught
    seen = caplog.text + "".join(capfd.readouterr()) + repr(header)
    assert not any(word in seen for word in IDENTIFIERS) and "pydicom" not in caplog.text


def test_a_broken_header_value_is_refused_without_its_text(tmp_path: Path) -> None:
    (place,) = write_series(tmp_path, hounsfield(1), changes={0: {"RescaleIntercept": "-1024.25"}})
    place.write_bytes(place.read_bytes().replace(b"-1024.25", b"DOE^JANE"))
    header = read_slice_header(str(place))
    assert isinstance(header, SliceHeader)
    assert "no rescale slope or intercept that is a number" in header.faults[0]
    assert "DOE" not in repr(header)
    with pytest.raises(UnusableError, match="no rescale slope or intercept that is a number") as caught:
        read_hounsfield(str(place))
    assert "DOE" not in str(caught.value)
    (place,) = write_series(tmp_path, hounsfield(1), changes={0: {"InstanceNumber": "12345678"}})
    place.write_bytes(place.read_bytes().replace(b"12345678", b"DOE^JANE"))
    with pytest.raises(UnusableError) as caught:
        read_slice_header(str(place))
    assert "DOE" not in str(caught.value) and caught.value.__suppress_context__
