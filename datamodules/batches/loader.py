"""Batches gathered from memory, or read from the disk by workers."""

from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from datamodules.batches.sampler import EpochBatches
from datamodules.domain import Side
from stages.errors import RelayError


class Batch(NamedTuple):
    """A batch.

    Attributes:
        images: From the loader uint8, (N, H, W) or (N, H, W, 3); after preprocessing float32, (N, 3, S, S).
        labels: int64, (N,).
        indices: int64, (N,), positions in the whole side, before any data ratio.
        draws: int64, (N,), how often the epoch has drawn the image before; -1 for a repeat that evens out the
            ranks' shares and does not count.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    draws: Tensor


class SideBatches(Dataset[Batch]):
    """Batches of one side of a domain by positions in the kept samples, as `EpochBatches` gives them.

    Args:
        side: The side.
        rows: Kept samples, int64 positions in `side`; None keeps all.
    """

    def __init__(self, side: Side, rows: npt.NDArray[np.int64] | None = None) -> None:
        self._rows = torch.from_numpy(np.arange(len(side)) if rows is None else rows)
        self._labels = torch.from_numpy(side.labels)
        self._pixels = torch.from_numpy(side.images) if isinstance(side.images, np.ndarray) else None
        self._stored = None if isinstance(side.images, np.ndarray) else side.images

    def __len__(self) -> int:
        """Number of kept samples."""
        return len(self._rows)

    def __getitem__(self, positions: list[int]) -> Batch:
        """Gather a batch; files are decoded. A position beyond the samples is a further draw.

        Raises:
            RelayError: Files cannot be read.
        """
        given = torch.tensor(positions, dtype=torch.int64)
        draws = given.div(len(self), rounding_mode="floor")
        index = self._rows[given - draws * len(self)]
        if self._pixels is not None:
            images = self._pixels.index_select(0, index)
        else:
            assert self._stored is not None
            images = torch.from_numpy(self._stored.gather(index.tolist()))
        return Batch(images, self._labels[index], index, draws)


class EpochLoader:
    """Batches of an epoch, gathered in this process or by workers.

    Not a DataLoader itself: in memory one adds nothing but draws from torch's global generator at each epoch,
    which would make dropout depend on the data path. It also keeps Lightning from advising more workers where
    none are of use. `sampler` is where Lightning looks for `set_epoch`; the epoch counts from the first batch
    that is asked for, not from `iter()`, which Lightning calls before it sets the epoch of a resumed run.

    Args:
        batches: Where batches come from.
        sampler: Which samples form them.
        workers: Processes that decode ahead; 0 gathers in this process.
        pin_memory: Whether batches go to page-locked memory, for a copy to the device that does not wait.
    """

    def __init__(
        self, batches: SideBatches, sampler: EpochBatches, workers: int = 0, pin_memory: bool = False
    ) -> None:
        self.batches = batches
        self.sampler = sampler
        self.batch_sampler = None  # Lightning asks for it beside `sampler`
        self._workers = workers
        self._pin_memory = pin_memory
        self._loader: DataLoader[Batch] | None = None

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the sampler's epoch.

        Raises:
            RelayError: Files cannot be read, in a worker too.
        """
        if self._workers == 0:
            for positions in self.sampler:
                batch = self.batches[positions]
                yield Batch(*(tensor.pin_memory() for tensor in batch)) if self._pin_memory else batch
            return
        if self._loader is None:
            self._loader = self._start_workers()
        for result in self._loader:
            if isinstance(result, RelayError):
                raise result
            yield result

    def close(self) -> None:
        """Stop the workers; they start again when batches are asked for.

        Not left to the garbage collector: after an error it finds the queues closed, and each worker keeps it
        waiting for five seconds.
        """
        iterator = None if self._loader is None else self._loader._iterator
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            iterator._shutdown_workers()
        self._loader = None

    def _start_workers(self) -> DataLoader[Batch]:
        return DataLoader(
            cast(Dataset[Batch], _ErrorsAsValues(self.batches)),
            sampler=self.sampler,
            batch_size=None,
            num_workers=self._workers,
            persistent_workers=True,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),  # else each epoch draws a seed from torch's global generator
        )


class _ErrorsAsValues(Dataset[Batch | RelayError]):
    """Returns errors instead of raising them: a DataLoader would bury the message in a worker's traceback."""

    def __init__(self, batches: SideBatches) -> None:
        self._batches = batches

    def __getitem__(self, positions: list[int]) -> Batch | RelayError:
        try:
            return self._batches[positions]
        except RelayError as error:
            return error
