"""What a reader of a provider's files gives to the packer: pieces of work, and the samples in them.

A reader surveys a source without decoding pixels and divides it into units, such as some hundred image files
or one series of slices. Units are read in worker processes, any number at a time, and each is written whole,
so that a preparation that was killed continues with the units that are missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from datamodules.domain import SideName
from datamodules.faults import OnError, Problem
from stages.record import AcquisitionRecord

Value = str | int | float
Image = npt.NDArray[np.uint8] | npt.NDArray[np.int16]


@dataclass(frozen=True)
class Sample:
    """One image of a packed set.

    Attributes:
        image: uint8, (H, W) or (H, W, 3); or int16 Hounsfield units, (H, W). All of a set have one shape.
        label: Its class.
        group: Patient or physical object, as the source names it. It is stored as a salted hash only.
        name: Unique in the set and equal on every machine, without anything that identifies a patient;
            `{group}` in it becomes the group's hash.
        split: The provider's own side, or None where there is none.
        columns: What else the manifest says of it, such as slice, ROI, row, column; nothing that identifies a
            patient. Other names than those of `datamodules.packing.layout.COLUMNS`.
        remarks: What was passed over when its file was decoded; counted in the set's notes.
    """

    image: Image
    label: str
    group: str = field(repr=False)  # no message or traceback may show it
    name: str
    split: SideName | None = None
    columns: Mapping[str, Value] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class Unit(Protocol):
    """A piece of work; small enough to be pickled and sent to a worker.

    Attributes:
        key: Unique in the survey and equal on every machine; holds no identifier.
        fingerprint: Changes when its files do (their sizes and times of change).
    """

    @property
    def key(self) -> str:  # noqa: D102
        ...

    @property
    def fingerprint(self) -> str:  # noqa: D102
        ...

    def read(self, on_error: OnError) -> tuple[list[Sample], list[Problem]]:
        """Decode the unit's samples, in an order that is equal on every machine.

        Raises:
            RelayError: A file cannot be used and `on_error` is `raise`; names it as `Problem.what` does.
        """
        ...


class Whole(Protocol):
    """A picture that samples are cut from, such as a slice with regions.

    Cut from two copies of it that differ in size or place, samples do not show the same; the copies do.

    Attributes:
        name: Unique in the survey; names of its samples are `{group}/NAME-...`.
        title: What messages call it, without anything that identifies a patient.
    """

    @property
    def name(self) -> str:  # noqa: D102
        ...

    @property
    def title(self) -> str:  # noqa: D102
        ...

    def read(self) -> Image:
        """Decode it.

        Raises:
            UnusableError: It cannot be decoded.
        """
        ...


@dataclass(frozen=True)
class Survey:
    """A source, listed but not decoded.

    Attributes:
        domain: As the reader declares it.
        classes: Names, sorted; labels are among them.
        units: In an order that is equal on every machine.
        problems: What was left out while listing.
        notes: What the user should know, such as a count that differs from the paper's.
        settings: What shapes the samples (sizes, window, classes asked for), JSON values; enters the set's
            identity.
        wholes: The pictures that samples are cut from, empty where each sample is one of its own; searched
            for duplicates as the samples are.
        acquisition: How the scans were taken that the images were cut from; None of others.
        window: Hounsfield units that the contact sheet shows as black and white; None: the usual ones.
        reader: Name of the reader, for the set's description; empty where it was not chosen by name.
        secret: Text that only someone with the source's own files can know, such as the sorted list of its
            paths and sizes; it salts the hashes of the groups, and is never stored.
    """

    domain: str
    classes: tuple[str, ...]
    units: tuple[Unit, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    settings: Mapping[str, object]
    secret: str = field(repr=False)
    wholes: tuple[Whole, ...] = ()
    reader: str = ""
    window: tuple[float, float] | None = None
    acquisition: AcquisitionRecord | None = None
