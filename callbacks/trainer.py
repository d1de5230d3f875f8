"""Lightning's Trainer as Relay uses it."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from callbacks.checkpoint import AtomicCheckpointIO
from stages.console.output import silence_known_warnings
from stages.job import Job


def build_trainer(job: Job, callbacks: Sequence[pl.Callback], checkpoints: AtomicCheckpointIO) -> pl.Trainer:
    """The trainer of a stage run.

    Args:
        job: the stage run.
        callbacks: what watches it.
        checkpoints: how resume checkpoints are written and read.
    """
    silence_known_warnings()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # banners and tips
    trainer = pl.Trainer(
        accelerator=job.config.trainer.accelerator,
        devices=job.config.trainer.devices,
        precision=job.recipe.arithmetic.precision,  # type: ignore[arg-type]  # never auto
        max_epochs=job.recipe.plateau.max_epochs,
        callbacks=list(callbacks),
        # Lightning starts a run's processes itself, in a job of Slurm too, where a job is one stage run.
        plugins=[checkpoints, LightningEnvironment()],
        logger=False,
        deterministic=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=job.folder.path,
    )
    # Its handler of SIGTERM talks to the other processes in the middle of a step, and says nothing.
    # `stages.machine.signals` has Relay's, which ends like Ctrl-C; Lightning then ends the other processes.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def fit(
    trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule, resume: Path | None
) -> None:
    """Train to the plateau; the last epoch is evaluated then.

    Args:
        trainer: see `build_trainer`.
        module: the stage run's LightningModule.
        data: its images.
        resume: the checkpoint to go on from, or None.

    Raises:
        KeyboardInterrupt: if the user stopped it; the next start goes on from the last checkpoint.
    """
    try:
        trainer.fit(module, data, ckpt_path=resume)
    except SystemExit:
        if trainer.interrupted:  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from None
        raise
