"""The logits of a whole evaluation set, from those of its batches in every process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.errors import RelayError


@dataclass(frozen=True)
class Predictions:
    """Logits (N, C) of an evaluation, with labels and positions, in the order of the set."""

    logits: Tensor
    labels: Tensor
    index: Tensor

    def check_finite(self, epoch: int) -> None:
        """Refuse outputs that are no numbers.

        Args:
            epoch: From 0.

        Raises:
            RelayError: Naming the epoch, how many they are, and what to try.
        """
        if broken := int((~torch.isfinite(self.logits)).any(dim=1).sum()):
            raise RelayError(
                f"the network's outputs for {broken} of {len(self.labels)} evaluation images are "
                f"not finite in epoch {epoch + 1}: the run diverged, and its metrics mean "
                "nothing. Try a lower optim.lr_scratch or optim.lr_transfer, or trainer.precision=32-true"
            )


def collected(
    evaluated: Sequence[tuple[Tensor, Tensor, Tensor]], gathered: Callable[[Tensor], Tensor] | None
) -> Predictions:
    """What was kept of all batches, in the order of the set.

    Several processes may have seen an image that evens out their shares: it counts once.

    Args:
        evaluated: Of each batch logits, labels and positions.
        gathered: Stacks every process's part along a new first dimension; None where there is one process.
    """
    logits, labels, index = (torch.cat(parts) for parts in zip(*evaluated, strict=True))
    if gathered is not None:
        logits, labels, index = (gathered(part).flatten(0, 1) for part in (logits, labels, index))
    positions, first = _first_occurrences(index)
    return Predictions(logits[first], labels[first], positions)


def _first_occurrences(index: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct positions in ascending order, and where each stands first."""
    order = torch.argsort(index, stable=True)
    ordered = index[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first], order[first]
