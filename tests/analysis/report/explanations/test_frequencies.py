"""Frequency responses: peaks and limits worked by hand, and captions that fit them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.explain.arrays import Floats
from analysis.report.explanations.frequencies import peaks_data
from analysis.report.explanations.frequencies_figures import alias_limit, scaled_responses, target_limit
from tests.helpers.fake_explained import caption_of, context_of, fake_explained, sections_of


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: that takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))


def _bumps(*heights: tuple[int, float]) -> Floats:
    """A curve of 33 frequencies, flat but for parabolas five frequencies wide, which the filter keeps."""
    curve = np.zeros(33)
    for place, height in heights:
        for offset in range(-4, 5):
            if 0 <= place + offset < len(curve):
                curve[place + offset] = max(curve[place + offset], height * (1 - (offset / 5) ** 2))
    return curve


def test_peaks_are_told_by_the_limits_they_are_beyond() -> None:
    """64 px enlarged from 24, stride 4: the target holds 12 cycles, conv1 aliases above 8."""
    response = _bumps((4, 1.0), (11, 0.75), (25, 0.25))
    changes = {"responses": {"scratch": response[None]}, "window": 3, "stride": 4}
    study = fake_explained({"scratch": (0,)}, facts={"size": 64, "native_size": 24}, frequencies=changes)
    summary = study.summaries["frequencies"]
    assert (target_limit(study.facts), alias_limit(summary, study.facts)) == (12, 8)
    table = peaks_data(summary, context_of(study))
    assert list(table.columns) == ["process", "omega", "height", "prominence", "where"]
    assert dict(zip(table["omega"], table["where"], strict=True)) == {
        4.0: "in the target's band",
        11.0: "in the target's band, conv1 aliases",
        25.0: "beyond the target's band, conv1 aliases",
    }
    assert table["omega"].tolist() == [4.0, 11.0, 25.0]  # the most prominent first
    # A quadratic's filter keeps a parabola, whose top the scale puts at 1, 0.75 and 0.25.
    assert table["height"].tolist() == pytest.approx([1.0, 0.75, 0.25])


@pytest.mark.parametrize(
    ("native", "stride", "limits", "where"),
    [
        (64, 1, (None, None), ""),
        (64, 4, (None, 8), "conv1 aliases"),
        (32, 1, (16, None), "beyond the target's band"),
        (128, 2, (None, 16), "conv1 aliases"),
    ],
)
def test_a_limit_that_is_not_there_is_not_named(
    native: int, stride: int, limits: tuple[float | None, float | None], where: str
) -> None:
    changes = {"responses": {"scratch": _bumps((20, 1.0))[None]}, "window": 3, "stride": stride}
    study = fake_explained({"scratch": (0,)}, facts={"size": 64, "native_size": native}, frequencies=changes)
    summary = study.summaries["frequencies"]
    assert (target_limit(study.facts), alias_limit(summary, study.facts)) == limits
    (row,) = peaks_data(summary, context_of(study)).to_dict("records")
    assert (row["omega"], row["where"]) == (20.0, where)
    caption = caption_of(sections_of(study, "frequencies")["frequencies"], "frequency_response")
    assert ("cannot come from the target" in caption) == (limits[0] is not None)
    assert ("cannot tell a wave from a slower one" in caption) == (limits[1] is not None)


def test_each_seed_s_curve_is_scaled_before_the_mean() -> None:
    """A loud network does not outvote a quiet one: both peaks are of the same height."""
    responses = np.stack([1000 * _bumps((5, 1.0)), 7 + 0.001 * _bumps((20, 1.0))])
    changes = {"responses": {"scratch": responses}, "window": 3}
    study = fake_explained({"scratch": (0, 1)}, frequencies=changes)
    table = peaks_data(study.summaries["frequencies"], context_of(study))
    assert sorted(table["omega"]) == [5.0, 20.0]
    assert table["height"].tolist() == pytest.approx([0.5, 0.5])


def test_a_flat_response_has_no_peak() -> None:
    changes = {"responses": {"scratch": np.full((1, 33), 4.0)}, "window": 5}
    study = fake_explained({"scratch": (0,)}, frequencies=changes)
    table = peaks_data(study.summaries["frequencies"], context_of(study))
    assert table.empty and list(table.columns) == ["process", "omega", "height", "prominence", "where"]
    assert sections_of(study, "frequencies")["frequencies"].tables[0].data.empty


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ({"scratch": (0, 1), "natural": (0, 1)}, None),
        ({"scratch": (0,), "natural": (0, 1)}, "one seed only, so no band: (1) scratch."),
        ({"scratch": (0,), "natural": (0,)}, "one seed only, so no band: (1) scratch, (3) natural."),
    ],
)
def test_a_process_of_one_seed_has_no_band_and_says_so(
    seeds: dict[str, tuple[int, ...]], said: str | None
) -> None:
    caption = caption_of(
        sections_of(fake_explained(seeds), "frequencies")["frequencies"], "frequency_response"
    )
    if said is None:
        assert "one seed only" not in caption
    else:
        assert said in caption


def test_curves_lie_between_0_and_1() -> None:
    """Each reaches both, whatever the filter makes of its jumps."""
    gains = np.random.default_rng(0).exponential(size=(5, 33)) ** 4
    curves = scaled_responses(gains, 11)
    assert np.all(curves.min(axis=1) == 0.0) and np.all(curves.max(axis=1) == 1.0)
