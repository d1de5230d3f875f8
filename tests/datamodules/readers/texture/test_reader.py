"""CUReT, its Oxford crops and KTH-TIPS are read as they are shipped."""

import os
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from datamodules.prepare import parse_arguments
from datamodules.readers.find import find_readers
from datamodules.readers.texture.names import CURET_MATERIALS, KTH_TIPS_MATERIALS
from datamodules.readers.texture.reader import TextureOptions, survey
from datamodules.readers.texture.region import textured_square
from datamodules.splits import split_by_group
from stages.errors import RelayError
from tests.helpers.fake_textures import (
    CONDITIONS,
    as_bmp,
    compress,
    curet,
    curet_picture,
    kth_tips,
    oxford,
    save,
)
from tests.helpers.fake_units import read_all

ROOT = os.environ.get("RELAY_REAL_DATA", "")
THREE = TextureOptions(size=32, materials=[1, 2, 3])


def grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.array(Image.fromarray(pixels).convert("L"))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["bmp", "bmp.Z", "zip", "zip of .Z"])
def test_the_full_release_comes_out_alike_in_every_form(tmp_path: Path, form: str) -> None:
    expected, _ = read_all(
        survey(curet(tmp_path / "plain", materials=[1, 2], conditions=CONDITIONS[:2]), _two())
    )
    root = curet(tmp_path / "other", form, [1, 2], CONDITIONS[:2])  # type: ignore[arg-type]
    found = survey(root, _two())
    assert (found.domain, found.classes) == ("texture", ("felt", "polyester"))
    samples, problems = read_all(found)
    assert problems == []
    assert [sample.name for sample in samples] == [
        f"{name}/{number:02d}-{condition}"
        for number, name in ((1, "felt"), (2, "polyester"))
        for condition in CONDITIONS[:2]
    ]
    for one, other in zip(samples, expected, strict=True):
        assert one.image.shape == (32, 32)
        np.testing.assert_array_equal(one.image, other.image)


def _two() -> TextureOptions:
    return TextureOptions(size=32, materials=[1, 2])


def test_the_material_is_cut_out_and_resized(tmp_path: Path) -> None:
    root = curet(tmp_path, materials=[1, 2], conditions=CONDITIONS[:1], side=240)
    (sample, _), _ = read_all(survey(root, replace(_two(), size=64, color=True)))
    picture = curet_picture(100, 240)
    assert sample.image.shape == (64, 64, 3)
    visible = int(sample.columns["visible"])
    assert 220 <= visible <= 240
    left, top = (640 - visible) / 2, (480 - visible) / 2
    expected = Image.fromarray(picture).resize(
        (64, 64), Image.Resampling.BICUBIC, box=(left, top, left + visible, top + visible)
    )
    correlation = np.corrcoef(sample.image.ravel(), np.asarray(expected).ravel())[0, 1]
    assert correlation > 0.5  # the square may lie a pixel or two beside the middle
    assert sample.image[:, [0, -1]].mean() > 60  # no background at the edges
    assert sample.image[[0, -1]].mean() > 60


@pytest.mark.parametrize("lean", [0.0, 0.3, -0.5])
@pytest.mark.parametrize("light", [1.0, 0.3])
def test_the_square_lies_inside_the_material(lean: float, light: float) -> None:
    pixels = (grey(curet_picture(1, 260, lean)) * light).astype(np.uint8)
    square = textured_square(pixels)
    largest = 260 / (1 + abs(lean))  # of the squares in a sheared square
    assert 0.88 * largest <= square.side <= largest + 2
    rows, columns = np.mgrid[square.top : square.top + square.side, square.left : square.left + square.side]
    y, x = rows - 240, columns - 320
    outside = (np.abs(y) > 131) | (np.abs(x - lean * y) > 131)
    assert not outside.any()


def test_a_label_beside_the_sample_is_not_taken_for_it() -> None:
    pixels = grey(curet_picture(1, 260))
    expected = textured_square(pixels)
    pixels[10:50, 10:90] = 255
    assert textured_square(pixels) == expected


def test_dark_halves_of_a_material_belong_to_it() -> None:
    pixels = grey(curet_picture(1, 260))
    pixels[:, 320:] = np.where(pixels[:, 320:] > 40, pixels[:, 320:] // 3 + 10, pixels[:, 320:])
    assert textured_square(pixels).side > 200


def test_a_sample_that_reaches_the_edge_of_the_picture_is_not_cut_beyond_it() -> None:
    square = textured_square(grey(curet_picture(1, 300, shape=(220, 640))))
    assert 200 <= square.side <= 220
    assert square.top >= 0
    assert square.top + square.side <= 220


@pytest.mark.parametrize("pixels", [np.zeros((480, 640), np.uint8), np.full((20, 20), 200, np.uint8)])
def test_a_flat_picture_shows_no_material(pixels: npt.NDArray[np.uint8]) -> None:
    assert textured_square(pixels).side == 0


def test_pictures_that_show_too_little_are_left_out_and_listed(tmp_path: Path) -> None:
    root = curet(tmp_path, materials=[1, 2], conditions=CONDITIONS[:2], side=240)
    small = as_bmp(curet_picture(5, 120))
    (root / "sample02" / f"02-{CONDITIONS[1]}.bmp").write_bytes(small)
    samples, problems = read_all(survey(root, _two()))  # on_error is raise: a small view is no fault
    assert len(samples) == 3
    (problem,) = problems
    assert problem.what == "polyester (sample 02), condition 01-02"
    assert problem.why.endswith("of the material, fewer than least=200")
    samples, problems = read_all(survey(root, replace(_two(), least=90)))
    assert (len(samples), problems) == (4, [])


@pytest.mark.parametrize("color", [False, True])
def test_the_oxford_crops_are_used_as_they_are(tmp_path: Path, color: bool) -> None:
    root = oxford(tmp_path, color=color)
    options = replace(THREE, size=40, color=color)
    samples, problems = read_all(survey(root, options))
    assert problems == []
    assert len(samples) == 9
    assert samples[1].name == "felt/01-007"
    assert samples[1].columns == {"material": 1, "condition": "007"}
    np.testing.assert_array_equal(samples[1].image, np.asarray(Image.open(root / "sample01" / "01-007.png")))


@pytest.mark.parametrize("color", [False, True])
def test_kth_tips_is_cropped_in_the_middle(tmp_path: Path, color: bool) -> None:
    root = kth_tips(tmp_path, color=color)
    found = survey(root, TextureOptions(size=30, color=color))
    assert found.classes == tuple(sorted(KTH_TIPS_MATERIALS))
    samples, problems = read_all(found)
    assert (len(samples), problems) == (60, [])
    by_name = {sample.name: sample for sample in samples}
    sample = by_name["linen/44-scale-2-3"]
    suffix = "col" if color else "grey"
    pixels = np.asarray(Image.open(root / "linen" / f"44-scale_2_im_3_{suffix}.png"))
    np.testing.assert_array_equal(sample.image, pixels[:, 7:37])
    assert sample.columns == {"material": 44, "condition": "3", "scale": 2}


def test_colour_becomes_grey_and_grey_colour(tmp_path: Path) -> None:
    root = oxford(tmp_path, materials=[1, 2], images=[2], color=True)
    samples, _ = read_all(survey(root, TextureOptions(size=40, materials=[1, 2])))
    pixels = np.asarray(Image.open(root / "sample01" / "01-002.png"), dtype=float)
    np.testing.assert_allclose(samples[0].image, pixels @ (0.299, 0.587, 0.114), atol=1)
    root = oxford(tmp_path / "grey", materials=[1, 2], images=[2])
    samples, _ = read_all(survey(root, TextureOptions(size=40, materials=[1, 2], color=True)))
    assert samples[0].image.shape == (40, 40, 3)


def test_a_split_keeps_whole_conditions_together(tmp_path: Path) -> None:
    samples, _ = read_all(survey(oxford(tmp_path, images=range(1, 11)), replace(THREE, size=8)))
    evaluation = split_by_group([s.label for s in samples], [s.group for s in samples], 0.2, 0)
    held_out = {sample.columns["condition"] for sample, side in zip(samples, evaluation, strict=True) if side}
    assert len(held_out) == 2
    assert evaluation.sum() == 2 * 3  # every material under both


def test_what_is_kept_together_is_chosen(tmp_path: Path) -> None:
    root = kth_tips(tmp_path)
    groups = {}
    for together in ("condition", "scale", "none"):
        samples, _ = read_all(survey(root, TextureOptions(size=8, together=together)))
        groups[together] = {sample.group for sample in samples}
    assert groups["condition"] == {"condition 1", "condition 2", "condition 3"}
    assert groups["scale"] == {"scale 1", "scale 2"}
    assert len(groups["none"]) == 60


def test_the_full_release_groups_by_view_and_light(tmp_path: Path) -> None:
    samples, _ = read_all(survey(curet(tmp_path, materials=[1, 2]), _two()))
    assert {sample.group for sample in samples} == {f"condition {each}" for each in CONDITIONS}


def test_units_hold_some_hundred_files_and_change_with_them(tmp_path: Path) -> None:
    root = oxford(tmp_path, images=range(1, 101))
    found = survey(root, replace(THREE, size=8))
    assert [unit.key for unit in found.units] == ["texture-00000", "texture-00001"]
    again = survey(root, replace(THREE, size=8))
    assert [unit.fingerprint for unit in again.units] == [unit.fingerprint for unit in found.units]
    save(root / "sample03" / "03-100.png", np.zeros((41, 40), np.uint8))
    changed = survey(root, replace(THREE, size=8))
    assert changed.units[0].fingerprint == found.units[0].fingerprint
    assert changed.units[1].fingerprint != found.units[1].fingerprint
    assert changed.secret == found.secret, "a mended file leaves what was read of the others"


def test_the_survey_is_the_same_wherever_the_files_lie(tmp_path: Path) -> None:
    root = oxford(tmp_path / "one")
    shutil.copytree(root, tmp_path / "two" / "deeper")
    one, two = survey(root, THREE), survey(tmp_path / "two" / "deeper", THREE)
    assert one.secret == two.secret
    assert one.settings == two.settings
    assert [sample.name for sample in read_all(one)[0]] == [sample.name for sample in read_all(two)[0]]


def test_counts_that_differ_from_the_published_ones_are_noted(tmp_path: Path) -> None:
    root = oxford(tmp_path)
    (root / "sample02" / "02-120.png").unlink()
    notes = survey(root, THREE).notes
    assert notes == (
        "2 images instead of the published 92 in class polyester",
        "3 images instead of the published 92 in class felt, terrycloth",
    )


def test_the_options_can_be_given_on_a_command_line() -> None:
    arguments = ["domain=texture", "source=x", "out=y", "size=64", "materials=[1,2]", "together=scale"]
    _, merged = parse_arguments(arguments, find_readers())
    assert merged == TextureOptions(size=64, materials=[1, 2], together="scale")


def test_the_names_agree_with_those_of_kth_tips() -> None:
    """KTH-TIPS was made to extend CUReT, and carries its numbers."""
    assert len(CURET_MATERIALS) == len(set(CURET_MATERIALS)) == 61
    spelt = {
        name.replace("aluminum", "aluminium").removesuffix("_b"): n
        for n, name in enumerate(CURET_MATERIALS, 1)
    }
    for name, number in KTH_TIPS_MATERIALS.items():
        assert spelt[name] == number


def test_compress_is_undone_by_gzip() -> None:
    """The fakes' encoder is checked by a program that has read the format for thirty years."""
    gzip = shutil.which("gzip")
    if gzip is None:
        pytest.skip("gzip is not installed")
    for data in (b"a" * 1000, np.random.default_rng(0).integers(0, 9, 200_000, dtype=np.uint8).tobytes()):
        unpacked = subprocess.run([gzip, "-dc"], input=compress(data), capture_output=True, check=True)
        assert unpacked.stdout == data


@pytest.mark.slow
@pytest.mark.skipif(not ROOT, reason="RELAY_REAL_DATA is not set to a folder of real images")
def test_the_real_kth_tips_is_complete() -> None:
    found = survey(Path(ROOT, "texture", "KTH-TIPS-grey"), TextureOptions(size=64))
    assert (found.problems, found.notes) == ((), ())
    samples, problems = read_all(found)
    assert (len(samples), problems) == (810, [])
    assert len({sample.group for sample in samples}) == 9
    assert {sample.image.shape for sample in samples} == {(64, 64)}


@pytest.mark.skipif(not ROOT, reason="RELAY_REAL_DATA is not set to a folder of real images")
def test_the_real_oxford_crop_is_read() -> None:
    found = survey(Path(ROOT, "texture", "CUReT-one-image"), TextureOptions(size=200, materials=[1]))
    ((sample,), problems) = read_all(found)
    assert (sample.label, sample.group, problems) == ("felt", "condition 002", [])
    pixels = np.asarray(Image.open(Path(ROOT, "texture/CUReT-one-image/sample01/01-002.png")))
    np.testing.assert_array_equal(sample.image, pixels)


def test_a_zip_of_kth_tips_names_its_class(tmp_path: Path) -> None:
    root = kth_tips(tmp_path)
    with zipfile.ZipFile(root / "linen.zip", "w") as archive:
        for file in sorted((root / "linen").iterdir()):
            archive.write(file, file.name)
    shutil.rmtree(root / "linen")
    assert survey(root, TextureOptions()).classes == tuple(sorted(KTH_TIPS_MATERIALS))


@pytest.mark.parametrize("folders", [True, False])
def test_kth_tips2_has_the_upper_folder_as_class_and_the_sample_as_group(
    tmp_path: Path, folders: bool
) -> None:
    """`wool/sample_a/22a-scale_2_im_1_col.png`, also with the folders of samples taken away."""
    for place, (name, number) in enumerate({"wool": 22, "linen": 44}.items()):
        for letter in "abcd":
            for image in (1, 2):
                pixels = np.full((9, 12), 50 * place + 10 * ord(letter) % 40 + image, np.uint8)
                below = f"sample_{letter}/" if folders else ""
                save(tmp_path / name / f"{below}{number}{letter}-scale_2_im_{image}_col.png", pixels)
    found = survey(tmp_path, TextureOptions(size=8))
    samples, problems = read_all(found)
    assert problems == []
    assert found.classes == ("linen", "wool")
    assert len({sample.name for sample in samples}) == len(samples) == 16
    assert {(sample.label, sample.group) for sample in samples} == {
        (name, f"{name}, sample {letter}") for name in ("wool", "linen") for letter in "abcd"
    }
    assert found.settings["together"] == "sample"
    assert any("classes are the upper folders" in note for note in found.notes)
    by_condition, _ = read_all(survey(tmp_path, TextureOptions(size=8, together="condition")))
    assert {sample.group for sample in by_condition} == {"condition 1", "condition 2"}


@pytest.mark.parametrize(
    "names",
    [
        ["images/banded/banded_0002.jpg", "images/dotted/dotted_0161.jpg"],  # DTD
        ["images/000000.bmp", "images/000001.bmp"],  # Outex
        ["blanket1/blanket1-a-p001.png", "canvas1/canvas1-a-p001.png"],  # Kylberg
    ],
)
def test_other_texture_sets_are_pointed_to_class_folders_and_manifests(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        save(tmp_path / name, np.zeros((9, 9), np.uint8))
    with pytest.raises(RelayError, match=r"none of its 2 image files has .*\{kind: folder, root: .*manifest"):
        survey(tmp_path, TextureOptions(), "skip")
