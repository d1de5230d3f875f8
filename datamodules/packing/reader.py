"""What a reader of a provider's files declares, so that `python -m datamodules.prepare` finds it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from datamodules.faults import OnError
from datamodules.packing.units import Survey

Counts = Mapping[str, tuple[int, int]]
"""Class -> samples for training and for evaluation."""

_Options = TypeVar("_Options")


def _nothing(_: Counts) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Reader(Generic[_Options]):
    """A way to read a provider's files: a module or package of `datamodules.readers` with one as `READER`.

    Its name is that of its module, its tests are all else it needs.

    Attributes:
        domain: Domain of the sets that are made with it.
        title: What it reads, in a few words for the help.
        options: A group of parameters (`stages.parameters`) with defaults: the reader's own keys on the
            command line.
        survey: Lists a source without decoding it. Given the provider's folder, the options and what to do
            with files that cannot be used; raises RelayError where the source cannot be used.
        usual: Whether it reads the domain's files unless another reader is asked for.
        notes_on_counts: What to say of a finished set's counts, such as how they differ from a published set.
    """

    domain: str
    title: str
    options: type[_Options]
    survey: Callable[[Path, _Options, OnError], Survey]
    usual: bool = False
    notes_on_counts: Callable[[Counts], tuple[str, ...]] = _nothing
