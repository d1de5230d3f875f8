"""The learning rate beside the learning curves: where a schedule lowers it, and there alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.report import figures_curves
from analysis.report.processes import styles_of
from analysis.runs.details import Curve, _read_history

COSINE, WARM = (0.05, 0.1, 0.05, 0.01), (0.05, 0.1, 0.1, 0.1)


def curve(folder: Path, rates: tuple[float, ...] | None) -> Curve:
    rows = [f"{epoch},{'' if rates is None else f'{rates[epoch]},'}0.5" for epoch in range(4)]
    header = "epoch,accuracy" if rates is None else "epoch,learning_rate,accuracy"
    (folder / "history.csv").write_text("\n".join([header, *rows]) + "\n")
    return Curve(0, 1, True, _read_history(folder / "history.csv"))


@pytest.mark.parametrize(("rates", "shown"), [(COSINE, True), (WARM, False), (None, False)])
def test_a_rate_that_falls_has_a_row_of_panels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rates: tuple[float, ...] | None, shown: bool
) -> None:
    drawn: list[Figure] = []

    def keep(figure: Figure, *_: Any) -> None:
        drawn.append(figure)

    monkeypatch.setattr(figures_curves, "save", keep)
    style = styles_of({"scratch": "Scratch"})["scratch"]
    curves = {("scratch", 1.0): [curve(tmp_path, rates)]}
    figures_curves.run_curves(curves, "scratch", style, {})
    labels = [axes.get_ylabel() for axes in drawn[0].axes]
    assert ("learning rate" in labels) is shown
    if shown:
        line, *_ = drawn[0].axes[labels.index("learning rate")].get_lines()
        assert np.allclose(line.get_ydata(), COSINE)
