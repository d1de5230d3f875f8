"""The original archives, read in place: what is found, and what is wrong with a bad copy."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from datamodules.pixels.quick import decode_image
from datamodules.readers.ilsvrc import archives as ilsvrc_archives
from datamodules.readers.ilsvrc.reader import IlsvrcOptions, survey
from datamodules.readers.ilsvrc.tar_index import members
from stages.errors import RelayError
from tests.helpers.fake_ilsvrc import (
    OPTIONS,
    TRAIN,
    VAL,
    VAL_IMAGES,
    WNIDS,
    samples,
    tar_bytes,
    train_files,
    write_archives,
    write_devkit,
    write_folders,
)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archives(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return write_archives(tmp_path)


def test_the_original_archives_are_read_in_place(archives: Path) -> None:
    before = sorted(archives.rglob("*"))
    found = survey(archives, OPTIONS, "raise")
    assert found.domain == "natural"
    assert found.classes == WNIDS
    assert (found.problems, found.notes) == ((), ())
    read = samples(found)
    assert [sample.name for sample in read[:4]] == [
        "train/n01440764/n01440764_10.JPEG",
        "train/n01440764/n01440764_2.JPEG",
        "train/n01440764/n01440764_301.JPEG",
        "train/n01484850/n01484850_10.JPEG",
    ]
    assert [sample.split for sample in read] == ["train"] * 12 + ["val"] * 8
    assert len({sample.group for sample in read}) == len(read)
    for sample in read[:12]:
        _, wnid, name = sample.name.split("/")
        np.testing.assert_array_equal(sample.image, decode_image(train_files(wnid)[name], 16))
        assert sample.label == wnid
    assert sorted(archives.rglob("*")) == before


def test_the_ground_truth_labels_the_validation_images(archives: Path) -> None:
    """Line 1 of the ground truth is class 3, which is n01440764; line 2 class 1, n02012849."""
    labels = {
        s.name.split("/")[-1]: s.label
        for s in samples(survey(archives, OPTIONS, "raise"))
        if s.split == "val"
    }
    assert labels["ILSVRC2012_val_00000001.JPEG"] == "n01440764"
    assert labels["ILSVRC2012_val_00000002.JPEG"] == "n02012849"
    assert labels["ILSVRC2012_val_00000003.JPEG"] == "n01484850"
    assert labels["ILSVRC2012_val_00000008.JPEG"] == "n03126707"


def test_the_extracted_folders_give_the_same_samples(archives: Path, tmp_path: Path) -> None:
    whole = survey(archives, OPTIONS, "raise")
    for name, flat in (("folders", False), ("flat", True)):
        extracted = survey(write_devkit(write_folders(tmp_path / name, flat)), OPTIONS, "raise")
        assert (extracted.secret, extracted.settings) == (whole.secret, whole.settings)
        assert [unit.key for unit in extracted.units] == [unit.key for unit in whole.units]
        for one, other in zip(samples(whole), samples(extracted), strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            assert (one.name, one.label, one.group, one.split) == (
                other.name,
                other.label,
                other.group,
                other.split,
            )


def test_an_archive_is_preferred_to_a_folder_beside_it(copy: Path) -> None:
    write_folders(copy)
    assert survey(copy, OPTIONS, "raise").notes == (
        "train: the archive was read, and the folder train beside it was not",
        "val: the archive was read, and the folder val beside it was not",
    )


def test_only_the_archives_of_asked_classes_are_listed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []

    def counted(*arguments: object) -> object:
        listed.append(str(arguments[-1]))
        return members(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ilsvrc_archives, "members", counted)
    found = survey(copy, IlsvrcOptions(classes=("Tinca  tinca", "n03126707"), size=16), "raise")
    assert found.classes == ("n01440764", "n03126707")
    assert sorted(listed) == [TRAIN, f"{TRAIN}: n01440764.tar", f"{TRAIN}: n03126707.tar", VAL]
    assert len(samples(found)) == 2 * (3 + VAL_IMAGES)


def test_a_unit_changes_with_its_archive(copy: Path) -> None:
    before = [unit.fingerprint for unit in survey(copy, OPTIONS, "raise").units]
    assert [unit.fingerprint for unit in survey(copy, OPTIONS, "raise").units] == before
    os.utime(copy / TRAIN, ns=(1, 1))
    after = [unit.fingerprint for unit in survey(copy, OPTIONS, "raise").units]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False] * 3 + [True] * 2


def test_an_archive_made_by_others_is_read_by_python(tmp_path: Path) -> None:
    """Long names need headers that the quick reader leaves to tarfile; so do folders within."""
    long = "a" * 120 + ".JPEG"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        content = b"x" * 700 + tar_bytes({long: b"12345", "./b.JPEG": b"6"}, form) + b"y" * 999
        start, end = 700, len(content) - 999
        found = members(io.BytesIO(content), start, end, "archive")
        assert [(m.name.removeprefix("./"), content[m.offset : m.offset + m.size]) for m in found] == [
            (long, b"12345"),
            ("b.JPEG", b"6"),
        ]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_left_to_python_is_checked_as_well(form: int) -> None:
    content = tar_bytes({"a" * 120 + ".JPEG": b"x" * 3000, "b.JPEG": b"y" * 3000}, form)
    whole = members(io.BytesIO(content), 0, len(content), "archive")
    last = whole[-1].offset
    for end in (whole[0].offset + 700, last - 512, last - 300, last + 700, last + 3072):
        with pytest.raises(RelayError, match=r"archive is (cut short|damaged or cut short)"):
            members(io.BytesIO(content[:end]), 0, end, "archive")
        with pytest.raises(RelayError, match=r"archive is (cut short|damaged or cut short)"):
            members(io.BytesIO(content), 0, end, "archive")  # a part of a larger file, which goes on
    evil = tar_bytes({"a" * 120: b"", "../" + "b" * 120: b""}, form)
    with pytest.raises(RelayError, match="the path of member 2 leaves the folder"):
        members(io.BytesIO(evil), 0, len(evil), "archive")


def test_folders_and_prefixes_are_understood() -> None:
    stream = io.BytesIO()
    name = "d" * 80 + "/" + "e" * 60 + ".JPEG"
    with tarfile.open(fileobj=stream, mode="w:", format=tarfile.USTAR_FORMAT) as tar:
        folder = tarfile.TarInfo("val")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        tar.addfile(tarfile.TarInfo(name))
    (found,) = members(stream, 0, len(stream.getvalue()), "archive")
    assert (found.name, found.size, found.offset) == (name, 0, 1024)
