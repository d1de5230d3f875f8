"""What is wrong with bad extracted folders, and what is said of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.readers.ilsvrc.reader import IlsvrcOptions, survey
from stages.errors import RelayError
from tests.helpers.fake_ilsvrc import (
    OPTIONS,
    WNIDS,
    samples,
    train_image,
    val_names,
    write_devkit,
    write_folders,
)

CLASS = WNIDS[0]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "set")


def put(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: void((folder / name).write_bytes(content))


def void(_: object) -> None: ...


def broken_link(folder: Path) -> None:
    (folder / "Jane Doe.JPEG").symlink_to(folder / "nothing.JPEG")


def cyclic_link(folder: Path) -> None:
    (folder / "Jane Doe.JPEG").symlink_to(folder / "Jane Doe.JPEG")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "Jane Doe.JPEG")


def empty_official(folder: Path) -> None:
    (folder / f"{CLASS}_2.JPEG").write_bytes(b"")


NAMELESS = f"train/{CLASS}/image-00001"  # "J" stands before "n"


@pytest.mark.parametrize(
    ("spoil", "what", "why"),
    [
        (put("Jane Doe.JPEG", b""), NAMELESS, "it has zero bytes"),
        (empty_official, f"train/{CLASS}/{CLASS}_2.JPEG", "it has zero bytes"),
        (broken_link, NAMELESS, "it cannot be reached: No such file or directory"),
        (cyclic_link, NAMELESS, "it cannot be reached: Too many levels of symbolic links"),
        (pipe, NAMELESS, "it is not an ordinary file"),
    ],
)
def test_what_listing_shows_to_be_unusable_is_named_or_left_out(
    folders: Path, spoil: Callable[[Path], None], what: str, why: str
) -> None:
    spoil(folders / "train" / CLASS)
    with pytest.raises(RelayError, match=f"{what}: {why}") as caught:
        survey(folders, OPTIONS, "raise")
    assert "Jane" not in str(caught.value)
    found = survey(folders, OPTIONS, "skip")
    assert [(problem.what, problem.why) for problem in found.problems] == [(what, why)]
    assert len(samples(found)) == (19 if spoil is empty_official else 20)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (train_image(CLASS, 1)[:400], "cannot be decoded"),
        (b"text", "it is not a JPEG, PNG, TIFF or BMP image"),
        (None, "it may not be read; change its permissions"),
    ],
)
def test_what_decoding_shows_to_be_unusable_is_named_or_left_out(
    folders: Path, content: bytes | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folders / "train" / CLASS / "Jane Doe.JPEG"
    file.write_bytes(content or b"secret")
    if content is None:  # root may read everything
        opened = open

        def refuse(path: str, *arguments: Any, **options: Any) -> Any:
            if str(path) == str(file):
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, *arguments, **options)

        monkeypatch.setattr("builtins.open", refuse)
    (unit, *_) = survey(folders, OPTIONS, "raise").units
    with pytest.raises(RelayError, match=f"{NAMELESS}: .*{why}") as caught:
        unit.read("raise")
    assert "Jane" not in str(caught.value)
    kept, problems = unit.read("skip")
    assert [problem.what for problem in problems] == [NAMELESS]
    assert why in problems[0].why
    assert "Jane" not in problems[0].why
    assert len(kept) == 4


def odd_folder(root: Path) -> None:
    (root / "train" / "Jane Doe").mkdir()


def no_val_class(root: Path) -> None:
    for file in (root / "val" / CLASS).iterdir():
        file.unlink()
    (root / "val" / CLASS).rmdir()


def empty_class(root: Path) -> None:
    for file in (root / "train" / CLASS).iterdir():
        file.unlink()


def flat_train(root: Path) -> None:
    for folder in (root / "train").iterdir():
        for file in folder.iterdir():
            file.rename(root / "train" / file.name)
        folder.rmdir()


def no_train(root: Path) -> None:
    (root / "train").rename(root / "somewhere")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (odd_folder, "train: of its 5 folders in sorted order, number 1 is not named by a WNID"),
        (no_val_class, f"class {CLASS} is missing from val"),
        (empty_class, f"class {CLASS} has no images in train"),
        (flat_train, f"class {CLASS} and 3 more is missing from train"),
        (no_train, "neither the archive ILSVRC2012_img_train.tar nor a folder train"),
    ],
)
def test_a_bad_set_is_refused(folders: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folders)
    with pytest.raises(RelayError, match=message) as caught:
        survey(folders, OPTIONS, "skip")
    assert "Jane" not in str(caught.value)


def test_images_in_another_class_s_folder_are_noted(folders: Path) -> None:
    """By the WNID in a name, and by the ground truth where there is one; a name of one's own says nothing."""
    other = folders / "train" / WNIDS[1]
    (folders / "train" / CLASS / f"{CLASS}_2.JPEG").rename(other / f"{CLASS}_2.JPEG")
    (folders / "train" / CLASS / f"{CLASS}_10.JPEG").rename(other / "mine.JPEG")
    (folders / "val" / CLASS / val_names()[0]).rename(folders / "val" / WNIDS[2] / val_names()[0])
    noted = "images are of another class than their folder"
    (train,) = (note for note in survey(folders, OPTIONS, "raise").notes if noted in note)
    assert f"train: by the provider's names 1 {noted} (1 in {WNIDS[1]}); the folder's is taken" in train
    write_devkit(folders)
    _, val = (note for note in survey(folders, OPTIONS, "raise").notes if noted in note)
    assert f"val: by the provider's names 1 {noted} (1 in {WNIDS[2]})" in val


def test_a_class_of_the_devkit_without_a_folder_is_missing(folders: Path) -> None:
    write_devkit(folders)
    for side in ("train", "val"):
        (folders / side / CLASS).rename(folders / f"{side}-elsewhere")
    with pytest.raises(RelayError, match=f"class {CLASS} is missing from train.*name the classes"):
        survey(folders, OPTIONS, "skip")
    assert survey(folders, IlsvrcOptions(classes=WNIDS[1:], size=16), "raise").classes == WNIDS[1:]


def test_a_folder_that_may_not_be_read_is_named(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith(CLASS):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(RelayError, match=f"the folder train/{CLASS} cannot be read: Permission denied"):
        survey(folders, OPTIONS, "skip")


def test_flat_validation_images_need_the_ground_truth(tmp_path: Path) -> None:
    root = write_folders(tmp_path, flat_val=True)
    with pytest.raises(
        RelayError, match=r"val: the validation images are not in class folders.*put the devkit"
    ):
        survey(root, OPTIONS, "raise")
    write_devkit(root)
    (root / "val" / val_names()[0]).rename(root / "val" / "Jane Doe.JPEG")
    with pytest.raises(RelayError, match="val: image 8 in sorted order is not named as") as caught:
        survey(root, OPTIONS, "raise")
    assert "Jane" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 5000}, "size is 5000"),
        ({"images_per_unit": 0}, "images_per_unit is 0"),
    ],
)
def test_options_out_of_range_are_an_error(options: dict[str, int], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        IlsvrcOptions(**options)  # type: ignore[arg-type]


def test_a_source_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="does not exist"):
        survey(tmp_path / "nowhere", OPTIONS, "raise")
