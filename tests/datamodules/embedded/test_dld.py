import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image
from scipy import ndimage

from datamodules.batches.histogram import histogram_accuracy
from datamodules.domain import Domain, Side
from datamodules.embedded import dld
from datamodules.embedded.dld_patterns import draw
from datamodules.embedded.dld_scan import acquire
from datamodules.embedded.dld_structures import Lung
from datamodules.embedded.patches import write_patches
from stages.errors import RelayError

PATTERNS = ("CON", "GGO", "HCM", "RET", "EMP", "NOD", "NOR")
PAPER = {"train": (143, 609, 282, 210, 4406, 762, 5371), "val": (26, 46, 73, 66, 296, 65, 355)}


def generate(train: int = 280, val: int = 56, size: int = 32, seed: int = 0) -> Domain:
    return dld.generate(classes=7, train_images=train, val_images=val, size=size, seed=seed)


@pytest.fixture(scope="module")
def default() -> Domain:
    return generate(2800, 560)


def to_grey(hounsfield: np.ndarray) -> np.ndarray:
    return np.rint(np.clip((hounsfield.astype(np.float64) + 1000) / 1400, 0, 1) * 255).astype(np.uint8)


def of_class(split: Side, name: str) -> np.ndarray:
    return split.images[split.labels == PATTERNS.index(name)].astype(np.float64)


def test_classes_are_the_papers_in_order() -> None:
    assert dld.class_names(7) == PATTERNS
    assert dld.VERSION == 2
    with pytest.raises(RelayError, match=r"7 classes .*not 10"):
        dld.class_names(10)
    with pytest.raises(RelayError, match="not 3"):
        dld.generate(classes=3, train_images=280, val_images=56, size=32, seed=0)


@pytest.mark.parametrize("size", [16, 23, 64])
def test_shapes_types_and_range(size: int) -> None:
    domain = generate(30, 14, size)
    for split, total in ((domain.train, 30), (domain.val, 14)):
        assert split.images.shape == (total, size, size)
        assert split.images.dtype == np.int16
        assert split.labels.dtype == np.int64
        assert len(split.groups) == len(split.samples) == len(split.labels) == total
        assert split.images.min() >= -1024
        assert split.images.max() < 500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 15}, "16 to 64"),
        ({"size": 65}, "16 to 64"),
        ({"train": 13}, r"14 images.*data\.train_images is 13"),
        ({"val": 0}, r"data\.val_images is 0"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_refuses_what_it_cannot_draw(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        generate(**arguments)


def counts(side: str, total: int) -> list[int]:
    return dld._class_counts(side, total)


def test_counts_at_the_papers_totals_are_the_papers() -> None:
    assert counts("train", 11783) == list(PAPER["train"])
    assert counts("val", 927) == list(PAPER["val"])


def test_counts_worked_by_hand() -> None:
    # 2800 / 11783 of each: 33.98 144.72 67.01 49.90 1047.00 181.07 1276.31; floors sum to 2796, and the
    # largest remainders are those of EMP (.998), CON (.981), RET (.902) and GGO (.716).
    assert counts("train", 2800) == [34, 145, 67, 50, 1047, 181, 1276]
    # 560 / 927: 15.71 27.79 44.10 39.87 178.81 39.27 214.45; four more to RET, EMP, GGO, CON.
    assert counts("val", 560) == [16, 28, 44, 40, 179, 39, 214]
    # CON gets 2 of 100, not its 1.21; RET 2, not 1.78. The other 96 of 11430 are shared:
    # GGO 5.11 HCM 2.37 EMP 37.01 NOD 6.40 NOR 45.11; the one left goes to NOD.
    assert counts("train", 100) == [2, 5, 2, 2, 37, 7, 45]
    assert counts("train", 14) == [2] * 7


@given(st.integers(14, 30000), st.sampled_from(["train", "val"]))
def test_counts_are_the_nearest_to_the_papers_proportions(total: int, side: str) -> None:
    drawn = counts(side, total)
    assert sum(drawn) == total
    assert min(drawn) >= 2
    quota = np.array(PAPER[side]) * total / sum(PAPER[side])
    if quota.min() >= 2:
        assert np.abs(drawn - quota).max() < 1


@pytest.mark.slow
def test_drawn_labels_have_those_counts(default: Domain) -> None:
    assert np.bincount(default.train.labels).tolist() == [34, 145, 67, 50, 1047, 181, 1276]
    assert np.bincount(default.val.labels).tolist() == [16, 28, 44, 40, 179, 39, 214]


@pytest.mark.slow
def test_patients_stay_on_one_side_and_samples_have_one_name(default: Domain) -> None:
    train, val = set(default.train.groups), set(default.val.groups)
    assert not train & val
    assert len(train) > 80
    assert len(val) > 20
    names = default.train.samples + default.val.samples
    assert len(set(names)) == len(names)
    for split in (default.train, default.val):
        for group, sample, label in zip(split.groups, split.samples, split.labels, strict=True):
            assert sample.startswith(f"{group}/{PATTERNS[label]}-")
        for label in range(7):
            of_label = [
                group for group, other in zip(split.groups, split.labels, strict=True) if other == label
            ]
            assert len(set(of_label)) >= 4  # no class hangs on one patient


@pytest.mark.slow
def test_patients_have_several_patterns(default: Domain) -> None:
    patterns: dict[str, set[int]] = {}
    for group, label in zip(default.train.groups, default.train.labels, strict=True):
        patterns.setdefault(group, set()).add(int(label))
    normal = PATTERNS.index("NOR")
    assert np.mean([len(labels) > 1 for labels in patterns.values()]) > 0.5
    assert np.mean([normal in labels for labels in patterns.values()]) > 0.5


@pytest.mark.slow
def test_same_seed_same_bits_and_other_seed_other_pixels() -> None:
    first, again, other = generate(), generate(), generate(seed=1)
    for side in ("train", "val"):
        one, two, three = getattr(first, side), getattr(again, side), getattr(other, side)
        for field in dataclasses.fields(Side):
            assert_array_equal(getattr(one, field.name), getattr(two, field.name))
        assert not (one.images == three.images).all(axis=(1, 2)).any()


def test_sample_does_not_depend_on_how_many_are_drawn() -> None:
    few, many = generate(60, 20), generate(400, 70)
    for side in ("train", "val"):
        larger = getattr(many, side)
        by_name = dict(zip(larger.samples, larger.images, strict=True))
        smaller = getattr(few, side)
        for sample, image in zip(smaller.samples, smaller.images, strict=True):
            assert_array_equal(image, by_name[sample])


@pytest.mark.slow
def test_no_two_patches_are_equal(default: Domain) -> None:
    images = np.concatenate([default.train.images, default.val.images])
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.slow
def test_attenuation_of_each_pattern(default: Domain) -> None:
    median = {name: float(np.median(of_class(default.train, name))) for name in PATTERNS}
    assert median["CON"] > median["GGO"] > median["NOD"] > median["NOR"] > median["EMP"]
    assert -150 < median["CON"] < 60
    assert -750 < median["GGO"] < -350
    assert -900 < median["NOR"] < -800
    assert median["EMP"] < median["NOR"] - 25
    assert median["RET"] > median["NOR"] + 50
    # Honeycombing: air beside walls, and so the highest contrast of all.
    contrast = {
        name: float(
            np.median(np.subtract(*np.percentile(of_class(default.train, name), [90, 10], axis=(1, 2))))
        )
        for name in PATTERNS
    }
    assert contrast["HCM"] > 500
    assert contrast["HCM"] > 1.3 * max(value for name, value in contrast.items() if name != "HCM")


def perfect_slices(name: str, severity: float, number: int = 6) -> list[tuple[np.ndarray, np.ndarray]]:
    lung = Lung(side=128, spacing=0.66, density=-860.0)
    return [draw(name, np.random.default_rng(index), lung, severity) for index in range(number)]


def test_emphysema_is_holes_in_normal_lung_that_grow_with_severity() -> None:
    shares = []
    for severity in (0.0, 0.5, 1.0):
        slices = perfect_slices("EMP", severity)
        shares.append(np.mean([(affected > 0.9).mean() for _, affected in slices]))
        for image, affected in slices:
            assert -980 < np.median(image[affected > 0.95]) < -920
            assert -905 < np.median(image[affected < 0.05]) < -820
    assert 0.05 < shares[0] < shares[1] < shares[2] < 0.9


def test_nodules_are_dense_and_two_to_eight_millimetres() -> None:
    for image, affected in perfect_slices("NOD", 0.2):
        assert -450 < np.median(image[affected > 0.95]) < 60
        blobs, number = ndimage.label(affected > 0.5)
        areas = ndimage.sum_labels(np.ones_like(affected), blobs, np.arange(1, number + 1)) * 0.66**2
        diameters = 2 * np.sqrt(areas / np.pi)
        assert number > 15
        assert 1.5 < np.median(diameters) < 5.0


def test_honeycombing_is_many_closed_cysts_of_three_to_ten_millimetres() -> None:
    for image, affected in perfect_slices("HCM", 1.0):
        air, number = ndimage.label((image < -750) & (affected > 0.9))
        areas = ndimage.sum_labels(np.ones_like(image), air, np.arange(1, number + 1)) * 0.66**2
        diameters = 2 * np.sqrt(areas / np.pi)
        assert number > 80  # walls close them off from each other
        assert 2.0 < np.median(diameters) < 7.0
        assert diameters.max() < 13.0
        assert -400 < np.median(image[(image > -600) & (affected > 0.9)]) < 50


def test_reticulation_is_lines_on_lung() -> None:
    for image, affected in perfect_slices("RET", 0.5):
        inside = affected > 0.9
        lines = (image > -600) & inside
        assert 0.03 < lines.sum() / inside.sum() < 0.5
        # Lines are thin: two erosions leave next to nothing but the vessels.
        assert ndimage.binary_erosion(lines, iterations=2).sum() < 0.12 * lines.sum()
        assert np.median(image[inside]) < -550


def test_ground_glass_lets_vessels_be_seen_and_consolidation_does_not() -> None:
    glass = np.mean([(image[affected > 0.9] > -250).mean() for image, affected in perfect_slices("GGO", 0.5)])
    assert 0.01 < glass < 0.15
    for image, affected in perfect_slices("CON", 0.5):
        inside = image[affected > 0.98]
        assert -130 < np.median(inside) < 70
        assert np.percentile(inside, 99.9) < 130


@pytest.mark.slow
def test_noise_differs_between_patients_more_than_within(default: Domain) -> None:
    normal = default.train.labels == PATTERNS.index("NOR")
    images = default.train.images[normal].astype(np.float64)
    groups = np.array(default.train.groups)[normal]
    # The median absolute difference of neighbours is a measure of noise that few vessels disturb.
    noise = np.median(np.abs(np.diff(images, axis=2)), axis=(1, 2))
    patients = [noise[groups == group] for group in np.unique(groups)]
    means = np.array([values.mean() for values in patients])
    assert np.percentile(means, 90) > 2.0 * np.percentile(means, 10)
    assert means.std() > 3.0 * np.mean([values.std() for values in patients])


def test_scanner_blur_and_noise_against_their_definition() -> None:
    scan = dataclasses.replace(
        dld._patient_scan("train", 0, 0),
        noise=30.0,
        grain=0.8,
        blur=1.2,
        enhancement=0.0,
        gain=1.1,
        offset=-7.0,
    )
    step = np.full((256, 256), -900.0)
    step[:, 128:] = -100.0
    image = acquire(step, scan, scan.noise, np.random.default_rng(0)).astype(np.float64)
    # (HU + 1000) * 1.1 - 1000 - 7 far from the edge; noise of 30 HU becomes 33.
    assert image[:, :100].mean() == pytest.approx(-897.0, abs=3)
    assert image[:, 156:].mean() == pytest.approx(-17.0, abs=3)
    assert image[:, :100].std() == pytest.approx(33.0, rel=0.08)
    # The edge spread function of a Gaussian is its integral.
    spread = np.diff(image.mean(axis=0)) / 880.0
    x = np.arange(255) - 127.0
    near = np.abs(x) < 6
    assert np.sqrt((spread[near] * x[near] ** 2).sum()) == pytest.approx(1.2, rel=0.1)


@pytest.mark.slow
def test_grey_levels_alone_do_not_tell_the_classes(default: Domain) -> None:
    train, val = default.train, default.val
    accuracy = histogram_accuracy(to_grey(train.images), train.labels, to_grey(val.images), val.labels)
    assert 214 / 560 + 0.1 < accuracy < 0.80


def test_patches_are_files_of_hounsfield_units_by_class_and_patient(tmp_path: Path) -> None:
    write_patches(tmp_path / "out", 14, 16, 3)
    drawn = generate(14, 14, 16, 3)
    files = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.tif"))
    sorts = (drawn.classes[label] for label in drawn.val.labels)
    named = [f"{sort}/{one}.tif" for sort, one in zip(sorts, drawn.val.samples, strict=True)]
    assert [str(path) for path in files] == sorted(named) and len(files[0].parts) == 3
    for name, patch in zip(named, np.asarray(drawn.val.images), strict=True):
        assert (np.asarray(Image.open(tmp_path / "out" / name)) == patch).all()
    with pytest.raises(RelayError, match="is not empty"):
        write_patches(tmp_path / "out", 14, 16, 3)
