"""Parts of a packed set while it is made: one per unit, written whole, found again after a kill.

In the end a set of ordinary size is one array file. In a larger one each part stays a file, because writing
all of it once more would need the same space on the disk again.
"""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from datamodules.faults import OnError, Problem
from datamodules.files.names import name_hash
from datamodules.packing.layout import part_name
from datamodules.packing.units import Sample, Survey, Unit
from stages.errors import RelayError
from stages.machine.atomic import atomic_file, write_text
from stages.machine.digest import SEAL, check_seal, file_digest, sealed

WORK = ".preparing"
"""Folder in the set's own for finished parts and what is known of them; removed when the set is complete."""

ONE_FILE_BYTES = 1 << 30
"""A set of so many bytes of pixels or fewer is one array file."""


@dataclass(frozen=True)
class Task:
    """A unit for a worker.

    Attributes:
        unit: What to read.
        number: Its place in the survey.
        folder: The set's.
        settings: Digest of what shapes the samples, and of the salt.
        salt: Of the groups' hashes.
        on_error: See `OnError`.
    """

    unit: Unit
    number: int
    folder: Path
    settings: str
    salt: bytes
    on_error: OnError

    @property
    def pixels(self) -> Path:
        """The file of its images, until all parts are there."""
        return self.folder / WORK / part_name(self.number)

    @property
    def known(self) -> Path:
        """The file of what is known of them."""
        return self.folder / WORK / f"part-{self.number:05d}.json"


@dataclass(frozen=True)
class Part:
    """A finished part: columns of the manifest, without pixels.

    Attributes:
        key: Of its unit.
        fingerprint: Of its unit's files.
        settings: Digest of what shaped the samples, and of the salt.
        names, labels, groups, splits: One value per sample; groups are hashes.
        columns: Further columns, one value per sample.
        shape: Of an image; None for a part without samples.
        dtype: Of the pixels; None likewise.
        sha256: Of the pixels' file; None likewise.
        problems: What was left out.
        remarks: Of how many samples each remark on decoding holds.
    """

    key: str
    fingerprint: str
    settings: str
    names: list[str]
    labels: list[str]
    groups: list[str]
    splits: list[str | None]
    columns: dict[str, list[Any]]
    shape: list[int] | None
    dtype: str | None
    sha256: str | None
    problems: list[dict[str, str]]
    remarks: dict[str, int]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.names)


@dataclass(frozen=True)
class Placed:
    """An array file of a finished set.

    Attributes:
        number: In its name.
        samples: How many it holds.
        sha256: Of the file.
    """

    number: int
    samples: int
    sha256: str


def tasks(survey: Survey, folder: Path, on_error: OnError) -> list[Task]:
    """A task for each unit of a survey."""
    # Names of files need not be UTF-8.
    salt = hashlib.sha256(b"relay groups\0" + survey.secret.encode("utf-8", "surrogateescape")).digest()
    # Groups of parts that were hashed with different salts could not be recognised as the same patient.
    settings = hashlib.sha256(f"{settings_digest(survey)} {survey.reader}".encode() + salt).hexdigest()
    return [Task(unit, number, folder, settings, salt, on_error) for number, unit in enumerate(survey.units)]


def settings_digest(survey: Survey) -> str:
    """SHA-256 of a survey's domain, classes and settings."""
    content = [survey.domain, survey.classes, dict(survey.settings)]
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def finished_part(task: Task) -> Part | None:
    """The part that a task has written before, if it is of the same unit, files and settings."""
    try:
        known = json.loads(task.known.read_text())
        check_seal(known)
        part = Part(**{key: value for key, value in known.items() if key != SEAL})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    same = (part.key, part.fingerprint, part.settings) == (
        task.unit.key,
        task.unit.fingerprint,
        task.settings,
    )
    # One that left something out is of no use to a preparation that is to stop there.
    accepted = same and (task.on_error == "skip" or not part.problems)
    return part if accepted and (not len(part) or _has_pixels(task, part)) else None


def run_task(task: Task) -> Part:
    """Read a unit and write its part: pixels first, what is known of them after.

    Raises:
        RelayError: A file cannot be used and is not to be skipped, or images differ in shape.
    """
    samples, problems = task.unit.read(task.on_error)
    shape = dtype = digest = None
    if samples:
        pixels = _stacked(samples, task.number)
        shape, dtype = list(pixels.shape[1:]), str(pixels.dtype)
        with atomic_file(task.pixels) as file:
            _save(file, pixels.shape, pixels.dtype, [pixels])
        digest = file_digest(task.pixels)
    part = _described(task, samples, problems, shape, dtype, digest)
    write_text(task.known, json.dumps(sealed(asdict(part))))
    return part


def place_parts(parts: Sequence[tuple[int, Part]], folder: Path) -> list[Placed]:
    """Put the pixels of all parts where the finished set keeps them: into one file, or each into its own.

    Args:
        parts: Those that have samples, of one shape and type, with their units' numbers.
        folder: The set's.

    Returns:
        The set's array files, in the order of the samples.
    """
    first = parts[0][1]
    samples = sum(len(part) for _, part in parts)
    dtype, shape = np.dtype(first.dtype), (samples, *(first.shape or ()))
    if math.prod(shape) * dtype.itemsize <= ONE_FILE_BYTES:
        file = folder / part_name(0)
        with atomic_file(file) as target:
            pixels = (np.load(_lies(folder, number), allow_pickle=False) for number, _ in parts)
            _save(target, shape, dtype, pixels)
        placed = [Placed(0, samples, file_digest(file))]
    else:
        for number, _ in parts:
            os.replace(_lies(folder, number), folder / part_name(number))
        placed = [Placed(number, len(part), str(part.sha256)) for number, part in parts]
    names = {part_name(each.number) for each in placed}
    for stale in folder.glob(part_name(0).replace("0", "[0-9]")):
        if stale.name not in names:  # of an earlier attempt at other files
            stale.unlink()
    return placed


def _save(
    file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any], pieces: Iterable[npt.NDArray[Any]]
) -> None:
    """An array file from pieces along its first axis. numpy.save does not report a full disk."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in pieces:
        file.write(np.ascontiguousarray(piece).data)


def _has_pixels(task: Task, part: Part) -> bool:
    """Whether a part's pixels are where it wrote them, or where a preparation that ended later moved them."""
    try:
        return file_digest(_lies(task.folder, task.number)) == part.sha256
    except OSError:
        return False


def _lies(folder: Path, number: int) -> Path:
    waiting = folder / WORK / part_name(number)
    return waiting if waiting.is_file() else folder / part_name(number)


def _stacked(samples: Sequence[Sample], number: int) -> npt.NDArray[Any]:
    first = samples[0].image
    for place, sample in enumerate(samples):
        if sample.image.shape != first.shape or sample.image.dtype != first.dtype:
            raise RelayError(
                f"sample {place} of unit {number} has shape {sample.image.shape} ({sample.image.dtype}), "
                f"the first {first.shape} ({first.dtype}); images of one set have one shape"
            )
    return np.stack([sample.image for sample in samples])


def _described(
    task: Task,
    samples: Sequence[Sample],
    problems: Sequence[Problem],
    shape: list[int] | None,
    dtype: str | None,
    digest: str | None,
) -> Part:
    groups = [name_hash(sample.group, task.salt) for sample in samples]
    names: Mapping[str, None] = dict.fromkeys(key for sample in samples for key in sample.columns)
    return Part(
        key=task.unit.key,
        fingerprint=task.unit.fingerprint,
        settings=task.settings,
        names=[sample.name.replace("{group}", group) for sample, group in zip(samples, groups, strict=True)],
        labels=[sample.label for sample in samples],
        groups=groups,
        splits=[sample.split for sample in samples],
        columns={name: [sample.columns.get(name) for sample in samples] for name in names},
        shape=shape,
        dtype=dtype,
        sha256=digest,
        problems=[asdict(problem) for problem in problems],
        remarks=dict(Counter(str(remark) for sample in samples for remark in sample.remarks)),
    )
