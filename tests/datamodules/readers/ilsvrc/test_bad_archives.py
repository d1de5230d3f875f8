"""What is wrong with a bad copy of the original archives, and what is said of it."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules.readers.ilsvrc import archives as ilsvrc_archives
from datamodules.readers.ilsvrc.reader import IlsvrcOptions, survey
from datamodules.readers.ilsvrc.tar_index import members
from stages.errors import RelayError
from tests.helpers.fake_ilsvrc import (
    DEVKIT,
    OPTIONS,
    TRAIN,
    VAL,
    WNIDS,
    devkit_files,
    encoded,
    photograph,
    samples,
    tar_bytes,
    train_files,
    val_image,
    val_names,
    write_archives,
    write_devkit,
    write_folders,
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return write_archives(tmp_path)


def with_member(kind: bytes, name: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:") as tar:
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
        tar.addfile(member)
    return stream.getvalue()


@pytest.mark.parametrize(
    "name", ["../evil.JPEG", "/etc/evil.JPEG", "a/../../evil.JPEG", "..\\evil.JPEG", ".."]
)
@pytest.mark.parametrize("where", [TRAIN, VAL, "inner"])
def test_a_path_that_leaves_the_folder_is_refused(copy: Path, name: str, where: str) -> None:
    evil = with_member(tarfile.REGTYPE, name)
    place = where
    if where == "inner":
        place = f"{TRAIN}: {WNIDS[0]}.tar"
        inner = {f"{wnid}.tar": evil if wnid == WNIDS[0] else tar_bytes(train_files(wnid)) for wnid in WNIDS}
        (copy / TRAIN).write_bytes(tar_bytes(inner))
    else:
        (copy / where).write_bytes(evil)
    with pytest.raises(RelayError, match=f"{place}: the path of member 1 leaves the folder"):
        survey(copy, OPTIONS, "skip")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(copy: Path, kind: bytes) -> None:
    (copy / VAL).write_bytes(with_member(kind, "ILSVRC2012_val_00000001.JPEG"))
    with pytest.raises(RelayError, match="member 1 is a link, a device or a sparse file"):
        survey(copy, OPTIONS, "skip")


@pytest.mark.parametrize("archive", [TRAIN, VAL])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6])
def test_a_half_copied_archive_is_named(copy: Path, archive: str, share: float) -> None:
    content = (copy / archive).read_bytes()
    (copy / archive).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(RelayError, match=rf"{archive}.* is cut short: .*Copy it again"):
        survey(copy, OPTIONS, "skip")


def test_an_archive_cut_between_two_members_is_named(copy: Path) -> None:
    content = (copy / VAL).read_bytes()
    (last,) = (m for m in members(io.BytesIO(content), 0, len(content), VAL) if m.name == val_names()[-1])
    (copy / VAL).write_bytes(content[: last.offset - 512])
    with pytest.raises(RelayError, match=r"ends after .* bytes without the mark of an archive's end"):
        survey(copy, OPTIONS, "skip")


def test_an_inner_archive_that_was_cut_short_is_named(copy: Path) -> None:
    inner = {f"{wnid}.tar": tar_bytes(train_files(wnid)) for wnid in WNIDS}
    inner[f"{WNIDS[2]}.tar"] = inner[f"{WNIDS[2]}.tar"][:2048]
    (copy / TRAIN).write_bytes(tar_bytes(inner))
    with pytest.raises(RelayError, match=f"{TRAIN}: {WNIDS[2]}.tar is cut short"):
        survey(copy, OPTIONS, "skip")


def test_overwritten_bytes_are_noticed(copy: Path) -> None:
    content = bytearray((copy / VAL).read_bytes())
    content[3] ^= 1
    (copy / VAL).write_bytes(content)
    with pytest.raises(RelayError, match=f"{VAL}: there is no member at byte 0"):
        survey(copy, OPTIONS, "raise")


def test_checksums_are_compared_where_asked(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = IlsvrcOptions(size=16, checksums=True)
    with pytest.raises(RelayError, match=rf"^{DEVKIT} has MD5 [0-9a-f]{{32}}; the published one is fa75699e"):
        survey(copy, options, "skip")
    sums = {name: hashlib.md5((copy / name).read_bytes()).hexdigest() for name in (DEVKIT, TRAIN, VAL)}
    monkeypatch.setattr(ilsvrc_archives, "MD5", sums)
    assert len(survey(copy, options, "raise").units) == 2
    monkeypatch.setitem(sums, TRAIN, "1d675b47d978889d74fa0da5fadfb00e")
    with pytest.raises(RelayError, match=f"{TRAIN} has MD5 .*; the published one is 1d675b47"):
        survey(copy, options, "skip")


def test_checksums_of_folders_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match=r"checksums: none of .* lies in .*Leave `checksums` unset"):
        survey(write_folders(tmp_path), IlsvrcOptions(checksums=True), "raise")


def break_inner_name(root: Path) -> None:
    (root / TRAIN).write_bytes(tar_bytes({"tench.tar": b""}))


def double_class(root: Path) -> None:
    (root / TRAIN).write_bytes(tar_bytes({"n01440764.tar": b"", "again/n01440764.tar": b""}))


def double_member(root: Path) -> None:
    one = tar_bytes({"ILSVRC2012_val_00000001.JPEG": b"x"})[:1024]
    (root / VAL).write_bytes(one + one + bytes(1024))


def same_name_in_two_folders(root: Path) -> None:
    (root / VAL).write_bytes(tar_bytes({f"{f}/{val_names()[0]}": b"x" for f in "ab"}))


def odd_val_name(root: Path) -> None:
    (root / VAL).write_bytes(tar_bytes({"Jane Doe.JPEG": b"x"}))


def unknown_number(root: Path) -> None:
    (root / VAL).write_bytes(tar_bytes({"ILSVRC2012_val_00000009.JPEG": b"x"}))


def no_class(root: Path) -> None:
    (root / TRAIN).write_bytes(tar_bytes({f"{wnid}.tar": tar_bytes(train_files(wnid)) for wnid in WNIDS[1:]}))


def empty_class(root: Path) -> None:
    inner = {f"{wnid}.tar": tar_bytes({} if wnid == WNIDS[0] else train_files(wnid)) for wnid in WNIDS}
    (root / TRAIN).write_bytes(tar_bytes(inner))


def no_val(root: Path) -> None:
    (root / VAL).unlink()


def no_devkit(root: Path) -> None:
    (root / DEVKIT).unlink()


def half_devkit(root: Path) -> None:
    (root / DEVKIT).write_bytes((root / DEVKIT).read_bytes()[:600])


def devkit_without(name: str, content: bytes | None = None) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        files = devkit_files()
        del files[name]
        write_devkit(root, files if content is None else {**files, name: content})

    return change


TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (break_inner_name, "member 1 is not an archive of a class such as n01440764.tar"),
        (double_class, "class n01440764 is there twice"),
        (double_member, "member 1, member 2 have one name"),
        (same_name_in_two_folders, "two images in different folders have one name"),
        (odd_val_name, "image 1 in sorted order is not named as ILSVRC2012_val_00000001.JPEG is"),
        (unknown_number, "validation image 9 is not among the 8 of the ground truth"),
        (no_class, "class n01440764 is missing from train"),
        (empty_class, "class n01440764 has no images in train"),
        (no_val, f"neither the archive {VAL} nor a folder val"),
        (no_devkit, f"{VAL}: the validation images are not in class folders"),
        (half_devkit, f"{DEVKIT} is damaged or cut short"),
        (devkit_without("data/meta.mat"), f"{DEVKIT} holds no data/meta.mat"),
        (
            devkit_without("data/meta.mat", b"no matrix"),
            "data/meta.mat cannot be read as the table of synsets",
        ),
        (devkit_without(TRUTH), f"{DEVKIT} holds no {TRUTH}"),
        (devkit_without(TRUTH, b""), f"{TRUTH} is empty"),
        (devkit_without(TRUTH, b"3\n1\n5\n"), "line 3: there is no class of that ILSVRC2012_ID"),
    ],
)
def test_a_bad_set_is_refused(copy: Path, change: Callable[[Path], None], message: str) -> None:
    change(copy)
    with pytest.raises(RelayError, match=message) as caught:
        survey(copy, OPTIONS, "skip")
    assert "Jane" not in str(caught.value)


def test_missing_validation_images_are_counted(copy: Path) -> None:
    files = {name: val_image(index) for index, name in enumerate(val_names())}
    del files[val_names()[4]]
    (copy / VAL).write_bytes(tar_bytes(files))
    with pytest.raises(RelayError, match="val: 1 images of the devkit's ground truth are not there"):
        survey(copy, OPTIONS, "raise")
    found = survey(copy, OPTIONS, "skip")
    assert [(p.what, p.why) for p in found.problems] == [
        ("val", "1 images of the devkit's ground truth are not there")
    ]
    assert found.notes == ("val: 7 images, where the devkit counts 8",)
    labels = {s.name.split("/")[-1]: s.label for s in samples(found) if s.split == "val"}
    assert labels["ILSVRC2012_val_00000006.JPEG"] == "n02012849"  # its own line, not its place in the archive


def test_missing_training_images_are_counted(copy: Path) -> None:
    inner = {f"{wnid}.tar": tar_bytes(dict(list(train_files(wnid).items())[:2])) for wnid in WNIDS}
    (copy / TRAIN).write_bytes(tar_bytes(inner))
    assert survey(copy, OPTIONS, "raise").notes == ("train: 8 images, where the devkit counts 12",)


def test_a_damaged_image_in_an_archive_is_named_or_left_out(copy: Path) -> None:
    files = {wnid: train_files(wnid) for wnid in WNIDS}
    name = f"{WNIDS[1]}_2.JPEG"
    files[WNIDS[1]][name] = encoded(photograph(1, (90, 80)))[:900]
    (copy / TRAIN).write_bytes(tar_bytes({f"{wnid}.tar": tar_bytes(of) for wnid, of in files.items()}))
    found = survey(copy, OPTIONS, "raise")
    place = f"train/{WNIDS[1]}/{name}"
    with pytest.raises(RelayError, match=f"{place}: its pixels cannot be decoded"):
        samples(found)
    kept, problems = found.units[0].read("skip")
    assert [problem.what for problem in problems] == [place]
    assert len(kept) == 4


def test_an_archive_that_vanished_is_named(copy: Path) -> None:
    found = survey(copy, OPTIONS, "raise")
    (copy / TRAIN).unlink()
    with pytest.raises(RelayError, match=f"{TRAIN} cannot be read: No such file"):
        found.units[0].read("skip")
