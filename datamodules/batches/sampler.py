"""The samples of each batch of an epoch."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from datamodules.batches.balanced import BalancedDraw
from stages.errors import RelayError
from stages.seeds import seeded_order


class EpochBatches(Sampler[list[int]]):
    """Batches of sample positions, in an order that depends on the seed and the epoch alone.

    The batch size is global. Each rank takes its contiguous share of every batch, so that training on one
    device or on several sees the same batches; the first ranks take one sample more where the shares cannot
    be equal. The last batch may be partial. One that has fewer samples than there are ranks is filled up with
    its own samples, so that every rank takes the same number of steps; a repeat is given as position - n.

    With `labels` an epoch draws each class equally often (`BalancedDraw`). The k-th further draw of a sample
    in an epoch is given as position + k * n.

    Args:
        n: Number of samples.
        batch_size: Samples per batch, over all ranks.
        seed: Seed of the order, non-negative.
        shuffle: Whether to shuffle; the order is 0..n-1 otherwise.
        labels: Class of each sample, int64 (n,), to draw each class equally often, shuffled; None draws each
            sample once.
        rank: This process among the `world_size`.
        world_size: Number of processes.

    Raises:
        RelayError: There are no samples, none of a class whose samples are to be drawn, or the batch size is
            below 1 or below the number of ranks.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        labels: npt.NDArray[np.int64] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if n < 1:
            raise RelayError("there are no samples to form batches from.")
        if batch_size < world_size:
            raise RelayError(
                f"the batch size is {batch_size} for {world_size} device(s); it counts all devices together: "
                "give at least one sample per device."
            )
        if not 0 <= rank < world_size:
            raise RelayError(f"rank {rank} is not below the number of processes, {world_size}.")
        self.n = n
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.balanced = None if labels is None else BalancedDraw(labels, seed)
        self.images = n if self.balanced is None else self.balanced.images
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose order the next iteration has. Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches per epoch, equal on all ranks."""
        return (self.images + self.batch_size - 1) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this rank's share of each batch. The epoch is looked up when the first is asked for."""
        order = self._order().tolist()
        for start in range(0, len(order), self.batch_size):
            yield self._share(order[start : start + self.batch_size])

    def _order(self) -> npt.NDArray[np.int64]:
        drawn = np.arange(self.n) if self.balanced is None else self.balanced.epoch(self.epoch)
        shuffled = self.shuffle or self.balanced is not None
        return drawn[seeded_order(self.images, self.seed, self.epoch)] if shuffled else drawn

    def _share(self, batch: list[int]) -> list[int]:
        given = len(batch)
        repeats = [position % self.n - self.n for position in batch]
        while len(batch) < self.world_size:
            batch = batch + repeats[: min(given, self.world_size - len(batch))]
        least, longer = divmod(len(batch), self.world_size)
        start = self.rank * least + min(self.rank, longer)
        return batch[start : start + least + (self.rank < longer)]
