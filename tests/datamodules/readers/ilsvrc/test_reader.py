"""ILSVRC2012 from extracted folders: classes, order, names, and what is wrong with a bad copy."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from datamodules.packing.units import Sample
from datamodules.pixels.decode import Reading, decode_file
from datamodules.readers.ilsvrc.reader import IlsvrcOptions, survey
from datamodules.readers.ilsvrc.units import ImageUnit
from stages.errors import RelayError
from tests.helpers.fake_ilsvrc import (
    OPTIONS,
    WNIDS,
    encoded,
    photograph,
    samples,
    write_devkit,
    write_folders,
    write_kaggle,
)

IMAGENETTE = Path(os.environ.get("RELAY_REAL_DATA", ""), "natural", "imagenette-224")
CLASS = WNIDS[0]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "set")


def test_folders_are_read_without_a_devkit(folders: Path) -> None:
    found = survey(folders, OPTIONS, "raise")
    assert found.classes == WNIDS
    assert [unit.key for unit in found.units] == [
        "train-00000",
        "train-00001",
        "train-00002",
        "val-00000",
        "val-00001",
    ]
    names = [sample.name for sample in samples(found)]
    assert names == sorted(names)
    assert len(names) == 20
    assert {sample.image.shape for sample in samples(found)} == {(16, 16, 3)}


def test_settings_say_what_shapes_the_images(folders: Path) -> None:
    assert survey(folders, OPTIONS, "raise").settings == {"size": 16, "decoder": 2, "images_per_unit": 5}


def test_a_unit_is_small_and_survives_the_way_to_a_worker(folders: Path) -> None:
    for unit in survey(folders, OPTIONS, "raise").units:
        sent = pickle.dumps(unit)
        assert len(sent) < 3000
        one, other = unit.read("raise")[0], pickle.loads(sent).read("raise")[0]
        assert [sample.name for sample in one] == [sample.name for sample in other]
        assert all((a.image == b.image).all() for a, b in zip(one, other, strict=True))


def test_the_memory_of_a_million_images_is_arrays(folders: Path) -> None:
    """No object an image: what a unit holds of its images is bytes and numbers."""
    (unit, *_) = survey(folders, OPTIONS, "raise").units
    assert isinstance(unit, ImageUnit)
    assert unit.entries.files.count(b"\0") == len(unit.entries) == 5
    for column in ("ends", "offsets", "sizes", "stamps", "labels", "places"):
        values = getattr(unit.entries, column)
        assert values.shape == (5,)
        assert values.base is None  # a view would keep, and send, the whole set's


def test_the_order_of_listing_does_not_matter(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = survey(folders, OPTIONS, "raise")
    scandir = os.scandir

    class Backwards:
        def __init__(self, path: str) -> None:
            self._entries = sorted(scandir(path), key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self._entries

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Backwards)
    found = survey(folders, OPTIONS, "raise")
    assert found.secret == expected.secret
    assert [unit.fingerprint for unit in found.units] == [unit.fingerprint for unit in expected.units]


def test_a_unit_changes_with_its_files_only(folders: Path) -> None:
    before = [unit.fingerprint for unit in survey(folders, OPTIONS, "raise").units]
    os.utime(folders / "train" / WNIDS[-1] / f"{WNIDS[-1]}_10.JPEG", ns=(5, 5))
    after = [unit.fingerprint for unit in survey(folders, OPTIONS, "raise").units]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, True, True]


def test_classes_are_asked_for_by_wnid_or_by_name(folders: Path) -> None:
    write_devkit(folders)
    for asked in (("tench", "MAN-EATER"), ("n01440764", "great_white_shark"), ("n01484850", "n01440764")):
        found = survey(folders, IlsvrcOptions(classes=asked, size=16), "raise")
        assert found.classes == ("n01440764", "n01484850")
        assert {sample.label for sample in samples(found)} == set(found.classes)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("tench", "crane"), "'crane' is n02012849 and n03126707; ask for one of them by its WNID"),
        (("tench", "n01440764"), "n01440764 is asked for twice"),
        (("tench", "shark"), "'shark' is neither the WNID nor a term of one of the 4 classes"),
        (("tench",), "1 class to read; a classifier needs two or more"),
    ],
)
def test_classes_that_cannot_be_told_are_an_error(
    folders: Path, asked: tuple[str, ...], message: str
) -> None:
    write_devkit(folders)
    with pytest.raises(RelayError, match=message):
        survey(folders, IlsvrcOptions(classes=asked), "skip")


def test_names_need_something_that_names(folders: Path) -> None:
    with pytest.raises(RelayError, match="There is no devkit beside the images: name classes by WNID"):
        survey(folders, IlsvrcOptions(classes=("tench", "crane")), "raise")
    (folders / "classes.txt").write_text("n01440764 tench\n\nn02012849 water_crane\n")
    found = survey(folders, IlsvrcOptions(classes=("tench", "water crane"), size=16), "raise")
    assert found.classes == ("n01440764", "n02012849")
    (folders / "classes.txt").write_text("n01440764 tench\ntench\n")
    with pytest.raises(RelayError, match=r"classes.txt, line 2: it does not begin with a WNID"):
        survey(folders, OPTIONS, "raise")


def test_an_extracted_devkit_is_read(tmp_path: Path) -> None:
    import subprocess

    root = write_devkit(write_folders(tmp_path, flat_val=True))
    devkit = root / "ILSVRC2012_devkit_t12.tar.gz"
    subprocess.run(["tar", "-xzf", devkit, "-C", root], check=True)  # Python 3.11.2 has no safe extractall
    devkit.unlink()
    assert {s.label for s in samples(survey(root, OPTIONS, "raise")) if s.split == "val"} == set(WNIDS)
    (root / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt").unlink()
    with pytest.raises(
        RelayError, match=r"the devkit's data/ILSVRC2012_validation_ground_truth.txt cannot be read"
    ):
        survey(root, OPTIONS, "raise")


def test_kaggles_copy_is_the_same_set(tmp_path: Path) -> None:
    found = survey(write_kaggle(tmp_path / "kaggle"), OPTIONS, "raise")
    plain = survey(write_folders(tmp_path / "plain"), OPTIONS, "raise")
    assert found.classes == plain.classes
    ours, theirs = (
        {(s.split, s.label, s.name.split("/")[-1]): s.image.tobytes() for s in samples(each)}
        for each in (found, plain)
    )
    assert ours == theirs
    assert found.notes == ()
    named = survey(tmp_path / "kaggle", IlsvrcOptions(classes=("tench", "white shark"), size=16), "raise")
    assert named.classes == ("n01440764", "n01484850")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ILSVRC2012_val_00000001", "ILSVRC2012_val_00000099", "from 1 without gaps"),
        ("n01440764 1 2", "n99999999 1 2", "line 5: it is not an image such as"),
        ("ILSVRC2012_val_00000001,", "Jane Doe,", "line 9: it is not an image such as"),
        ("ILSVRC2012_val_00000001,", "\udcff,", "line 9: it is not an image such as"),
        ("ILSVRC2012_val_00000001,", "ILSVRC2012_val_00000001", "line 9: it is not an image such as"),
    ],
)
def test_a_damaged_solution_of_kaggles_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    root = write_kaggle(tmp_path)
    solution = root / "LOC_val_solution.csv"
    solution.write_text(solution.read_text().replace(old, new), errors="surrogateescape")
    with pytest.raises(RelayError, match=message) as caught:
        survey(root, OPTIONS, "raise")
    assert "Jane" not in str(caught.value)


def test_kaggles_solution_needs_its_names(tmp_path: Path) -> None:
    root = write_kaggle(tmp_path)
    (root / "LOC_val_solution.csv").write_text("")
    with pytest.raises(RelayError, match="from 1 without gaps"):
        survey(root, OPTIONS, "raise")
    (root / "LOC_synset_mapping.txt").unlink()
    with pytest.raises(RelayError, match=r"there is LOC_val_solution\.csv, and no LOC_synset"):
        survey(root, OPTIONS, "raise")


def test_names_of_files_that_are_not_the_providers_are_not_kept(folders: Path) -> None:
    """A file's name may tell whose picture it is; the provider's are a WNID and a number."""
    (folders / "train" / CLASS / f"{CLASS}_2.JPEG").rename(folders / "train" / CLASS / "Jürgen Doe 1961.jpg")
    found = survey(folders, OPTIONS, "raise")
    names = [sample.name for sample in samples(found)]
    assert names[:3] == [
        f"train/{CLASS}/image-00001",
        f"train/{CLASS}/{CLASS}_10.JPEG",
        f"train/{CLASS}/{CLASS}_301.JPEG",
    ]
    assert "Doe" not in repr([(sample.name, sample.group, sample.columns) for sample in samples(found)])


def test_a_png_named_jpeg_is_decoded_by_content(folders: Path) -> None:
    """As n02105855_2933.JPEG of the real set."""
    pixels = photograph(9, (16, 16))
    (folders / "train" / CLASS / f"{CLASS}_2.JPEG").write_bytes(encoded(pixels, "PNG"))
    by_name = {sample.name: sample for sample in survey_samples(folders)}
    np.testing.assert_array_equal(by_name[f"train/{CLASS}/{CLASS}_2.JPEG"].image, pixels)


def test_sides_under_other_names(folders: Path) -> None:
    expected = [(sample.name, sample.split) for sample in survey_samples(folders)]
    (folders / "train").rename(folders / "Training")
    (folders / "val").rename(folders / "Valid")
    assert [(sample.name, sample.split) for sample in survey_samples(folders)] == expected


def survey_samples(root: Path) -> list[Sample]:
    return samples(survey(root, OPTIONS, "raise"))


def test_other_files_are_left_alone_and_counted(folders: Path) -> None:
    (folders / "train" / CLASS / "notes.txt").write_text("x")
    (folders / "train" / CLASS / ".hidden.JPEG").write_text("x")
    (folders / "train" / "list.txt").write_text("x")
    (folders / "train" / CLASS / "more.JPEG").mkdir()
    found = survey(folders, OPTIONS, "raise")
    assert found.notes == (
        "train: 1 files are not images by their suffix and were left alone",
        "Passed over as litter: 1 of hidden files (names that start with a dot).",
    )
    assert len(samples(found)) == 20


@pytest.mark.skipif(not IMAGENETTE.is_dir(), reason="RELAY_REAL_DATA is not set to a folder of real images")
def test_imagenette_is_read() -> None:
    found = survey(IMAGENETTE, IlsvrcOptions(), "raise")
    counts = {"train": 0, "val": 0}
    for unit in found.units:
        assert isinstance(unit, ImageUnit)
        counts[unit.side] += len(unit.entries)
    assert (len(found.classes), counts) == (10, {"train": 3000, "val": 750})
    assert (found.problems, found.notes) == ((), ())
    named = survey(IMAGENETTE, IlsvrcOptions(classes=("golf ball", "Tench")), "raise")
    assert named.classes == ("n01440764", "n03445777")
    for sample in found.units[-1].read("raise")[0][:20]:
        file = IMAGENETTE / sample.name
        plain = decode_file(str(file), Reading(224, None, color=True))
        assert np.abs(sample.image.astype(int) - plain).mean() < 0.05
        assert file.parent.name == sample.label
