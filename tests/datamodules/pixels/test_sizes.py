"""What is refused by its type or its size before it is read, and what a set's notes say."""

import gzip
import io
import os
import socket
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.explain.arrays import read_arrays, write_arrays
from datamodules.faults import UnusableError
from datamodules.from_config import Listings
from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.packing.finish import SplitRule
from datamodules.packing.pack import pack
from datamodules.pixels.image_file import read_bytes
from datamodules.readers.ilsvrc import devkit
from datamodules.readers.ilsvrc.devkit import DEVKIT_ARCHIVE, read_class_names
from datamodules.readers.ilsvrc.reader import IlsvrcOptions, survey
from datamodules.readers.texture.reader import TextureOptions
from datamodules.readers.texture.reader import survey as survey_texture
from datamodules.values.notes import value_notes
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_ilsvrc import write_devkit, write_folders
from tests.helpers.fake_images import pixels, split_folders
from tests.helpers.image_bytes import png, tiff


def _socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(place.parent)  # the path of a socket has 108 bytes at most
        server.bind(place.name)


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "not an ordinary file"),
    "socket": (_socket, "not an ordinary file"),
    "device": (lambda place: place.symlink_to("/dev/zero"), "not an ordinary file"),
    "folder": (Path.mkdir, "not an ordinary file"),
    "dangling link": (lambda place: place.symlink_to("nowhere"), "leads nowhere"),
    "empty": (Path.touch, "zero bytes"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_ordinary_file_is_not_waited_for(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, why = ODD[kind]
    make(tmp_path / "a.png")
    with pytest.raises(UnusableError, match=why):
        read_bytes(str(tmp_path / "a.png"))


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(UnusableError, match=r"it has 1,099,511,627,776 bytes; 536,870,912 are the most"):
        read_bytes(str(tmp_path / "a.png"))


def test_an_image_of_too_many_bytes_is_left_out_of_ilsvrc(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    file = next((root / "train").rglob("*.JPEG"))
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(RelayError, match=r"it has 1,099,511,627,776 bytes; 536,870,912 are the most"):
        survey(root, IlsvrcOptions(size=16), "raise")


def test_a_devkit_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devkit, "MOST_UNPACKED", 1 << 20)
    with gzip.open(tmp_path / DEVKIT_ARCHIVE, "wb") as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        member = tarfile.TarInfo("ILSVRC2012_devkit_t12/data/meta.mat")
        member.size = 1 << 22
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    assert (tmp_path / DEVKIT_ARCHIVE).stat().st_size < 10_000
    with pytest.raises(RelayError, match=r"unpacks to more than 1,048,576 bytes; it is not the original"):
        read_class_names(tmp_path)


def test_a_table_of_synsets_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devkit, "MOST_UNPACKED", 1 << 20)
    write_devkit(tmp_path)
    read_class_names(tmp_path)
    bomb = zlib.compress(bytes(1 << 22))
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    with pytest.raises(RelayError, match=r"meta\.mat unpacks to more than 1,048,576 bytes"):
        devkit._class_names(head + struct.pack("<II", 15, len(bomb)) + bomb, b"1\n", "the devkit")


def test_stored_arrays_are_bounded_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.npz"
    write_arrays(file, {"one": np.arange(5), "two": np.zeros((3, 4), np.float32)}, compressed=True)
    assert read_arrays(file)["two"].shape == (3, 4)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)}
    )
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one.npy", header.getvalue())
    with pytest.raises(ValueError, match=r"its array one\.npy is cut short"):
        read_arrays(file)
    monkeypatch.setattr("analysis.explain.arrays.MOST_BYTES", 1 << 20)
    write_arrays(file, {"zeros": np.zeros(1 << 21, np.uint8)}, compressed=True)
    assert file.stat().st_size < 10_000
    with pytest.raises(ValueError, match="its arrays have more than 1048576 bytes"):
        read_arrays(file)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ValueError, match="not an ordinary file"):
        read_arrays(tmp_path / "pipe.npz")


def _set(root: Path, data: Callable[[int], bytes], **source: object) -> Source:
    """Class folders whose six training and four other images are what `data` gives each."""
    split_folders(root)
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        file.write_bytes(data(number))
    return Source(kind="folder", root=str(root), **source)  # type: ignore[arg-type]


def _twelve_bits(number: int) -> bytes:
    values = np.random.default_rng(number).integers(0, 4096, (8, 8), dtype=np.uint16)
    values[0, 0], values[0, 1] = 0, 4095
    return png(values, 0)


@pytest.mark.parametrize("limit", [10**6, 0], ids=["in memory", "streaming"])
def test_a_small_part_of_the_range_is_noted_with_its_cure(tmp_path: Path, limit: int) -> None:
    source = _set(tmp_path / "data", _twelve_bits)
    domain = load(list_source(source), tmp_path / "cache", memory_limit_bytes=limit)
    assert domain.values is not None
    (note,) = value_notes(domain.values, domain.classes)
    assert note == (
        "the images have values 0 to 4095, 6.25% of the range from black, 0, to white, 65535; set the "
        "source's window, such as [0, 4095]"
    )
    assert load(list_source(source), tmp_path / "cache", memory_limit_bytes=limit).values == domain.values
    cured = Source(kind="folder", root=str(tmp_path / "data"), window=(0, 4095))
    values = load(list_source(cured), tmp_path / "cache", memory_limit_bytes=limit).values
    assert values is not None and values.used == 1
    assert value_notes(values, domain.classes, (0, 4095)) == []


def test_one_mark_does_not_hide_a_small_part_of_the_range(tmp_path: Path) -> None:
    def dark(number: int) -> bytes:
        return png(np.full((8, 8), 255 if number == 150 else number % 20, np.uint8), 0)

    split_folders(tmp_path / "data", train=80, val=20)
    for number, file in enumerate(sorted((tmp_path / "data").rglob("*.png"))):
        file.write_bytes(dark(number))
    source = Source(kind="folder", root=str(tmp_path / "data"))
    domain = load(list_source(source), tmp_path / "cache", memory_limit_bytes=10**6)
    assert domain.values is not None and domain.values.constant == 1
    (note, *_) = value_notes(domain.values, domain.classes)
    assert "the images have values 0 to 19, 7.45% of the range from black, 0, to white, 255" in note


@pytest.mark.parametrize(
    ("dtype", "why"), [("i2", "signed or 32-bit values"), ("f4", "floating-point values")]
)
def test_a_missing_window_is_said_when_a_run_is_planned(tmp_path: Path, dtype: str, why: str) -> None:
    source = _set(tmp_path, lambda number: tiff(np.full((8, 8), number, dtype)))
    with pytest.raises(RelayError, match=rf"image train/brick/000\.png has {why}; set the source's `window`"):
        Listings().of(source)
    Listings().of(Source(kind="folder", root=str(tmp_path), window=(0, 10)))


def test_what_was_passed_over_stands_in_a_prepared_sets_notes_and_its_domains(tmp_path: Path) -> None:
    transparent = png(np.dstack([np.full((8, 8), 200, np.uint8), np.zeros((8, 8), np.uint8)]), 4)
    for material in (1, 2):
        for image in (2, 7):
            file = tmp_path / "crops" / f"sample0{material}" / f"0{material}-00{image}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(transparent if material == 1 else png(pixels(image), 0))
    found = survey_texture(tmp_path / "crops", TextureOptions(size=8, materials=[1, 2]))
    rule = SplitRule(fraction=0.5, duplicates=False)
    packed = pack(found, tmp_path / "set", rule, on_error="raise", workers=1)
    note = "2 images: transparent in places; the colours that lie below are taken"
    assert note in packed.description["notes"]
    listing = list_source(Source(kind="packed", root=str(tmp_path / "set")))
    assert note in load(listing, tmp_path / "cache", memory_limit_bytes=10**6).notes
