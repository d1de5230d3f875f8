"""Class folders as people and providers lay them out."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from datamodules.listing import list_source
from datamodules.listing.listing import FileListing
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_images import write_image


def laid_out(root: Path, *paths: str) -> Path:
    """An image under each path; `{}` becomes 0 and 1."""
    for seed, path in enumerate(each.format(number) for each in paths for number in range(2)):
        write_image(root / path, seed)
    return root


def listed(root: Path, **more: str | float) -> FileListing:
    listing = list_source(Source(kind="folder", root=str(root), **more))  # type: ignore[arg-type]
    assert isinstance(listing, FileListing)
    return listing


def sides_of(listing: FileListing) -> dict[str, tuple[str, str]]:
    return {file.path: (file.side, listing.classes[file.label]) for file in listing.files}


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("Train", "Test"),
        ("training", "validation"),
        ("TRAIN", "VALID"),
        ("Training", "Testing"),
        ("train", "dev"),
        ("trn", "Eval"),
        ("train", "evaluation"),
        ("TrainingSet", "ValidationSet"),
        ("Training Data", "Testing Data"),
    ],
)
def test_sides_under_other_names_are_never_classes(tmp_path: Path, train: str, val: str) -> None:
    side = "test" if val.lower().startswith("test") else "val"
    listing = listed(laid_out(tmp_path, *(f"{s}/{c}/{{}}.png" for s in (train, val) for c in ("con", "nor"))))
    assert listing.classes == ("con", "nor")
    assert sides_of(listing)[f"{train}/con/0.png"] == ("train", "con")
    assert sides_of(listing)[f"{val}/nor/1.png"] == (side, "nor")
    assert listing.train_images == 4
    assert (listing.val_images, listing.test_images) == ((0, 4) if side == "test" else (4, 0))


@pytest.mark.parametrize(
    "folders",
    [
        ("seg_train", "seg_test", "seg_pred"),
        ("train_images", "test_images"),
        ("1_train", "2_val"),
    ],
)
def test_sides_inside_longer_names_are_no_classes(tmp_path: Path, folders: tuple[str, ...]) -> None:
    laid_out(tmp_path, *(f"{folder}/{name}/{{}}.png" for folder in folders for name in ("con", "nor")))
    with pytest.raises(RelayError, match=f"{folders[0]} and {folders[1]} look like the sides of a split"):
        listed(tmp_path, val_fraction=0.5)


def test_classes_that_hold_a_word_for_a_side_stay_classes(tmp_path: Path) -> None:
    folders = ("bullet_train", "crash_test", "cat", "dog", "bird")
    assert listed(laid_out(tmp_path, *(f"{one}/{{}}.png" for one in folders)), val_fraction=0.5).classes == (
        tuple(sorted(folders))
    )


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ["train/a/{}.png", "val/a/{}.png", "b/{}.png"],
            "beside the folder train and val of a split there is b",
        ),
        (
            ["Train/a/{}.png", "a/{}.png", "b/{}.png"],
            "beside the folder Train of a split there is a and 1 more",
        ),
        (
            ["train/a/{}.png", "Training/b/{}.png", "val/a/{}.png"],
            "Training and train and val hold one side twice",
        ),
        (["train/{}.png", "val/{}.png"], "the images of train are in no class folder"),
        (["train/a/{}.png", "train/b/{}.png", "val/{}.png"], "the images of val are in no class folder"),
        (["train/a/{}.png", "train/b/{}.png", "test/{}.png"], "no folder val; set root to the folder train"),
        (
            ["train/a/{}.png", "train/b/{}.png"],
            "no folder val or test; add one, or set root to the folder train",
        ),
        (
            ["Train/NOR/{}.png", "Train/b/{}.png", "val/nor/{}.png", "val/b/{}.png"],
            "'NOR' and 'nor' differ in",
        ),
        (["a/train/{}.png", "a/test/{}.png", "b/{}.png"], "b/0.png is in none"),
        (
            ["set/a/{}.png", "set/b/{}.png"],
            "one class only, 'set', which holds 2 folders; .* set root to .*/set",
        ),
        (["images/{}.png", "masks/{}.png"], "the folders images and masks are no classes"),
        (["NOR/{}.png", "nor/{}.png"], "'NOR' and 'nor' differ in capitals"),
        (["ground glass/{}.png", "ground_glass/{}.png"], "differ in capitals, blanks"),
        (["con/{}.png", "con./{}.png"], "differ in capitals, blanks, dots"),
        (["1/{}.png", "1.0/{}.png"], "'1' and '1.0' are one number"),
        (["01/{}.png", "1/{}.png"], "'01' and '1' are one number"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, paths: Sequence[str], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        listed(laid_out(tmp_path, *paths), val_fraction=0.5)


def test_one_name_in_two_unicode_forms_is_refused(tmp_path: Path) -> None:
    laid_out(
        tmp_path,
        *(unicodedata.normalize(form, "Emphysème") + "/{}.png" for form in ("NFC", "NFD")),
        "b/{}.png",
    )
    with pytest.raises(RelayError, match="Emphysème is there twice in different Unicode forms"):
        listed(tmp_path, val_fraction=0.5)


def test_letters_may_differ_in_capitals_and_names_may_hold_anything(tmp_path: Path) -> None:
    assert listed(laid_out(tmp_path, "A/{}.png", "a/{}.png", "Emphysème mit Öl/{}.png")).classes == (
        "A", "Emphysème mit Öl", "a"
    )  # fmt: skip


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    listing = listed(laid_out(tmp_path, "bus/{}.png", "train/{}.png", "car/{}.png"), val_fraction=0.5)
    assert listing.classes == ("bus", "car", "train")
    assert listing.notes == (
        "the folder train is taken as a class: it holds images, as the other folders do",
    )


def test_the_upper_folder_is_the_class_and_the_lower_its_group(tmp_path: Path) -> None:
    """KTH-TIPS2: wool/sample_a/22a-scale_2_im_1_col.png."""
    paths = [f"{c}/sample_{s}/22{s}-{{}}.png" for c in ("wool", "linen") for s in "ab"]
    listing = listed(laid_out(tmp_path, *paths), val_fraction=0.5)
    assert listing.classes == ("linen", "wool")
    assert {file.path: file.group for file in listing.files}["wool/sample_b/22b-1.png"] == "sample_b"
    (note,) = listing.notes
    assert note.startswith(
        "classes are the upper folders; 2 folders below them, with 8 images, count as groups"
    )
    assert "sample_a" not in note, "a folder may be called as a patient"


def test_groups_files_may_leave_suffixes_away(tmp_path: Path) -> None:
    laid_out(tmp_path, "a/{}.png", "b/{}.png")
    (tmp_path / "groups.csv").write_text("path,group\na/0,p\na/1,q\nb/0.png,p\nb/1.png,q\n")
    listing = listed(tmp_path, groups="groups.csv", val_fraction=0.5)
    assert {file.path: file.group for file in listing.files}["a/1.png"] == "q"


@pytest.mark.parametrize("inner", ["images", "x/{class_name}_photos", "images/part"])
def test_a_level_that_says_nothing_gives_no_groups(tmp_path: Path, inner: str) -> None:
    paths = [f"{name}/{inner.replace('{class_name}', name)}/{{}}.png" for name in ("con", "nor")]
    listing = listed(laid_out(tmp_path, *paths), val_fraction=0.5)
    assert listing.classes == ("con", "nor")
    assert all(file.group == file.path for file in listing.files)
    assert listing.notes == (
        "folders between class and image that each class has once, or named images, mean nothing",
    )


def test_a_groups_file_goes_before_the_folders(tmp_path: Path) -> None:
    laid_out(tmp_path, "a/x/{}.png", "a/y/{}.png", "b/x/{}.png")
    rows = [f"{c}\\{s}\\{n}.PNG;p{n}" for c, s in ("ax", "ay", "bx") for n in range(2)]
    (tmp_path / "groups.csv").write_text("\n".join(["Path;Group", *rows]), "utf-16")
    listing = listed(tmp_path, groups="groups.csv", val_fraction=0.5)
    assert {file.group for file in listing.files} == {"p0", "p1"}
    assert listing.notes == (
        "the groups file: 6 paths found under another spelling (capitals, blanks, forms of letters).",
    )


def test_folders_of_equal_names_on_both_sides_are_counted(tmp_path: Path) -> None:
    sides = ("train", "val")
    laid_out(tmp_path, *(f"{s}/{c}/{p}/{{}}.png" for s in sides for c in "ab" for p in ("p1", f"only {s}")))
    listing = listed(tmp_path)
    assert listing.crossing_groups == 1
    assert any("1 folder below the class folders are on both sides" in note for note in listing.notes)
    (tmp_path / "val").rename(tmp_path / "test")
    with pytest.raises(RelayError, match="group p1 is in the test set and elsewhere"):
        listed(tmp_path)


def test_sides_inside_the_class_folders(tmp_path: Path) -> None:
    listing = listed(
        laid_out(tmp_path, *(f"{c}/{s}/{{}}.png" for c in ("con", "nor") for s in ("Train", "test")))
    )
    assert listing.classes == ("con", "nor")
    assert sides_of(listing)["con/test/1.png"] == ("test", "con")
    assert listing.train_images == 4


def test_masks_are_left_out_and_counted(tmp_path: Path) -> None:
    """The COVID-QU-Ex and BUSI sets as shipped."""
    laid_out(
        tmp_path,
        "COVID/images/{}.png",
        "COVID/lung masks/{}.png",
        "normal/{} (1).png",
        "normal/{} (1)_mask.png",
    )
    laid_out(tmp_path, "normal/{} (1)_mask_1.png", "masked/{}_face.png", "masked/masks/{}_face.png")
    listing = listed(tmp_path, val_fraction=0.5)
    assert sorted(sides_of(listing)) == [
        "COVID/images/0.png", "COVID/images/1.png", "masked/0_face.png", "masked/1_face.png",
        "normal/0 (1).png", "normal/1 (1).png",
    ]  # fmt: skip
    assert any(note.startswith("8 masks of other images left out") for note in listing.notes)


def test_tiny_imagenet_as_shipped(tmp_path: Path) -> None:
    laid_out(tmp_path, "train/n1/images/n1_{}.JPEG", "train/n2/images/n2_{}.JPEG", "val/images/val_{}.JPEG")
    laid_out(tmp_path, "test/images/test_{}.JPEG")
    (tmp_path / "val" / "val_annotations.txt").write_text(
        "val_0.JPEG\tn2\t0\t0\t9\t9\nval_1.JPEG\tn1\t1\t1\t9\t9\n"
    )
    (tmp_path / "train" / "n1" / "n1_boxes.txt").write_text("n1_0.JPEG\t0\t0\t9\t9\n")
    listing = listed(tmp_path)
    assert listing.classes == ("n1", "n2")
    assert sides_of(listing)["val/images/val_0.JPEG"] == ("val", "n2")
    assert (listing.train_images, listing.val_images, listing.test_images) == (4, 2, 0)
    assert any("2 images of test in no class folder" in note for note in listing.notes)
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn2\nval_1.JPEG\tn3\n")
    with pytest.raises(
        RelayError, match=r"val_1.JPEG: val_annotations.txt names no class of it that train has"
    ):
        listed(tmp_path)


def test_what_is_passed_over_is_counted_by_kind(tmp_path: Path) -> None:
    laid_out(tmp_path, "a/{}.png", "b/{}.png", "stray{}.png", "__MACOSX/a/._{}.png", "@eaDir/{}.png")
    for name in ("a/._0.png", "a/Thumbs.db", "a/notes.txt", "b/1.webp", "b/2.webp", "b/x.mueller"):
        (tmp_path / name).write_text("x")
    listing = listed(tmp_path, val_fraction=0.5)
    assert sorted(file.path for file in listing.files) == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    assert listing.notes == (
        "passed over as litter: 1 of Windows (Thumbs.db, desktop.ini), "
        "2 of macOS (._*, .DS_Store, __MACOSX), 1 of network drives (@eaDir, #recycle)",
        "4 files without the suffix of an image (.png .jpg .jpeg .tif .tiff .bmp) left out: 2 .webp, 1 .txt, "
        "1 other; convert .webp to PNG if they belong to the set",
        "2 images in no class folder left out",
    )
