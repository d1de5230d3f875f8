"""Where a stage run's weights come from. One function decides, in one order.

| the run's own checkpoint | parent | init_from | goes on from | first weights |
|---|---|---|---|---|
| is sound | any | any | its weights, optimiser, epoch, history | as below; they are not read again |
| none is sound | given | any | nothing | parent: what the transfer rule keeps |
| none is sound | none | given | nothing | init_from: what the transfer rule keeps |
| none is sound | none | none | nothing | scratch: random |
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

log = logging.getLogger(__name__)

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
    fault: Callable[[Path], str | None],
) -> StartingPoint:
    """Decide what a stage run starts from.

    Args:
        own_checkpoints: the run's resume checkpoints, newest first; they need not exist.
        parent: the parent's weights.
        init_from: a checkpoint of the user's.
        fault: why a checkpoint cannot be used, or None. One that cannot is passed over, with a warning.
    """
    resume, faults = None, list[str]()
    for path in own_checkpoints:
        if not path.exists():
            continue
        why = fault(path)
        if why is None:
            resume = path
            break
        faults.append(f"{path} cannot be used: {why}")
    if faults:
        goes_on = "starts again at its first epoch" if resume is None else f"goes on from {resume.name}"
        log.warning("%s. The training %s.", "; ".join(faults), goes_on)
    if parent is not None:
        return StartingPoint("parent", parent, resume)
    if init_from is not None:
        return StartingPoint("init_from", init_from, resume)
    return StartingPoint("scratch", None, resume)
