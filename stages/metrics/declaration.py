"""What a metric's declaration says, and what metrics are computed from."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

REPRESENTATIVE = "_p75"
"""A metric's representative value (paper, section 6) stands in the column METRIC_p75."""

MEAN = "_mean"
"""Its mean over the plateau's epochs, which comparisons rest on, stands in the column METRIC_mean."""

Array = npt.NDArray[np.float64]

Place = Literal["table 1", "robustness", "overview"]
"""Table 1 and its tests; Figures 6 and 7 and Table 2; wherever there is room for a few metrics only."""


@dataclass(frozen=True)
class Counts:
    """Images of each class, in one evaluation set or in several at once.

    Attributes:
        true: labelled with the class, shape (..., C).
        predicted: predicted to be of the class, shape (..., C).
        hits: both, shape (..., C).
    """

    true: Array
    predicted: Array
    hits: Array

    @classmethod
    def of(cls, matrices: npt.ArrayLike) -> "Counts":
        """Of confusion matrices (..., C, C), one row per true class."""
        counts = np.asarray(matrices, dtype=np.float64)
        return cls(counts.sum(axis=-1), counts.sum(axis=-2), np.diagonal(counts, axis1=-2, axis2=-1))


class Outputs:
    """A network's outputs for an evaluation set, and what several metrics need of them.

    Args:
        logits: float, shape (N, C), N at least 1; computed with in float64.
        labels: int64, shape (N,), in 0..C-1.
    """

    def __init__(self, logits: "Tensor", labels: "Tensor") -> None:
        self.logits = logits.double()
        self.labels = labels
        self.classes = logits.shape[1]

    @cached_property
    def probabilities(self) -> "Tensor":
        """Softmax of the logits, shape (N, C)."""
        return self.logits.softmax(dim=1)

    @cached_property
    def predicted(self) -> "Tensor":
        """The class with the largest logit, the first of equal ones, shape (N,)."""
        return self.logits.argmax(dim=1)

    @cached_property
    def confusion_matrix(self) -> list[list[int]]:
        """Counts, one row per true class and one column per predicted class."""
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        matrix: list[list[int]] = multiclass_confusion_matrix(
            self.predicted, self.labels, self.classes
        ).tolist()
        return matrix


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric's declaration.

    Attributes:
        name: in records, `history.csv` and the columns of tables.
        title: what readers see, as in `macro F1`.
        unit: `%` of a fraction, which is stored in [0, 1] and shown in percent; `nats`; empty for a number
            without unit; None if the unit is not known.
        better: which values are better; None if that is not known.
        compute: from a network's outputs; None as its result where the metric is not defined on the
            evaluation set, whose record then lacks it. None for a metric that is measured elsewhere.
        of_counts: from counts, for all leading dimensions at once: a value per class (NaN where it is not
            defined) if `per_class`. Otherwise what `compute` gives, for resamples of the evaluation set.
        per_class: whether it is a metric of a class, computed from a record's confusion matrix and not
            recorded by itself.
        places: where it is shown, besides the tables of all metrics.
        short: a title for the heading of a narrow column, whose caption says the rest.
    """

    name: str
    title: str
    unit: str | None
    better: Literal["higher", "lower"] | None
    compute: Callable[[Outputs], float | None] | None = None
    of_counts: Callable[[Counts], Array] | None = None
    per_class: bool = False
    places: tuple[Place, ...] = ()
    short: str = ""

    @property
    def column(self) -> str:
        """The column of its representative value in a table of runs."""
        return self.name + REPRESENTATIVE

    @property
    def mean_column(self) -> str:
        """The column of its mean over the plateau's epochs in a table of runs."""
        return self.name + MEAN

    @property
    def is_fraction(self) -> bool:
        """Whether its values are in [0, 1] and shown in percent."""
        return self.unit == "%"

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value that it can have: no metric that is declared goes below 0."""
        if self.unit is None:
            return -math.inf, math.inf
        return 0.0, 1.0 if self.is_fraction else math.inf

    @property
    def span(self) -> float:
        """Largest difference that two values can have."""
        return self.bounds[1] - self.bounds[0]

    @property
    def scale(self) -> float:
        """What a value is multiplied by where it is shown, and in slopes."""
        return 100.0 if self.is_fraction else 1.0

    @property
    def digits(self) -> int:
        """Decimal places of a scaled value in a table."""
        return 2 if self.is_fraction else 3

    @property
    def capitalised(self) -> str:
        """The title as a heading begins; `macro AUROC` keeps its other capitals."""
        return self.title[:1].upper() + self.title[1:]

    @property
    def heading(self) -> str:
        """Title and unit of its scaled values, for an axis."""
        return _with_unit(self.title, self.unit)

    @property
    def short_heading(self) -> str:
        """Title and unit of its scaled values, for a narrow column."""
        return _with_unit(self.short or self.title, self.unit)

    @property
    def unit_of_differences(self) -> str:
        """What a difference of two scaled values is in: percentage points, for a fraction."""
        return "percentage points" if self.is_fraction else self.unit or "its own unit"

    @property
    def description(self) -> str:
        """The unit of its stored values and its direction, for a table that has them unscaled."""
        if self.unit is None or self.better is None:
            return "unit and direction not known"
        unit = "fraction" if self.is_fraction else self.unit or "no unit"
        return f"{unit}, {self.better} is better"

    def best(self, values: Sequence[float]) -> float:
        """The best of some values; the largest if the direction is not known."""
        return min(values) if self.better == "lower" else max(values)

    def text(self, value: float) -> str:
        """A value as a person reads it in passing: `62.5%`, or a number with three decimal places."""
        return f"{100.0 * value:.1f}%" if self.is_fraction else f"{value:.3f}"


def _with_unit(title: str, unit: str | None) -> str:
    return f"{title} (unit not known)" if unit is None else f"{title} ({unit})" if unit else title
