"""One LightningModule for all stages: a network, cross-entropy, gradient descent."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from lightning_modules.batch_loss import Batch, BatchLoss, check_finite, parts_of
from lightning_modules.metrics import Evaluation, evaluate
from lightning_modules.optimisation import by_step, on_plateau, optimiser
from lightning_modules.predictions import Predictions, collected
from lightning_modules.running_mean import first_mean, take_step
from lightning_modules.synchronised import synchronise
from lightning_modules.transfer import TransferReport, set_train_mode
from lightning_modules.unfreezing import waiting_parameters
from stages.recipe import Optim
from stages.seeds import derive_seed

Scheduler = TypeVar("Scheduler", LambdaLR, ReduceLROnPlateau)

REPORT_KEY = "transfer_report"  # of a resume checkpoint


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
        self.average = None if optim.ema_decay is None else first_mean(network)
        self.loss = BatchLoss(class_weights, optim.label_smoothing)
        self.report = report
        self.optim = optim
        self.fused = fused
        self.dropout_seed = dropout_seed
        self.train_loss = self.learning_rate = float("nan")
        self.evaluation: Evaluation | None = None
        self.predictions: Predictions | None = None
        self.test_predictions: Predictions | None = None
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
        return self.network if self.average is None else self.average

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_index: int) -> None:
        """Take the step's weights into their running mean."""
        if self.average is not None and self.optim.ema_decay is not None:
            take_step(self.average, self.network, self.global_step - 1, self.optim.ema_decay)

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
        self.loss.begin_epoch(self.device)

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """One step of the optimiser, with the gradient of the batch's cross-entropy, part by part."""
        number = min(self.optim.accumulate, len(batch.labels))
        whole = None
        if self.trainer.world_size > 1:
            whole = self._gathered(self.loss.weight(batch)).sum() / self.trainer.world_size
        elif number > 1:
            whole = self.loss.weight(batch)
        optimizer = cast(LightningOptimizer, self.optimizers())
        optimizer.zero_grad()
        for place, part in enumerate(parts_of(batch, number), start=1):
            with self._without_exchange() if place < number else nullcontext():
                loss = self.loss(self(part.images).float(), part, whole)
                with torch.autocast(self.device.type, enabled=False):
                    self.manual_backward(loss)
        for parameter in self._waiting:
            parameter.grad = None
        self.learning_rate = max(group["lr"] for group in optimizer.param_groups)
        optimizer.step()
        if (steps := self._scheduler(LambdaLR)) and (self._warms_up or self.optim.schedule == "cosine"):
            steps.step()

    def _without_exchange(self) -> AbstractContextManager[None]:
        """Several processes average their gradients once a step."""
        if self.trainer.world_size == 1:
            return nullcontext()
        return cast(ParallelStrategy, self.trainer.strategy).block_backward_sync()

    def on_validation_epoch_start(self) -> None:
        """Forget the last evaluation; close the epoch's training loss, which every process takes part in.

        Raises:
            RelayError: As `check_finite`, in every process alike.
        """
        self._evaluated = []
        sums = self.loss.sums
        if self.trainer.world_size > 1:
            sums = self._gathered(sums).sum(dim=0)
        check_finite(sums, self.current_epoch)  # before the plateau is looked for in the losses
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
        self.predictions.check_finite(self.current_epoch)
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
        found = collected(self._evaluated, self._gathered if self.trainer.world_size > 1 else None)
        self._evaluated = []
        return found

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
            RelayError: As `batch_loss.check_finite`.
        """
        check_finite(self.loss.sums, self.current_epoch)

    def _gathered(self, part: Tensor) -> Tensor:
        """The part of every process, stacked along a new first dimension."""
        return cast(Tensor, self.all_gather(part))
