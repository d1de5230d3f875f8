"""The cache of decoded pixels between runs: written whole or not at all, and verified when it is read.

`cache_dir/DIGEST/` holds `meta.json`, and an array such as `train.npy` for each side that has images; a
domain that streams has `meta.json` only. Labels, groups and names are there for a generator's images only:
those of files, which may be patients', are listed anew. A folder is written under another name, synced to
disk and renamed, so that it is there whole or not at all.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from datamodules.domain import NO_IMAGES, SIDES, Domain, Side, SideName
from stages.errors import RelayError
from stages.machine.atomic import sync_folder
from stages.machine.digest import check_seal, sealed
from stages.values import Values

_logger = logging.getLogger(__name__)
_FORMAT = 5  # of the folder; raise it when its layout changes


Listed = Callable[[SideName, tuple[int, ...]], Side]
"""A side of listed files, its images on disk, given the shape of one."""


class DomainCache:
    """The cache folder of one domain.

    Args:
        cache_dir: Folder of all caches; made if missing.
        digest: The data's identity.
        fingerprint: What else must be equal on this machine, the files' times; a difference rebuilds.
        listed: Gives the sides of listed files; None where all of a domain must be cached.
        memory_limit_bytes: Largest size of all sides' pixels to read into memory; None for any.
    """

    def __init__(
        self,
        cache_dir: Path,
        digest: str,
        fingerprint: str = "",
        listed: Listed | None = None,
        memory_limit_bytes: int | None = None,
    ) -> None:
        self._parent = cache_dir
        self._digest = digest
        self._fingerprint = fingerprint
        self._listed = listed
        self._memory_limit = memory_limit_bytes
        self.folder = cache_dir / digest[:16]

    def find_or_build(
        self, enough: Callable[[Domain], bool], build: Callable[[Domain | None], Domain]
    ) -> Domain:
        """What is cached; built and published first where there is nothing, or not `enough`.

        One of several processes builds, the others wait for it.

        Args:
            enough: Whether what is cached serves the caller.
            build: Makes the domain; given what is cached, None where that is nothing, damaged or stale.

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
                    stored = replace(build(stored), digest=self._digest)
                    self._write(stored)
        return stored

    def known_content(self) -> str | None:
        """The content of what is cached, without reading pixels; None where that is nothing, or not sound."""
        try:
            return str(self._meta()["content"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _meta(self) -> dict[str, Any]:
        """What `meta.json` says; raises what `_read` takes for damage, or for another's cache."""
        meta: dict[str, Any] = json.loads((self.folder / "meta.json").read_text("utf-8"))
        check_seal(meta)
        if (meta["format"], meta["digest"]) != (_FORMAT, self._digest):
            raise ValueError("it belongs to other data or another version")
        if meta["fingerprint"] != self._fingerprint:
            raise ValueError("files changed since")
        return meta

    def _read(self) -> tuple[Domain | None, Exception | None]:
        """What is cached, its checksums verified, or what is wrong with it; neither where nothing is."""
        if not self.folder.is_dir():
            return None, None
        try:
            meta = self._meta()
            sides = {side: self._side(side, meta) for side in SIDES}
            size = math.prod(meta["shape"]) * sum(map(len, sides.values()))
            fits = self._memory_limit is None or size <= self._memory_limit
            samples = [sample for side in SIDES for sample in sides[side].samples]
            stored = Domain(
                tuple(meta["classes"]),
                *(self._with_pixels(name, sides[name], meta, fits=fits) for name in SIDES),
                digest=self._digest,
                content=meta["content"],
                copies=tuple(tuple(samples[place] for place in places) for places in meta["copies"]),
                notes=tuple(meta["notes"]),
                values=Values.model_validate(meta["values"]),
            )
        except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError) as error:
            return None, error
        return stored, None

    def _write(self, domain: Domain) -> None:
        # The lock is ours: temporary folders of this digest were left by processes that died.
        for left in self._parent.glob(f".{self.folder.name}-*"):
            shutil.rmtree(left, ignore_errors=True)
        temporary = self._parent / f".{self.folder.name}-{uuid.uuid4().hex}"
        try:
            temporary.mkdir()
            self._write_files(temporary, domain)
            sync_folder(temporary)
            if self.folder.exists():
                self.folder.rename(temporary.with_name(temporary.name + "-old"))
            temporary.rename(self.folder)
            sync_folder(self._parent)
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

    def _side(self, side: SideName, meta: dict[str, Any]) -> Side:
        """A side without cached pixels."""
        if self._listed is not None:
            return self._listed(side, tuple(meta["shape"]))
        known = meta[side]
        labels = np.array(known["labels"], dtype=np.int64)
        return replace(
            NO_IMAGES, labels=labels, groups=tuple(known["groups"]), samples=tuple(known["samples"])
        )

    def _with_pixels(self, name: SideName, side: Side, meta: dict[str, Any], *, fits: bool) -> Side:
        sha256 = meta[name]["sha256"]
        if not len(side):
            return NO_IMAGES
        if fits and sha256 is not None:
            return replace(side, images=self._read_pixels(name, (len(side), *meta["shape"]), sha256))
        if self._listed is None:
            raise ValueError(f"{name}.npy is missing")
        return side

    def _read_pixels(self, side: SideName, shape: tuple[int, ...], sha256: str) -> npt.NDArray[np.uint8]:
        # Read, not mapped: a mapped file that someone truncates kills the process that trains from it.
        images: npt.NDArray[Any] = np.load(self.folder / f"{side}.npy", allow_pickle=False)
        if images.dtype != np.uint8 or images.shape != shape or checksum(images) != sha256:
            raise ValueError(f"{side}.npy is damaged")
        return images

    def _write_files(self, folder: Path, domain: Domain) -> None:
        samples = [sample for _, side in domain.named_sides for sample in side.samples]
        place_of = {sample: place for place, sample in enumerate(samples)} if domain.copies else {}
        meta: dict[str, Any] = {
            "format": _FORMAT,
            "digest": self._digest,
            "fingerprint": self._fingerprint,
            "content": domain.content,
            "classes": domain.classes,
            "shape": domain.shape,
            "copies": [[place_of[sample] for sample in names] for names in domain.copies],
            "notes": domain.notes,
            "values": None if domain.values is None else domain.values.model_dump(),
        }
        for name in SIDES:
            side = domain.side(name)
            images = side.images
            if isinstance(images, np.ndarray) and len(side):
                with (folder / f"{name}.npy").open("wb") as stream:
                    np.save(stream, images, allow_pickle=False)
                    stream.flush()
                    os.fsync(stream.fileno())
            meta[name] = {"sha256": checksum(images) if isinstance(images, np.ndarray) else None}
            if self._listed is None:
                meta[name] |= {"labels": side.labels.tolist(), "groups": side.groups, "samples": side.samples}
        with (folder / "meta.json").open("w", encoding="utf-8") as text:
            json.dump(sealed(meta), text)
            text.flush()
            os.fsync(text.fileno())


def checksum(images: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of pixels, in their order."""
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def _cannot_write(folder: Path, error: OSError) -> RelayError:
    return RelayError(
        f"the image cache {folder} cannot be written: {error.strerror or error}; "
        "free space, change its permissions or set another cache folder."
    )
