"""The loss of a step's batch, part by part, and its mean over an epoch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.errors import RelayError


class Batch(NamedTuple):
    """What the module needs of a batch.

    Images (N, 3, S, S), labels (N,), positions in the set (N,), and how often the epoch has drawn each image
    before (N,): -1 is a repeat that evens out the processes' shares, and does not count.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    draws: Tensor


def parts_of(batch: Batch, number: int) -> list[Batch]:
    """As many parts, the first ones an image longer where they cannot be equal."""
    return [Batch(*part) for part in zip(*(each.tensor_split(number) for each in batch), strict=True)]


class BatchLoss(nn.Module):
    """Cross-entropy as torch's `CrossEntropyLoss` defines it, of batches that come in parts.

    A module, so that the weights of the classes move with the network; nothing of it is in a checkpoint.

    Attributes:
        sums: Of the epoch's weighted losses and of its weights, float64, (2,).

    Args:
        class_weights: Weight of each class, above 0; None weighs all images alike.
        label_smoothing: Share of each label that is spread evenly over the classes.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | None, label_smoothing: float) -> None:
        super().__init__()
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        self.label_smoothing = label_smoothing
        self.sums = torch.zeros(2, dtype=torch.float64)

    def begin_epoch(self, device: torch.device) -> None:
        """Forget the last epoch's sums; those of this one are added up where the batches are."""
        where = device if device.type != "mps" else torch.device("cpu")  # mps has no float64
        self.sums = torch.zeros(2, dtype=torch.float64, device=where)

    def forward(self, logits: Tensor, part: Batch, whole: Tensor | None) -> Tensor:
        """Cross-entropy of a part of a step's batch, in nats; the parts' sum is that of the batch.

        That is the weighted mean. With several processes the sum is times their number, because DDP averages
        gradients.

        Args:
            logits: Of the part, float32, (N, classes).
            part: Its labels.
            whole: What the labels of the batch weigh, over all processes and divided by their number; None
                where the part is the batch.
        """
        of_class, smoothing, weight = self.class_weights, self.label_smoothing, self.weight(part)
        if whole is None:
            loss = functional.cross_entropy(logits, part.labels, of_class, label_smoothing=smoothing)
            self._add(loss.detach().to(self.sums) * weight.to(self.sums), weight)
            return loss
        losses = functional.cross_entropy(
            logits, part.labels, of_class, reduction="none", label_smoothing=smoothing
        )
        total = (losses * (part.draws >= 0)).sum()
        self._add(total.detach(), weight)
        return total / whole

    def weight(self, batch: Batch) -> Tensor:
        """What a batch's labels weigh together; a repeat for another process weighs nothing."""
        counted = (batch.draws >= 0).float()
        return (counted if self.class_weights is None else counted * self.class_weights[batch.labels]).sum()

    def _add(self, losses: Tensor, weights: Tensor) -> None:
        self.sums += torch.stack([losses.to(self.sums), weights.to(self.sums)])


def check_finite(sums: Tensor, epoch: int) -> None:
    """Refuse to go on with a loss that is not a number.

    Args:
        sums: As `BatchLoss.sums`.
        epoch: From 0.

    Raises:
        RelayError: Naming the epoch and what to try.
    """
    if not torch.isfinite(sums[0]):
        raise RelayError(
            f"the training loss is not finite in epoch {epoch + 1}: the run diverged. Its "
            "last good checkpoint is kept. Try a lower optim.lr_scratch or optim.lr_transfer, more "
            "optim.warmup_steps, or optim.gradient_clip_scratch=1 or optim.gradient_clip_transfer=1"
        )
