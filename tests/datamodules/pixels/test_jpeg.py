"""The quick decoder against the plain one, and what is no image it can use."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from datamodules.faults import UnusableError
from datamodules.pixels import quick
from datamodules.pixels.decode import Reading, decode_file
from datamodules.pixels.jpeg_header import jpeg_frame
from datamodules.pixels.quick import decode_image, reduction
from tests.helpers.fake_ilsvrc import encoded, photograph

SIZE = 32
FULLRES = Path(os.environ.get("RELAY_REAL_DATA", ""), "natural", "imagenet-sample-fullres")


def plain(data: bytes, folder: Path, size: int = SIZE) -> npt.NDArray[np.uint8]:
    """What the project's other decoder makes of it: Pillow's own, at full size."""
    file = folder / "image"
    file.write_bytes(data)
    return decode_file(str(file), Reading(size, None, color=True))


def difference(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> float:
    """Mean absolute difference in grey levels."""
    assert first.shape == second.shape
    return float(np.abs(first.astype(int) - second).mean())


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.mark.parametrize("size", [(100, 75), (75, 100), (35, 32), (32, 35), (32, 32), (20, 15), (32, 90)])
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}])
def test_a_jpeg_is_decoded_as_by_pillow(
    tmp_path: Path, size: tuple[int, int], options: dict[str, int]
) -> None:
    data = encoded(photograph(1, size), quality=90, **options)
    image = decode_image(data, SIZE)
    assert image.shape == (SIZE, SIZE, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image.astype(int), plain(data, tmp_path), atol=2)
    assert difference(image, plain(data, tmp_path)) < 0.05


@pytest.mark.parametrize(
    ("width", "height", "factor"), [(127, 500, 1), (128, 128, 2), (300, 256, 4), (9999, 512, 8)]
)
def test_a_jpeg_is_reduced_only_to_twice_the_size_or_more(width: int, height: int, factor: int) -> None:
    assert reduction(width, height, SIZE) == factor


@pytest.mark.parametrize("size", [(133, 200), (301, 257), (600, 521)])
def test_a_large_jpeg_is_reduced_while_decoded_and_stays_near(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(photograph(2, size), quality=95)
    reduced = decode_image(data, SIZE)
    monkeypatch.setattr(quick, "reduction", lambda *_: 1)
    full = decode_image(data, SIZE)
    assert 0 < difference(reduced, full) < 0.5
    assert difference(full, plain(data, tmp_path)) < 0.05


def test_a_grey_jpeg_becomes_three_equal_channels(tmp_path: Path) -> None:
    data = encoded(photograph(3, channels=1))
    image = decode_image(data, SIZE)
    assert (image == image[..., :1]).all()
    assert difference(image, plain(data, tmp_path)) < 0.05


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        ("JPEG", "CMYK"),
        ("PNG", "P"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "L"),
        ("PNG", "1"),
        ("BMP", "RGB"),
    ],
)
def test_other_kinds_are_decoded_by_their_content(tmp_path: Path, form: str, mode: str) -> None:
    data = encoded(photograph(4), form, mode)
    assert difference(decode_image(data, SIZE), plain(data, tmp_path)) < 0.05


def test_a_cmyk_jpeg_shows_the_colours_of_the_original() -> None:
    red = np.zeros((40, 40, 3), dtype=np.uint8)
    red[..., 0] = 200
    image = decode_image(encoded(red, "JPEG", "CMYK", quality=95), SIZE)
    np.testing.assert_allclose(image.reshape(-1, 3).mean(axis=0), [200, 0, 0], atol=4)


def test_a_palette_with_transparency_gives_its_colours() -> None:
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([0, 0, 0, 10, 120, 230])
    stream = io.BytesIO()
    palette.save(stream, "PNG", transparency=b"\xff\x80")
    assert decode_image(stream.getvalue(), SIZE)[5, 5].tolist() == [10, 120, 230]


def test_a_16_bit_png_maps_its_full_range() -> None:
    deep = np.linspace(0, 65535, SIZE * SIZE).astype(np.uint16).reshape(SIZE, SIZE)
    image = decode_image(encoded(deep, "PNG"), SIZE)
    np.testing.assert_array_equal(image[..., 1], np.rint(deep / 257.0).astype(np.uint8))


def test_orientation_in_exif_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = photograph(5)
    turned = encoded(pixels, exif=exif.tobytes())
    np.testing.assert_array_equal(decode_image(turned, SIZE), decode_image(encoded(pixels), SIZE))
    assert difference(decode_image(turned, SIZE), plain(turned, tmp_path)) < 0.05


def test_what_the_quick_decoder_refuses_is_left_to_pillow(tmp_path: Path) -> None:
    data = encoded(photograph(6))
    dirty = data[:2] + b"\xff\xfe\x00\x04ab" + data[2:-2] + b"\x00\x00garbage" + data[-2:]
    assert difference(decode_image(dirty, SIZE), plain(data, tmp_path)) < 0.05


def test_the_frame_header_is_found_behind_other_segments() -> None:
    data = encoded(photograph(7, (41, 29)), icc_profile=b"x" * 70_000, progressive=True)
    assert jpeg_frame(data) == (8, 29, 41, 3)
    table = b"\xff\xc4\x00\x05abc"  # a Huffman table may stand before the frame
    assert jpeg_frame(data[:2] + table + b"\xff" + data[2:]) == (8, 29, 41, 3)
    assert jpeg_frame(encoded(photograph(7), "PNG")) is None
    assert jpeg_frame(data[:30]) is None
    assert jpeg_frame(b"\xff\xd8\xff\xc0\x00\x11\x08") is None


JPEG = encoded(photograph(8, (200, 150)))
BAD = {
    "zero bytes": (b"", "it has zero bytes"),
    "text": (b"this is not an image, whatever its name says\n", "it is not a JPEG, PNG, TIFF or BMP image"),
    "truncated JPEG": (JPEG[: len(JPEG) // 2], "its pixels cannot be decoded"),
    "truncated in the header": (JPEG[:100], "."),
    "truncated PNG": (encoded(photograph(8, (200, 150)), "PNG")[:5000], "its pixels cannot be decoded"),
    "GIF": (encoded(photograph(8), "GIF"), "it is not a JPEG, PNG, TIFF or BMP image"),
    "bomb as JPEG": (
        JPEG[: JPEG.index(b"\xff\xc0") + 5] + b"\xff\xdc\xff\xdc" + JPEG[JPEG.index(b"\xff\xc0") + 9 :],
        r"it says that it has 65500 x 65500 pixels; 89478485 are the most",
    ),
    "bomb as PNG": (png_header(10_000, 10_000), "it says that it has 10000 x 10000 pixels"),
    "huge bomb as PNG": (png_header(100_000, 100_000), "it says that it has more than 89478485 pixels"),
    "narrow strip": (encoded(photograph(8, (30_000, 2))), r"pixels after resizing \(30000 x 2\)"),
    "floating point": (encoded(np.zeros((40, 40), dtype=np.float32), "TIFF"), "floating-point .*no window"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_with_the_reason(kind: str) -> None:
    data, message = BAD[kind]
    with pytest.raises(UnusableError, match=message):
        decode_image(data, 224)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_an_animated_file_is_refused(form: str) -> None:
    frames = [Image.fromarray(photograph(seed)) for seed in range(3)]
    stream = io.BytesIO()
    frames[0].save(stream, form, save_all=True, append_images=frames[1:])
    with pytest.raises(UnusableError, match="it holds 3 pages or frames"):
        decode_image(stream.getvalue(), SIZE)


@pytest.mark.skipif(not FULLRES.is_dir(), reason="RELAY_REAL_DATA is not set to a folder of real images")
def test_real_images_stay_within_the_stated_difference() -> None:
    differences, reduced = [], []
    for file in sorted(FULLRES.glob("*.JPEG")):
        data = file.read_bytes()
        one = difference(decode_image(data, 224), decode_file(str(file), Reading(224, None, color=True)))
        frame = jpeg_frame(data)
        assert frame is not None
        (differences if reduction(frame.width, frame.height, 224) == 1 else reduced).append(one)
    assert len(differences) + len(reduced) == 64
    assert np.mean(differences) < 0.01
    assert max(differences) < 0.02
    assert len(reduced) == 1
    assert max(reduced) < 0.25


@pytest.mark.skipif(not FULLRES.is_dir(), reason="RELAY_REAL_DATA is not set to a folder of real images")
@pytest.mark.parametrize("size", [32, 64, 96])
def test_real_images_stay_near_when_most_are_reduced(size: int) -> None:
    differences = [
        difference(
            decode_image(file.read_bytes(), size), decode_file(str(file), Reading(size, None, color=True))
        )
        for file in sorted(FULLRES.glob("*.JPEG"))
    ]
    assert np.mean(differences) < 0.6
    assert max(differences) < 1.2
