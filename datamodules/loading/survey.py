"""What the headers of listed image files say, before one is decoded: the shape that all images will have."""

from collections.abc import Sequence
from typing import TypeVar

from datamodules.faults import UnusableError
from datamodules.listing import FileListing, ImageFile, Listing
from datamodules.loading.image_files import read_headers
from datamodules.pixels.decode import Header
from datamodules.pixels.stored import check_window
from datamodules.pixels.window import HOUNSFIELD_WINDOW
from stages.errors import RelayError
from stages.machine.resources import available_cores
from stages.source import Source

_PLANNED = 1000  # headers that a plan reads: a tenth of a second, and all of most medical sets

_T = TypeVar("_T")


def check_headers(listing: Listing) -> None:
    """Refuse, when a run is planned, what the headers of a thousand images show.

    Args:
        listing: Of any source; of one that is not files, nothing is read.

    Raises:
        RelayError: As `survey`.
    """
    if isinstance(listing, FileListing):
        survey(listing, evenly_spread(listing.files, _PLANNED), available_cores())


def survey(listing: FileListing, files: Sequence[ImageFile], threads: int) -> tuple[int, ...]:
    """The shape that all decoded images have, (H, W) or (H, W, 3).

    Args:
        listing: Says how images are read.
        files: Whose headers are read; all, or some.
        threads: That read side by side.

    Raises:
        RelayError: Images differ in size, need a window or cannot have one, or cannot be read.
    """
    source = listing.source
    headers = read_headers([file.location for file in files], threads)
    for file, header in zip(files, headers, strict=True):
        if source.window is None and header.needs_window:
            word = "floating-point" if header.kind.dtype.kind == "f" else "signed or 32-bit"
            raise RelayError(
                f"image {file.path} has {word} values; set the source's `window` to the (low, high) that "
                f"becomes 0..255, {list(HOUNSFIELD_WINDOW)} for Hounsfield units."
            )
        try:
            check_window(header.kind, source.window)
        except UnusableError as error:
            raise RelayError(f"image {file.path}: {error}, or remove the source's `window`.") from None
    height, width = _common_size(source, files, headers)
    color = source.color == "rgb" or (source.color != "grey" and any(header.color for header in headers))
    return (height, width, 3) if color else (height, width)


def evenly_spread(of: Sequence[_T], count: int) -> Sequence[_T]:
    """Up to `count` of them, as far apart as they can be."""
    if len(of) <= count:
        return of
    return [of[place * (len(of) - 1) // (count - 1)] for place in range(count)]


def _common_size(source: Source, files: Sequence[ImageFile], headers: list[Header]) -> tuple[int, int]:
    if source.decode_size is not None:
        return source.decode_size, source.decode_size
    first = headers[0]
    for file, header in zip(files, headers, strict=True):
        if (header.width, header.height) != (first.width, first.height):
            raise RelayError(
                f"images have several sizes: {files[0].path} has {first.width}x{first.height} pixels, "
                f"{file.path} {header.width}x{header.height}; set the source's `decode_size`."
            )
    return first.height, first.width
