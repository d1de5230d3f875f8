import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from torchvision.transforms import functional

from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.loading.image_files import ImageFiles, read_headers
from datamodules.pixels.decode import Reading, decode_file, read_header
from datamodules.pixels.window import window_to_uint8
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_images import manifest, pixels, split_folders, write_image

NATIVE = Reading(None, None, color=False)
NATIVE_COLOR = Reading(None, None, color=True)
GREY = pixels(1, (5, 4))
COLOR = pixels(2, (5, 4), 3)
DEEP = np.array([[0, 257, 32896], [65535, 128, 129]], dtype=np.uint16)


def saved(path: Path, array: npt.NDArray[Any], mode: str | None = None, **options: Any) -> str:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return str(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".tiff"])
def test_lossless_formats_give_back_the_pixels(tmp_path: Path, suffix: str) -> None:
    np.testing.assert_array_equal(decode_file(saved(tmp_path / f"g{suffix}", GREY), NATIVE), GREY)
    color = decode_file(saved(tmp_path / f"c{suffix}", COLOR), NATIVE_COLOR)
    np.testing.assert_array_equal(color, COLOR)


def test_jpeg_is_near(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 4
    decoded = decode_file(saved(tmp_path / "x.jpg", smooth, quality=95), NATIVE)
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


def test_grey_becomes_three_copies_and_color_becomes_luma(tmp_path: Path) -> None:
    grey = saved(tmp_path / "g.png", GREY)
    np.testing.assert_array_equal(decode_file(grey, NATIVE_COLOR), np.stack([GREY] * 3, axis=-1))
    luma = decode_file(saved(tmp_path / "c.png", COLOR), NATIVE)
    np.testing.assert_allclose(luma, COLOR @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize(("suffix", "byte_order"), [(".png", "<"), (".tif", "<"), (".tif", ">")])
def test_16_bit_unsigned_maps_its_full_range(tmp_path: Path, suffix: str, byte_order: str) -> None:
    path = tmp_path / f"x{suffix}"
    if byte_order == ">":
        image = Image.frombytes("I;16B", (3, 2), DEEP.astype(">u2").tobytes())
        image.save(path)
    else:
        saved(path, DEEP)
    expected = [[0, 1, 128], [255, 0, 1]]  # rounded value / 257
    np.testing.assert_array_equal(decode_file(str(path), NATIVE), expected)
    windowed = decode_file(str(path), Reading(None, (0.0, 514.0), color=False))
    np.testing.assert_array_equal(windowed, [[0, 128, 255], [255, 64, 64]])
    assert not read_header(str(path)).needs_window


def signed_tiff(path: Path, values: list[int]) -> Path:
    """A TIFF of one row with SampleFormat 2 (signed integers), which Pillow cannot write; by hand."""
    tags = [
        (256, 3, len(values)), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1),
        (273, 4, 8 + 2 + 10 * 12 + 4), (277, 3, 1), (278, 3, 1), (279, 4, 2 * len(values)), (339, 3, 2),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags))
    for tag, kind, value in tags:
        directory += struct.pack("<HHI", tag, kind, 1) + (
            struct.pack("<HH", value, 0) if kind == 3 else struct.pack("<I", value)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"II*\x00" + struct.pack("<I", 8) + directory + bytes(4) + struct.pack(f"<{len(values)}h", *values)
    )
    return path


def test_signed_16_bit_is_windowed(tmp_path: Path) -> None:
    path = signed_tiff(tmp_path / "hu.tif", [-2000, -1000, -300, 400, 3000])
    assert read_header(str(path)).needs_window
    decoded = decode_file(str(path), Reading(None, (-1000.0, 400.0), color=False))
    np.testing.assert_array_equal(decoded, [[0, 0, 128, 255, 255]])  # -300 is the middle: 127.5, to even


def test_signed_files_need_a_window(tmp_path: Path) -> None:
    manifest(tmp_path)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    text = (tmp_path / "manifest.csv").read_text().replace(".png", ".tif")
    (tmp_path / "manifest.csv").write_text(text)
    for name in ("a/1", "a/2", "b/3", "b/4", "b/5"):
        signed_tiff(tmp_path / f"{name}.tif", [-1000, 0, 400])
    fields: dict[str, Any] = {"kind": "manifest", "root": str(tmp_path), "manifest": "manifest.csv"}
    with pytest.raises(
        RelayError, match=r"image a/1\.tif has signed or 32-bit values; set the source's `window`"
    ):
        load(list_source(Source(**fields)), tmp_path / "cache", memory_limit_bytes=1000)
    domain = load(
        list_source(Source(**fields, window=(-1000, 400))), tmp_path / "cache", memory_limit_bytes=1000
    )
    np.testing.assert_array_equal(np.asarray(domain.train.images)[0], [[0, 182, 255]])


def test_window_to_uint8() -> None:
    hounsfield = np.array([-32768, -1000, -297, 400, 32767], dtype=np.int16)
    np.testing.assert_array_equal(window_to_uint8(hounsfield, None), [0, 0, 128, 255, 255])
    np.testing.assert_array_equal(window_to_uint8(hounsfield, (-297.0, 400.0)), [0, 0, 0, 255, 255])
    np.testing.assert_array_equal(window_to_uint8(GREY, (0.0, 10.0)), GREY)


def test_palette_transparency_and_cmyk_become_rgb(tmp_path: Path) -> None:
    two_colors = np.zeros((4, 4, 3), np.uint8)
    two_colors[:2] = (255, 0, 0)
    palette = saved(tmp_path / "p.png", two_colors, "P")
    np.testing.assert_array_equal(decode_file(palette, NATIVE_COLOR), two_colors)
    transparent = saved(tmp_path / "rgba.png", np.dstack([COLOR, np.zeros((4, 5), np.uint8)]))
    np.testing.assert_array_equal(decode_file(transparent, NATIVE_COLOR), COLOR)
    cmyk = saved(tmp_path / "cmyk.tif", two_colors, "CMYK")
    np.testing.assert_array_equal(decode_file(cmyk, NATIVE_COLOR), two_colors)
    assert all(read_header(path).color for path in (palette, transparent, cmyk))


def test_grey_with_transparency_and_black_and_white_stay_grey(tmp_path: Path) -> None:
    with_alpha = tmp_path / "la.png"
    Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (5, 4), 7)]).save(with_alpha)
    np.testing.assert_array_equal(decode_file(str(with_alpha), NATIVE), GREY)
    assert not read_header(str(with_alpha)).color
    bits = (GREY > 127).astype(np.uint8) * 255
    one_bit = saved(tmp_path / "1.png", bits, "1")
    np.testing.assert_array_equal(decode_file(one_bit, NATIVE), bits)


def test_exif_orientation_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert decode_file(saved(tmp_path / "x.png", GREY, exif=exif), NATIVE).shape == (4, 5)


@pytest.mark.parametrize(
    "size", [(40, 40), (41, 64), (97, 33), (20, 31), (32, 32), (31, 20), (32, 45), (45, 32)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_is_torchvisions(tmp_path: Path, size: tuple[int, int], channels: int) -> None:
    array = pixels(3, size, channels)
    decoded = decode_file(saved(tmp_path / "x.png", array), Reading(32, None, color=channels == 3))
    resized = functional.resize(
        Image.fromarray(array), [32], functional.InterpolationMode.BICUBIC, antialias=True
    )
    expected = np.asarray(functional.center_crop(resized, [32, 32]))
    np.testing.assert_array_equal(decoded, expected)


def folder(root: Path, **reading: Any) -> Source:
    return Source(kind="folder", root=str(root), **reading)


def test_auto_color_is_rgb_as_soon_as_one_file_is(tmp_path: Path) -> None:
    split_folders(tmp_path)
    assert load(list_source(folder(tmp_path)), tmp_path / "c", memory_limit_bytes=10**6).shape == (8, 8)
    write_image(tmp_path / "val" / "brick" / "000.png", 6, channels=3)
    domain = load(list_source(folder(tmp_path)), tmp_path / "c", memory_limit_bytes=10**6)
    assert domain.shape == (8, 8, 3)
    images = np.asarray(domain.train.images)
    np.testing.assert_array_equal(images[0], np.stack([pixels(0)] * 3, axis=-1))
    for color, shape in (("grey", (8, 8)), ("rgb", (8, 8, 3))):
        forced = load(list_source(folder(tmp_path, color=color)), tmp_path / "c", memory_limit_bytes=10**6)
        assert forced.shape == shape


def test_several_sizes_need_decode_size(tmp_path: Path) -> None:
    split_folders(tmp_path)
    write_image(tmp_path / "val" / "brick" / "000.png", 6, size=(9, 8))
    with pytest.raises(
        RelayError, match=r"000\.png has 8x8 pixels, val/brick/000\.png 9x8; set .*`decode_size`"
    ):
        load(list_source(folder(tmp_path)), tmp_path / "c", memory_limit_bytes=10**6)
    domain = load(list_source(folder(tmp_path, decode_size=6)), tmp_path / "c", memory_limit_bytes=10**6)
    assert np.asarray(domain.val.images).shape == (4, 6, 6)


def test_unreadable_images_are_named_with_how_many_more(tmp_path: Path) -> None:
    split_folders(tmp_path)
    (tmp_path / "val" / "cotton" / "001.png").write_text("not an image")
    with pytest.raises(RelayError, match=r"val/cotton/001\.png cannot be read: it is not a JPEG, .* Replace"):
        load(list_source(folder(tmp_path)), tmp_path / "c", memory_limit_bytes=10**6)
    (tmp_path / "train" / "brick" / "002.png").write_text("nor this")
    with pytest.raises(RelayError, match=r"brick/002\.png cannot be read: .* 1 more cannot be read either"):
        load(list_source(folder(tmp_path)), tmp_path / "c", memory_limit_bytes=10**6)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_truncated_images_are_named(tmp_path: Path, form: str) -> None:
    split_folders(tmp_path)
    buffer = io.BytesIO()
    Image.fromarray(pixels(5, (64, 64))).resize((8, 8)).save(buffer, form)
    for side in ("train", "val"):
        content = buffer.getvalue()
        (tmp_path / side / "cotton" / "000.png").write_bytes(content[: len(content) - 30])
    with pytest.raises(RelayError, match=r"train/cotton/000\.png cannot be read: .+ 1 more cannot"):
        load(list_source(folder(tmp_path)), tmp_path / "c", memory_limit_bytes=10**6)
    assert not list((tmp_path / "c").glob("*/meta.json"))


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_folders(tmp_path)
    monkeypatch.setattr("datamodules.pixels.image_file.MOST_PIXELS", 40)
    with pytest.raises(RelayError, match=r"000\.png cannot be read: .* 8 x 8 pixels; 40 are the most"):
        load(list_source(folder(tmp_path)), tmp_path / "c", memory_limit_bytes=10**6)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow's own limit is twice that
    with pytest.raises(RelayError, match=r"000\.png cannot be read: .* more than 40 pixels"):
        load(list_source(folder(tmp_path)), tmp_path / "c", memory_limit_bytes=10**6)


def test_pages_and_other_formats_are_refused(tmp_path: Path) -> None:
    pages = tmp_path / "pages.tif"
    Image.fromarray(GREY).save(pages, save_all=True, append_images=[Image.fromarray(GREY)])
    gif = tmp_path / "gif.png"
    Image.fromarray(GREY).save(gif, "GIF")
    for path, reason in (
        (str(pages), "holds 2 pages"),
        (str(gif), "it is not a JPEG, PNG"),
    ):
        with pytest.raises(RelayError, match=reason):
            read_headers([path], 1)


def test_pillow_warnings_do_not_leak(tmp_path: Path) -> None:
    image = Image.fromarray(GREY).convert("P")
    image.info["transparency"] = bytes(range(256))
    image.save(tmp_path / "p.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode_file(str(tmp_path / "p.png"), NATIVE_COLOR)
        assert caught, "Pillow no longer warns; choose another image for this test"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImageFiles((str(tmp_path / "p.png"),), NATIVE_COLOR, (4, 5, 3)).gather([0])


def test_gather_is_the_same_with_threads(tmp_path: Path) -> None:
    locations = tuple(str(write_image(tmp_path / f"{seed}.png", seed)) for seed in range(100))
    files = ImageFiles(locations, NATIVE, (8, 8))
    indices = [99, 3, 3, *range(80)]
    expected = np.stack([pixels(seed) for seed in indices])
    for threads in (1, 4):
        np.testing.assert_array_equal(files.read(indices, threads)[0], expected)
    np.testing.assert_array_equal(files.gather(indices), expected)


def test_a_file_of_another_shape_is_an_error(tmp_path: Path) -> None:
    location = str(write_image(tmp_path / "x.png"))
    with pytest.raises(RelayError, match=r"shape \(8, 8\), the first image \(4, 4\)"):
        ImageFiles((location,), NATIVE, (4, 4)).gather([0])
