"""Each kind of image file through every way in: equal pixels, or the same refusal.

The ways: a class folder, a manifest, ILSVRC2012 as folders and as an archive, a texture database as files and
as a zip, slices with masks, and pictures of one's own for maps. Files are made from known arrays, by hand
where Pillow cannot write them.
"""

import csv
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from analysis.explain.target_images import DEEP_TYPES, read_own
from datamodules.faults import UnusableError
from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.pixels.decode import Reading
from datamodules.pixels.stored import Remark
from datamodules.pixels.window import window_to_uint8
from datamodules.readers.hrct.scans.images import read_image_header, read_slice_image
from datamodules.readers.ilsvrc.reader import IlsvrcOptions
from datamodules.readers.ilsvrc.reader import survey as survey_ilsvrc
from datamodules.readers.texture.reader import TextureOptions
from datamodules.readers.texture.reader import survey as survey_texture
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.image_bytes import DEFLATE, LZW, NONE, png, tiff

SIDE = 24
RNG = np.random.default_rng(0)
Pixels = npt.NDArray[Any]


def values(dtype: str, channels: int = 1) -> Pixels:
    """All of a type's range, at random."""
    shape = (SIDE, SIDE) if channels == 1 else (SIDE, SIDE, channels)
    if np.dtype(dtype).kind == "f":
        return (RNG.normal(size=shape) * 500).astype(dtype)
    ends = np.iinfo(dtype)
    return RNG.integers(ends.min, ends.max, shape, dtype=dtype, endpoint=True)


GREY, COLOR = values("u1"), values("u1", 3)
DEEP, DEEP_COLOR = values("u2"), values("u2", 3)
SIGNED, FLOAT = values("i2"), values("f4")
ALPHA = values("u1")


def saved(pixels: Pixels | Image.Image, form: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(stream, form, **options)
    return stream.getvalue()


def by_pillow(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def turned(form: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(COLOR, form, exif=exif, **({"quality": 95} if form == "JPEG" else {}))


def palette(**options: Any) -> bytes:
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([0, 0, 0, 10, 120, 230])
    return saved(image, **options)


def animated(form: str) -> bytes:
    frames = [Image.fromarray(values("u1")) for _ in range(3)]
    return saved(frames[0], form, save_all=True, append_images=frames[1:])


def profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()  # type: ignore[arg-type]


NOISY = saved(values("u1", 3), "JPEG", quality=90)
CMYK_JPEG = saved(COLOR, "JPEG", "CMYK", quality=95)
TWELVE_BIT = NOISY.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc1\x00\x11\x0c")
DIRTY = NOISY[:-2] + b"\x00\x00garbage" + NOISY[-2:]
GREY_JPEG = saved(GREY, "JPEG", quality=90)
INVERTED = 65535 - DEEP.astype(np.int64)
NARROW = tiff(np.zeros((2, 30_000), np.uint8))


@dataclass(frozen=True)
class Case:
    """A file, and what becomes of it.

    Attributes:
        data: Its bytes.
        pixels: As uint8, (H, W) or (H, W, 3); None: it is refused.
        why: Part of the message that refuses it.
        window: That it is read with; only some ways take one.
        remark: What is noted.
        slice: Whether it can be a slice: `pixels`' values, or why not.
    """

    data: bytes
    pixels: Pixels | None = None
    why: str = ""
    window: tuple[float, float] | None = None
    remark: Remark | None = None
    slice: str = ""


def right(data: bytes, pixels: Pixels, remark: Remark | None = None, **more: Any) -> Case:
    return Case(data, pixels, remark=remark, **more)


def refused(data: bytes, why: str) -> Case:
    return Case(data, why=why)


def level(deep: Pixels) -> Pixels:
    """16 bits to 8, rounded."""
    return np.rint(np.asarray(deep) / 257).astype(np.uint8)


def windowed(pixels: Pixels, low: float, high: float) -> Pixels:
    return np.rint(np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


IN_COLOR = "colour"
WINDOW = (-1000.0, 400.0)
CASES: dict[str, Case] = {
    "png grey": right(saved(GREY), GREY),
    "png rgb": right(saved(COLOR), COLOR),
    "bmp grey": right(saved(GREY, "BMP"), GREY),
    "bmp rgb": right(saved(COLOR, "BMP"), COLOR),
    "png 16-bit grey": right(png(DEEP, 0), level(DEEP)),
    "png 16-bit rgb": right(png(DEEP_COLOR, 2), DEEP_COLOR >> 8, Remark.DEEP_COLOR),
    "png 16-bit grey and alpha": right(
        png(np.dstack([DEEP, np.full_like(DEEP, 65535)]), 4), DEEP >> 8, Remark.DEEP_COLOR
    ),
    "png 16-bit rgb and alpha": right(
        png(np.dstack([DEEP_COLOR, np.full_like(DEEP, 65535)]), 6), DEEP_COLOR >> 8, Remark.DEEP_COLOR
    ),
    "png grey and alpha": right(png(np.dstack([GREY, ALPHA]), 4), GREY, Remark.TRANSPARENT),
    "png rgb and alpha": right(png(np.dstack([COLOR, ALPHA]), 6), COLOR, Remark.TRANSPARENT),
    "png rgb and opaque alpha": right(png(np.dstack([COLOR, np.full_like(ALPHA, 255)]), 6), COLOR),
    "png palette": right(palette(), np.full_like(COLOR, (10, 120, 230))),
    "png palette, transparent": right(
        palette(transparency=b"\xff\x80"), np.full_like(COLOR, (10, 120, 230)), Remark.TRANSPARENT
    ),
    "png one colour transparent": right(
        png(COLOR, 2, chunks=[(b"tRNS", bytes(6))]), COLOR, Remark.TRANSPARENT
    ),
    "png 1-bit": right(saved(GREY > 127, mode="1"), (GREY > 127) * np.uint8(255)),
    "png turned": right(turned("PNG"), COLOR, Remark.TURNED),
    "png profile of sRGB": right(saved(COLOR, icc_profile=profile("sRGB")), COLOR),
    "png profile of LAB": right(saved(COLOR, icc_profile=profile("LAB")), COLOR, Remark.PROFILE),
    "png interlaced header of no pixels": refused(
        saved(GREY)[:16] + bytes(8) + saved(GREY)[24:], "cannot be decoded|not a JPEG|pixels"
    ),
    "apng": refused(animated("PNG"), "it holds 3 pages or frames"),
    "gif": refused(animated("GIF"), "but a GIF image; convert it"),
    "webp": refused(saved(COLOR, "WEBP"), "but a WebP image; convert it"),
    "jpeg 2000": refused(saved(COLOR, "JPEG2000"), "but a JPEG 2000 image; convert it"),
    "avif": refused(b"\0\0\0\x1cftypavif" + bytes(300), "but an AVIF image; convert it"),
    "heic": refused(b"\0\0\0\x18ftypheic" + bytes(300), "but an HEIC image; convert it"),
    "dicom": refused(bytes(128) + b"DICM" + bytes(200), "but a DICOM file"),
    "html": refused(b"\n<!DOCTYPE html><html>404</html>", "but an HTML page.* download it again"),
    "git lfs": refused(b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "macos": refused(b"\0\x05\x16\x07" + bytes(90), "resource fork .*; remove it"),
    "zeros": refused(bytes(2000), "zeros only; copy it again"),
    "text": refused(b"Doe, Jane", "it is not a JPEG, PNG, TIFF or BMP image"),
    "png bomb": refused(
        png(GREY, 0)[:16] + (100_000).to_bytes(4, "big") * 2 + png(GREY, 0)[24:], "pixels|not a JPEG"
    ),
    "tiff bomb": refused(tiff(GREY, extra=[(256, 50_000), (257, 50_000)]), "it says that it has"),
    "tiff tile bomb": refused(
        tiff(GREY, tile=32, extra=[(322, 60_000), (323, 60_000)]), "one of its tiles has more than"
    ),
    "png cut": refused(saved(COLOR)[:900], "cannot be decoded"),
    "jpeg": right(NOISY, by_pillow(NOISY)),
    "jpeg grey": right(GREY_JPEG, np.asarray(Image.open(io.BytesIO(GREY_JPEG)))),
    "jpeg cut": refused(NOISY[:1000], "cannot be decoded"),
    "jpeg with errors": right(DIRTY, by_pillow(NOISY), Remark.BRIDGED),
    "jpeg 12-bit": refused(TWELVE_BIT, "it is a JPEG of 12 bits"),
    "jpeg bomb": refused(
        NOISY.replace(SIDE.to_bytes(2, "big") * 2, b"\xff\xdc" * 2, 1), "pixels"
    ),
    "jpeg turned": right(turned("JPEG"), by_pillow(saved(COLOR, "JPEG", quality=95)), Remark.TURNED),
    "jpeg cmyk": right(CMYK_JPEG, by_pillow(CMYK_JPEG)),
    "tiff cmyk": right(tiff(np.dstack([255 - COLOR, np.zeros_like(GREY)]), photometric=5), COLOR),
    **{
        f"jpeg subsampled {subsampling}, {'progressive' if progressive else 'baseline'}": right(
            data := saved(COLOR, "JPEG", subsampling=subsampling, progressive=progressive), by_pillow(data)
        )
        for subsampling in (0, 1, 2)
        for progressive in (False, True)
    },
    "tiff white is zero": right(tiff(GREY, photometric=0), 255 - GREY),
    "tiff 16-bit white is zero": right(tiff(DEEP, photometric=0), level(INVERTED)),
    "tiff 16-bit white is zero, big-endian": refused(
        tiff(DEEP, photometric=0, order=">"), "16-bit unsigned values .big-endian, white at zero"
    ),
    "tiff planes": right(tiff(COLOR, planar=2), COLOR),
    "tiff planes of 16 bits": refused(tiff(DEEP_COLOR, planar=2), "lie one behind the other"),
    "tiff 16-bit rgb": right(tiff(DEEP_COLOR), DEEP_COLOR >> 8, Remark.DEEP_COLOR),
    "tiff 16-bit rgb, big-endian, lzw": right(
        tiff(DEEP_COLOR, order=">", compression=LZW), DEEP_COLOR >> 8, Remark.DEEP_COLOR
    ),
    "tiff big": right(tiff(DEEP, big=True), level(DEEP)),
    "tiff big, big-endian": refused(tiff(DEEP, big=True, order=">"), "big-endian BigTIFF"),
    "tiff two pages": refused(tiff(GREY, values("u1")), "it holds 2 pages or frames"),
    "tiff with a smaller copy": right(
        tiff(GREY, GREY[::2, ::2], extra=[(254, 1)]), GREY, Remark.COPIES
    ),
    "tiff turned": refused(tiff(GREY, extra=[(274, 6)]), r"orientation 6.* save it upright"),
    "tiff without photometric": refused(
        tiff(GREY).replace(b"\x06\x01\x03\x00", b"\x07\x01\x03\x00"), "0 is black or white"
    ),
    "tiff 64-bit float": refused(tiff(FLOAT.astype("f8")), "64-bit floating-point values"),
    "tiff 16-bit float": refused(tiff(FLOAT.astype("f2")), "16-bit floating-point values"),
    "tiff float rgb": refused(
        tiff(values("f4", 3)), "32-bit floating-point values in each of 3 channels"
    ),
    "tiff float, white is zero": refused(tiff(FLOAT, photometric=0), "white at zero"),
    "tiff without a window": refused(tiff(SIGNED), "signed or 32-bit"),
    "tiff float without a window": refused(tiff(FLOAT), "floating-point"),
    "tiff with a NaN": Case(
        tiff(np.where(GREY[3, 3] == GREY, np.nan, FLOAT).astype("f4")), why="not finite", window=WINDOW
    ),
    "16-bit rgb with a window": Case(png(DEEP_COLOR, 2), why="no window is for", window=(0, 4095)),
    "16-bit with a window": right(png(DEEP, 0), windowed(DEEP, 0, 4095), window=(0, 4095)),
    **{
        f"tiff {dtype} {order} {compression}-{predictor}": right(
            tiff(data, order=order, compression=compression, predictor=predictor, tile=tile),
            windowed(data, low, high) if window else (level(data) if dtype == "u2" else data),
            window=(low, high) if window else None,
        )
        for dtype, (low, high), window in (
            ("u1", (0, 255), False), ("u2", (0, 65535), False), ("i1", (-100, 100), True),
            ("i2", WINDOW, True), ("i4", (-2e9, 2e9), True), ("u4", (0, 4e9), True), ("f4", WINDOW, True),
        )
        for data in [values(dtype)]
        for order in "<>"
        if (dtype, order) != ("u4", ">")
        for compression, predictor, tile in (
            (NONE, 1, 0), (NONE, 1, 16), (LZW, 1, 0), (DEFLATE, 3 if dtype == "f4" else 2, 16)
        )
    },
    "tiff u4 big-endian": refused(tiff(values("u4"), order=">"), "32-bit unsigned values"),
}  # fmt: skip


def in_color(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)


# Each way: bytes -> (H, W, 3), and what was noted. It raises what it refuses the file with.
Way = Callable[[Path, Case], tuple[Pixels, str]]


def folder(root: Path, case: Case) -> tuple[Pixels, str]:
    for place, name in enumerate(("train/a/1", "train/b/2", "val/a/3", "val/b/4")):
        file = root / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(case.data if place == 0 else png(GREY, 0))
    source = Source(kind="folder", root=str(root), color="rgb", window=case.window)
    domain = load(list_source(source), root / "cache", memory_limit_bytes=10**7)
    return np.asarray(domain.train.images)[0], "; ".join(domain.notes)


def manifest(root: Path, case: Case) -> tuple[Pixels, str]:
    for number in range(1, 5):
        (root / f"{number}.jpg").write_bytes(case.data if number == 1 else png(GREY, 0))
    rows = [("1.jpg", "a", "p", "train"), ("2.jpg", "b", "q", "train")]
    rows += [("3.jpg", "a", "r", "val"), ("4.jpg", "b", "s", "val")]
    with (root / "list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "class", "group", "split"), *rows])
    source = Source(
        kind="manifest",
        root=str(root),
        manifest="list.csv",
        color="rgb",
        window=case.window,
        decode_size=SIDE,
    )
    domain = load(list_source(source), root / "cache", memory_limit_bytes=10**7)
    return np.asarray(domain.train.images)[0], "; ".join(domain.notes)


def ilsvrc(root: Path, case: Case) -> tuple[Pixels, str]:
    for side in ("train", "val"):
        for wnid in ("n00000001", "n00000002"):
            (root / side / wnid).mkdir(parents=True)
            (root / side / wnid / "0.JPEG").write_bytes(case.data if wnid[-1] == "1" else png(GREY, 0))
    return _first(survey_ilsvrc(root, IlsvrcOptions(size=SIDE), "raise").units[0])


def ilsvrc_archive(root: Path, case: Case) -> tuple[Pixels, str]:
    ilsvrc_folders = root / "val"
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w", format=tarfile.GNU_FORMAT) as outer:
        for wnid in ("n00000001", "n00000002"):
            inner = io.BytesIO()
            data = case.data if wnid[-1] == "1" else png(GREY, 0)
            with tarfile.open(fileobj=inner, mode="w", format=tarfile.GNU_FORMAT) as archive:
                _add(archive, "0.JPEG", data)
            _add(outer, f"{wnid}.tar", inner.getvalue())
            (ilsvrc_folders / wnid).mkdir(parents=True)
            (ilsvrc_folders / wnid / "0.JPEG").write_bytes(png(GREY, 0))
    return _first(survey_ilsvrc(root, IlsvrcOptions(size=SIDE), "raise").units[0])


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


TEXTURE = TextureOptions(size=SIDE, color=True, materials=[1, 2])


def texture(root: Path, case: Case) -> tuple[Pixels, str]:
    for number, data in ((1, case.data), (2, png(GREY, 0))):
        (root / f"sample0{number}").mkdir()
        (root / f"sample0{number}" / f"0{number}-002.png").write_bytes(data)
    return _first(survey_texture(root, TEXTURE, "raise").units[0])


def texture_zip(root: Path, case: Case) -> tuple[Pixels, str]:
    for number, data in ((1, case.data), (2, png(GREY, 0))):
        with zipfile.ZipFile(root / f"sample0{number}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"0{number}-002.png", data)
    return _first(survey_texture(root, TEXTURE, "raise").units[0])


def _first(unit: Any) -> tuple[Pixels, str]:
    samples, _ = unit.read("raise")
    return in_color(samples[0].image), "; ".join(samples[0].remarks)


def own(root: Path, case: Case) -> tuple[Pixels, str]:
    (root / "picture.png").write_bytes(case.data)
    read = read_own(root / "picture.png", 1, Reading(None, case.window, color=True), DEEP_TYPES)
    return read.pixels, "; ".join(read.remarks)


def series(root: Path, case: Case) -> Pixels:
    """As a slice of a series, seen through the window of the other ways."""
    (root / "s.png").write_bytes(case.data)
    header = read_image_header(str(root / "s.png"))
    slice_: Pixels = read_slice_image(str(root / "s.png"), -32768)
    if header.depth == "16-bit unsigned":
        slice_ = (slice_.astype(np.int32) + 32768).astype(np.uint16)
    return window_to_uint8(slice_, case.window)


WITH_A_WINDOW: dict[str, Way] = {"folder": folder, "manifest": manifest, "own": own}
WAYS: dict[str, Way] = WITH_A_WINDOW | {
    "ilsvrc": ilsvrc, "ilsvrc archive": ilsvrc_archive, "texture": texture, "texture zip": texture_zip,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_file_has_equal_pixels_or_is_refused_through_every_way(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    for way, read in (WAYS if case.window is None else WITH_A_WINDOW).items():
        root = tmp_path / way
        root.mkdir()
        if case.pixels is None:
            with pytest.raises((RelayError, UnusableError), match=case.why):
                read(root, case)
        else:
            pixels, notes = read(root, case)
            np.testing.assert_array_equal(pixels, in_color(case.pixels), err_msg=way)
            assert [str(remark) for remark in Remark if remark in notes] == [case.remark][: bool(case.remark)]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.window is not None])
def test_values_that_need_a_window_are_refused_where_none_can_be_given(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    for way in WAYS.keys() - WITH_A_WINDOW.keys():
        (tmp_path / way).mkdir()
        if case.window is not None and name.startswith("tiff"):
            with pytest.raises(RelayError, match=r"no window says which are black and white|not finite"):
                WAYS[way](tmp_path / way, case)


NO_SLICES = ("alpha", "tiff i4", "tiff u4", "tiff i1", "16-bit white")
"""In names of grey cases that a slice refuses: they have no Hounsfield units, or are transparent."""


@pytest.mark.parametrize("name", CASES)
def test_a_slice_has_the_same_pixels_or_is_refused(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    if name in ("tiff without a window", "tiff float without a window"):  # Hounsfield units need none
        assert series(tmp_path, case).shape == SIGNED.shape
    elif case.pixels is None or case.pixels.ndim == 3 or any(part in name for part in NO_SLICES):
        with pytest.raises(UnusableError):
            series(tmp_path, case)
    else:  # a slice of floating point is rounded to whole Hounsfield units first
        rounded = 1 if "f4" in name else 0
        np.testing.assert_allclose(series(tmp_path, case).astype(int), case.pixels, atol=rounded)
