"""How does a source become a domain that is ready for training?"""

import hashlib
import importlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datamodules.cache import CachedDomain, CachedSide, DomainCache
from datamodules.decode import HOUNSFIELD_WINDOW, Header, ImageFiles, Reading, read_headers, window_to_uint8
from datamodules.domain import Domain, Split
from datamodules.identity import identity_of, list_images
from datamodules.listing import ImageFile, Listing, Side
from datamodules.prepared import PreparedDomain, PreparedSplit
from datamodules.source import Source
from stages.errors import RelayError
from stages.machine.resources import available_cores

__all__ = ["PreparedDomain", "prepare"]


def prepare(source: Source, cache_dir: str | Path, *, memory_limit_bytes: int) -> PreparedDomain:
    """Generate or decode a domain once, or find what an earlier run cached.

    Images that fit into the limit are decoded to uint8 and cached; a larger set is surveyed (headers only)
    and streams from its files, where an image that cannot be decoded is found when it is read. Generated
    domains are always in memory. Safe to call from several processes at once: one works, the others wait.

    Args:
        source: The domain's origin.
        cache_dir: Folder of the caches, shared by all domains.
        memory_limit_bytes: Largest size of both sides' decoded pixels to hold in memory.

    Raises:
        RelayError: The data cannot be trained on, an image cannot be read (the first is named, with how many
            more), or the cache cannot be written.
    """
    if source.kind == "packed":
        from datamodules.packed_domain import prepare_packed

        return prepare_packed(source, Path(cache_dir), memory_limit_bytes)
    listing = None if source.kind == "embedded" else list_images(source)
    digest = identity_of(source, listing).digest
    cache = DomainCache(Path(cache_dir), digest, _fingerprint(listing))

    def build(surveyed: CachedDomain | None) -> CachedDomain:
        if listing is None:
            return _generate(source)
        return _decode(source, listing, memory_limit_bytes, surveyed)

    stored = cache.find_or_build(lambda found: not _pixels_missing(found, memory_limit_bytes), build)
    return _prepared(source, listing, stored, digest, memory_limit_bytes)


def _fingerprint(listing: Listing | None) -> str:
    """Digest of the files' times: the cache must not outlive a change that keeps names and sizes."""
    if listing is None:
        return ""
    times = np.array([file.modified for file in listing.files], dtype="<i8")
    return hashlib.sha256(times.tobytes()).hexdigest()


def _size(domain: CachedDomain) -> int:
    return (len(domain.train.labels) + len(domain.val.labels)) * int(np.prod(domain.shape))


def _pixels_missing(domain: CachedDomain, memory_limit_bytes: int) -> bool:
    return not domain.has_pixels and _size(domain) <= memory_limit_bytes


def _generate(source: Source) -> CachedDomain:
    generator = importlib.import_module(f"datamodules.embedded.{source.generator}")
    domain: Domain = generator.generate(
        classes=source.classes,
        train_images=source.train_images,
        val_images=source.val_images,
        size=source.size,
        seed=source.seed,
    )
    window = _window(source)

    def side(split: Split) -> CachedSide:
        images = np.require(window_to_uint8(split.images, window), requirements=["C", "W"])  # for torch
        return CachedSide(images, split.labels, split.groups, split.samples)

    train, val = side(domain.train), side(domain.val)
    assert train.images is not None
    accuracy = _histogram_accuracy(train, val)
    return CachedDomain(domain.classes, train.images.shape[1:], accuracy, train, val)


def _decode(
    source: Source, listing: Listing, memory_limit_bytes: int, surveyed: CachedDomain | None
) -> CachedDomain:
    threads = available_cores()
    shape = surveyed.shape if surveyed is not None else _survey(source, listing, threads)
    reading = _reading(source, shape)

    def side(files: list[ImageFile], images: npt.NDArray[np.uint8] | None) -> CachedSide:
        labels = np.array([file.label for file in files], dtype=np.int64)
        return CachedSide(
            images, labels, tuple(file.group for file in files), tuple(file.path for file in files)
        )

    train_files, val_files = listing.side("train"), listing.side("val")
    survey = CachedDomain(listing.classes, shape, None, side(train_files, None), side(val_files, None))
    if _size(survey) > memory_limit_bytes:
        return survey
    # Both sides in one go, so that an error counts the unreadable files of both.
    files = _image_files(train_files + val_files, reading, shape)
    images = files.gather(range(len(files)), threads)
    train = side(train_files, images[: len(train_files)])
    val = side(val_files, images[len(train_files) :])
    return CachedDomain(listing.classes, shape, _histogram_accuracy(train, val), train, val)


def _histogram_accuracy(train: CachedSide, val: CachedSide) -> float:
    # Imported here: scikit-learn takes a second to load, and a cached domain does not need it.
    from datamodules.histogram import histogram_accuracy

    assert train.images is not None
    assert val.images is not None
    return float(histogram_accuracy(train.images, train.labels, val.images, val.labels))


def _survey(source: Source, listing: Listing, threads: int) -> tuple[int, ...]:
    """The shape that all decoded images have, (H, W) or (H, W, 3)."""
    headers = read_headers([file.location for file in listing.files], threads)
    if source.window is None:
        for file, header in zip(listing.files, headers, strict=True):
            if header.needs_window:
                raise RelayError(
                    f"image {file.path} has signed or 32-bit values; set the source's `window` to the "
                    f"(low, high) that becomes 0..255, {list(HOUNSFIELD_WINDOW)} for Hounsfield units."
                )
    height, width = _common_size(source, listing.files, headers)
    color = source.color == "rgb" or (source.color == "auto" and any(header.color for header in headers))
    return (height, width, 3) if color else (height, width)


def _common_size(source: Source, files: tuple[ImageFile, ...], headers: list[Header]) -> tuple[int, int]:
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


def _window(source: Source) -> tuple[float, float] | None:
    return None if source.window is None else (source.window[0], source.window[1])


def _reading(source: Source, shape: tuple[int, ...]) -> Reading:
    return Reading(source.decode_size, _window(source), color=len(shape) == 3)


def _image_files(files: list[ImageFile], reading: Reading, shape: tuple[int, ...]) -> ImageFiles:
    return ImageFiles(tuple(file.location for file in files), reading, shape)


def _prepared(
    source: Source, listing: Listing | None, stored: CachedDomain, digest: str, memory_limit_bytes: int
) -> PreparedDomain:
    in_memory = listing is None or _size(stored) <= memory_limit_bytes

    def side(name: Side, cached: CachedSide) -> PreparedSplit:
        images: npt.NDArray[np.uint8] | ImageFiles
        if in_memory:
            assert cached.images is not None
            images = cached.images
        else:
            assert listing is not None
            images = _image_files(listing.side(name), _reading(source, stored.shape), stored.shape)
        return PreparedSplit(images, cached.labels, cached.groups, cached.samples)

    return PreparedDomain(
        stored.classes,
        side("train", stored.train),
        side("val", stored.val),
        stored.shape,
        digest,
        stored.histogram_accuracy,
    )
