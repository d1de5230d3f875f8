"""The embedded domain *texture*: shapes, seeds, balance, light, and 61 different materials."""

import hashlib
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from datamodules.domain import Domain
from datamodules.embedded import texture
from datamodules.embedded.fields import SIDE
from datamodules.embedded.materials import MATERIALS
from datamodules.embedded.sampling import Draws, sample_generators
from stages.errors import RelayError


def _draw(classes: int = 3, train: int = 8, val: int = 4, size: int = 32, seed: int = 0) -> Domain:
    return texture.generate(classes=classes, train_images=train, val_images=val, size=size, seed=seed)


def _digest(images: npt.NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def reliefs() -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    return {name: material.draw(np.random.default_rng(3)) for name, material in MATERIALS.items()}


def test_arrays_have_the_shapes_and_types_of_a_domain() -> None:
    domain = _draw()
    assert domain.classes == texture.class_names(3)
    for split, total in ((domain.train, 8), (domain.val, 4)):
        assert split.images.shape == (total, 32, 32, 3)
        assert split.images.dtype == np.uint8
        assert split.labels.shape == (total,)
        assert split.labels.dtype == np.int64
        assert len(split.groups) == len(split.samples) == len(set(split.samples)) == total


def test_same_seed_same_bytes_and_another_seed_other_images() -> None:
    first, again, other = _draw(), _draw(), _draw(seed=1)
    assert _digest(first.train.images) == _digest(again.train.images)
    assert _digest(first.val.images) == _digest(again.val.images)
    images = [*first.train.images, *first.val.images, *other.train.images]
    assert len({_digest(image) for image in images}) == len(images)


def test_an_image_depends_neither_on_totals_nor_on_the_number_of_classes() -> None:
    few, many = _draw(2, 4, 2), _draw(3, 3 * 19, 9)
    many_by_name = dict(zip(many.train.samples, many.train.images, strict=True))
    for name, image in zip(few.train.samples, few.train.images, strict=True):
        np.testing.assert_array_equal(many_by_name[name], image)


def test_no_condition_stands_on_both_sides() -> None:
    domain = _draw()
    assert not set(domain.train.groups) & set(domain.val.groups)


def test_totals_are_spread_evenly() -> None:
    domain = _draw(3, 8, 4)
    assert np.bincount(domain.train.labels).tolist() == [3, 3, 2]
    assert np.bincount(domain.val.labels).tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"classes": 1}, "classes=1"),
        ({"classes": 62}, "between 2 and 61"),
        ({"train": 2}, "train_images=2"),
        ({"val": 2}, "val_images=2"),
        ({"size": 8}, "size=8"),
    ],
)
def test_a_request_out_of_bounds_is_refused_by_name(changed: dict[str, int], named: str) -> None:
    with pytest.raises(RelayError, match=named):
        _draw(**changed)


@pytest.mark.slow
def test_sixty_one_materials_can_be_drawn() -> None:
    domain = _draw(61, 61, 61, 16)
    assert len(set(domain.classes)) == 61
    assert np.bincount(domain.train.labels).tolist() == [1] * 61


@pytest.mark.slow
def test_all_materials_differ_in_mean_power_spectrum(
    reliefs: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
) -> None:
    # Lit from one side: the slope, with the albedo. Power in rings of frequency and sectors of angle.
    assert len(reliefs) == 61
    frequency = np.fft.fftfreq(SIDE)
    y, x = np.meshgrid(frequency, frequency, indexing="ij")
    ring = np.clip(np.floor(2 * np.log2(np.maximum(np.hypot(y, x), 1e-9) * SIDE)), 0, 14).astype(int)
    sector = np.floor((np.arctan2(y, x) % np.pi) / np.pi * 8).astype(int) % 8
    cell = (ring * 8 + sector).ravel()
    signatures = []
    for height, albedo in reliefs.values():
        lit = np.gradient(height, axis=1) + np.gradient(height, axis=0) + albedo
        power = np.abs(np.fft.fft2(lit - lit.mean())) ** 2
        signature = np.log(np.bincount(cell, power.ravel(), 120) + 1)
        signatures.append(signature)
    distance = np.sqrt(((np.array(signatures)[:, None] - np.array(signatures)[None]) ** 2).mean(2))
    nearest = distance + np.diag(np.full(61, np.inf))
    assert nearest.min() > 0.25


@pytest.mark.slow
def test_reliefs_are_finite_and_without_a_border(
    reliefs: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
) -> None:
    for name, (height, albedo) in reliefs.items():
        for field in (height, albedo):
            assert field.shape == (SIDE, SIDE)
            assert field.dtype == np.float32
            assert np.isfinite(field).all(), name
        for axis in (0, 1):
            steps = np.abs(np.diff(height, axis=axis, append=np.take(height, [0], axis)))
            seam = np.take(steps, SIDE - 1, axis).mean()
            lines = steps.mean(1 - axis)
            assert seam <= lines.max() * 1.5 + 1e-3, name


def _lit_from(azimuth: float, elevation: float) -> npt.NDArray[np.float32]:
    """The same crop of sand ripples under another light; grey, shape (48, 48)."""
    specimen = texture._specimen("sand ripples", 0, 0)
    conditions = texture._conditions(Draws(sample_generators(0, 0, 0, range(1)), 24), 0, 1, 48)
    flat = np.cos(elevation)
    light = np.array([[np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)]], np.float32)
    turned = replace(conditions, light=light, to_texels=np.eye(2, dtype=np.float32)[None])
    linear = texture._shade([specimen], 0.0, turned, 0, 48)
    return np.asarray(linear.mean(2), np.float32)


def test_direction_of_the_light_changes_the_image() -> None:
    one, opposite = _lit_from(np.pi / 2, 0.6), _lit_from(-np.pi / 2, 0.6)
    # Ridges lit from the other side show their other flank.
    assert np.corrcoef(one.ravel(), opposite.ravel())[0, 1] < 0.5


def test_low_light_brings_out_relief() -> None:
    low, high = _lit_from(np.pi / 2, 0.4), _lit_from(np.pi / 2, 1.3)
    assert low.std() / low.mean() > 1.5 * high.std() / high.mean()


@pytest.mark.slow
def test_grey_levels_and_mean_colours_do_not_tell_the_materials() -> None:
    sklearn_linear = pytest.importorskip("sklearn.linear_model")
    domain = _draw(20, 600, 200, 32)

    def features(images: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        grey = images.astype(np.float64).mean(3)
        histograms = [np.histogram(image, 64, (0, 256))[0] / image.size for image in grey]
        return np.hstack([histograms, images.mean((1, 2)) / 255])

    model = sklearn_linear.LogisticRegression(C=100, max_iter=300)
    model.fit(features(domain.train.images), domain.train.labels)
    assert model.score(features(domain.val.images), domain.val.labels) < 0.35  # chance is 0.05
