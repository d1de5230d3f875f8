"""What the page says of maps and frequencies: numbers worked by hand, and sentences that fit them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from analysis.explain.observations import Floats, Observations
from analysis.report.figures import ProcessStyle
from analysis.report.figures_frequency import alias_limit, target_limit
from analysis.report.page import Section
from analysis.report.seen import area_data, peaks_data, seen_sections
from analysis.report.study_report import process_labels, styles_of
from tests.helpers.fake_observations import fake_observations, fake_shown

NAN = float("nan")


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: that takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))


def _sections(seen: Observations, runs: int | None = None) -> dict[str, Section]:
    labels = process_labels(seen.processes)
    styles: dict[str, ProcessStyle] = styles_of(labels)
    return {section.name: section for section in seen_sections(seen, labels, styles, runs)}


def _picture_names(section: Section) -> list[str]:
    return [picture.name for picture in section.all_pictures]


def _caption(section: Section, name: str) -> str:
    (picture,) = [picture for picture in section.all_pictures if picture.name == name]
    return picture.caption


def _curves(deletion: Any, random: Any, insertion: Any, insertion_random: Any) -> dict[str, Floats]:
    names = ("deletion", "deletion_random", "insertion", "insertion_random")
    values = (deletion, random, insertion, insertion_random)
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}


def test_areas_and_gains_are_those_under_the_curves() -> None:
    """Two images at shares 0, 1/2, 1.

    Deletion: areas 0.25 and 0.5, at random 0.5 and 1, so gains 0.25 and 0.5. Insertion: areas 0.75 and 0.5,
    at random 0.5 and 0.5, so gains 0.25 and 0.
    """
    curves = _curves(
        [[1.0, 0.0, 0.0], [1.0, 0.5, 0.0]],
        [[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]],
        [[0.0, 1.0, 1.0], [0.5, 0.5, 0.5]],
        [[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]],
    )
    seen = fake_observations({"scratch": (0,)}, curves={"scratch": curves})
    table = area_data(seen).set_index("mode")
    assert set(table["process"]) == {"scratch"}
    assert table.loc["deletion", ["area", "random", "gain"]].tolist() == [0.375, 0.75, 0.375]
    assert table.loc["insertion", ["area", "random", "gain"]].tolist() == [0.625, 0.5, 0.125]
    for mode, gains in (("deletion", [0.25, 0.5]), ("insertion", [0.25, 0.0])):
        low, high = stats.ttest_1samp(gains, 0.0).confidence_interval(0.95)
        assert table.loc[mode, "gain_low"] == pytest.approx(low)
        assert table.loc[mode, "gain_high"] == pytest.approx(high)


def test_one_image_has_a_gain_and_no_interval() -> None:
    curves = _curves([[1.0, 0.0]], [[1.0, 1.0]], [[0.0, 1.0]], [[0.0, 0.0]])
    table = area_data(fake_observations({"scratch": (0,)}, curves={"scratch": curves}))
    assert table["gain"].tolist() == [0.5, 0.5]
    assert table[["gain_low", "gain_high"]].isna().all(axis=None)


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
    facts = {"size": 64, "native": 24, "stride": 4, "checked": 1, "compared": 4, "tiles": 2}
    seen = fake_observations({"scratch": (0,)}, responses={"scratch": response[None]}, facts=facts)
    assert (target_limit(seen), alias_limit(seen)) == (12, 8)
    table = peaks_data(seen, window=3)
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
    facts = {"size": 64, "native": native, "stride": stride, "checked": 1, "compared": 4, "tiles": 2}
    seen = fake_observations({"scratch": (0,)}, responses={"scratch": _bumps((20, 1.0))[None]}, facts=facts)
    assert (target_limit(seen), alias_limit(seen)) == limits
    (row,) = peaks_data(seen, window=3).to_dict("records")
    assert (row["omega"], row["where"]) == (20.0, where)
    caption = _caption(_sections(seen)["frequencies"], "frequency_response")
    assert ("cannot come from the target" in caption) == (limits[0] is not None)
    assert ("cannot tell a wave from a slower one" in caption) == (limits[1] is not None)


def test_each_seed_s_curve_is_scaled_before_the_mean() -> None:
    """A loud network does not outvote a quiet one: both peaks are of the same height."""
    responses = np.stack([1000 * _bumps((5, 1.0)), 7 + 0.001 * _bumps((20, 1.0))])
    seen = fake_observations({"scratch": (0, 1)}, responses={"scratch": responses})
    table = peaks_data(seen, window=3)
    assert sorted(table["omega"]) == [5.0, 20.0]
    assert table["height"].tolist() == pytest.approx([0.5, 0.5])


def test_a_flat_response_has_no_peak() -> None:
    seen = fake_observations({"scratch": (0,)}, responses={"scratch": np.full((1, 33), 4.0)})
    table = peaks_data(seen, window=5)
    assert table.empty and list(table.columns) == ["process", "omega", "height", "prominence", "where"]
    assert _sections(seen)["frequencies"].tables[0].data.empty


def _with_rank(last: float) -> pd.DataFrame:
    rows = [("fc", 0.9), ("conv5", 0.2), ("conv1", last)]
    return pd.DataFrame(
        [
            {
                "process": "scratch", "layer": layer, "rank": rank, "rank_low": rank, "rank_high": rank,
                "structure": 0.125,
            }
            for layer, rank in rows
        ]
    )  # fmt: skip


FALLS = ([[1.0, 0.0, 0.0], [1.0, 0.1, 0.0]], [[1.0, 0.9, 0.5], [1.0, 0.9, 0.5]])


@pytest.mark.parametrize(
    ("rank", "deletion", "said", "not_said"),
    [
        (0.5, FALLS, ["hardly depend on the weights", "0.50", "faster than a random order"], "slowly"),
        (0.49, FALLS, ["has maps that depend on the weights", "0.49"], "hardly"),
        (NAN, FALLS, ["constant, so that there is nothing to compare"], "nan"),
        (0.1, FALLS[::-1], ["more slowly than a random order"], "faster"),
        (0.1, (FALLS[0], FALLS[0]), ["is not shown"], "faster"),
        (0.1, ([[1.0, 0.0]], [[1.0, 1.0]]), ["One image is too few to say"], "faster"),
    ],
    ids=["the image", "the weights", "constant maps", "worse", "no difference", "one image"],
)
def test_the_sentence_fits_the_checks(rank: float, deletion: Any, said: list[str], not_said: str) -> None:
    """The last step of the randomisation counts, where every layer is random."""
    curves = _curves(*deletion, *deletion)
    seen = fake_observations({"scratch": (0, 1)}, curves={"scratch": curves}, randomisation=_with_rank(rank))
    (sentence,) = _sections(seen)["maps"].sentences
    assert sentence.process == "scratch"
    for words in said:
        assert words in sentence.text
    assert not_said not in sentence.text


def test_the_table_of_checks_has_its_numbers() -> None:
    seen = fake_observations({"scratch": (0, 1), "natural": (0,)})
    (table,) = _sections(seen)["maps"].tables
    rows = {row["process"]: row for row in table.data.to_dict("records")}
    assert set(rows) == {"scratch", "natural"}
    for process, row in rows.items():
        assert row["seeds"] == len(seen.seeds[process])
        assert row["random_rank"] == pytest.approx(0.5)
        assert row["random_structure"] == pytest.approx(0.3)
        assert (row["other_image"], row["other_seed"]) == (0.125, 0.375)
        areas = area_data(seen).set_index(["process", "mode"])
        for mode in ("deletion", "insertion"):
            for part in ("area", "random", "gain", "gain_low", "gain_high"):
                assert row[f"{mode}_{part}"] == areas.loc[process, mode][part]
    assert "over 12 images" in table.caption


def test_the_agreement_between_processes_has_a_row_a_pair_of_two() -> None:
    seen = fake_observations({"scratch": (0,), "natural": (0,), "texture": (0,)})
    (table,) = _sections(seen)["maps"].folded
    pairs = set(zip(table.data["process_a"], table.data["process_b"], strict=True))
    assert pairs == {("scratch", "natural"), ("scratch", "texture"), ("natural", "texture")}
    assert set(table.data["rank"]) == {0.25}


def test_all_is_there_for_two_processes() -> None:
    sections = _sections(fake_observations())
    assert list(sections) == ["maps", "frequencies", "layers"]
    assert _picture_names(sections["maps"]) == ["randomisation", "deletion", "feature_maps"]
    assert _picture_names(sections["frequencies"]) == ["frequency_response", "reference_image"]
    assert _picture_names(sections["layers"]) == ["stage_changes", "process_likeness", "filters"]
    assert [table.name for table in sections["layers"].folded] == ["stage_changes", "process_likeness"]
    assert sections["layers"].text == []


def test_a_single_process_without_a_parent_leaves_out_what_compares() -> None:
    sections = _sections(fake_observations({"scratch": (0,)}))
    assert _picture_names(sections["maps"]) == ["randomisation", "deletion", "feature_maps"]
    assert sections["maps"].folded == []
    assert _picture_names(sections["layers"]) == ["filters"]
    assert sections["layers"].folded == []
    assert "there is no stage to compare with" in " ".join(sections["layers"].text)


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
    caption = _caption(_sections(fake_observations(seeds))["frequencies"], "frequency_response")
    if said is None:
        assert "one seed only" not in caption
    else:
        assert said in caption


def test_the_shown_seed_is_named_and_its_absence_too() -> None:
    common = _sections(fake_observations({"scratch": (3, 4), "natural": (4, 5)}))["maps"]
    assert "seed 4." in _caption(common, "feature_maps")
    assert "no seed in common" not in " ".join(common.text)
    apart = _sections(fake_observations({"scratch": (3,), "natural": (5,)}, processes_cka=pd.DataFrame()))
    assert "each process's first seed" in _caption(apart["maps"], "feature_maps")
    assert "no seed in common, so each is shown at its first" in " ".join(apart["maps"].text)
    assert _picture_names(apart["layers"]) == ["stage_changes", "filters"]


def test_layer_and_rule_are_in_the_captions() -> None:
    seen = fake_observations()
    seen.settings.update(layer="relu3", rule="deconvnet", window=7, directions="cosine")
    sections = _sections(seen)
    caption = _caption(sections["maps"], "feature_maps")
    assert "relu3" in caption and "deconvnet" in caption
    caption = _caption(sections["frequencies"], "frequency_response")
    for words in ("relu3", "deconvnet", "over 7 frequencies", "cosine"):
        assert words in caption


def test_own_images_are_shown_beside_those_of_the_set() -> None:
    seen = fake_observations(own=fake_shown(["image 1", "image 2"], 2, 0))
    maps = _sections(seen)["maps"]
    assert _picture_names(maps) == ["randomisation", "deletion", "feature_maps", "own_feature_maps"]
    assert "Images of your own" in _caption(maps, "own_feature_maps")
    assert "Images of your own" not in _caption(maps, "feature_maps")


def test_runs_that_came_later_are_counted() -> None:
    seen = fake_observations()  # four runs
    assert "Made of 4 runs; there are 6 now." in " ".join(_sections(seen, runs=6)["maps"].text)
    for same in (4, None):
        assert "Made of" not in " ".join(_sections(seen, runs=same)["maps"].text)


def test_runs_that_were_left_out_are_named_and_not_counted_as_new() -> None:
    """Looking again would change nothing: their weights are gone."""
    seen = fake_observations(skipped=["natural, seed 2: dld/0123 has no model.ckpt"])
    text = " ".join(_sections(seen, runs=5)["maps"].text)
    assert "Left out: natural, seed 2: dld/0123 has no model.ckpt." in text
    assert "Made of" not in text


def test_colour_images_are_drawn_as_well() -> None:
    assert "feature_maps" in _picture_names(_sections(fake_observations(colour=True))["maps"])
