"""Where a stage run's weights come from. One function decides, in one order.

| the run's own checkpoint | parent | init_from | starts from |
|---|---|---|---|
| loads | any | any | resume: its weights, optimiser, epoch, history |
| none loads | given | any | parent: the weights that the transfer rule keeps |
| none loads | none | given | init_from: the weights that the transfer rule keeps |
| none loads | none | none | scratch: nothing |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

StartKind = Literal["resume", "parent", "init_from", "scratch"]


@dataclass(frozen=True)
class StartingPoint:
    """What a stage run starts from; `path` is None from scratch only."""

    kind: StartKind
    path: Path | None


def starting_point(
    own_checkpoints: Sequence[Path],
    parent: Path | None,
    init_from: Path | None,
    loads: Callable[[Path], bool],
) -> StartingPoint:
    """Decide what a stage run starts from.

    Args:
        own_checkpoints: the run's resume checkpoints, newest first; they need not exist.
        parent: the parent's weights.
        init_from: a checkpoint of the user's.
        loads: whether a checkpoint can be read whole. A damaged one is passed over.
    """
    for checkpoint in own_checkpoints:
        if checkpoint.is_file() and loads(checkpoint):
            return StartingPoint("resume", checkpoint)
    if parent is not None:
        return StartingPoint("parent", parent)
    if init_from is not None:
        return StartingPoint("init_from", init_from)
    return StartingPoint("scratch", None)
