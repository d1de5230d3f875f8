"""Units of made-up images, importable by worker processes; and how a survey's units are read."""

import os
import pickle
import signal
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datamodules.domain import SideName
from datamodules.faults import OnError, Problem
from datamodules.packing.units import Sample, Survey
from stages.errors import RelayError

CLASSES = ("GGO", "NOR")


@dataclass(frozen=True)
class FakeUnit:
    """`count` images of patient PATIENT-number; each unit alternates the classes."""

    number: int
    count: int = 6
    dtype: str = "int16"
    size: int = 8
    bad: bool = False
    split: SideName | None = None
    read_log: str = ""
    killed_by: str = ""
    constant: bool = False
    columns: tuple[tuple[str, int], ...] = field(default=(("slice", 3),))

    @property
    def key(self) -> str:
        return f"unit-{self.number}"

    @property
    def fingerprint(self) -> str:
        return f"{self.count}-{self.size}-{self.dtype}"

    def read(self, on_error: OnError) -> tuple[list[Sample], list[Problem]]:
        if self.killed_by and Path(self.killed_by).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if self.read_log:
            with open(self.read_log, "a") as log:
                log.write(f"{self.number}\n")
        problems = []
        if self.bad:
            if on_error == "raise":
                raise RelayError(f"slice 2 of unit {self.number} is truncated")
            problems.append(Problem(f"slice 2 of unit {self.number}", "it is truncated"))
        random = np.random.default_rng(999 if self.constant else self.number)
        shape = (self.size, self.size)
        images = [random.integers(-1000, 400, shape).astype(self.dtype) for _ in range(self.count)]
        return [
            Sample(
                image,
                CLASSES[place % 2],
                f"PATIENT-{self.number}",
                f"{{group}}/{self.number}/{place}",
                self.split,
                dict(self.columns),
            )
            for place, image in enumerate(images)
        ], problems


def fake_survey(units: list[FakeUnit], *, secret: str = "PATIENT-1 PATIENT-2", window: int = 400) -> Survey:
    """A survey of fake units."""
    return Survey("dld", CLASSES, tuple(units), (), ("a note",), {"window": window}, secret)


def read_all(found: Survey, on_error: OnError = "raise") -> tuple[list[Sample], list[Problem]]:
    """All samples and problems of a survey, each unit as a worker gets it."""
    samples: list[Sample] = []
    problems: list[Problem] = list(found.problems)
    for unit in found.units:
        more, left_out = pickle.loads(pickle.dumps(unit)).read(on_error)
        samples += more
        problems += left_out
    return samples, problems
