"""The sides of a run: a locked test set first, of whole groups, the same whatever else is asked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from datamodules.batches.statistics import channel_statistics
from datamodules.division import Chosen, divide
from datamodules.domain import SIDES, Domain, Side
from datamodules.leaks import leaks
from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.splits import Division
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_images import class_folders, manifest, write_image

CLASSES = ("con", "ggo")
UNSPLIT = Source(kind="folder", root="/images", val_fraction=0.3)


def side(rows: list[tuple[int, int, str]]) -> Side:
    """Images of (label, number of the group, sample), each of one grey value that is its sample's number."""
    grey = np.asarray([int(sample) % 256 for _, _, sample in rows], np.uint8)
    return Side(
        np.broadcast_to(grey[:, None, None], (len(rows), 4, 4)).copy(),
        np.asarray([label for label, _, _ in rows], np.int64),
        tuple(f"p{group}" for _, group, _ in rows),
        tuple(sample for _, _, sample in rows),
    )


def domain(train: list[tuple[int, int, str]], val: list[tuple[int, int, str]] | None = None) -> Domain:
    return Domain(CLASSES, side(train), side(val or []))


def rows_of(groups: int, first: int = 0, each: int = 4) -> list[tuple[int, int, str]]:
    return [
        (place % 2, group, f"{group * 10 + place:04d}")
        for group in range(first, first + groups)
        for place in range(each)
    ]


@st.composite
def groups_of_images(draw: st.DrawFn) -> list[tuple[int, int, str]]:
    held = draw(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=6), min_size=6, max_size=14))
    rows = [
        (label, group, f"{10 * group + n:04d}") for group, of in enumerate(held) for n, label in enumerate(of)
    ]
    for label in (0, 1):
        assume(len({group for found, group, _ in rows if found == label}) >= 5)
    return rows


@settings(max_examples=30, deadline=None)
@given(groups_of_images(), st.sampled_from([0.2, 0.3]), st.randoms(use_true_random=False))
def test_a_test_set_is_whole_groups_of_every_class_and_the_same_whatever_else_is_asked(
    rows: list[tuple[int, int, str]], fraction: float, random: Any
) -> None:
    try:
        first = divide(domain(rows), UNSPLIT, Division(test_fraction=fraction))
    except RelayError:
        assume(False)
    assert set(first.test.labels) == set(first.train.labels) == set(first.val.labels) == {0, 1}
    groups = [set(first.side(name).groups) for name in SIDES]
    assert len(set.union(*groups)) == sum(map(len, groups))  # no group on two sides
    samples = [sample for name in SIDES for sample in first.side(name).samples]
    assert sorted(samples) == sorted(sample for _, _, sample in rows)  # each image once
    for name in SIDES:  # every image keeps its pixels, label and group
        images = {sample: (label, f"p{group}", int(sample) % 256) for label, group, sample in rows}
        of_side = first.side(name)
        found = zip(of_side.samples, of_side.labels, of_side.groups, np.asarray(of_side.images), strict=True)
        assert all(images[sample] == (label, group, grey[0, 0]) for sample, label, group, grey in found)
    # another order, another draw of val, and a val side that someone else chose: the same test set
    shuffled = random.sample(rows, len(rows))
    for again, source in (
        (domain(shuffled), Source(kind="folder", root="/elsewhere", val_fraction=0.4, split_seed=9)),
        (domain(shuffled[3:], shuffled[:3]), UNSPLIT),
    ):
        try:
            assert divide(again, source, Division(test_fraction=fraction)).test.samples == first.test.samples
        except RelayError as error:
            if "leaves no" not in str(error):  # a class on a side
                raise


def test_a_test_set_is_not_in_what_networks_and_baselines_are_fitted_to() -> None:
    whole = domain(rows_of(10), rows_of(5, first=20))
    divided = divide(whole, UNSPLIT, Division(test_fraction=0.2))
    assert len(divided.test) == 12
    without = [row for row in rows_of(10) if row[2] not in divided.test.samples]
    assert channel_statistics(divided) == channel_statistics(domain(without)) != channel_statistics(whole)
    # The baseline takes the same two sides (`StageData.val_histogram`).
    assert set(divided.test.samples).isdisjoint((*divided.train.samples, *divided.val.samples))


def test_a_domain_with_its_own_sides_stays_as_it_is() -> None:
    given_sides = domain(rows_of(10), rows_of(5, first=20))
    assert divide(given_sides, Source(kind="folder", root="/images"), Division()) is given_sides


@pytest.mark.parametrize(
    ("rows", "fraction", "message"),
    [
        (
            rows_of(10),
            0.01,
            "test_fraction=0.01 of 10 groups: none falls into the test set; choose between 0.1",
        ),
        (rows_of(10), 0.99, "test_fraction=0.99 of 10 groups: none is left to train on"),
        (rows_of(1), 0.5, "test_fraction=0.5: all samples are of one group"),
        (rows_of(1), 0.2, "test_fraction=0.2: all samples are of one group"),
        (rows_of(2), 0.5, "val_fraction=0.3 leaves no|all samples are of one group"),
        ([*rows_of(6, each=1), (1, 9, "0999")], 0.3, "leaves no test images of class ggo"),
    ],
)
def test_a_test_set_that_cannot_be_drawn_is_refused(
    rows: list[tuple[int, int, str]], fraction: float, message: str
) -> None:
    if "ggo" in message:
        rows = [(0, group, sample) if sample != "0999" else (1, 9, sample) for _, group, sample in rows]
    with pytest.raises(RelayError, match=message):
        divide(domain(rows), UNSPLIT, Division(test_fraction=fraction))


def test_an_evaluation_side_that_loses_a_class_to_the_test_set_is_refused() -> None:
    rows = rows_of(9)
    drawn = set(divide(domain(rows), UNSPLIT, Division(test_fraction=0.2)).test.groups)
    val = [row for row in rows if f"p{row[1]}" in drawn]
    with pytest.raises(RelayError, match="leaves no evaluation images of class con and 1 more"):
        divide(domain([row for row in rows if row not in val], val), UNSPLIT, Division(test_fraction=0.2))


@pytest.mark.parametrize(
    ("images", "fraction", "expected"), [(5, 0.2, 1), (5, 0.5, 3), (2, 0.9, 1), (9, 0.01, 1)]
)
def test_unsplit_folders_are_split_by_class(
    tmp_path: Path, images: int, fraction: float, expected: int
) -> None:
    source = Source(kind="folder", root=str(class_folders(tmp_path, images=images)), val_fraction=fraction)
    found = divide(
        load(list_source(source), tmp_path / "cache", memory_limit_bytes=10**6), source, Division()
    )
    assert np.bincount(found.val.labels).tolist() == [expected] * 2
    assert np.bincount(found.train.labels).tolist() == [images - expected] * 2


def test_train_and_test_of_a_manifest_leave_val_to_be_drawn_by_group(tmp_path: Path) -> None:
    rows = [
        (f"{group}-{name}.png", name, f"p{group}", "test" if group > 7 else "train")
        for group in range(10)
        for name in CLASSES
    ]
    fields = {"kind": "manifest", "root": str(manifest(tmp_path, rows)), "manifest": "manifest.csv"}
    source = Source(**fields, val_fraction=0.25, split_seed=3)  # type: ignore[arg-type]
    listing = list_source(source)
    assert (listing.train_images, listing.val_images, listing.test_images) == (12, 4, 4)
    for limit in (10**6, 0):  # in memory, and streamed
        found = divide(load(listing, tmp_path / "cache", memory_limit_bytes=limit), source, Division())
        assert set(found.test.groups) == {"p8", "p9"}
        assert len(found.val) == 4 and len(set(found.val.groups)) == 2
        assert not set(found.train.groups) & set(found.val.groups)
        assert found.in_memory == bool(limit)
    with pytest.raises(RelayError, match="group p8 is in the test set and elsewhere"):
        list_source(source_with(tmp_path, [*rows, ("8-more.png", "con", "p8", "train")], fields))


def source_with(root: Path, rows: list[tuple[str, ...]], fields: dict[str, str]) -> Source:
    manifest(root, rows)
    return Source(**fields)  # type: ignore[arg-type]


def test_chosen_images_of_sets_on_disk_come_back_in_any_order(tmp_path: Path) -> None:
    for name in ("train", "val"):
        for label in CLASSES:
            for number in range(4):
                write_image(tmp_path / name / label / f"{number}.png", seed=hash_of(name, label, number))
    source = Source(kind="folder", root=str(tmp_path))
    streamed = load(list_source(source), tmp_path / "cache", memory_limit_bytes=0)
    in_memory = load(list_source(source), tmp_path / "other", memory_limit_bytes=10**6)
    first, second = (divide(each, source, Division(test_fraction=0.25)) for each in (streamed, in_memory))
    for name in SIDES:
        images, order = first.side(name).images, [2, 0, 2]
        assert isinstance(images, Chosen) and first.side(name).samples == second.side(name).samples
        np.testing.assert_array_equal(images.gather(order), np.asarray(second.side(name).images)[order])


def hash_of(*parts: Any) -> int:
    return sum(ord(letter) * (place + 1) for place, letter in enumerate("".join(map(str, parts))))


def test_pictures_that_a_test_set_shares_with_other_images_are_said() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (8, 32, 32), np.uint8)
    images[5] = images[1]  # a copy in another group
    images[6] = np.clip(images[2].astype(int) // 2 + 60, 0, 255)  # and one of another contrast
    groups = tuple(f"p{number}" for number in range(8))
    samples = tuple(f"{number}.png" for number in range(8))
    labels = np.arange(8, dtype=np.int64) % 2
    whole = Domain(CLASSES, Side(images, labels, groups, samples), side([]))
    sides = np.array(["train"] * 4 + ["test"] * 4)
    said = leaks(whole, sides)
    assert said is not None and "shares 2 pictures, equal or nearly so" in said and "1.png and 5.png" in said
    assert (
        leaks(whole, np.array(["train", "test", "test", "train", "train", "test", "test", "train"])) is None
    )
    assert leaks(whole, np.array(["train"] * 8)) is None, "without a test set"
