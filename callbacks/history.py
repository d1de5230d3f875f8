"""The epochs of a run: the losses and metrics of each, and when the plateau ends the training."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from stages.attempts import Attempt
from stages.balance import least_and_fall
from stages.epochs import LEARNING_RATE, Row, to_csv
from stages.job import Job
from stages.machine.atomic import write_text
from stages.metrics import TRAIN_LOSS
from stages.plateau import Plateau, PlateauRule, find_plateau, judged, should_stop
from stages.predictions import predicted_classes
from stages.record import AttemptRecord, CostRecord
from stages.schedule import after_warm_up


class _Evaluation(Protocol):
    metrics: dict[str, float]


class EvaluatedModule(Protocol):
    """What the history reads of the LightningModule at the end of an epoch."""

    @property
    def train_loss(self) -> float: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def evaluation(self) -> _Evaluation | None: ...  # noqa: D102
    @property
    def predictions(self) -> Any: ...  # noqa: D102
    def loss_judged(self, loss: float, counts: float) -> None: ...  # noqa: D102


class History(Callback):
    """Keeps one row per epoch, writes `history.csv`, and stops the training when the plateau is over.

    The rows are saved in the checkpoint. So a resumed run has the history of an uninterrupted one, whatever
    `history.csv` held when the run was killed. So are the predicted classes of the last epochs, as many as a
    plateau has: each is an integer tensor of shape (N,) for the N images of the evaluation set.

    Args:
        path: the CSV file.
        rule: when the training loss counts as flat.
        chance: by how much the training loss of predicting the class frequencies is above `least`.
        on_row: called with each new row.
        attempt: told how far the training is.
        least: the least training loss; with `chance`, `stages.balance.least_and_fall`.
    """

    def __init__(
        self,
        path: Path,
        rule: PlateauRule,
        chance: float,
        on_row: Callable[[Row], None] = lambda row: None,
        attempt: Attempt | None = None,
        least: float = 0.0,
    ) -> None:
        self._path = path
        self._rule = rule
        self._chance = chance
        self._least = least
        self._on_row = on_row
        self._attempt = attempt
        self.rows: list[Row] = []
        self.predicted: deque[torch.Tensor] = deque(maxlen=rule.length)
        self.train_seconds = 0.0
        self.train_images = 0
        self._epoch_began: float | None = None
        self._images_in_epoch = 0

    @classmethod
    def of(cls, job: Job, train_counts: Sequence[int], on_row: Callable[[Row], None]) -> "History":
        """The history of a stage run.

        Args:
            job: the stage run.
            train_counts: its training images of each class.
            on_row: called with each new row.
        """
        optim = job.recipe.optim
        least, chance = least_and_fall(optim, train_counts)
        rule = after_warm_up(job.recipe.plateau, optim, train_counts)
        return cls(job.folder.history, rule, chance, on_row, job.attempt, least)

    @property
    def losses(self) -> list[float]:
        """The training loss of each epoch."""
        return [float(row[TRAIN_LOSS]) for row in self.rows]

    @property
    def _judged(self) -> list[float]:
        return [loss - self._least for loss in self.losses]

    @property
    def plateau(self) -> Plateau:
        """The plateau, if the training is finished."""
        return find_plateau(self._judged, self._rule, chance=self._chance)

    def cost(self, attempts: Sequence[AttemptRecord]) -> CostRecord:
        """What the training took, in all attempts."""
        return CostRecord(
            seconds=math.fsum(attempt.seconds for attempt in attempts),
            train_seconds=self.train_seconds,
            images_per_second=self.train_images / max(self.train_seconds, 1e-9),
            peak_memory_bytes=max(attempt.peak_memory_bytes for attempt in attempts),
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do not train a run again that was killed after its last epoch."""
        trainer.should_stop = should_stop(self._judged, self._rule, chance=self._chance)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_began = time.perf_counter()
        self._images_in_epoch = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch's images."""
        self._images_in_epoch += len(batch.labels) * trainer.world_size

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the training clock: evaluation does not count as training speed.

        It does not run where a run is evaluated that was killed after its last epoch.
        """
        if self._epoch_began is not None:
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.synchronize()  # steps that it was given and has not done yet
            self.train_seconds += time.perf_counter() - self._epoch_began
            self.train_images += self._images_in_epoch
            self._epoch_began = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the row of the epoch, say whether the loss still falls, and decide whether to continue."""
        module = cast(EvaluatedModule, pl_module)
        assert module.evaluation is not None, "every epoch is evaluated"
        self.predicted.append(torch.from_numpy(predicted_classes(module.predictions.logits.numpy())))
        self.rows.append(
            {
                "epoch": trainer.current_epoch,
                TRAIN_LOSS: module.train_loss,
                LEARNING_RATE: module.learning_rate,
                **module.evaluation.metrics,
            }
        )
        if (found := judged(self._judged, self._rule, chance=self._chance)) is not None:
            module.loss_judged(*found)
        if self._attempt is not None:
            assert torch.get_num_threads() == self._attempt.threads, "nothing else sets the threads"
            self._attempt.epoch_done()
        if trainer.is_global_zero:
            write_text(self._path, to_csv(self.rows))
            self._on_row(self.rows[-1])
        trainer.should_stop = should_stop(self._judged, self._rule, chance=self._chance)

    def state_dict(self) -> dict[str, Any]:
        """What is saved in the checkpoint."""
        return {
            "rows": self.rows,
            "predicted": list(self.predicted),
            "train_seconds": self.train_seconds,
            "train_images": self.train_images,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.rows = list(state_dict["rows"])
        self.predicted = deque(state_dict["predicted"], maxlen=self._rule.length)
        self.train_seconds = state_dict["train_seconds"]
        self.train_images = state_dict["train_images"]
        if self._attempt is not None:
            self._attempt.goes_on_at(len(self.rows))
