"""One LightningModule for all stages: a network, cross-entropy, gradient descent."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from lightning_modules.metrics import Evaluation, evaluate
from lightning_modules.optimisation import by_step, on_plateau, optimiser
from lightning_modules.running_mean import running_mean
from lightning_modules.synchronised import synchronise
from lightning_modules.transfer import TransferReport, set_train_mode
from lightning_modules.unfreezing import waiting_parameters
from stages.errors import RelayError
from stages.recipe import Optim
from stages.seeds import derive_seed

Scheduler = TypeVar("Scheduler", LambdaLR, ReduceLROnPlateau)

REPORT_KEY = "transfer_report"  # of a resume checkpoint


class Batch(NamedTuple):
    """What the module needs of a batch.

    Images (N, 3, S, S), labels (N,), positions in the set (N,), and how often the epoch has drawn each image
    before (N,): -1 is a repeat that evens out the processes' shares, and does not count.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    draws: Tensor


@dataclass(frozen=True)
class Predictions:
    """Logits (N, C) of the last evaluation, with labels and positions, in the order of the set."""

    logits: Tensor
    labels: Tensor
    index: Tensor


class StageModule(pl.LightningModule):
    """Trains a network on one stage's batches and evaluates it after every epoch.

    Dropout draws from a stream that depends on the seed and the epoch only, so a run resumed at an epoch's
    beginning sees what an uninterrupted one sees. Optimisation is manual, as Lightning calls it: a step may
    be of several parts, whose losses are divided by what the whole batch weighs.

    Attributes:
        train_loss: Mean cross-entropy over the images of the last epoch, in nats, weighted as the loss is;
            the same in every process. Of the weights as they are trained, not of their running mean.
        learning_rate: Of the last step, where layers differ the highest.
        evaluation: The metrics after it.
        predictions: The logits that they were computed on.
        test_predictions: The logits of the test images, once they were asked for; no metric is computed.

    Args:
        network: Maps (N, 3, S, S) to logits (N, classes).
        report: Which parameters were kept, initialised and frozen.
        optim: How to step.
        dropout_seed: Seed of the dropout stream.
        class_weights: Weight of each class in the loss, above 0; None weighs all images alike.
        fused: Steps all parameters in one pass over memory, which cannot be combined with the scaled
            gradients of float16.
    """

    def __init__(
        self,
        network: nn.Module,
        report: TransferReport,
        optim: Optim,
        dropout_seed: int,
        *,
        class_weights: Sequence[float] | None = None,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network
        # A module of this one, so that it is in resume checkpoints and moves with the network.
        self.average = None if optim.ema_decay is None else running_mean(network, optim.ema_decay)
        self.report = report
        self.optim = optim
        self.fused = fused
        self.dropout_seed = dropout_seed
        self.train_loss = self.learning_rate = float("nan")
        self.evaluation: Evaluation | None = None
        self.predictions: Predictions | None = None
        self.test_predictions: Predictions | None = None
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)  # moves with the network
        self._sums = torch.zeros(2, dtype=torch.float64)  # of weighted losses and of weights
        self._evaluated: list[tuple[Tensor, Tensor, Tensor]] = []
        self._waiting: list[nn.Parameter] = []  # of layers that are not trained yet

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, S, S)."""
        logits: Tensor = self.network(images)
        return logits

    def setup(self, stage: str) -> None:
        """With several processes, let batch normalisations see the whole batch.

        Raises:
            RelayError: They cannot, on processors.
        """
        if self.trainer.world_size > 1:
            synchronise(self.network, self.trainer.strategy.root_device)

    @property
    def evaluated_network(self) -> nn.Module:
        """What is evaluated, kept and handed on: the running mean of the weights where one is taken."""
        return self.network if self.average is None else self.average.module

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_index: int) -> None:
        """Take the step's weights into their running mean."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's dropout stream; keep frozen layers in eval mode where that matters.

        So are layers that wait for their round of gradual unfreezing. DDP takes the gradients that it was
        made for, and theirs are dropped then.
        """
        torch.manual_seed(derive_seed(self.dropout_seed, self.current_epoch, self.global_rank))
        waiting = waiting_parameters(
            self.network, self.report, self.current_epoch, self.optim.unfreeze_epochs
        )
        for parameter in self._waiting:
            parameter.requires_grad_(True)
        self._waiting = list(waiting.values())
        for parameter in self._waiting:
            parameter.requires_grad_(self.trainer.world_size > 1)
        set_train_mode(self.network, replace(self.report, frozen=(*self.report.frozen, *waiting)))
        self._sums = torch.zeros(2, dtype=torch.float64, device=self._sum_device())

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """One step of the optimiser, with the gradient of the batch's cross-entropy, part by part."""
        number = min(self.optim.accumulate, len(batch.labels))
        parts = [Batch(*part) for part in zip(*(it.tensor_split(number) for it in batch), strict=True)]
        whole = None
        if self.trainer.world_size > 1:
            whole = self._gathered(self._weight(batch)).sum() / self.trainer.world_size
        elif number > 1:
            whole = self._weight(batch)
        optimizer = cast(LightningOptimizer, self.optimizers())
        optimizer.zero_grad()
        for place, part in enumerate(parts, start=1):
            with self._without_exchange() if place < number else nullcontext():
                loss = self.part_loss(part, whole)
                with torch.autocast(self.device.type, enabled=False):
                    self.manual_backward(loss)
        for parameter in self._waiting:
            parameter.grad = None
        self.learning_rate = max(group["lr"] for group in optimizer.param_groups)
        optimizer.step()
        if (steps := self._scheduler(LambdaLR)) and (self._warms_up or self.optim.schedule == "cosine"):
            steps.step()

    def part_loss(self, part: Batch, whole: Tensor | None) -> Tensor:
        """Cross-entropy of a part of a step's batch, in nats; the parts' sum is that of the batch.

        That is the weighted mean as torch's `CrossEntropyLoss` defines it. With several processes the sum is
        times their number, because DDP averages gradients.

        Args:
            part: Images and labels.
            whole: What the labels of the batch weigh, over all processes and divided by their number; None
                where the part is the batch.
        """
        logits, weights, smoothing = self(part.images).float(), self.class_weights, self.optim.label_smoothing
        weight = self._weight(part)
        if whole is None:
            loss = functional.cross_entropy(logits, part.labels, weights, label_smoothing=smoothing)
            self._add(loss.detach().to(self._sums) * weight.to(self._sums), weight)
            return loss
        losses = functional.cross_entropy(
            logits, part.labels, weights, reduction="none", label_smoothing=smoothing
        )
        total = (losses * (part.draws >= 0)).sum()
        self._add(total.detach(), weight)
        return total / whole

    def _weight(self, batch: Batch) -> Tensor:
        """What a batch's labels weigh together; a repeat for another process weighs nothing."""
        counted = (batch.draws >= 0).float()
        return (counted if self.class_weights is None else counted * self.class_weights[batch.labels]).sum()

    def _without_exchange(self) -> AbstractContextManager[None]:
        """Several processes average their gradients once a step."""
        if self.trainer.world_size == 1:
            return nullcontext()
        return cast(ParallelStrategy, self.trainer.strategy).block_backward_sync()

    def on_validation_epoch_start(self) -> None:
        """Forget the last evaluation; close the epoch's training loss, which every process takes part in.

        Raises:
            RelayError: As `check_finite`, on every process alike.
        """
        self._evaluated = []
        sums = self._sums
        if self.trainer.world_size > 1:
            sums = self._gathered(sums).sum(dim=0)
        self._check_finite(sums)  # before the plateau is looked for in the losses
        losses, weights = sums.tolist()
        if weights > 0:
            self.train_loss = losses / weights

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Keep a batch's logits."""
        logits = self.evaluated_network(batch.images).float()
        self._evaluated.append((logits.cpu(), batch.labels.cpu(), batch.indices.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Compute the metrics over the whole evaluation set, on every process alike."""
        self.predictions = self._collected()
        if broken := int((~torch.isfinite(self.predictions.logits)).any(dim=1).sum()):
            raise RelayError(
                f"the network's outputs for {broken} of {len(self.predictions.labels)} evaluation images are "
                f"not finite in epoch {self.current_epoch + 1}: the run diverged, and its metrics mean "
                "nothing. Try a lower optim.lr_scratch or optim.lr_transfer, or trainer.precision=32-true"
            )
        self.evaluation = evaluate(self.predictions.logits, self.predictions.labels)

    def on_test_epoch_start(self) -> None:
        """Forget what was evaluated before."""
        self._evaluated = []

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Keep a batch's logits."""
        self.validation_step(batch, batch_index)

    def on_test_epoch_end(self) -> None:
        """Keep the logits of the whole test set, on every process alike."""
        self.test_predictions = self._collected()

    def _collected(self) -> Predictions:
        """What was kept of all batches, in the order of the set."""
        logits, labels, index = (torch.cat(parts) for parts in zip(*self._evaluated, strict=True))
        if self.trainer.world_size > 1:
            logits, labels, index = (self._gathered(part).flatten(0, 1) for part in (logits, labels, index))
        # Several processes may have seen an image that evens out their shares: it counts once.
        positions, first = _first_occurrences(index)
        self._evaluated = []
        return Predictions(logits[first], labels[first], positions)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the transfer report too, so that a resume need not read the parent again."""
        checkpoint[REPORT_KEY] = self.report.as_dict()

    def configure_optimizers(self) -> Any:
        """The optimiser over the parameters that are not frozen, and the schedules of its rate."""
        settings = self.optim
        optimizer = optimiser(self.network, settings, fused=self.fused)
        schedulers: list[LambdaLR | ReduceLROnPlateau] = []
        if settings.schedule == "cosine":
            schedulers.append(by_step(optimizer, settings, int(self.trainer.estimated_stepping_batches)))
        elif settings.warmup_steps > 0:
            schedulers.append(by_step(optimizer, settings, settings.warmup_steps))
        if settings.schedule == "step":
            schedulers.append(on_plateau(optimizer, settings))
        return [optimizer], schedulers

    def loss_judged(self, loss: float, counts: float) -> None:
        """With the schedule step, lower the rate if the loss is level; the warm-up is waited for.

        Args:
            loss: Smoothed training loss of the epoch, in nats.
            counts: Least fall of it that counts.
        """
        scheduler = self._scheduler(ReduceLROnPlateau)
        if scheduler is not None and not self._warms_up:
            scheduler.threshold = counts
            scheduler.step(loss)

    @property
    def _warms_up(self) -> bool:
        """Whether the next step is one of the warm-up."""
        return self.global_step < self.optim.warmup_steps

    def _scheduler(self, kind: type[Scheduler]) -> Scheduler | None:
        """The schedule of a kind, if the rate has one."""
        found = (config.scheduler for config in self.trainer.lr_scheduler_configs)
        return next((scheduler for scheduler in found if isinstance(scheduler, kind)), None)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient's norm; Lightning itself refuses to for a fused optimiser, unscaled or not."""
        if self.optim.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.optim.gradient_clip)

    def check_finite(self) -> None:
        """Refuse to go on with a loss that is not a number.

        Raises:
            RelayError: Naming the epoch and what to try.
        """
        self._check_finite(self._sums)

    def _check_finite(self, sums: Tensor) -> None:
        if not torch.isfinite(sums[0]):
            raise RelayError(
                f"the training loss is not finite in epoch {self.current_epoch + 1}: the run diverged. Its "
                "last good checkpoint is kept. Try a lower optim.lr_scratch or optim.lr_transfer, more "
                "optim.warmup_steps, or optim.gradient_clip_scratch=1 or optim.gradient_clip_transfer=1"
            )

    def _add(self, losses: Tensor, weights: Tensor) -> None:
        self._sums += torch.stack([losses.to(self._sums), weights.to(self._sums)])

    def _gathered(self, part: Tensor) -> Tensor:
        """The part of every process, stacked along a new first dimension."""
        return cast(Tensor, self.all_gather(part))

    def _sum_device(self) -> torch.device:
        return self.device if self.device.type != "mps" else torch.device("cpu")  # mps has no float64


def _first_occurrences(index: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct positions in ascending order, and where each stands first."""
    order = torch.argsort(index, stable=True)
    ordered = index[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first], order[first]
