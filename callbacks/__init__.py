"""What watches a training: history and plateau, resume checkpoints, progress, results, tracking."""

from callbacks.checkpoint import AtomicCheckpointIO, ResumeCheckpoint, loads, save_whole
from callbacks.history import History
from callbacks.progress import SweepProgress
from callbacks.results import summarise, write_results
from callbacks.tracking import Tracking

__all__ = [
    "AtomicCheckpointIO",
    "History",
    "ResumeCheckpoint",
    "SweepProgress",
    "Tracking",
    "loads",
    "save_whole",
    "summarise",
    "write_results",
]
