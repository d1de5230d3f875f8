"""Samples counted by group and class, in an order that depends on the names alone."""

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from stages.errors import RelayError


@dataclass(frozen=True)
class GroupTable:
    """Samples counted by group (rows) and class (columns), both in an order that names alone decide."""

    classes: tuple[Hashable, ...]
    label_of: npt.NDArray[np.int64]
    group_of: npt.NDArray[np.int64]
    counts: "sparse.csr_matrix[Any]"

    @property
    def size(self) -> int:
        """Number of groups."""
        return int(self.counts.shape[0])


def group_table(labels: Any, groups: Any) -> GroupTable:
    """Count samples by group and class.

    Args:
        labels: Class of each sample, N hashable names.
        groups: Group of each sample, N hashable names.

    Raises:
        RelayError: The lengths differ, there are no samples, or a name is missing or has no order.
    """
    if len(labels) != len(groups):
        raise RelayError(f"{len(labels)} labels for {len(groups)} groups; give one of each for every sample.")
    if len(labels) == 0:
        raise RelayError("there are no samples to split; check what the reader found.")
    classes, label_of = _numbered(labels, "label")
    names, group_of = _numbered(groups, "group")
    ones = np.ones(len(label_of), dtype=np.int64)
    counts = sparse.csr_matrix((ones, (group_of, label_of)), shape=(len(names), len(classes)))
    counts.sum_duplicates()
    return GroupTable(tuple(classes), label_of, group_of, counts)


def _numbered(values: Any, what: str) -> tuple[list[Hashable], npt.NDArray[np.int64]]:
    plain = values.tolist() if hasattr(values, "tolist") else list(values)  # of numpy, pandas or torch
    try:
        distinct = set(plain)
    except TypeError as error:
        raise RelayError(f"a {what} cannot be hashed ({error}); name each by a string or number.") from error
    if any(_is_missing(value) for value in distinct):
        raise RelayError(f"a sample has no {what} (None or NaN); give every sample a {what}.")
    if all(type(value) is str for value in distinct):
        ordered = sorted(distinct)
    else:
        ordered = sorted(distinct, key=_key)
        keys = [_key(value) for value in ordered]
        if any(one == other for one, other in pairwise(keys)):
            raise RelayError(f"two {what}s print alike but differ; name each by a string or number.")
    number_of = {value: number for number, value in enumerate(ordered)}
    return ordered, np.fromiter((number_of[value] for value in plain), np.int64, len(plain))


def _is_missing(value: Hashable) -> bool:
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, (float, np.floating)) and isnan(value))
    )


def _key(value: Hashable) -> tuple[str, Any]:
    """Sorts any names in an order that does not change between runs; equal names have equal keys."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float)):  # True == 1 == 1.0
        return "number", value
    if isinstance(value, str):
        return "string", str(value)
    if isinstance(value, tuple):
        return "tuple", tuple(_key(part) for part in value)
    if isinstance(value, frozenset):
        return "set", tuple(sorted(_key(part) for part in value))
    if type(value).__repr__ is object.__repr__:  # prints its address, another one in each run
        raise RelayError(f"groups and labels of type {type(value).__name__} have no order; use strings.")
    return type(value).__qualname__, repr(value)
