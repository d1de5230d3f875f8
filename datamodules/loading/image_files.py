"""Image files that stay on disk and are decoded when asked for, side by side in threads."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from datamodules.faults import UnusableError
from datamodules.pixels.decode import Header, Reading, decode, read_header
from datamodules.pixels.image_file import quiet_pillow
from datamodules.pixels.stored import Remark
from datamodules.values.measure import Known
from stages.errors import RelayError
from stages.machine.digest import file_digest

_BLOCK = 32  # files per task of the thread pool: enough to hide the cost of handing it out
_T = TypeVar("_T")


@dataclass(frozen=True)
class ImageFiles:
    """Images that stay on disk and are decoded when asked for; small enough to be sent to workers.

    Attributes:
        locations: Where the files lie.
        reading: How they are read.
        shape: Of each decoded image: (H, W) or (H, W, 3).
    """

    locations: tuple[str, ...]
    reading: Reading
    shape: tuple[int, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.locations)

    def gather(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Decode some images: uint8, (len(indices), *shape).

        Raises:
            RelayError: Files cannot be read; names the first, why, and how many more.
        """
        return self.read(indices, 1)[0]

    def read(
        self, indices: Sequence[int], threads: int
    ) -> tuple[npt.NDArray[np.uint8], list[tuple[Known, tuple[Remark, ...]]]]:
        """Decode some images, as `gather`, and say of each what else is known of it.

        Args:
            indices: Which ones.
            threads: Decoders hold no GIL, so that threads help.
        """
        images = np.empty((len(indices), *self.shape), dtype=np.uint8)
        locations = [self.locations[index] for index in indices]

        def read(position: int) -> tuple[Known, tuple[Remark, ...]]:
            decoded = decode(locations[position], self.reading)
            if decoded.pixels.shape != self.shape:
                raise UnusableError(f"it has shape {decoded.pixels.shape}, the first image {self.shape}")
            images[position] = decoded.pixels
            return decoded.known, decoded.remarks

        return images, _for_each(locations, read, threads)


def read_headers(locations: Sequence[str], threads: int) -> list[Header]:
    """Read the headers of all files.

    Raises:
        RelayError: Files cannot be read; names the first, why, and how many more.
    """
    return _for_each(locations, lambda position: read_header(locations[position]), threads)


def read_hashes(locations: Sequence[str], threads: int) -> list[str]:
    """SHA-256 of the bytes of all files, hexadecimal.

    Raises:
        RelayError: Files cannot be read; names the first, why, and how many more.
    """

    def read(position: int) -> str:
        try:
            return file_digest(locations[position])
        except OSError as error:
            raise UnusableError(error.strerror or str(error)) from None

    return _for_each(locations, read, threads)


def _for_each(locations: Sequence[str], work: Callable[[int], _T], threads: int) -> list[_T]:
    failures: list[tuple[int, str]] = []

    def block(positions: range) -> list[_T]:
        results = []
        for position in positions:
            try:
                results.append(work(position))
            except UnusableError as error:
                failures.append((position, str(error)))
        return results

    blocks = [range(i, min(i + _BLOCK, len(locations))) for i in range(0, len(locations), _BLOCK)]
    with quiet_pillow():
        if threads == 1:
            results = [block(positions) for positions in blocks]
        else:
            with ThreadPoolExecutor(threads) as pool:
                results = list(pool.map(block, blocks))
    if failures:
        failures.sort()
        position, reason = failures[0]
        more = f" {len(failures) - 1} more cannot be read either." if len(failures) > 1 else ""
        raise RelayError(
            f"image {locations[position]} cannot be read: {reason}.{more} "
            "Replace or remove what cannot be read."
        )
    return [result for results_of_block in results for result in results_of_block]
