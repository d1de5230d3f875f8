"""The record of a finished stage run: all that the analyses read."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from stages.errors import RelayError
from stages.machine.digest import SEAL, check_seal, sealed
from stages.stored import read_stored_bytes
from stages.values import Values

RECORD_SCHEMA = 3


REMEDY = "remove its folder and run the same command again: it trains the run again"
NEWER = "a newer version of Relay wrote it: install that version, and keep the run"
"""What to do about a run of which a file is damaged."""

NOT_LEARNING = "not learning"
"""What tables, pages and tags say of a run whose `plateau.learning` is false."""


class OlderRecordError(RelayError):
    """A record that an older version of Relay wrote: its run was trained by other rules."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TransferRecord(_Part):
    """Where each parameter came from; see `lightning_modules.transfer.TransferReport`."""

    rule: str
    source: str | None
    kept: list[str]
    reinitialised: list[str]
    frozen: list[str]
    ignored: list[str]
    kept_buffers: list[str]
    reinitialised_buffers: list[str]
    rounded: list[str]
    names: str = ""
    dropped: list[str] = []

    def note(self, given: str | None) -> str | None:
        """What a person should know of how a checkpoint of theirs was read, or None.

        Args:
            given: the name of the given stage that it is; None for one that was typed as `init_from`.
        """
        more = f" and {len(self.dropped) - 10} more" if len(self.dropped) > 10 else ""
        left = f"not taken: {', '.join(self.dropped[:10])}{more}" if self.dropped else ""
        said = "; ".join(filter(None, (self.names, left)))
        return f"of {given or 'the checkpoint given with init_from'}, {said}" if said else None


class GivenRecord(_Part):
    """The checkpoint of the user's that a run started from.

    `name`: of the given stage that it is; None where it was typed as `init_from`. `sha256`: of the file.
    `license`: as the stage's file says it.
    """

    name: str | None
    sha256: str
    license: str | None


class PlateauRecord(_Part):
    """The plateau, as `stages.plateau.Plateau` describes it; the onset is an epoch, counted from 0."""

    onset: int
    length: int
    reached: bool
    learning: bool


class MetricRecord(_Part):
    """A metric over the plateau's epochs: percentiles, the mean, the last epoch's and the best value."""

    p75: float
    p50: float
    p25: float
    mean: float
    last: float
    best: float


class DataRecord(_Part):
    """The images: a count for each class after taking the data ratio's subset.

    Of a test set its counts alone are here, None without one.

    `crossing_groups` and `crossing_pictures`: how many groups, and pictures (equal or nearly so), stand on
    both sides of the split, as whoever prepared the set allowed. `grouped`: whether images share a group
    (patient, object); if none do, each image is its own group, and nothing can be said of patients.
    `train_class_groups`, `val_class_groups`: groups with an image of each class. `histogram_accuracy`: of a
    linear classifier on grey-level histograms, trained on the training images; None where images stream.
    `notes`: what a person should know of how the images were read, a line each.
    `content`: SHA-256 of what the pixels come from, the bytes of all files, whatever the data ratio and the
    fold (`datamodules.domain.Domain`). Runs of one digest and several contents had other images.
    `values`: what the images' values are, of all sides and before any data ratio.
    `height`, `width`: of the images in pixels, which the network takes at `image_size` squared.
    """

    digest: str
    content: str | None = None
    height: int
    width: int
    image_size: int
    classes: list[str]
    train_counts: list[int]
    val_counts: list[int]
    train_groups: int
    val_groups: int
    test_counts: list[int] | None
    test_groups: int | None
    grouped: bool
    train_class_groups: list[int] | None = None
    val_class_groups: list[int] | None = None
    histogram_accuracy: float | None
    crossing_groups: int
    crossing_pictures: int
    notes: list[str] = []
    values: Values | None = None


class AcquisitionRecord(_Part):
    """How the scans were taken that a prepared set's images were cut from.

    `spacing_mm` of the images' pixels and `thickness_mm` of the slices, in mm: the least, the median and the
    greatest over the series; None where no series says it. `kernels`: reconstruction kernels as the files
    name them, with how many series have each.
    """

    spacing_mm: list[float] | None
    thickness_mm: list[float] | None
    kernels: dict[str, int]


class InputRecord(_Part):
    """What a network's input is made of, beside the sizes and classes in `DataRecord`.

    `mean`, `std`: of the three channels, in units of 0..1, by which inputs were scaled. `color`: whether
    images have three channels of their own. `window`: the (low, high) that become 0 and 255; None where all
    files have 8 bits, or say themselves what is white. `decode_size`: see `stages.source.Source`.
    `precision`, `memory_format`: of the arithmetic, see `stages.recipe.Rounding`. `acquisition`: of a
    prepared set of scans, None of others.
    """

    mean: list[float]
    std: list[float]
    color: bool
    window: list[float] | None
    decode_size: int | None
    precision: str
    memory_format: str
    acquisition: AcquisitionRecord | None = None


class CostRecord(_Part):
    """Time in seconds and peak memory.

    `seconds` is of all attempts, what they trained in vain included; `train_seconds` of the training of the
    epochs that count, and `images_per_second` their training images per second.
    """

    seconds: float
    train_seconds: float
    images_per_second: float
    peak_memory_bytes: int


Ended = Literal["complete", "interrupted", "terminated", "failed", "stopped", "killed"]
"""Why an attempt ended: with a result, Ctrl-C, SIGTERM or SIGHUP, an error, its launcher, without a word."""


class AttemptRecord(_Part):
    """One start of a run: where, with what, for how long, and why it ended.

    `device` is the name of the processor or GPU, `cores` those that the process might use. `first_epoch`,
    from 0, is where it began, and `epochs` how many it trained. `seconds` of a killed one is the time until
    its last epoch's end.
    """

    started: str
    host: str
    device: str
    threads: int
    cores: int
    torch: str
    first_epoch: int
    epochs: int
    seconds: float
    peak_memory_bytes: int
    ended: Ended


class OriginRecord(_Part):
    """Where and with what the run was finished; not part of its identity."""

    versions: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    machine: dict[str, str]
    finished: str


class Record(_Part):
    """A finished stage run. Its learning process is not stored: chain and transfer rule say it.

    `chain`: a given stage's name stands first in it; `given` is None but in the run that started from it.
    `input`: None in a record that was made before Relay kept it.
    `files`: SHA-256 of each file that the run left beside the record, by name. `parent_weights`: SHA-256 of
    the parent's `model.ckpt` that the run started from; None without a parent. `attempts`: the last one
    completed the run.
    """

    schema_version: int
    id: str
    stage: str
    chain: list[str]
    transfer: TransferRecord
    parent: str | None
    parent_weights: str | None
    starting_point: str
    given: GivenRecord | None = None
    seed: int
    data_ratio: float
    ratio_unit: str
    folds: int | None
    fold: int | None
    data: DataRecord
    input: InputRecord | None = None
    parameters: int
    epochs: int
    plateau: PlateauRecord
    metrics: dict[str, MetricRecord]
    confusion_matrix: list[list[int]]
    cost: CostRecord
    attempts: list[AttemptRecord]
    origin: OriginRecord
    files: dict[str, str]

    @property
    def notes(self) -> list[str]:
        """What a person should know of how images and a checkpoint of theirs were read, a line each."""
        given = None if self.given is None else self.given.name
        return [*self.data.notes, *filter(None, [self.transfer.note(given)])]

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        """The confusion matrix has a row and a column for each class, and counts each evaluation image."""
        classes, counts = len(self.data.classes), self.data.val_counts
        rows = self.confusion_matrix
        if len(rows) != classes or any(len(row) != classes for row in rows):
            raise ValueError(f"the confusion matrix is not of its {classes} classes")
        if min((count for row in rows for count in row), default=0) < 0 or list(map(sum, rows)) != counts:
            raise ValueError("the confusion matrix does not count the evaluation images")
        return self

    def to_json(self) -> str:
        """The record as indented JSON, sealed."""
        return json.dumps(sealed(self.model_dump(mode="json")), indent=1, allow_nan=False) + "\n"


def read_record(path: Path) -> Record:
    """Read and check a record.

    Raises:
        OlderRecordError: if an older version of Relay wrote it.
        RelayError: if the file is not a record of this version, or was changed since it was written; names
            the file, the first fault and what to do.
    """
    try:
        return _parsed(path, read_stored_bytes(path))
    except OSError as error:
        raise RelayError(f"{path} cannot be read as JSON: {error.strerror or error}; {REMEDY}") from None


@lru_cache(maxsize=1024)  # a plan asks each record for its faults, its speed and its images
def _parsed(path: Path, written: bytes) -> Record:
    try:
        content: Any = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise RelayError(f"{path} cannot be read as JSON: {error}; {REMEDY}") from None
    found = content.get("schema_version") if isinstance(content, dict) else None
    if found != RECORD_SCHEMA:
        message = f"{path} has record schema {found}; this version of Relay reads {RECORD_SCHEMA}"
        if type(found) is int and 0 < found < RECORD_SCHEMA:
            raise OlderRecordError(f"{message}: the run was trained with an older version. Train it again")
        newer = type(found) is int and found > RECORD_SCHEMA
        raise RelayError(f"{message}; {NEWER if newer else REMEDY}")
    try:
        record = Record.model_validate({name: value for name, value in content.items() if name != SEAL})
        check_seal(content)
        return record
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}." for part in first["loc"])[:-1]
        fault = first["msg"] if not where else f"{where}: {first['msg']}"
        raise RelayError(f"{path} is not a valid record: {fault}; {REMEDY}") from None
    except ValueError:
        raise RelayError(f"{path} was changed since its run wrote it: its seal is wrong; {REMEDY}") from None
