"""Balanced draws: each class equally often, its images in turn, the same for every process."""

from collections import Counter
from itertools import chain

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.batches.balanced import BalancedDraw
from datamodules.batches.sampler import EpochBatches
from stages.errors import RelayError

LABELS = np.repeat([0, 1, 2], [7, 2, 1]).astype(np.int64)  # ten images: four of each class an epoch


def of_epoch(labels: npt.NDArray[np.int64], seed: int, epoch: int) -> list[int]:
    return BalancedDraw(labels, seed).epoch(epoch).tolist()


def test_each_class_comes_equally_often() -> None:
    for epoch in range(5):
        positions = np.array(of_epoch(LABELS, 1, epoch)) % len(LABELS)
        assert np.bincount(LABELS[positions]).tolist() == [4, 4, 4]


def test_further_draws_of_an_image_are_numbered() -> None:
    """The third class has image 9 alone; the second has two images, each drawn twice."""
    drawn = of_epoch(LABELS, 1, 0)
    assert sorted(drawn[8:]) == [9, 19, 29, 39]
    assert sorted(drawn[4:8]) == [7, 8, 17, 18]
    assert len(set(drawn[:4])) == 4 and max(drawn[:4]) < 7


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.integers(1, 6), st.integers(0, 2**63 - 1))
def test_a_class_is_gone_through_before_an_image_comes_again(
    counts: list[int], epochs: int, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    draw = BalancedDraw(labels, seed)
    assert draw.images == -(-sum(counts) // len(counts)) * len(counts)
    times = np.zeros(len(labels), dtype=int)
    for epoch in range(epochs):
        drawn = draw.epoch(epoch)
        assert len(drawn) == len(set(drawn.tolist())) == draw.images
        np.add.at(times, drawn % len(labels), 1)
        for label in range(len(counts)):
            of_class = times[labels == label]
            assert of_class.max() - of_class.min() <= 1


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    assert of_epoch(LABELS, 1, 4) == of_epoch(LABELS, 1, 4)
    assert len({tuple(of_epoch(LABELS, seed, epoch)) for seed in (1, 2) for epoch in range(3)}) == 6


def test_a_class_without_samples_cannot_be_drawn() -> None:
    with pytest.raises(RelayError, match="class 1 has no samples"):
        BalancedDraw(np.array([0, 2], dtype=np.int64), 0)


def test_batches_are_shuffled_over_the_classes_and_shared_by_ranks() -> None:
    def batches(epoch: int, **rank: int) -> list[list[int]]:
        sampler = EpochBatches(len(LABELS), 5, seed=1, shuffle=True, labels=LABELS, **rank)
        assert len(sampler) == 3
        sampler.set_epoch(epoch)
        return list(sampler)

    whole = batches(2)
    assert [len(batch) for batch in whole] == [5, 5, 2]
    assert Counter(chain(*whole)) == Counter(of_epoch(LABELS, 1, 2))
    assert list(chain(*whole)) != of_epoch(LABELS, 1, 2), "not class by class"
    assert whole != batches(1)
    shares = [batches(2, rank=rank, world_size=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*shares, strict=True)] == whole
    # three ranks for the last batch of two: the third repeats the first image, marked as not to count
    thirds = [batches(2, rank=rank, world_size=3)[-1] for rank in range(3)]
    assert list(chain(*thirds)) == [*whole[-1], whole[-1][0] % len(LABELS) - len(LABELS)]
