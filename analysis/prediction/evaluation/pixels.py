"""The pixels of a listed set, read as the networks' training images were, and in what its files differ."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datamodules.domain import StoredImages
from datamodules.faults import UnusableError
from datamodules.listing import FileListing, Listing, PackedListing
from datamodules.loading.image_files import ImageFiles, read_headers
from datamodules.packing.read import PackedImages, read_manifest
from datamodules.pixels.decode import Header, Reading, in_channels
from datamodules.pixels.stored import check_window
from datamodules.pixels.window import HOUNSFIELD_WINDOW, Window
from stages.console.words import counted
from stages.errors import RelayError
from stages.machine.resources import available_cores
from stages.record import InputRecord


@dataclass(frozen=True)
class InChannels:
    """Stored images as grey, or in colour, whatever they are.

    Attributes:
        images: as they are stored.
        shape: (H, W) for grey, (H, W, 3) for colour.
    """

    images: StoredImages
    shape: tuple[int, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def gather(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Read some images: uint8, (len(indices), *shape)."""
        color = len(self.shape) == 3
        return np.stack([in_channels(pixels, color=color) for pixels in self.images.gather(indices)])


def pixels_of(
    listing: Listing,
    chosen: Sequence[int],
    taken: InputRecord,
    shape: tuple[int, int],
    *,
    eight_bit: bool,
) -> tuple[StoredImages, list[str]]:
    """The pixels of the chosen images, and in what their files are not as the training files, in sentences.

    Args:
        listing: of the set.
        chosen: which of its images.
        taken: what the networks' input is made of.
        shape: (H, W) of their training images.
        eight_bit: whether all their training files had 8 bits.

    Raises:
        RelayError: the images have another size, or values that cannot be read so.
    """
    if isinstance(listing, PackedListing):
        return _of_set(listing, chosen, taken, shape)
    assert isinstance(listing, FileListing)
    files = [listing.files[row] for row in chosen]
    headers = read_headers([file.location for file in files], available_cores())
    window = _window(taken)
    for file, header in zip(files, headers, strict=True):
        if window is None and header.needs_window:
            raise RelayError(
                f"image {file.path} has {header.kind.dtype} values, and the networks' training images had "
                "none that a window is for: bring these to 8 bits as those were, first"
            )
        try:
            check_window(header.kind, window)
        except UnusableError as error:
            raise RelayError(f"image {file.path}: {error}") from None
    if taken.decode_size is None:
        _check_sizes(str(listing.source.root), Counter((h.height, h.width) for h in headers), shape)
    reading = Reading(taken.decode_size, window, color=taken.color)
    wanted = (*shape, 3) if taken.color else shape
    images = ImageFiles(tuple(file.location for file in files), reading, wanted)
    return images, _unlike(headers, taken, eight_bit=eight_bit)


def _of_set(
    listing: PackedListing, chosen: Sequence[int], taken: InputRecord, shape: tuple[int, int]
) -> tuple[StoredImages, list[str]]:
    root, stored, deep = (
        str(listing.source.root), tuple(listing.description["shape"]), listing.window is not None,
    )  # fmt: skip
    _check_sizes(root, Counter({(stored[0], stored[1]): len(chosen)}), shape)
    unlike, window = [], _window(taken)
    if deep and window is None:
        unlike.append(
            f"They are in Hounsfield units, the training images had 8 bits: {list(HOUNSFIELD_WINDOW)} became "
            "black and white."
        )
    if not deep and window is not None:
        unlike.append(_other_greys("They are", window))
    if (len(stored) == 3) != taken.color:
        unlike.append(_other_channels("They are", in_color=len(stored) == 3))
    manifest = read_manifest(root).iloc[list(chosen)]
    parts, places = (manifest[name].to_numpy(np.int32) for name in ("part", "place"))
    used = (window or HOUNSFIELD_WINDOW) if deep else None
    return InChannels(
        PackedImages(root, parts, places, stored, used), (*shape, 3) if taken.color else shape
    ), unlike


def _window(taken: InputRecord) -> Window | None:
    return None if taken.window is None else (taken.window[0], taken.window[1])


def _check_sizes(root: str, sizes: Counter[tuple[int, int]], shape: tuple[int, int]) -> None:
    others = {size: count for size, count in sizes.items() if size != shape}
    if others:
        (height, width), count = max(others.items(), key=lambda item: item[1])
        more = f" ({len(others)} sizes)" if len(others) > 1 else ""
        raise RelayError(
            f"{counted(count, 'image')} of {root} have {width} x {height} px{more}, those that the networks "
            f"were trained on {shape[1]} x {shape[0]} px: cut patches of that size at the same spacing; "
            "resizing would show another scale"
        )


def _unlike(headers: Sequence[Header], taken: InputRecord, *, eight_bit: bool) -> list[str]:
    found, window = [], _window(taken)
    deep = sum(header.kind.dtype != np.uint8 for header in headers)
    colored = sum(header.color for header in headers)
    if deep and eight_bit:
        found.append(
            f"{counted(deep, 'image')} of more than 8 bits, which the training images had not: the files' "
            "type says what is white."
        )
    if window is not None and deep < len(headers):
        found.append(_other_greys(f"{counted(len(headers) - deep, 'image')}", window))
    if colored and not taken.color:
        found.append(_other_channels(counted(colored, "image"), in_color=True))
    if taken.color and colored < len(headers):
        found.append(_other_channels(counted(len(headers) - colored, "image"), in_color=False))
    return found


def _other_greys(who: str, window: Window) -> str:
    return (
        f"{who} of 8 bits, where values from {window[0]:g} to {window[1]:g} were black to white in training: "
        "windowed otherwise, they show other greys."
    )


def _other_channels(who: str, *, in_color: bool) -> str:
    how = "with three channels, read as grey" if in_color else "in grey, read as colour"
    return f"{who} {how}, as the networks take them."
