"""ILSVRC2012: the original archives, extracted folders, or Kaggle's copy."""

from datamodules.readers.ilsvrc.reader import READER

__all__ = ["READER"]
