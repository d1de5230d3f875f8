from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.batches.sampler import EpochBatches
from stages.errors import RelayError


def epoch(sampler: EpochBatches, number: int) -> list[list[int]]:
    sampler.set_epoch(number)
    return list(sampler)


def test_every_sample_once_and_the_partial_batch_last() -> None:
    batches = list(EpochBatches(10, 4, seed=1, shuffle=True))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(chain(*batches)) == list(range(10))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    sampler = EpochBatches(50, 8, seed=1, shuffle=True)
    first, second = epoch(sampler, 0), epoch(sampler, 1)
    assert first != second
    assert epoch(sampler, 0) == first
    assert epoch(EpochBatches(50, 8, seed=1, shuffle=True), 1) == second
    assert epoch(EpochBatches(50, 8, seed=2, shuffle=True), 0) != first
    assert list(chain(*epoch(EpochBatches(50, 25, seed=1, shuffle=True), 0))) == list(chain(*first))


def test_without_shuffling_the_order_is_the_samples() -> None:
    sampler = EpochBatches(5, 2, seed=1, shuffle=False)
    assert epoch(sampler, 0) == epoch(sampler, 3) == [[0, 1], [2, 3], [4]]


def test_epoch_counts_when_the_first_batch_is_asked_for() -> None:
    sampler = EpochBatches(50, 50, seed=1, shuffle=True)
    iterator = iter(sampler)
    sampler.set_epoch(4)
    assert next(iterator) == epoch(EpochBatches(50, 50, seed=1, shuffle=True), 4)[0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 6), st.booleans())
def test_ranks_share_the_same_global_batches(n: int, batch_size: int, world_size: int, shuffle: bool) -> None:
    if batch_size < world_size:
        return
    whole = list(EpochBatches(n, batch_size, seed=3, shuffle=shuffle))
    samplers = [
        EpochBatches(n, batch_size, seed=3, shuffle=shuffle, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    shares = [list(sampler) for sampler in samplers]
    assert {len(sampler) for sampler in samplers} == {len(whole)} == {len(batches) for batches in shares}
    for step, batch in enumerate(whole):
        joined = list(chain(*(shares[rank][step] for rank in range(world_size))))
        assert joined[: len(batch)] == batch
        lengths = [len(shares[rank][step]) for rank in range(world_size)]
        assert min(lengths) >= 1
        assert max(lengths) - min(lengths) <= 1
        if len(batch) >= world_size:
            assert len(joined) == len(batch)
        else:
            assert {position % n for position in joined} == set(batch)
            assert all(position < 0 for position in joined[len(batch) :]), "repeats are marked"
            assert lengths == [1] * world_size


def test_bad_arguments() -> None:
    with pytest.raises(RelayError, match="no samples"):
        EpochBatches(0, 4, seed=0, shuffle=True)
    with pytest.raises(RelayError, match="batch size is 0"):
        EpochBatches(4, 0, seed=0, shuffle=True)
    with pytest.raises(RelayError, match=r"batch size is 2 for 4 device"):
        EpochBatches(4, 2, seed=0, shuffle=True, world_size=4)
    with pytest.raises(RelayError, match="rank 2 is not below"):
        EpochBatches(4, 2, seed=0, shuffle=True, rank=2, world_size=2)
