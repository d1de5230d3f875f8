"""Where do decoded pixels live between runs, and are they whole?

`cache_dir/DIGEST/` holds `meta.json`, `train.npy` and `val.npy`; a domain that streams has `meta.json` only.
A folder is written under another name, synced to disk and renamed, so that it is there whole or not at all.
"""

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from stages.errors import RelayError

_logger = logging.getLogger(__name__)
_FORMAT = 1  # of the folder; raise it when its layout changes


@dataclass(frozen=True)
class CachedSide:
    """One side: (N, ...) uint8 pixels or None, N labels, N groups, N names."""

    images: npt.NDArray[np.uint8] | None
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    samples: tuple[str, ...]


@dataclass(frozen=True)
class CachedDomain:
    """What the cache keeps of a domain.

    Attributes:
        classes: Names of the classes.
        shape: Of an image: (H, W) or (H, W, 3).
        histogram_accuracy: None where there are no pixels.
        train: Training side.
        val: Evaluation side.
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    histogram_accuracy: float | None
    train: CachedSide
    val: CachedSide

    @property
    def has_pixels(self) -> bool:
        """Whether pixels are cached, not only the survey."""
        return self.train.images is not None


class DomainCache:
    """The cache folder of one domain.

    Args:
        cache_dir: Folder of all caches; made if missing.
        digest: The data's identity.
        fingerprint: What else must be equal on this machine, the files' times; a difference rebuilds.
    """

    def __init__(self, cache_dir: Path, digest: str, fingerprint: str) -> None:
        self._parent = cache_dir
        self._digest = digest
        self._fingerprint = fingerprint
        self.folder = cache_dir / digest[:16]

    def find_or_build(
        self, enough: Callable[[CachedDomain], bool], build: Callable[[CachedDomain | None], CachedDomain]
    ) -> CachedDomain:
        """What is cached; built and published first where there is nothing, or not `enough`.

        Of several processes one builds, the others wait for it.

        Args:
            enough: Whether what is cached serves the caller.
            build: Makes it anew; given what is cached, None where that is nothing, damaged or stale.

        Raises:
            RelayError: The cache folder cannot be written, or the disk is full.
        """
        stored, _ = self._read()
        if stored is None or not enough(stored):
            with self._lock():
                stored, fault = self._read()  # another process may have built it while we waited
                if fault is not None:
                    _logger.warning("image cache %s is built again: %s", self.folder, fault)
                if stored is None or not enough(stored):
                    stored = build(stored)
                    self._write(stored)
        return stored

    def _read(self) -> tuple[CachedDomain | None, Exception | None]:
        """What is cached, its checksums verified, or what is wrong with it; neither where nothing is."""
        if not self.folder.is_dir():
            return None, None
        try:
            meta = json.loads((self.folder / "meta.json").read_text("utf-8"))
            if (meta["format"], meta["digest"]) != (_FORMAT, self._digest):
                raise ValueError("it belongs to other data or another version")
            if meta["fingerprint"] != self._fingerprint:
                raise ValueError("files changed since")
            accuracy = meta["histogram_accuracy"]
            stored = CachedDomain(
                classes=tuple(meta["classes"]),
                shape=tuple(meta["shape"]),
                histogram_accuracy=None if accuracy is None else float(accuracy),
                train=self._read_side("train", meta),
                val=self._read_side("val", meta),
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            return None, error
        return stored, None

    def _write(self, domain: CachedDomain) -> None:
        # The lock is ours: temporary folders of this digest were left by processes that died.
        for left in self._parent.glob(f".{self.folder.name}-*"):
            shutil.rmtree(left, ignore_errors=True)
        temporary = self._parent / f".{self.folder.name}-{uuid.uuid4().hex}"
        try:
            temporary.mkdir()
            self._write_files(temporary, domain)
            _sync_folder(temporary)
            if self.folder.exists():
                self.folder.rename(temporary.with_name(temporary.name + "-old"))
            temporary.rename(self.folder)
            _sync_folder(self._parent)
        except OSError as error:
            raise _cannot_write(self._parent, error) from error
        finally:
            for left in self._parent.glob(f"{temporary.name}*"):
                shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._parent / f"{self.folder.name}.lock")
            lock.acquire()
        except OSError as error:
            raise _cannot_write(self._parent, error) from error
        try:
            yield
        finally:
            lock.release()

    def _read_side(self, side: str, meta: dict[str, Any]) -> CachedSide:
        content = meta[side]
        images = None
        if content["sha256"] is not None:
            # Read, not mapped: a mapped file that someone truncates kills the process that trains from it.
            images = np.load(self.folder / f"{side}.npy", allow_pickle=False)
            expected = (np.uint8, (len(content["labels"]), *meta["shape"]))
            if (images.dtype, images.shape) != expected or _checksum(images) != content["sha256"]:
                raise ValueError(f"{side}.npy is damaged")
        labels = np.array(content["labels"], dtype=np.int64)
        return CachedSide(images, labels, tuple(content["groups"]), tuple(content["samples"]))

    def _write_files(self, folder: Path, domain: CachedDomain) -> None:
        meta: dict[str, Any] = {
            "format": _FORMAT,
            "digest": self._digest,
            "fingerprint": self._fingerprint,
            "classes": domain.classes,
            "shape": domain.shape,
            "histogram_accuracy": domain.histogram_accuracy,
        }
        for name, side in (("train", domain.train), ("val", domain.val)):
            if side.images is not None:
                with (folder / f"{name}.npy").open("wb") as stream:
                    np.save(stream, side.images, allow_pickle=False)
                    stream.flush()
                    os.fsync(stream.fileno())
            meta[name] = {
                "sha256": None if side.images is None else _checksum(side.images),
                "labels": side.labels.tolist(),
                "groups": side.groups,
                "samples": side.samples,
            }
        with (folder / "meta.json").open("w", encoding="utf-8") as text:
            json.dump(meta, text)
            text.flush()
            os.fsync(text.fileno())


def _checksum(images: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle for a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(folder: Path, error: OSError) -> RelayError:
    return RelayError(
        f"the image cache {folder} cannot be written: {error.strerror or error}; "
        "free space, change its permissions or set another cache folder."
    )
