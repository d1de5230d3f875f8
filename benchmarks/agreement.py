"""How far found maps of patterns agree with true ones: Dice, percentages, limits of agreement."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


def confusion(true: Map, found: Map, labels: int) -> Counts:
    """Pixels by their true and their found label.

    Args:
        true: any shape; 0 outside the lungs, else 1 to `labels`.
        found: the same shape.
        labels: How many there are beside 0.

    Returns:
        int64 (labels + 1, labels + 1), [true, found].
    """
    pairs = true.ravel().astype(np.int64) * (labels + 1) + found.ravel()
    return np.bincount(pairs, minlength=(labels + 1) ** 2).reshape(labels + 1, labels + 1)


def dice(counts: Counts, label: int) -> float | None:
    """Twice the shared pixels over the pixels of both, of one label; None where neither has any."""
    both = counts[label].sum() + counts[:, label].sum()
    return 2.0 * float(counts[label, label]) / float(both) if both else None


def dice_of_lungs(counts: Counts) -> float:
    """Dice of all that is not 0."""
    shared = counts[1:, 1:].sum()
    return 2.0 * float(shared) / float(counts[1:].sum() + counts[:, 1:].sum())


def percentages(counts: Counts) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Percent of the true lungs by true label, and of the found lungs by found label: (labels,) each."""
    true, found = counts[1:].sum(axis=1), counts[:, 1:].sum(axis=0)
    return 100.0 * true / max(true.sum(), 1), 100.0 * found / max(found.sum(), 1)


@dataclass(frozen=True)
class Limits:
    """Bland and Altman's limits of agreement (Lancet 327:307, 1986).

    Attributes:
        bias: Mean difference.
        low: The bias less 1.96 standard deviations (n - 1) of the differences.
        high: The bias and 1.96 of them.
        count: Differences.
    """

    bias: float
    low: float
    high: float
    count: int


def limits_of_agreement(differences: Sequence[float] | npt.NDArray[np.float64]) -> Limits:
    """Of two differences or more."""
    values = np.asarray(differences, np.float64)
    bias, deviation = float(values.mean()), float(values.std(ddof=1))
    return Limits(bias, bias - 1.96 * deviation, bias + 1.96 * deviation, len(values))


Pairs = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def plot_agreement(path: Path, panels: dict[str, dict[str, Pairs]], unit: str) -> None:
    """Write Bland-Altman plots as an SVG.

    Args:
        path: Of the file.
        panels: Row -> column -> true and found values, (N,) each.
        unit: Of the values, for the axes.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "relay"  # the same figure, the same file
    columns = list(next(iter(panels.values())))
    figure, axes = pyplot.subplots(
        len(panels), len(columns), figsize=(4.2 * len(columns), 3.0 * len(panels)), squeeze=False,
        sharex="row", sharey="row", layout="constrained",
    )  # fmt: skip
    for row, (name, of_row) in zip(axes, panels.items(), strict=True):
        for axis, column in zip(row, columns, strict=True):
            true, found = of_row[column]
            limits = limits_of_agreement(found - true)
            axis.scatter((found + true) / 2, found - true, s=14, color="#1b6ca8", alpha=0.7, linewidths=0)
            for level, style in ((limits.bias, "-"), (limits.low, "--"), (limits.high, "--")):
                axis.axhline(level, linestyle=style, color="#b5432a", linewidth=1)
                axis.annotate(f"{level:+.1f}", (1, level), xycoords=("axes fraction", "data"), fontsize=8,
                              ha="right", va="bottom", color="#b5432a")  # fmt: skip
            axis.set_title(f"{name}: {column}", fontsize=10)
        row[0].set_ylabel(f"found - true, {unit}")
    for axis in axes[-1]:
        axis.set_xlabel(f"mean of found and true, {unit}")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
