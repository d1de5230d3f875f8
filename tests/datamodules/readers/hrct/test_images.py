"""Image files become slices and masks, or a reason why not, and are resampled."""

import os
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.faults import UnusableError
from datamodules.readers.hrct.scans.images import (
    read_image_header,
    read_mask,
    read_slice_image,
    resample,
    resample_labels,
)
from tests.helpers.fake_hrct import hounsfield, write_tiff
from tests.helpers.image_bytes import DEFLATE, png, tiff


def test_signed_tiff_slices_keep_their_hounsfield_units(tmp_path: Path) -> None:
    values = hounsfield(1)[0]
    write_tiff(tmp_path / "a.tif", values)
    assert read_image_header(str(tmp_path / "a.tif")).depth == "16-bit signed"
    found = read_slice_image(str(tmp_path / "a.tif"), None)
    assert found.dtype == np.int16 and np.array_equal(found, values)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_wide_slices_are_rounded_to_hounsfield_units(tmp_path: Path, kind: type) -> None:
    values = hounsfield(1)[0]
    Image.fromarray((values + (0.25 if kind is np.float32 else 0)).astype(kind)).save(tmp_path / "a.tif")
    found = read_slice_image(str(tmp_path / "a.tif"), None)
    assert found.dtype == np.int16 and np.array_equal(found, values)
    Image.fromarray((values.astype(kind) + 40_000).astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(UnusableError, match="beyond 16 bits"):
        read_slice_image(str(tmp_path / "a.tif"), None)


def test_unsigned_16_bit_slices_need_an_offset(tmp_path: Path) -> None:
    values = hounsfield(1)[0]
    place = str(tmp_path / "a.png")
    Image.fromarray((values.astype(np.int32) + 32768).astype(np.uint16)).save(place)
    found = read_slice_image(place, -32768)
    assert found.dtype == np.int16 and np.array_equal(found, values)
    with pytest.raises(UnusableError, match="set unsigned_offset"):
        read_slice_image(place, None)
    with pytest.raises(UnusableError, match="beyond 16 bits; check unsigned_offset"):
        read_slice_image(place, 0)


def test_8_bit_slices_stay_as_they_are(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = read_slice_image(str(tmp_path / "a.png"), None)
    assert found.dtype == np.uint8 and np.array_equal(found, values)


@pytest.mark.parametrize(
    ("kind", "mode"),  # JPEG has neither palette nor transparency
    [("JPEG", "RGB"), *product(["PNG", "TIFF"], ["RGB", "RGBA", "LA", "P"])],
)
def test_grey_slices_saved_in_colour_are_grey(tmp_path: Path, mode: str, kind: str) -> None:
    values = np.kron(np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8), np.ones((8, 8), np.uint8))
    image = Image.fromarray(values)
    image.convert(mode).save(tmp_path / "a", kind, **({"quality": 100} if kind == "JPEG" else {}))
    assert read_image_header(str(tmp_path / "a")).depth == "8-bit"
    found = read_slice_image(str(tmp_path / "a"), None)
    assert found.dtype == np.uint8 and np.abs(found.astype(int) - values).max() <= (kind == "JPEG")


def _animated(place: Path) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 200)]
    frames[0].save(place, save_all=True, append_images=frames[1:], format="PNG")


def _cut(place: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(place)
    place.write_bytes(place.read_bytes()[:2000])


def test_compressed_big_endian_slices_are_read_rightly(tmp_path: Path) -> None:
    values = hounsfield(1)[0]
    (tmp_path / "a.tif").write_bytes(tiff(values, order=">", compression=DEFLATE, predictor=2))
    assert np.array_equal(read_slice_image(str(tmp_path / "a.tif"), None), values)


def _bomb(place: Path) -> None:
    Image.new("L", (8, 8)).save(place)
    content = bytearray(place.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    place.write_bytes(content)


@pytest.mark.parametrize(("write", "message"), [
    (lambda place: place.write_bytes(b""), "it has zero bytes"),
    (lambda place: place.write_text("DOE, JANE"), "not a JPEG, PNG, TIFF or BMP image"),
    (_cut, "cannot be decoded"),
    (_bomb, "it says that it has more than 89478485 pixels"),
    (_animated, "2 pages or frames"),
    (lambda place: place.write_bytes(tiff(np.zeros((8, 8), "u2"), photometric=0)), "white at zero"),
    (lambda place: place.write_bytes(tiff(np.zeros((8, 8), "u4"))), "its values are uint32"),
    (lambda place: place.write_bytes(tiff(np.zeros((8, 8), "i1"))), "its values are int8"),
    (os.mkfifo, "not an ordinary file"),
    (lambda place: Image.new("RGB", (8, 8), (9, 20, 9)).save(place), "in colour, and a slice is grey"),
    (lambda place: Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(place), "transparent in places"),
    (lambda place: Image.new("RGB", (8, 8), (9, 20, 9)).convert("P").save(place), "mode P; a slice is grey"),
    (lambda place: place.write_bytes(png(np.zeros((8, 8, 3), "u2"), 2)), "channels have 16 bits each"),
    (lambda place: Image.new("CMYK", (8, 8)).save(place, format="TIFF"), "mode CMYK; a slice is grey"),
    (lambda place: place.symlink_to("nowhere"), "link that leads nowhere"),
])  # fmt: skip
def test_images_that_are_no_slice_are_refused(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    place = tmp_path / "DOE.png"
    write(place)
    with pytest.raises(UnusableError, match=message) as caught:
        read_slice_image(str(place), None)
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "name"), [("L", "a.png"), ("P", "a.png"), ("I;16", "a.tif"), ("1", "a.png")]
)
def test_masks_of_one_number_a_pixel_are_read(tmp_path: Path, mode: str, name: str) -> None:
    values = np.zeros((4, 6), np.uint16)
    values[1, 2] = 1
    if mode == "P":
        image = Image.new("P", (6, 4))
        image.putpixel((2, 1), 1)
        image.putpalette([0, 0, 0, 9, 200, 9])
    else:
        image = Image.fromarray(
            values if mode == "I;16" else (values * (255 if mode == "1" else 1)).astype(np.uint8)
        )
        image = image if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / name)
    assert np.array_equal(read_mask(str(tmp_path / name), (4, 6)), values)


def test_a_mask_saved_as_grey_in_three_channels_is_read(tmp_path: Path) -> None:
    """The nnU-Net reports 1678 and 2404."""
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(np.stack([values] * 3, -1)).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(str(tmp_path / "a.png"), (4, 6)), values)


def test_masks_of_another_size_or_in_colour_are_refused(tmp_path: Path) -> None:
    Image.new("L", (6, 4)).save(tmp_path / "a.png")
    with pytest.raises(UnusableError, match="its mask has 4 x 6 pixels, the slice 6 x 4"):
        read_mask(str(tmp_path / "a.png"), (6, 4))
    Image.new("RGB", (6, 4), (1, 1, 2)).save(tmp_path / "b.png")
    with pytest.raises(UnusableError, match="mode RGB; save one whole number per pixel"):
        read_mask(str(tmp_path / "b.png"), (4, 6))
    Image.new("L", (6, 4)).save(tmp_path / "c.jpg")
    with pytest.raises(UnusableError, match="JPEG"):
        read_mask(str(tmp_path / "c.jpg"), (4, 6))


def test_resampling_keeps_millimetres() -> None:
    # A ramp of 10 HU a millimetre in rows and 20 in columns stays one, between the edges.
    rows, columns = np.arange(61) * 0.5 + 0.25, np.arange(53) * 0.8 + 0.4
    image = np.rint(10 * rows[:, None] + 20 * columns[None, :] - 500).astype(np.int16)
    found = resample(image, (0.5, 0.8), 0.63)
    assert found.dtype == np.int16 and found.shape == (48, 67)
    at_rows, at_columns = np.arange(48) * 0.63 + 0.315, np.arange(67) * 0.63 + 0.315
    expected = 10 * at_rows[:, None] + 20 * at_columns[None, :] - 500
    assert np.abs(found - expected)[3:-3, 3:-3].max() <= 1.01


def test_a_resampled_pixel_has_the_label_at_its_centre() -> None:
    labels = np.arange(61 * 53, dtype=np.int32).reshape(61, 53)
    found = resample_labels(labels, (0.5, 0.8), 0.63)
    rows, columns = (np.arange(48) * 0.63 + 0.315) / 0.5, (np.arange(67) * 0.63 + 0.315) / 0.8
    assert np.array_equal(found, rows.astype(int)[:, None] * 53 + columns.astype(int)[None, :])


def test_resampling_to_more_than_the_image_is_refused() -> None:
    with pytest.raises(UnusableError, match="at 99 mm a pixel nothing is left"):
        resample(np.zeros((8, 8), np.int16), (0.5, 0.5), 99.0)
