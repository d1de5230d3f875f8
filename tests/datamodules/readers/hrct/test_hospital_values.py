"""Values of CT slices as hospitals have them: right, or refused with the reason; never other values."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage, RLELossless

from datamodules.prepare import main
from datamodules.readers.hrct.reader import HrctOptions, survey
from stages.errors import RelayError
from tests.helpers.fake_units import read_all
from tests.helpers.lung_series import LABELS, TRUE, Change, pixels, read_means, write_patient, write_patients

RIGHT: dict[str, Change] = {}
REFUSED: dict[str, tuple[Change, str]] = {}


def right(change: Change) -> Change:
    RIGHT[change.__name__] = change
    return change


def refused(message: str) -> Callable[[Change], Change]:
    def keep(change: Change) -> Change:
        REFUSED[change.__name__] = change, message
        return change

    return keep


def units(data: Dataset) -> Any:
    """Hounsfield units as they were written: signed 16-bit, intercept 0."""
    return np.frombuffer(data.PixelData, np.int16).reshape(64, 64)


def with_edge(values: Any, value: int) -> Any:
    """With six rows outside the reconstruction, above the regions' patches that are compared."""
    edged = values.copy()
    edged[:6] = value
    return edged


@right
def signed_with_intercept_0(data: Dataset, index: int) -> None:
    pass


@right
def unsigned_12_bits_with_intercept(data: Dataset, index: int) -> None:
    pixels(data, (units(data) + 1024).astype(np.uint16), PixelRepresentation=0, RescaleIntercept=-1024,
           BitsStored=12, HighBit=11)  # fmt: skip


@right
def signed_12_bits_without_copies_of_the_sign(data: Dataset, index: int) -> None:
    pixels(data, (units(data) & 0x0FFF).astype(np.uint16), BitsStored=12, HighBit=11)


@right
def an_intercept_of_8192(data: Dataset, index: int) -> None:
    values = (units(data).astype(int) + 8192).astype(np.uint16)
    values[0, :5] = 0
    pixels(data, values, PixelRepresentation=0, RescaleIntercept=-8192)


@right
def another_slope_for_each_slice(data: Dataset, index: int) -> None:
    slope = 0.5 + index / 4
    pixels(data, np.rint((units(data) + 1024) / slope).astype(np.uint16), PixelRepresentation=0,
           RescaleSlope=slope, RescaleIntercept=-1024)  # fmt: skip


@right
def inverted_display(data: Dataset, index: int) -> None:
    data.PhotometricInterpretation = "MONOCHROME1"


@right
def a_plane_of_an_overlay_in_unused_bits(data: Dataset, index: int) -> None:
    values = (units(data) + 1024).astype(np.uint16)
    values[::3] |= 1 << 12
    pixels(data, values, PixelRepresentation=0, RescaleIntercept=-1024, BitsStored=12, HighBit=11)
    data.add_new((0x6000, 0x0010), "US", 64)
    data.add_new((0x6000, 0x0102), "US", 12)


@right
def padding_that_tissue_has_too(data: Dataset, index: int) -> None:
    values = units(data).copy()
    values[values == 21] = 20
    data.add_new("PixelPaddingValue", "SS", 20)
    pixels(data, values)


@right
def numbers_with_commas_for_points(data: Dataset, index: int) -> None:
    """fo-dicom 1296; in a tag that was written as a text, pydicom 828."""
    pixels(data, units(data) + 1024)
    data.add_new("RescaleIntercept", "UT", "-1024,0")
    data.add_new("PixelSpacing", "UT", "0,7\\0,6")


@right
def a_spacing_that_is_no_number(data: Dataset, index: int) -> None:
    """pydicom 173; masks of the slices' names need none."""
    data.add_new("PixelSpacing", "UT", "0.7,0.6")


@right
def thirty_two_bits(data: Dataset, index: int) -> None:
    pixels(data, units(data).astype(np.int32), BitsAllocated=32, BitsStored=32, HighBit=31)


@refused("sign that it says .* is not the one")
def signed_12_bits_said_to_be_unsigned(data: Dataset, index: int) -> None:
    data.PixelRepresentation, data.BitsStored, data.HighBit = 0, 12, 11


@refused("lowest is")
def the_same_compressed(data: Dataset, index: int) -> None:
    pixels(data, (units(data) & 0x0FFF).astype(np.uint16), PixelRepresentation=0, BitsStored=12, HighBit=11)
    data.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)


@refused("reach from .* beyond 16 bits")
def signed_16_bits_said_to_be_unsigned(data: Dataset, index: int) -> None:
    data.PixelRepresentation = 0


@refused("reach from .* beyond 16 bits")
def unsigned_padding_without_a_tag(data: Dataset, index: int) -> None:
    values = with_edge(units(data).astype(int) + 1024, -2000)
    pixels(data, values.astype(np.int16).view(np.uint16), PixelRepresentation=0, RescaleIntercept=-1024)


@refused("sign that it says .* is not the one")
def unsigned_12_bits_said_to_be_signed(data: Dataset, index: int) -> None:
    values = units(data) + 1024
    values[::4, ::4] = 2500 + np.arange(256).reshape(16, 16)
    pixels(data, values.astype(np.uint16), RescaleIntercept=-1024, BitsStored=12, HighBit=11)


@refused("sign that it says .* is not the one")
def the_same_in_rle(data: Dataset, index: int) -> None:
    """dcm4che 616; too few to be refused by their values."""
    values = units(data) + 1024
    values[::8, ::16] = 2500 + 9 * np.arange(32).reshape(8, 4)
    pixels(data, values.astype(np.uint16), RescaleIntercept=-1024, BitsStored=12, HighBit=11)
    data.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)


@refused("the lowest is 0")
def normalised_to_0_and_1(data: Dataset, index: int) -> None:
    pixels(data, (units(data) > 30).astype(np.int16))


@refused("others set that no overlay explains")
def thirteen_bits_said_to_be_12(data: Dataset, index: int) -> None:
    values = (units(data) + 1024).astype(np.uint16)
    values[0, 0] = 5000
    pixels(data, values, PixelRepresentation=0, RescaleIntercept=-1024, BitsStored=12, HighBit=11)


@refused(r"highest being bit 15 \(HighBit\), not bit 11")
def twelve_bits_at_the_top(data: Dataset, index: int) -> None:
    pixels(data, ((units(data) + 1024) << 4).astype(np.uint16), PixelRepresentation=0, RescaleIntercept=-1024,
           BitsStored=12, HighBit=15)  # fmt: skip


@refused("lowest is .* air and lung are -1000")
def an_offset_that_no_intercept_takes_back(data: Dataset, index: int) -> None:
    pixels(data, units(data) + 1024)


@refused("lowest is .* air and lung are -1000")
def the_same_with_padding(data: Dataset, index: int) -> None:
    pixels(data, with_edge(units(data) + 1024, -2000))


@refused("lowest is .* air and lung are -1000")
def the_same_with_padding_that_has_a_tag(data: Dataset, index: int) -> None:
    pixels(data, with_edge(units(data) + 1024, -2000))
    data.add_new("PixelPaddingValue", "SS", -2000)


@refused("highest is -944, where tissue is about 0")
def an_intercept_that_was_applied_already(data: Dataset, index: int) -> None:
    data.RescaleIntercept = -1024


@refused("below -1100, lower than air")
def the_same_with_metal(data: Dataset, index: int) -> None:
    values = units(data).copy()
    values[:2] = 3000
    pixels(data, values, RescaleIntercept=-1024)


@refused("lowest is .* air and lung are -1000")
def half_of_an_offset_that_no_intercept_takes_back(data: Dataset, index: int) -> None:
    pixels(data, units(data) + 512)


@refused("lowest is .* air and lung are -1000")
def half_of_the_slope(data: Dataset, index: int) -> None:
    data.RescaleSlope = 0.5


@refused("header lacks BitsStored, PixelRepresentation, without which")
def no_bits(data: Dataset, index: int) -> None:
    del data.BitsStored, data.PixelRepresentation


@refused("above 2000, higher than bone")
def a_slope_of_ten(data: Dataset, index: int) -> None:
    pixels(data, np.where(units(data) > 0, 400, units(data) // 10).astype(np.int16), RescaleSlope=10)


@refused("give a range of 255 HU")
def eight_bits(data: Dataset, index: int) -> None:
    pixels(data, np.clip((units(data) + 1000) // 6, 0, 255).astype(np.uint8), BitsAllocated=8, BitsStored=8,
           HighBit=7, PixelRepresentation=0, RescaleIntercept=-1024)  # fmt: skip


@refused("rescale slope is 0")
def a_slope_of_0(data: Dataset, index: int) -> None:
    data.RescaleSlope = 0


@refused("rescale slope is below 0")
def a_negative_slope(data: Dataset, index: int) -> None:
    pixels(data, -units(data), RescaleSlope=-1)


@refused("no rescale slope or intercept")
def no_intercept(data: Dataset, index: int) -> None:
    del data.RescaleIntercept


@refused("no slice of CT, .* its files are 4 images of another modality than CT .PT.")
def positrons(data: Dataset, index: int) -> None:
    data.Modality, data.SOPClassUID = "PT", PositronEmissionTomographyImageStorage


@refused("no slice of CT, .* its files are 4 images of another modality than CT .MR.")
def magnetic_resonance(data: Dataset, index: int) -> None:
    data.Modality, data.SOPClassUID = "MR", MRImageStorage


@refused("no slice of CT, .*another modality than CT .MR Image Storage.")
def magnetic_resonance_called_ct(data: Dataset, index: int) -> None:
    data.SOPClassUID = MRImageStorage


@refused("no slice of CT, .*another modality than CT .CR.")
def a_radiograph(data: Dataset, index: int) -> None:
    data.Modality, data.SOPClassUID = "CR", "1.2.840.10008.5.1.4.1.1.1"


@refused("no slice of CT, .*another one")
def a_modality_that_the_standard_does_not_have(data: Dataset, index: int) -> None:
    data.Modality = "DOE"


@refused(r"unit \(RescaleType\) is MGML")
def milligrams(data: Dataset, index: int) -> None:
    data.RescaleType = "MGML"


@refused(r"unit \(RescaleType\) is another one")
def a_unit_that_the_standard_does_not_have(data: Dataset, index: int) -> None:
    data.RescaleType = "DOE"


@refused("several frames")
def several_frames(data: Dataset, index: int) -> None:
    data.SOPClassUID, data.NumberOfFrames = f"{CTImageStorage}.1", 4


@refused("pixels are fractions")
def fractions(data: Dataset, index: int) -> None:
    values = units(data).astype(np.float32).tobytes()
    del data.PixelData
    data.BitsAllocated = 32
    data.add_new("FloatPixelData", "OF", values)


@refused("colours")
def palette_colours(data: Dataset, index: int) -> None:
    data.PhotometricInterpretation = "PALETTE COLOR"


@pytest.mark.parametrize("change", RIGHT.values(), ids=RIGHT)
def test_values_are_right_however_they_are_stored(tmp_path: Path, change: Change) -> None:
    write_patients(tmp_path, change)
    means, _, _ = read_means(tmp_path)
    assert means == pytest.approx(TRUE, abs=15)


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_values_that_are_no_hounsfield_units_are_refused(
    tmp_path: Path, change: Change, message: str
) -> None:
    write_patients(tmp_path, change)
    with pytest.raises(RelayError, match=message) as caught:
        read_means(tmp_path)
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize(("value", "tagged"), [(-2000, True), (-2000, False), (-3024, False), (-1024, True)])
def test_padding_is_air_where_a_tag_names_it_and_never_hides_lung(
    tmp_path: Path, value: int, tagged: bool
) -> None:
    def pad(data: Dataset, index: int) -> None:
        pixels(data, with_edge(units(data), value))
        if tagged:
            data.add_new("PixelPaddingValue", "SS", value)

    write_patients(tmp_path, pad)
    samples, _ = read_all(survey(tmp_path, HrctOptions(labels=LABELS, stride=32), "raise"))
    edge = {sample.image[:6].max() for sample in samples if sample.columns["row"] == 0}
    assert edge == {-1000 if tagged else value}
    for name, mean in TRUE.items():
        lower = [sample.image for sample in samples if sample.columns["row"] and sample.label == name]
        assert np.mean(lower) == pytest.approx(mean, abs=15)


def without_air(values: Any) -> Any:
    return np.maximum(values, -880)


def wrapped(values: Any) -> Any:
    """One value below -1024 HU in air, of 12 bits that are taken without their sign."""
    changed = values.copy()
    changed[40, 10:13] = (-1010, -1030 + 4096, -1010)
    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_air, "images: of slices without air (no value is below -900 HU)"),
        (
            wrapped,
            "images: of slices whose neighbouring pixels differ by more than 3000 HU: metal, or",
        ),
    ],
)
def test_odd_values_of_slices_are_noted(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    write_patients(tmp_path / "in", lambda data, index: pixels(data, change(units(data))))
    arguments = [
        "domain=dld",
        f"source={tmp_path / 'in'}",
        f"out={tmp_path / 'out'}",
        "fraction=0.5",
        "workers=1",
    ]
    main([*arguments, "labels={1: NOR, 2: GGO}"])
    (note,) = json.loads((tmp_path / "out" / "set.json").read_text())["notes"]
    assert said in note


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    write_patients(tmp_path)
    for place in tmp_path.rglob("*.dcm"):
        place.write_bytes(place.read_bytes()[132:])
    assert read_means(tmp_path)[0] == pytest.approx(TRUE, abs=15)


def test_a_refusal_of_prepare_has_the_source_as_it_was_typed_and_the_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        write_patient(tmp_path / f"in/export/P{number}", number, patient="")
    with pytest.raises(SystemExit):
        main(["domain=dld", "source=./in", "out=out", "workers=1", "labels={1: NOR, 2: GGO}"])
    said = " ".join("".join(capfd.readouterr()).split())
    assert (
        "./in: all samples are of one group" in said
        and "if that folder holds patients, set source to it" in said
    )
