"""The embedded domain *natural*: shapes, seeds, balance, and what may not give a class away."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datamodules.domain import Domain
from datamodules.embedded import contact_sheet, natural
from datamodules.embedded.sampling import balanced_counts
from datamodules.embedded.shapes import CLUTTER, SOLIDS
from stages.errors import RelayError


def _draw(classes: int = 3, train: int = 8, val: int = 4, size: int = 32, seed: int = 0) -> Domain:
    return natural.generate(classes=classes, train_images=train, val_images=val, size=size, seed=seed)


def _digest(images: npt.NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


def test_arrays_have_the_shapes_and_types_of_a_domain() -> None:
    domain = _draw()
    assert domain.classes == natural.class_names(3)
    for split, total in ((domain.train, 8), (domain.val, 4)):
        assert split.images.shape == (total, 32, 32, 3)
        assert split.images.dtype == np.uint8
        assert split.labels.shape == (total,)
        assert split.labels.dtype == np.int64
        assert len(split.groups) == len(split.samples) == len(set(split.samples)) == total


def test_there_are_ten_classes_or_more() -> None:
    assert len(set(natural.class_names(10))) == 10
    assert len(natural.class_names(15)) == len(SOLIDS) == 15


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


def test_no_group_stands_on_both_sides() -> None:
    domain = _draw()
    assert not set(domain.train.groups) & set(domain.val.groups)


def test_totals_are_spread_evenly() -> None:
    domain = _draw(3, 8, 4)
    assert np.bincount(domain.train.labels).tolist() == [3, 3, 2]
    assert np.bincount(domain.val.labels).tolist() == [2, 1, 1]


@given(total=st.integers(0, 5000), classes=st.integers(1, 100))
def test_balanced_counts_sum_to_the_total_and_differ_by_one(total: int, classes: int) -> None:
    counts = balanced_counts(total, classes)
    assert sum(counts) == total
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"classes": 1}, "classes=1"),
        ({"classes": 16}, "between 2 and 15"),
        ({"train": 2}, "train_images=2"),
        ({"val": 2}, "val_images=2"),
        ({"size": 8}, "size=8"),
    ],
)
def test_a_request_out_of_bounds_is_refused_by_name(changed: dict[str, int], named: str) -> None:
    with pytest.raises(RelayError, match=named):
        _draw(**changed)


@pytest.mark.parametrize("name", list(SOLIDS))
def test_solids_are_bounds_of_the_distance_inside_the_unit_ball(name: str) -> None:
    solid = SOLIDS[name]
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.4, 1.4, (3, 20000)).astype(np.float32)
    steps = rng.normal(0, 0.1, points.shape).astype(np.float32)
    values, moved = solid(points), solid(points + steps)
    # Sphere tracing is right exactly if no step is longer than the distance it spans.
    assert np.all(np.abs(values - moved) <= np.linalg.norm(steps, axis=0) + 1e-5)
    inside = points[:, values < 0]
    assert 0.01 < inside.shape[1] / points.shape[1] < 0.3
    assert np.linalg.norm(inside, axis=0).max() < 1.06


def test_clutter_bounds_the_distance_too() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-1.2, 1.2, (3, 20000)).astype(np.float32)
    steps = rng.normal(0, 0.05, points.shape).astype(np.float32)
    for solid in CLUTTER:
        change = np.abs(solid(points) - solid(points + steps))
        assert np.all(change <= 1.05 * np.linalg.norm(steps, axis=0) + 1e-5)


@pytest.mark.slow
def test_grey_levels_and_mean_colours_do_not_tell_the_classes() -> None:
    sklearn_linear = pytest.importorskip("sklearn.linear_model")
    domain = _draw(10, 300, 150, 32)

    def features(images: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        grey = images.astype(np.float64).mean(3)
        histograms = [np.histogram(image, 64, (0, 256))[0] / image.size for image in grey]
        return np.hstack([histograms, images.mean((1, 2)) / 255])

    model = sklearn_linear.LogisticRegression(C=100, max_iter=300)
    model.fit(features(domain.train.images), domain.train.labels)
    assert model.score(features(domain.val.images), domain.val.labels) < 0.3  # chance is 0.1


@pytest.mark.slow
def test_sheet_has_a_row_a_class_and_is_small(tmp_path: Path) -> None:
    contact_sheet.main([str(tmp_path), "natural"])
    path = tmp_path / "natural.png"
    assert path.stat().st_size < 300_000
    with Image.open(path) as sheet:
        assert sheet.mode == "P"
        assert sheet.height > 10 * 60


def test_sheet_shows_hounsfield_units_through_the_window() -> None:
    domain = _draw(2, 2, 2, 32)
    hounsfield = np.stack([np.full((32, 32), -1000, np.int16), np.full((32, 32), 400, np.int16)])
    split = type(domain.train)(hounsfield, domain.train.labels, domain.train.groups, domain.train.samples)
    sheet = np.asarray(contact_sheet.sheet_of_domain(Domain(domain.classes, split, split), columns=1))
    assert sheet[:, 150].min() == 0
    assert (sheet[110:190, 130:180] == 255).all()


def test_an_unknown_domain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="'sculpture'"):
        contact_sheet.main([str(tmp_path), "sculpture"])
