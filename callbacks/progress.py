"""Progress for the user: the bar of the epoch, and how much of the sweep is left."""

import logging
import time
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from callbacks.history import EvaluatedModule
from stages.config import Config
from stages.console.output import output
from stages.cost import duration
from stages.metrics import PRIMARY, metric_of

log = logging.getLogger(__name__)


def progress_of(config: Config, epoch_images: int) -> list[Callback]:
    """The progress of a stage run, or nothing with `callbacks.progress=false`.

    Args:
        config: the stage run's configuration.
        epoch_images: its training images.
    """
    if not config.callbacks.progress:
        return []
    assert config.stage is not None, "a stage run has a stage"
    job, epochs = config.job, config.callbacks.plateau.max_epochs
    return [SweepProgress(config.stage.name, job.index, job.count, epochs, epoch_images, job.images_after)]


class SweepProgress(Callback):
    """A bar for the batches of the epoch, with a text such as "stage run 2 of 3, at most about 3 min left".

    Without a terminal, one line per epoch instead. The time left is an upper bound: it assumes that every run
    goes to its `max_epochs` at the speed so far, but runs usually reach their plateau earlier.

    Args:
        stage: the stage's name.
        index: number of this stage run in the sweep, from 1.
        count: stage runs of the sweep.
        epochs: most epochs of this run.
        epoch_images: images of an epoch.
        images_after: most images that later stage runs of the sweep train on.
    """

    def __init__(
        self, stage: str, index: int, count: int, epochs: int, epoch_images: int, images_after: int
    ) -> None:
        self._stage = stage
        self._place = f"stage run {index} of {count}"
        self._epochs = epochs
        self._epoch_images = epoch_images
        self._images_after = images_after
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._began = 0.0
        self._images = 0
        self._images_in_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        self._began, self._images = time.perf_counter(), 0
        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[status]}"),
            transient=True,
            console=output(),  # the log's, so that its lines go above the bar
        )
        if trainer.is_global_zero and progress.console.is_terminal:
            self._progress = progress
            self._task = progress.add_task(self._stage, total=int(trainer.num_training_batches), status="")
            progress.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the bar for the epoch."""
        self._images_in_epoch = 0
        if self._progress is not None and self._task is not None:
            self._progress.reset(
                self._task,
                total=int(trainer.num_training_batches),
                description=f"{self._stage} epoch {trainer.current_epoch + 1} of at most {self._epochs}",
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        self._images += len(batch.labels) * trainer.world_size
        self._images_in_epoch += len(batch.labels) * trainer.world_size
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=1, status=f"{self._place}, {self._left(trainer)}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the result of the epoch."""
        module = cast(EvaluatedModule, pl_module)
        if trainer.is_global_zero and module.evaluation is not None:
            shown = metric_of(PRIMARY)
            log.info(
                "%s epoch %d of at most %d: loss %.3f, %s %s; %s, %s",
                self._stage,
                trainer.current_epoch + 1,
                self._epochs,
                module.train_loss,
                shown.title,
                shown.text(module.evaluation.metrics[shown.name]),
                self._place,
                self._left(trainer),
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remove the bar, also after an error."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _left(self, trainer: pl.Trainer) -> str:
        elapsed = time.perf_counter() - self._began
        if self._images == 0 or elapsed <= 0.0:
            return "time left unknown"
        epochs_left = self._epochs - trainer.current_epoch
        images_left = epochs_left * self._epoch_images - self._images_in_epoch + self._images_after
        return f"at most {duration(images_left * elapsed / self._images)} left"
