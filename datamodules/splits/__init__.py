"""Division of samples into a training and an evaluation side, by whole groups."""

from datamodules.splits.by_group import split_by_group
from datamodules.splits.check import check_split
from datamodules.splits.report import split_report

__all__ = ["check_split", "split_by_group", "split_report"]
