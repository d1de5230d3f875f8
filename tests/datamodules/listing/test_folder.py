import os
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamodules.files.names import first_and_more
from datamodules.listing.folder import list_folder
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_images import CLASSES, class_folders, split_folders, write_image
from tests.helpers.ordinary_user import ordinary_user


def folder(root: Path, val_fraction: float | None = None, split_seed: int | None = None) -> Source:
    return Source(kind="folder", root=str(root), val_fraction=val_fraction, split_seed=split_seed)


def test_split_folders_give_sorted_files_and_labels(tmp_path: Path) -> None:
    listing = list_folder(folder(split_folders(tmp_path)))
    assert listing.classes == CLASSES
    assert [file.path for file in listing.side("val")] == [
        "val/brick/000.png",
        "val/brick/001.png",
        "val/cotton/000.png",
        "val/cotton/001.png",
    ]
    assert [file.label for file in listing.side("val")] == [0, 0, 1, 1]
    assert len(listing.side("train")) == 6
    first = listing.files[0]
    assert (first.group, first.size) == (first.path, (tmp_path / first.path).stat().st_size)


def test_other_files_are_ignored_and_suffixes_match_in_any_case(tmp_path: Path) -> None:
    split_folders(tmp_path)
    for name in ("notes.txt", ".DS_Store", "._000.png", "Thumbs.db"):
        (tmp_path / "train" / "brick" / name).write_text("x")
    (tmp_path / "README.txt").write_text("x")
    (tmp_path / "train" / ".cache").mkdir()
    write_image(tmp_path / "train" / "brick" / "deep" / "000.PNG")
    write_image(tmp_path / "train" / "brick" / "x.JPeG")
    paths = [file.path for file in list_folder(folder(tmp_path)).files]
    assert len(paths) == 12
    assert {"train/brick/deep/000.PNG", "train/brick/x.JPeG"} <= set(paths)


def test_split_depends_on_the_seed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path, images=20)
    first, other = list_folder(folder(tmp_path, 0.3, 1)), list_folder(folder(tmp_path, 0.3, 2))
    assert first != other
    assert list_folder(folder(tmp_path, 0.3)) == list_folder(folder(tmp_path, 0.3, 0))
    scan = os.scandir

    class Reversed:
        def __init__(self, path: str) -> None:
            with scan(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    assert list_folder(folder(tmp_path, 0.3, 1)) == first


def test_decomposed_names_are_listed_composed(tmp_path: Path) -> None:
    split_folders(tmp_path, classes=("a", unicodedata.normalize("NFD", "é")))
    listing = list_folder(folder(tmp_path))
    assert listing.classes == ("a", unicodedata.normalize("NFC", "é"))
    assert all(Path(file.location).is_file() for file in listing.files)
    split_folders(tmp_path, classes=("a", unicodedata.normalize("NFC", "é")))
    with pytest.raises(RelayError, match="twice in different Unicode forms"):
        list_folder(folder(tmp_path))


def test_two_unicode_forms_of_one_file_are_a_duplicate(tmp_path: Path) -> None:
    split_folders(tmp_path)
    for form in ("NFC", "NFD"):
        write_image(tmp_path / "train" / "brick" / f"{unicodedata.normalize(form, 'é')}.png")
    with pytest.raises(RelayError, match=r"train/brick/é\.png is listed twice"):
        list_folder(folder(tmp_path))


def test_symlink_loops_end(tmp_path: Path) -> None:
    split_folders(tmp_path)
    (tmp_path / "train" / "brick" / "up").symlink_to(tmp_path / "train", target_is_directory=True)
    (tmp_path / "train" / "cotton" / "self").symlink_to(tmp_path / "train" / "cotton" / "self")
    listing = list_folder(folder(tmp_path))
    assert "train/brick/up/cotton/000.png" in {file.path for file in listing.files}
    assert len(listing.files) < 30


def test_dangling_image_link_is_named(tmp_path: Path) -> None:
    split_folders(tmp_path)
    (tmp_path / "train" / "brick" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(RelayError, match=r"gone\.png cannot be reached"):
        list_folder(folder(tmp_path))


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="nowhere does not exist; set the source's `root`"):
        list_folder(folder(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(RelayError, match="is a file, not a folder"):
        list_folder(folder(tmp_path / "file"))


def test_one_of_the_split_folders_missing(tmp_path: Path) -> None:
    shutil.rmtree(split_folders(tmp_path) / "val")
    with pytest.raises(RelayError, match="no folder val or test"):
        list_folder(folder(tmp_path, 0.2))


def test_class_missing_on_one_side(tmp_path: Path) -> None:
    shutil.rmtree(split_folders(tmp_path) / "val" / "cotton")
    with pytest.raises(RelayError, match="class cotton has no folder in val"):
        list_folder(folder(tmp_path))


def test_empty_class_folder(tmp_path: Path) -> None:
    split_folders(tmp_path)
    for side in ("train", "val"):
        (tmp_path / side / "empty").mkdir()
    with pytest.raises(RelayError, match=r"train.empty: the class folder has no images"):
        list_folder(folder(tmp_path))


def test_one_class_only(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="one class only, 'brick'"):
        list_folder(folder(split_folders(tmp_path, classes=["brick"])))


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="no class folders found"):
        list_folder(folder(tmp_path, 0.2))
    for side in ("train", "val"):
        (tmp_path / side).mkdir()
    with pytest.raises(RelayError, match="no images found"):
        list_folder(folder(tmp_path))


def test_single_image_cannot_be_split(tmp_path: Path) -> None:
    class_folders(tmp_path)
    write_image(tmp_path / "linen" / "000.png")
    with pytest.raises(RelayError, match="class linen has one image"):
        list_folder(folder(tmp_path, 0.2))


def test_val_fraction_where_it_belongs(tmp_path: Path) -> None:
    assert list_folder(folder(class_folders(tmp_path / "unsplit"))).val_images == 0  # the plan refuses it
    split_folders(tmp_path / "split")
    with pytest.raises(RelayError, match="`val_fraction` and `split_seed` cannot be followed"):
        list_folder(folder(tmp_path / "split", 0.2))


def test_a_test_folder_is_a_side_of_its_own(tmp_path: Path) -> None:
    split_folders(tmp_path)
    (tmp_path / "val").rename(tmp_path / "test")
    listing = list_folder(folder(tmp_path, 0.5))
    assert {file.side for file in listing.files} == {"train", "test"}
    assert (listing.train_images, listing.val_images, listing.test_images) == (3, 3, 4)
    split_folders(tmp_path)
    listing = list_folder(folder(tmp_path))
    assert (listing.train_images, listing.val_images, listing.test_images) == (6, 4, 4)
    shutil.rmtree(tmp_path / "test" / "brick")
    with pytest.raises(RelayError, match="class brick has no folder in test"):
        list_folder(folder(tmp_path))
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(RelayError, match="there is a folder val and test but no folder train"):
        list_folder(folder(tmp_path))


def test_zero_byte_image_is_named_with_how_many_more(tmp_path: Path) -> None:
    split_folders(tmp_path)
    (tmp_path / "val" / "cotton" / "001.png").write_bytes(b"")
    with pytest.raises(RelayError, match=r"val/cotton/001\.png has zero bytes"):
        list_folder(folder(tmp_path))
    for number in range(3):
        (tmp_path / "train" / "brick" / f"{number:03d}.png").write_bytes(b"")
    with pytest.raises(RelayError, match=r"train/brick/000\.png and 3 more has zero bytes"):
        list_folder(folder(tmp_path))


def test_forbidden_image_and_folder(open_dir: Path) -> None:
    split_folders(open_dir)
    (open_dir / "train" / "brick" / "001.png").chmod(0)
    with ordinary_user(), pytest.raises(RelayError, match=r"train/brick/001\.png may not be read"):
        list_folder(folder(open_dir))
    (open_dir / "train" / "brick").chmod(0o600)
    with ordinary_user(), pytest.raises(RelayError, match=r"brick cannot be read: Permission denied"):
        list_folder(folder(open_dir))
    (open_dir / "train" / "brick").chmod(0o755)
    open_dir.chmod(0)
    with ordinary_user(), pytest.raises(RelayError, match="may not be read"):
        list_folder(folder(open_dir))


def test_first_and_more() -> None:
    assert first_and_more(["a"]) == "a"
    assert first_and_more(["a", "b", "c"]) == "a and 2 more"
