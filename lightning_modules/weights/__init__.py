"""Weights out of files: what a checkpoint holds, which of it is a network's, nothing of it run."""

from lightning_modules.weights.entries import Checkpoint, read_checkpoint
from lightning_modules.weights.names import Weights, find_weights
from lightning_modules.weights.stored import read_stored_weights

__all__ = ["Checkpoint", "Weights", "find_weights", "read_checkpoint", "read_stored_weights"]
