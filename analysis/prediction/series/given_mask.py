"""A mask of the lungs from another program, as it lies on a series."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.prediction.series.volume import CTVolume
from datamodules.faults import UnusableError
from stages.console.words import counted
from stages.errors import RelayError

Labels = npt.NDArray[np.int32]

_SIDES = 2  # values that can be right and left
_NAMED = 6  # values that are listed


@dataclass(frozen=True)
class GivenMask:
    """A mask that lies on a series.

    Attributes:
        typed: What was typed.
        volume: The series.
        files: Its files, for its digest.
        read: Slice, from 0 -> labels, (H, W); 0 outside.
        found: What was noticed when it was opened, a sentence each.
        covered: The slices that it says something of, from 0; None: all.
        named: Whether each of its values is of something that is named lung.
    """

    typed: Path
    volume: CTVolume = field(repr=False)
    files: tuple[str, ...] = field(repr=False)
    read: Callable[[int], Labels] = field(repr=False)
    found: tuple[str, ...] = ()
    covered: frozenset[int] | None = None
    named: bool = False

    def labels(self, number: int) -> Labels:
        """Of a slice, (H, W).

        Raises:
            RelayError: It cannot be decoded, or has another size.
        """
        if self.covered is not None and number not in self.covered:
            return np.zeros(self.volume.shape[1:], np.int32)
        of = f"mask={self.typed}: slice {number + 1}, counted {self.volume.order},"
        try:
            labels = self.read(number)
        except UnusableError as error:
            raise RelayError(f"{of} cannot be used: {error}.") from None
        if labels.min() < 0:
            raise RelayError(
                f"{of} has the value {labels.min()}, and a mask has none below 0: it may be the series "
                "itself; give the file of the lungs."
            )
        return labels

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it, a sentence each; reads all of it.

        Raises:
            RelayError: As `labels`.
        """
        slices = self.volume.shape[0]
        values: set[int] = set()
        held = []
        for number in range(slices):
            here = np.unique(self.labels(number))
            values.update(here[here > 0].tolist())
            held += [number] if here[-1] > 0 else []
        said = list(self.found)
        if len(values) > _SIDES and not self.named:
            named = ", ".join(map(str, sorted(values)[:_NAMED])) + (", ..." if len(values) > _NAMED else "")
            said.append(
                f"The mask has {len(values)} values above 0 ({named}): all of them count as lung. If one is "
                "something else, such as the trachea, set it to 0."
            )
        covered = frozenset(range(slices)) if self.covered is None else self.covered
        if len(covered) < slices:
            said.append(
                f"The mask covers {len(covered)} of {slices} slices: the others are not mapped. Percentages, "
                "millilitres and thirds are of the slices that it covers."
            )
        if gap := len(covered.intersection(range(held[0], held[-1] + 1) if held else ()).difference(held)):
            said.append(
                f"{counted(gap, 'slice')} without lungs in the mask between slices with lungs: look whether "
                "it is whole."
            )
        return tuple(said)

    @property
    def digest(self) -> str:
        """SHA-256 of its files' content."""
        digest = hashlib.sha256()
        for location in self.files:
            digest.update(Path(location).read_bytes())
        return digest.hexdigest()
