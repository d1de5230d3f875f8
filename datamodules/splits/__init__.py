"""Division of samples into sides or folds, by whole groups."""

from datamodules.splits.by_group import split_by_group
from datamodules.splits.check import check_split
from datamodules.splits.folds import group_folds
from datamodules.splits.report import split_report
from datamodules.splits.sides import Division, Names, divided_sides

__all__ = [
    "Division",
    "Names",
    "check_split",
    "divided_sides",
    "group_folds",
    "split_by_group",
    "split_report",
]
