"""What watches a training: history and plateau, resume checkpoints, progress, results, tracking, trainer."""

from callbacks.checkpoint import AtomicCheckpointIO, ResumeCheckpoint, save_whole
from callbacks.history import History
from callbacks.progress import SweepProgress, progress_of
from callbacks.results import write_results, write_samples
from callbacks.tracking import Tracking
from callbacks.trainer import build_trainer, fit

__all__ = [
    "AtomicCheckpointIO",
    "History",
    "ResumeCheckpoint",
    "SweepProgress",
    "Tracking",
    "build_trainer",
    "fit",
    "progress_of",
    "save_whole",
    "write_results",
    "write_samples",
]
