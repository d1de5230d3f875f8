"""What cannot be used of a texture database is refused with a reason, or left out and listed."""

import io
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.faults import Problem
from datamodules.packing.units import Sample
from datamodules.readers.texture.reader import TextureOptions, survey
from stages.errors import RelayError
from tests.helpers.fake_textures import compress, curet, kth_tips, oxford, save
from tests.helpers.ordinary_user import ordinary_user

OPTIONS = TextureOptions(size=16, materials=[1, 2, 3], least=50)
SECRET = "Mueller_Anna"  # stands in every folder name above the files, and in no message


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    return oxford(tmp_path / SECRET)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return curet(tmp_path / SECRET, conditions=["01-01"], side=100)


def everything(root: Path, options: TextureOptions, on_error: str) -> tuple[list[Sample], list[Problem]]:
    found = survey(root, options, on_error)  # type: ignore[arg-type]
    samples, problems = [], list(found.problems)
    for unit in found.units:
        read_samples, read_problems = unit.read(on_error)  # type: ignore[arg-type]
        samples += read_samples
        problems += read_problems
    return samples, problems


def refused(root: Path, why: str, *, left: int, what: str = "", options: TextureOptions = OPTIONS) -> None:
    """With on_error=raise an error says why; with skip the same is listed and `left` samples are read."""
    with pytest.raises(RelayError) as caught:
        everything(root, options, "raise")
    message = str(caught.value)
    assert why in message and what in message
    assert SECRET not in message
    samples, problems = everything(root, options, "skip")
    assert len(samples) == left
    assert any(why in problem.why and what in problem.what for problem in problems)
    assert not any(SECRET in problem.what + problem.why for problem in problems)


def png(width: int, height: int, depth: int, color_type: int, rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def animated() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("L", (40, 40), level) for level in (0, 90, 180)]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def as_gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (40, 40)).save(buffer, "GIF")
    return buffer.getvalue()


def sixteen_bit_grey() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


SIXTEEN_BIT_COLOR = png(40, 40, 16, 2, (b"\0" + bytes(40 * 6)) * 40)
BOMB = png(60_000, 60_000, 8, 0, b"\0" * 100)
LARGE = png(10_000, 10_000, 8, 0, b"\0" * 100)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda: b"these are not pixels\n" * 9, "it is not a JPEG, PNG, TIFF or BMP image"),
        (lambda: b"\x89PNG\r\n\x1a\n", "it is not a JPEG, PNG, TIFF or BMP image"),
        (animated, "it holds 3 pages or frames"),
        (as_gif, "it is not a JPEG, PNG, TIFF or BMP image"),
        (lambda: BOMB, "it says that it has more than 89478485 pixels"),
        (lambda: LARGE, "it says that it has 10000 x 10000 pixels"),
    ],
    ids=["text", "header only", "animated", "gif", "bomb", "large"],
)
def test_a_file_that_is_no_image_is_named(crops: Path, content: Callable[[], bytes], why: str) -> None:
    (crops / "sample02" / "02-007.png").write_bytes(content())
    refused(crops, why, what="polyester (sample 02), condition 007", left=8)


def test_16_bits_map_their_full_range_and_colour_is_noted(crops: Path) -> None:
    (crops / "sample02" / "02-007.png").write_bytes(sixteen_bit_grey())
    (crops / "sample03" / "03-120.png").write_bytes(SIXTEEN_BIT_COLOR)
    samples, problems = everything(crops, OPTIONS, "raise")
    assert (len(samples), problems) == (9, [])
    (deep,) = [sample for sample in samples if sample.name == "polyester/02-007"]
    assert (deep.image == 156).all()  # 40,000 / 257, rounded
    assert [sample.name for sample in samples if sample.remarks] == ["terrycloth/03-120"]


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_png_is_named(crops: Path, share: float) -> None:
    file = crops / "sample03" / "03-120.png"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    refused(crops, "its pixels cannot be decoded", what="terrycloth (sample 03), condition 120", left=8)


def test_a_truncated_bmp_is_named(pictures: Path) -> None:
    file = pictures / "sample03" / "03-01-01.bmp"
    file.write_bytes(file.read_bytes()[:400_000])
    refused(pictures, "its pixels cannot be decoded", what="terrycloth (sample 03), condition 01-01", left=2)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [2, 3, 5000])
def test_a_damaged_compressed_file_is_named(tmp_path: Path, keep: int) -> None:
    root = curet(tmp_path / SECRET, "bmp.Z", conditions=["01-01"], side=100)
    file = root / "sample01" / "01-01-01.bmp.Z"
    file.write_bytes(file.read_bytes()[:keep])
    refused(root, "", what="felt (sample 01), condition 01-01", left=2)


@pytest.mark.slow
def test_a_file_that_is_not_compressed_is_named(tmp_path: Path) -> None:
    root = curet(tmp_path / SECRET, "bmp.Z", conditions=["01-01"], side=100)
    (root / "sample01" / "01-01-01.bmp.Z").write_bytes(b"BM and no more")
    refused(root, "it is not a file of Unix compress, or damaged", left=2)


@pytest.mark.slow
def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.readers.texture.pixels.MOST_BYTES", 1_000_000)
    root = curet(tmp_path / SECRET, "bmp.Z", conditions=["01-01"], side=100)
    (root / "sample01" / "01-01-01.bmp.Z").write_bytes(compress(bytes(2_000_000)))
    refused(root, "it unpacks to more than 1,000,000 bytes", left=2)


def test_a_file_of_too_many_bytes_is_not_read(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.readers.texture.pixels.MOST_BYTES", 10_000)
    (crops / "sample01" / "01-002.png").write_bytes(bytes(20_000))
    refused(crops, "it has 20,000 bytes", what="felt (sample 01)", left=8)


@pytest.mark.parametrize("mode", ["P", "CMYK", "1", "LA", "RGBA"])
def test_palettes_and_other_8_bit_modes_are_read(crops: Path, mode: str) -> None:
    plain = Image.fromarray(np.arange(1600, dtype=np.uint8).reshape(40, 40) & 0xF0).convert("RGB")
    suffix = "TIFF" if mode == "CMYK" else "PNG"
    plain.convert(mode, palette=Image.Palette.ADAPTIVE).save(crops / "sample01" / "01-002.png", suffix)
    samples, problems = everything(crops, replace(OPTIONS, size=40), "raise")
    assert problems == []
    assert samples[0].image.shape == (40, 40)
    if mode != "1":
        assert np.abs(samples[0].image.astype(int) - np.asarray(plain.convert("L"))).max() <= 3


def test_a_file_of_zero_bytes_is_named_before_anything_is_decoded(crops: Path) -> None:
    (crops / "sample02" / "02-007.png").write_bytes(b"")
    with pytest.raises(RelayError, match=r"image file \d+ in sorted order, of sample 02: it has zero bytes"):
        survey(crops, OPTIONS)
    refused(crops, "it has zero bytes", what="of sample 02", left=8)


def test_a_file_that_may_not_be_read_is_named(open_dir: Path) -> None:
    crops = oxford(open_dir / SECRET)
    (crops / "sample02" / "02-007.png").chmod(0)
    with ordinary_user():
        refused(crops, "it may not be read; change its permissions", left=8)


def test_a_folder_that_may_not_be_read_is_an_error(open_dir: Path) -> None:
    crops = oxford(open_dir / SECRET)
    folder = crops / "sample02"
    folder.chmod(0)
    try:
        with (
            ordinary_user(),
            pytest.raises(RelayError, match="a folder 1 levels below the source cannot be read"),
        ):
            survey(crops, OPTIONS, "skip")
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("target", ["nowhere.png", "02-007.png"], ids=["broken", "to itself"])
def test_a_link_that_leads_nowhere_is_named(crops: Path, target: str) -> None:
    file = crops / "sample02" / "02-007.png"
    file.unlink()
    file.symlink_to(target)
    refused(crops, "it is a link that leads nowhere", what="of sample 02", left=8)


def test_a_link_back_up_ends_no_walk(crops: Path) -> None:
    (crops / "sample01" / "loop").symlink_to(crops, target_is_directory=True)
    samples, problems = everything(crops, OPTIONS, "raise")
    assert (len(samples), problems) == (9, [])


def test_a_link_to_files_elsewhere_is_followed(crops: Path, tmp_path: Path) -> None:
    (crops / "sample02").rename(tmp_path / "elsewhere")
    (crops / "sample02").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(everything(crops, OPTIONS, "raise")[0]) == 9


def test_what_is_no_file_is_named(crops: Path) -> None:
    os.mkfifo(crops / "sample01" / "01-900.png")
    refused(crops, "it is not an ordinary file", what="of sample 01", left=9)


@pytest.mark.parametrize(
    "name", ["Kopie von 01-002.png", "日本.png", "01-002.gif", "01-0020.png", "\u0660\u0661-002.png"]
)
def test_an_image_of_another_name_is_counted_but_not_named(crops: Path, name: str) -> None:
    (crops / "sample01" / "01-002.png").rename(crops / "sample01" / name)
    with pytest.raises(RelayError) as caught:
        survey(crops, OPTIONS)
    assert name not in str(caught.value)
    refused(crops, "its name is of no known layout", what="of sample 01", left=8)


def test_other_files_are_ignored(crops: Path) -> None:
    (crops / "readme.txt").write_text("read me")
    save(crops / ".thumbnails" / "01-002.png", np.zeros((4, 4), np.uint8))
    (crops / "sample01" / "._01-002.png").write_bytes(b"\0")
    samples, problems = everything(crops, OPTIONS, "raise")
    assert (len(samples), problems) == (9, [])


def test_class_folders_in_non_ascii_are_one_class_in_either_unicode_form(tmp_path: Path) -> None:
    for number, name in enumerate(["feuille\u0301", "feuill\u00e9", "石"], start=1):
        save(tmp_path / name / f"44-scale_1_im_{number}_grey.png", np.zeros((9, 9), np.uint8))
    found = survey(tmp_path, TextureOptions(size=8))
    assert found.classes == ("feuillé", "石")


@pytest.mark.parametrize("layout", ["curet", "oxford"])
def test_a_missing_class_folder_is_named(tmp_path: Path, layout: str) -> None:
    root = tmp_path / SECRET
    if layout == "oxford":
        oxford(root, materials=[1, 3])
    else:
        curet(root, materials=[1, 3], conditions=["01-01", "01-02", "01-03"], side=100)
    refused(root, "its folder is missing", what="class polyester (sample 02)", left=6)


def test_a_missing_class_of_kth_tips_is_named(tmp_path: Path) -> None:
    root = kth_tips(tmp_path / SECRET, scales=1, images=1)
    next((root / "linen").iterdir()).unlink()
    options = TextureOptions(size=8)
    refused(root, "its folder is missing", what="class linen (sample 44)", left=9, options=options)


def test_all_61_materials_are_expected_unless_some_are_asked_for(crops: Path) -> None:
    with pytest.raises(
        RelayError, match=r"class rough_plastic \(sample 04\).* 57 more cannot be used either"
    ):
        survey(crops, TextureOptions())


def test_half_a_zip_is_named(tmp_path: Path) -> None:
    root = curet(tmp_path / SECRET, "zip", conditions=["01-01"], side=100)
    file = root / "sample02.zip"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused(root, "it is not a complete zip; copy it again", what="of sample 02", left=2)


def test_a_zip_whose_content_is_damaged_is_named(tmp_path: Path) -> None:
    root = curet(tmp_path / SECRET, "zip", conditions=["01-01"], side=100)
    file = root / "sample02.zip"
    content = bytearray(file.read_bytes())
    content[5000:5100] = bytes(100)
    file.write_bytes(bytes(content))
    refused(root, "it cannot be taken out of its zip", what="polyester (sample 02)", left=2)


@pytest.mark.parametrize(
    "name", ["../02-01-02.bmp", "/02-01-02.bmp", "a/../../02-01-02.bmp", "..\\02-01-02.bmp"]
)
def test_a_zip_with_paths_that_leave_its_folder_is_not_used(tmp_path: Path, name: str) -> None:
    root = curet(tmp_path / SECRET, "zip", conditions=["01-01"], side=100)
    with zipfile.ZipFile(root / "sample02.zip", "a") as archive:
        archive.writestr(name, b"BM")
    refused(root, "it holds paths that leave its folder", what="of sample 02", left=2)


def test_a_zip_without_images_is_named(tmp_path: Path) -> None:
    root = curet(tmp_path / SECRET, "zip", conditions=["01-01"], side=100)
    with zipfile.ZipFile(root / "more.zip", "w") as archive:
        archive.writestr("readme.txt", "read me")
    refused(root, "it holds no images", what="zip 1 in sorted order", left=3)


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    root = curet(tmp_path / SECRET, "zip", conditions=["01-01"], side=100)
    file = root / "sample02.zip"
    content = bytearray(file.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag in the zip's directory
    file.write_bytes(bytes(content))
    refused(root, "it is encrypted; unpack the zip", what="of sample 02, file 1 in it", left=2)


def test_one_image_in_two_files_is_named(pictures: Path) -> None:
    curet(pictures / "again", "zip", [1], ["01-01"], side=100)
    refused(pictures, "it is there twice; keep one file", what="felt (sample 01), condition 01-01", left=3)


def test_a_file_in_the_folder_of_another_sample_is_named(crops: Path) -> None:
    (crops / "sample01" / "01-002.png").rename(crops / "sample02" / "01-002.png")
    refused(crops, "its name says sample 01, its folder sample 02", left=8)


def test_a_sample_that_curet_does_not_have_is_named(crops: Path) -> None:
    (crops / "sample01" / "01-002.png").rename(crops / "62-002.png")
    refused(crops, "CUReT has no sample 62", left=8)


def test_kth_tips_without_class_folders_is_named(tmp_path: Path) -> None:
    root = kth_tips(tmp_path / SECRET, scales=1, images=2)
    (root / "linen" / "44-scale_1_im_1_grey.png").rename(root / "44-scale_1_im_1_grey.png")
    refused(root, "it lies in no class folder", left=19, options=TextureOptions(size=8))


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_two_databases_in_one_folder_are_an_error(tmp_path: Path, on_error: str) -> None:
    oxford(tmp_path)
    kth_tips(tmp_path)
    with pytest.raises(RelayError, match=r"several databases \(60 files of kth-tips, 9 files of oxford\)"):
        survey(tmp_path, TextureOptions(), on_error)  # type: ignore[arg-type]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_source_without_images_is_an_error(tmp_path: Path, on_error: str) -> None:
    with pytest.raises(RelayError, match="the source holds no images of CUReT"):
        survey(tmp_path, OPTIONS, on_error)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(RelayError, match="the source is not a folder"):
        survey(tmp_path / "file", OPTIONS, on_error)  # type: ignore[arg-type]
    (tmp_path / "01-002.png").write_bytes(b"")
    with pytest.raises(RelayError, match="it has zero bytes"):
        survey(tmp_path, OPTIONS, on_error)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 10_000}, "size is 10000"),
        ({"together": "view"}, "together is 'view'"),
        ({"together": "scale"}, "together=scale is for KTH-TIPS"),
        ({"least": 0}, "least is 0"),
        ({"materials": [1, 62]}, r"materials is \[1, 62\]; it must be .* 1 to 61"),
        ({"materials": [7]}, "the source has no image of them"),
    ],
)
def test_options_that_make_no_sense_are_refused(crops: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        survey(crops, replace(OPTIONS, **changes), "skip")


@pytest.mark.skipif(sys.platform != "linux", reason="on Linux a file that is being read can be removed")
def test_a_file_that_is_gone_when_it_is_read_is_named(crops: Path) -> None:
    found = survey(crops, OPTIONS)
    (crops / "sample01" / "01-002.png").unlink()
    with pytest.raises(
        RelayError, match=r"felt \(sample 01\), condition 002: .* was removed since"
    ) as caught:
        found.units[0].read("raise")
    assert SECRET not in str(caught.value)
