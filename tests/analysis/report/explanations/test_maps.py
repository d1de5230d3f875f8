"""Maps and their checks: numbers worked by hand or with scipy, and sentences that fit them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats
from scipy.stats import spearmanr

from analysis.explain.arrays import Arrays, Floats
from analysis.report.explanations.maps_summary import agreement_data, mean_curves, randomisation_data
from analysis.report.explanations.maps_tables import area_data
from tests.helpers.fake_explained import caption_of, fake_explained, fake_shown, picture_names, sections_of

NAN = float("nan")


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: that takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))


def _random(rank: list[list[float]], structure: list[list[float]]) -> Arrays:
    return {
        "layers": np.asarray(["fc", "conv"]),
        "rank": np.asarray(rank),
        "structure": np.asarray(structure),
    }


def test_randomisation_is_a_mean_over_images_then_seeds() -> None:
    """Constant maps (NaN) are left out of a seed's mean, which then counts as much as the other's."""
    first = _random([[0.2, 0.4], [0.0, NAN]], [[0.5, 0.7], [0.1, 0.3]])
    second = _random([[0.6, 0.8], [0.2, 0.4]], [[0.1, 0.3], [NAN, 0.5]])
    alone = _random([[NAN, NAN], [0.5, 0.5]], [[1.0, 1.0], [NAN, NAN]])
    table = randomisation_data({"two": [first, second], "one": [alone]})
    expected = pd.DataFrame(
        [
            ("two", "fc", 0.5, 0.3, 0.7, 0.4),
            ("two", "conv", 0.15, 0.0, 0.3, 0.35),
            ("one", "fc", NAN, NAN, NAN, 1.0),
            ("one", "conv", 0.5, 0.5, 0.5, NAN),
        ],
        columns=["process", "layer", "rank", "rank_low", "rank_high", "structure"],
    )
    pd.testing.assert_frame_equal(table, expected)


def test_the_band_leaves_out_a_seed_whose_maps_are_all_constant() -> None:
    """As its mean does: else one seed without maps takes the whole process's band away."""
    seeds = [_random([[value], [value]], [[0.5], [0.5]]) for value in (NAN, 0.25, 0.75)]
    (row, _) = randomisation_data({"p": seeds}).to_dict("records")
    assert (row["rank"], row["rank_low"], row["rank_high"]) == (0.5, 0.25, 0.75)


def test_curves_are_means_over_seeds_image_by_image() -> None:
    first = {"deletion": np.asarray([[1.0, 0.0], [0.5, 0.5]]), "insertion": np.asarray([[0.0, 1.0]])}
    second = {"deletion": np.asarray([[0.0, 0.5], [0.5, 1.0]]), "insertion": np.asarray([[1.0, 1.0]])}
    curves = mean_curves([first, second])
    assert set(curves) == {"deletion", "insertion"}
    assert curves["deletion"].tolist() == [[0.5, 0.25], [0.5, 0.75]]
    assert curves["insertion"].tolist() == [[0.5, 1.0]]


def _rank(first: Floats, second: Floats) -> float:
    """The mean of scipy's own rank correlation over images."""
    pairs = zip(first, second, strict=True)
    return float(np.mean([spearmanr(one.ravel(), other.ravel()).statistic for one, other in pairs]))


def _agreement(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    keys = zip(table["process_a"], table["process_b"], strict=True)
    found = dict(zip(keys, table["rank"], strict=True))
    assert len(found) == len(table)
    return found


def test_agreement_compares_seeds_within_a_process_and_equal_seeds_between_two() -> None:
    generator = np.random.default_rng(3)
    heats = {
        (process, seed): generator.random((3, 4, 4))
        for process, seeds in {"a": (0, 1, 2), "b": (1, 2, 5)}.items()
        for seed in seeds
    }
    found = _agreement(agreement_data(heats))
    assert set(found) == {("a", "a"), ("a", ""), ("b", "b"), ("b", ""), ("a", "b")}
    within = [_rank(heats["a", one], heats["a", other]) for one, other in ((0, 1), (0, 2), (1, 2))]
    assert found["a", "a"] == pytest.approx(np.mean(within))
    between = [_rank(heats["a", seed], heats["b", seed]) for seed in (1, 2)]
    assert found["a", "b"] == pytest.approx(np.mean(between))
    others = [_rank(heats["b", seed], heats["b", seed][[2, 0, 1]]) for seed in (1, 2, 5)]
    assert found["b", ""] == pytest.approx(np.mean(others))


def test_agreement_without_a_pair_is_no_number() -> None:
    heats = {
        ("a", 0): np.random.default_rng(0).random((1, 3, 3)),
        ("b", 1): np.random.default_rng(0).random((1, 3, 3)),
    }
    found = _agreement(agreement_data(heats))
    assert set(found) == {("a", "a"), ("a", ""), ("b", "b"), ("b", ""), ("a", "b")}
    assert all(np.isnan(value) for value in found.values())


def test_constant_maps_are_left_out_of_the_agreement() -> None:
    first = np.stack([np.ones((3, 3)), np.arange(9.0).reshape(3, 3)])
    second = np.stack([np.random.default_rng(0).random((3, 3)), -np.arange(9.0).reshape(3, 3)])
    assert _agreement(agreement_data({("a", 0): first, ("b", 0): second}))["a", "b"] == pytest.approx(-1.0)


def _curves(deletion: Any, random: Any, insertion: Any, insertion_random: Any) -> Arrays:
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
    table = area_data({"scratch": curves}, ["a", "b"]).set_index("mode")
    assert set(table["process"]) == {"scratch"}
    assert table.loc["deletion", ["area", "random", "gain"]].tolist() == [0.375, 0.75, 0.375]
    assert table.loc["insertion", ["area", "random", "gain"]].tolist() == [0.625, 0.5, 0.125]
    for mode, gains in (("deletion", [0.25, 0.5]), ("insertion", [0.25, 0.0])):
        low, high = stats.ttest_1samp(gains, 0.0).confidence_interval(0.95)
        assert table.loc[mode, "gain_low"] == pytest.approx(low)
        assert table.loc[mode, "gain_high"] == pytest.approx(high)


def test_gains_are_judged_over_patients() -> None:
    """Three images with deletion gains 0, 0.5 and 1 of patients a, a, b: their means are 0.25 and 1."""
    curves = _curves(
        [[0.0, 0.0]] * 3, [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[0.0, 0.0]] * 3, [[0.0, 0.0]] * 3
    )
    row = area_data({"scratch": curves}, ["a", "a", "b"]).set_index("mode").loc["deletion"]
    low, high = stats.ttest_1samp([0.25, 1.0], 0.0).confidence_interval(0.95)
    assert row[["gain", "gain_low", "gain_high"]].tolist() == pytest.approx([0.625, low, high])


def test_one_image_has_a_gain_and_no_interval() -> None:
    curves = _curves([[1.0, 0.0]], [[1.0, 1.0]], [[0.0, 1.0]], [[0.0, 0.0]])
    table = area_data({"scratch": curves}, ["a"])
    assert table["gain"].tolist() == [0.5, 0.5]
    assert table[["gain_low", "gain_high"]].isna().all(axis=None)


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
        (0.1, ([[1.0, 0.0]], [[1.0, 1.0]]), ["One patient is too few to say"], "faster"),
    ],
    ids=["the image", "the weights", "constant maps", "worse", "no difference", "one image"],
)
def test_the_sentence_fits_the_checks(rank: float, deletion: Any, said: list[str], not_said: str) -> None:
    """The last step of the randomisation counts, where every layer is random."""
    curves = _curves(*deletion, *deletion)
    groups = [f"p{number}" for number in range(len(deletion[0]))]
    changes = {"curves": {"scratch": curves}, "groups": groups, "randomisation": _with_rank(rank)}
    explained = fake_explained({"scratch": (0, 1)}, maps=changes)
    (sentence,) = sections_of(explained, "maps")["maps"].sentences
    assert sentence.process == "scratch"
    for words in said:
        assert words in sentence.text
    assert not_said not in sentence.text


def test_the_table_of_checks_has_its_numbers() -> None:
    explained = fake_explained({"scratch": (0, 1), "natural": (0,)})
    (table,) = sections_of(explained, "maps")["maps"].tables
    rows = {row["process"]: row for row in table.data.to_dict("records")}
    assert set(rows) == {"scratch", "natural"}
    for process, row in rows.items():
        assert row["seeds"] == len(explained.facts.seeds[process])
        assert row["random_rank"] == pytest.approx(0.5)
        assert row["random_structure"] == pytest.approx(0.3)
        assert (row["other_image"], row["other_seed"]) == (0.125, 0.375)
        areas = area_data(
            **{key: explained.summaries["maps"][key] for key in ("curves", "groups")}
        ).set_index(["process", "mode"])
        for mode in ("deletion", "insertion"):
            for part in ("area", "random", "gain", "gain_low", "gain_high"):
                assert row[f"{mode}_{part}"] == areas.loc[process, mode][part]
    assert "over 12 images" in table.caption


def test_the_agreement_between_processes_has_a_row_a_pair_of_two() -> None:
    explained = fake_explained({"scratch": (0,), "natural": (0,), "texture": (0,)})
    (table,) = sections_of(explained, "maps")["maps"].folded
    pairs = set(zip(table.data["process_a"], table.data["process_b"], strict=True))
    assert pairs == {("scratch", "natural"), ("scratch", "texture"), ("natural", "texture")}
    assert set(table.data["rank"]) == {0.25}


def test_the_shown_seed_is_named_and_its_absence_too() -> None:
    common = sections_of(fake_explained({"scratch": (3, 4), "natural": (4, 5)}), "maps")["maps"]
    assert "seed 4." in caption_of(common, "feature_maps")
    assert "no seed in common" not in " ".join(common.text)
    apart = sections_of(
        fake_explained({"scratch": (3,), "natural": (5,)}, layers={"processes": pd.DataFrame()})
    )
    assert "each process's first seed" in caption_of(apart["maps"], "feature_maps")
    assert "no seed in common, so each is shown at its first" in " ".join(apart["maps"].text)
    assert picture_names(apart["layers"]) == ["stage_changes", "filters"]


def test_own_images_are_shown_beside_those_of_the_set() -> None:
    explained = fake_explained(maps={"own": fake_shown(["image 1", "image 2"], 2)})
    maps = sections_of(explained, "maps")["maps"]
    assert picture_names(maps) == ["randomisation", "deletion", "feature_maps", "own_feature_maps"]
    assert "Images of your own" in caption_of(maps, "own_feature_maps")
    assert "Images of your own" not in caption_of(maps, "feature_maps")


def test_colour_images_are_drawn_as_well() -> None:
    assert "feature_maps" in picture_names(sections_of(fake_explained(colour=True), "maps")["maps"])
