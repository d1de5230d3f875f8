"""Where a stage run's weights come from. One function decides, in one order.

| the run's own checkpoint | parent | init_from | goes on from | first weights |
|---|---|---|---|---|
| loads | any | any | its weights, optimiser, epoch, history | as below; they are not read again |
| none loads | given | any | nothing | parent: what the transfer rule keeps |
| none loads | none | given | nothing | init_from: what the transfer rule keeps |
| none loads | none | none | nothing | scratch: random |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

StartKind = Literal["parent", "init_from", "scratch"]


@dataclass(frozen=True)
class StartingPoint:
    """What a stage run starts from.

    Attributes:
        kind: where its first weights come from, whenever it was begun.
        weights: the file of these weights; None from scratch only.
        resume: the checkpoint of its own that it goes on from, or None.
    """

    kind: StartKind
    weights: Path | None
    resume: Path | None = None


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
    resume = next((path for path in own_checkpoints if path.is_file() and loads(path)), None)
    if parent is not None:
        return StartingPoint("parent", parent, resume)
    if init_from is not None:
        return StartingPoint("init_from", init_from, resume)
    return StartingPoint("scratch", None, resume)
